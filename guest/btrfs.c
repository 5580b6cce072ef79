// SPDX-License-Identifier: GPL-2.0
/*
 * Before 6.8 the super blocks of btrfs belong to a second type that nobody has
 * registered, so no walk by types comes to them. Any of them tells its address;
 * and to one of them leads the mount point of some process:
 *
 *   /proc/1/mountinfo    25 1 0:22 / /srv rw - btrfs /dev/vdd rw
 *   /proc/1/root/srv     a path on it
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "supers.h"

#include <linux/ctype.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kstrtox.h>
#include <linux/mount.h>
#include <linux/slab.h>
#include <linux/version.h>

#include "fsfreeze.h"

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)

#define PIDS_MAX	64
#define LINE_SIZE	(2 * PATH_MAX)

/**
 * struct search - a walk through the processes
 * @context: of the folder
 * @proc: a procfs
 * @known: the type that is registered
 * @found: the other one
 * @line: LINE_SIZE bytes
 * @n_pids: how many
 * @pid: some of the processes
 */
struct search {
	struct dir_context context;
	struct vfsmount *proc;
	struct file_system_type *known;
	struct file_system_type *found;
	char *line;
	unsigned int n_pids;
	unsigned int pid[PIDS_MAX];
};

/* The blank and other signs are written as \ and three digits. */
static void unescape(char *text)
{
	char *out = text;

	for (; *text; text++) {
		if (text[0] == '\\' && isdigit(text[1]) && isdigit(text[2]) &&
		    isdigit(text[3])) {
			*out++ = (text[1] - '0') << 6 | (text[2] - '0') << 3 |
				 (text[3] - '0');
			text += 3;
		} else {
			*out++ = *text;
		}
	}
	*out = 0;
}

/* The type of the file system that is mounted there now. */
static struct file_system_type *type_at(struct search *search,
					unsigned int pid, char *place)
{
	struct file_system_type *type = NULL;
	struct file *file;
	char *path;

	unescape(place);
	path = kasprintf(FSF_GFP, "%u/root%s", pid, place);
	if (!path)
		return NULL;
	file = file_open_root_mnt(search->proc, path, O_PATH, 0);
	kfree(path);
	if (IS_ERR(file))
		return NULL;
	type = file->f_path.dentry->d_sb->s_type;
	fput(file);
	if (type == search->known || strcmp(type->name, search->known->name))
		return NULL;
	return type;
}

/* Looks at one line of a mountinfo. */
static void read_mount(struct search *search, unsigned int pid, char *line)
{
	char *kind = strstr(line, " - ");
	char *place = NULL;

	if (!kind || strncmp(kind, " - btrfs ", strlen(" - btrfs ")))
		return;
	for (int field = 0; field < 5 && line; field++)
		place = strsep(&line, " ");
	if (line)
		search->found = type_at(search, pid, place);
}

/* A line that is longer than there is room for is passed over in pieces. */
static void read_mounts(struct search *search, unsigned int pid,
			struct file *file)
{
	size_t used = 0;
	loff_t pos = 0;
	ssize_t n;

	while (!search->found) {
		char *end;

		n = kernel_read(file, search->line + used,
				LINE_SIZE - 1 - used, &pos);
		if (n <= 0)
			break;
		used += n;
		search->line[used] = 0;
		while (!search->found && (end = strchr(search->line, '\n'))) {
			*end++ = 0;
			read_mount(search, pid, search->line);
			used -= end - search->line;
			memmove(search->line, end, used + 1);
		}
		if (used == LINE_SIZE - 1)
			used = 0;
	}
}

/* What one process has mounted. */
static void look_at(struct search *search, unsigned int pid)
{
	struct file *file;
	char name[32];

	scnprintf(name, sizeof(name), "%u/mountinfo", pid);
	file = file_open_root_mnt(search->proc, name, O_RDONLY, 0);
	if (IS_ERR(file))
		return;
	read_mounts(search, pid, file);
	fput(file);
}

static bool add_process(struct dir_context *context, const char *name,
			int size, loff_t pos, u64 inode, unsigned int type)
{
	struct search *search = container_of(context, struct search, context);
	char number[12];

	if (!isdigit(name[0]) || size >= (int)sizeof(number))
		return true;
	if (search->n_pids == PIDS_MAX)
		return false;
	memcpy(number, name, size);
	number[size] = 0;
	return !kstrtouint(number, 10, &search->pid[search->n_pids++]);
}

/* So many at a time, for the folder is locked while it is read. */
static void look_at_all(struct search *search)
{
	struct file *root = file_open_root_mnt(search->proc, ".",
					       O_RDONLY | O_DIRECTORY, 0);

	if (IS_ERR(root))
		return;
	do {
		search->n_pids = 0;
		iterate_dir(root, &search->context);
		for (unsigned int i = 0; i < search->n_pids; i++)
			if (!search->found)
				look_at(search, search->pid[i]);
	} while (search->n_pids > 0 && !search->found);
	fput(root);
}

/**
 * fsf_btrfs_type() - the type of btrfs that is not registered
 * @known: the one that is, of which a reference is held
 * @proc: a procfs
 *
 * Return: the other one, as long as the reference is held; NULL if no process
 * has one mounted.
 */
struct file_system_type *fsf_btrfs_type(struct file_system_type *known,
					struct vfsmount *proc)
{
	struct search *search = kzalloc(sizeof(*search), FSF_GFP);
	struct file_system_type *found = NULL;

	if (!search)
		return NULL;
	search->context.actor = add_process;
	search->proc = proc;
	search->known = known;
	search->line = kmalloc(LINE_SIZE, FSF_GFP);
	if (search->line)
		look_at_all(search);
	found = search->found;
	kfree(search->line);
	kfree(search);
	return found;
}

#endif
