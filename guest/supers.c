// SPDX-License-Identifier: GPL-2.0
/*
 * Finds the file systems that lie on disks. The kernel exports the walk over
 * the super blocks of one type only, so the types are read first, from a procfs
 * of our own: userland may have mounted its own anywhere, or not at all.
 *
 * The walk waits for each super block's s_umount. So a file system that is
 * being mounted or unmounted is waited for, and is there or gone afterwards.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "supers.h"

#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/slab.h>

#include "fsfreeze.h"

#define TYPES_SIZE	(4 * PAGE_SIZE)

static struct vfsmount *proc_mount;

struct collection {
	struct list_head *list;
	fsf_left_out_fn left_out;
	void *arg;
	int err;
};

static void collect_super(struct super_block *sb, void *arg)
{
	struct collection *collection = arg;
	struct fsf_super *super;

	/* One that is read-only has nothing to write, and no more to lose. */
	if (collection->err || sb_rdonly(sb) || !(sb->s_flags & SB_ACTIVE) ||
	    collection->left_out(collection->arg, sb))
		return;
	super = kzalloc(sizeof(*super), FSF_GFP);
	if (!super) {
		collection->err = -ENOMEM;
		return;
	}
	if (!atomic_inc_not_zero(&sb->s_active)) {
		kfree(super);
		return;
	}
	super->sb = sb;
	list_add_tail(&super->link, collection->list);
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
/* The other type of btrfs; not to find it is to miss a file system. */
static void collect_btrfs(struct collection *collection,
			  struct file_system_type *known)
{
	struct file_system_type *type;

	if (strcmp(known->name, "btrfs") || !fsf_stack_has_btrfs())
		return;
	type = fsf_btrfs_type(known, proc_mount);
	if (type)
		iterate_supers_type(type, collect_super, collection);
	else if (!collection->err)
		collection->err = -ENOENT;
}
#else
static void collect_btrfs(struct collection *collection,
			  struct file_system_type *known)
{
}
#endif

static void collect_type(struct collection *collection, const char *name)
{
	struct file_system_type *type;

	/* Its server is a process, which may wait for what is frozen. */
	if (!strcmp(name, "fuseblk"))
		return;
	type = get_fs_type(name);
	if (!type)
		return;
	iterate_supers_type(type, collect_super, collection);
	collect_btrfs(collection, type);
	module_put(type->owner);
}

/* What /proc/filesystems says, with a NUL behind it. */
static char *read_types(void)
{
	char *text = kzalloc(TYPES_SIZE, FSF_GFP);
	struct file *file;
	size_t used = 0;
	loff_t pos = 0;
	ssize_t n;

	if (!text)
		return ERR_PTR(-ENOMEM);
	file = file_open_root_mnt(proc_mount, "filesystems", O_RDONLY, 0);
	if (IS_ERR(file)) {
		kfree(text);
		return ERR_CAST(file);
	}
	do {
		n = kernel_read(file, text + used, TYPES_SIZE - 1 - used, &pos);
		if (n > 0)
			used += n;
	} while (n > 0 && used < TYPES_SIZE - 1);
	fput(file);
	if (n) {
		kfree(text);
		return ERR_PTR(n < 0 ? n : -E2BIG);
	}
	return text;
}

/**
 * fsf_supers_collect() - find what there is to freeze
 * @list: gets a &struct fsf_super each, the newest of each type first
 * @left_out: tells which are not wanted; called with s_umount held for reading
 * @arg: for @left_out
 *
 * Return: 0, or a negative errno; what was found so far is in the list anyway.
 */
int fsf_supers_collect(struct list_head *list, fsf_left_out_fn left_out,
		       void *arg)
{
	struct collection collection = {
		.list = list,
		.left_out = left_out,
		.arg = arg,
	};
	char *types = read_types();
	char *rest = types;
	char *line;

	if (IS_ERR(types))
		return PTR_ERR(types);
	while ((line = strsep(&rest, "\n")))
		/* "nodev", or nothing, then a tab and the name */
		if (*line == '\t')
			collect_type(&collection, line + 1);
	kfree(types);
	return collection.err;
}

/**
 * fsf_supers_release() - let file systems go
 * @list: is empty afterwards
 *
 * One that was unmounted meanwhile is written out and closed here, which may
 * take its time: nothing on which it lies may be frozen.
 */
void fsf_supers_release(struct list_head *list)
{
	struct fsf_super *super, *next;

	list_for_each_entry_safe(super, next, list, link) {
		list_del(&super->link);
		deactivate_super(super->sb);
		kfree(super);
	}
}

/**
 * struct fsf_places - the file systems that the host has named
 * @n: how many paths
 * @path: what they lead to
 */
struct fsf_places {
	unsigned int n;
	struct path path[];
};

/**
 * fsf_places_find() - follow paths, as the first mount namespace has them
 * @paths: each with a NUL behind it
 * @size: bytes of @paths
 *
 * One that leads nowhere is ignored, as qemu-ga does: the count tells.
 *
 * Return: what they lead to, which is not unmounted meanwhile; NULL if there is
 * no memory.
 */
struct fsf_places *fsf_places_find(const char *paths, size_t size)
{
	struct fsf_places *places;
	unsigned int n = 0;

	for (size_t i = 0; i < size; i++)
		n += !paths[i];
	places = kvzalloc(struct_size(places, path, n), FSF_GFP);
	if (!places)
		return NULL;
	for (size_t i = 0; i < size; i += strlen(paths + i) + 1)
		if (!kern_path(paths + i, LOOKUP_FOLLOW,
			       &places->path[places->n]))
			places->n++;
	return places;
}

/**
 * fsf_places_have() - whether one of them lies on a file system
 * @places: NULL has all
 * @sb: the file system
 */
bool fsf_places_have(const struct fsf_places *places,
		     const struct super_block *sb)
{
	for (unsigned int i = 0; places && i < places->n; i++)
		if (places->path[i].dentry->d_sb == sb)
			return true;
	return !places;
}

/**
 * fsf_places_release() - let them go
 * @places: may be NULL
 */
void fsf_places_release(struct fsf_places *places)
{
	for (unsigned int i = 0; places && i < places->n; i++)
		path_put(&places->path[i]);
	kvfree(places);
}

/**
 * fsf_supers_init() - prepare for collections
 *
 * Return: 0, or a negative errno.
 */
int fsf_supers_init(void)
{
	struct file_system_type *type = get_fs_type("proc");

	if (!type)
		return -ENODEV;
	proc_mount = kern_mount(type);
	module_put(type->owner);
	return PTR_ERR_OR_ZERO(proc_mount);
}

/**
 * fsf_supers_exit() - the end of it
 */
void fsf_supers_exit(void)
{
	kern_unmount(proc_mount);
}
