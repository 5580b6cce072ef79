// SPDX-License-Identifier: GPL-2.0
/*
 * Which file system lies on which other: a loop device has its blocks in a file
 * of one, and device mapper, md and btrfs put devices together. sysfs knows all
 * of it, and a sysfs of our own is always there:
 *
 *   class/block/dm-0/slaves/loop0
 *   class/block/loop0/loop/backing_file    a path, and by it a super block
 *   fs/btrfs/UUID/devices/sdb
 *
 * A file that only another mount namespace reaches cannot be followed. Its loop
 * device is known to lie on something all the same.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "supers.h"

#include <linux/blkdev.h>
#include <linux/dcache.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/list_sort.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/slab.h>

#include "fsfreeze.h"

#define LEVELS_MAX	16	/* devices and file systems on one another */
#define MEMBERS_MAX	64	/* devices of one device, or file system */
#define NAME_SIZE	40

static struct vfsmount *sysfs_mount;

static unsigned int super_depth(struct super_block *sb, unsigned int level);

static __printf(2, 3)
struct file *open_sysfs(int flags, const char *format, ...)
{
	struct file *file;
	va_list args;
	char *path;

	va_start(args, format);
	path = kvasprintf(FSF_GFP, format, args);
	va_end(args);
	if (!path)
		return ERR_PTR(-ENOMEM);
	file = file_open_root_mnt(sysfs_mount, path, O_RDONLY | flags, 0);
	kfree(path);
	return file;
}

/* The file system of the file that @path leads to, below an overlay's own. */
static unsigned int file_depth(const char *path, unsigned int level)
{
	struct path found;
	unsigned int depth;

	if (kern_path(path, LOOKUP_FOLLOW, &found))
		return 0;
	depth = super_depth(d_real_inode(found.dentry)->i_sb, level);
	path_put(&found);
	return depth;
}

/* If the device, whose folder is @at, is a loop device: 1 and what is below. */
static unsigned int loop_depth(const char *at, unsigned int level)
{
	struct file *file = open_sysfs(0, "%s/loop/backing_file", at);
	unsigned int depth = 0;
	loff_t pos = 0;
	ssize_t size;
	char *path;

	if (IS_ERR(file))
		return 0;
	path = kmalloc(PATH_MAX, FSF_GFP);
	size = path ? kernel_read(file, path, PATH_MAX - 1, &pos) : -ENOMEM;
	if (size > 0) {
		path[size] = 0;
		depth = 1 + file_depth(strim(path), level);
	}
	kfree(path);
	fput(file);
	return depth;
}

/**
 * struct members - the entries of a folder
 * @context: for the walk
 * @n: how many
 * @name: of each; one with a longer name is no device
 */
struct members {
	struct dir_context context;
	unsigned int n;
	char name[MEMBERS_MAX][NAME_SIZE];
};

static bool add_member(struct dir_context *context, const char *name, int size,
		       loff_t pos, u64 inode, unsigned int type)
{
	struct members *members = container_of(context, struct members,
					       context);

	if (name[0] == '.' || size >= NAME_SIZE)
		return true;
	if (members->n == MEMBERS_MAX)
		return false;
	memcpy(members->name[members->n], name, size);
	members->name[members->n++][size] = 0;
	return true;
}

static unsigned int device_depth(const char *name, unsigned int level);

/* The entries of a folder, if there is such a folder; to be freed. */
static struct members *list_members(struct file *folder)
{
	struct members *members;

	if (IS_ERR(folder))
		return NULL;
	members = kzalloc(sizeof(*members), FSF_GFP);
	if (members) {
		members->context.actor = add_member;
		iterate_dir(folder, &members->context);
	}
	fput(folder);
	return members;
}

/* The deepest of the devices in a folder, if there is such a folder. */
static unsigned int members_depth(struct file *folder, unsigned int level)
{
	struct members *members = list_members(folder);
	unsigned int depth = 0;

	for (unsigned int i = 0; members && i < members->n; i++)
		depth = max(depth, device_depth(members->name[i], level));
	kfree(members);
	return depth;
}

/* A partition has what its disk has. */
static unsigned int device_depth(const char *name, unsigned int level)
{
	struct file *partition;
	unsigned int depth;
	char at[64];

	if (level > LEVELS_MAX)
		return 0;
	partition = open_sysfs(0, "class/block/%s/partition", name);
	scnprintf(at, sizeof(at), "class/block/%s%s", name,
		  IS_ERR(partition) ? "" : "/..");
	if (!IS_ERR(partition))
		fput(partition);
	depth = loop_depth(at, level + 1);
	if (depth)
		return depth;
	return members_depth(open_sysfs(O_DIRECTORY, "%s/slaves", at),
			     level + 1);
}

static unsigned int super_depth(struct super_block *sb, unsigned int level)
{
	char name[NAME_SIZE];
	unsigned int depth;

	if (level > LEVELS_MAX)
		return 0;
	if (sb->s_bdev) {
		scnprintf(name, sizeof(name), "%pg", sb->s_bdev);
		return device_depth(name, level);
	}
	/* Of several devices btrfs names one here, and all in sysfs. */
	depth = device_depth(sb->s_id, level);
	return max(depth, members_depth(open_sysfs(O_DIRECTORY,
						   "fs/btrfs/%pU/devices",
						   &sb->s_uuid), level));
}

static int uppermost_first(void *priv, const struct list_head *a,
			   const struct list_head *b)
{
	return list_entry(a, struct fsf_super, link)->depth <
	       list_entry(b, struct fsf_super, link)->depth;
}

/**
 * fsf_stack_sort() - put file systems before those that they lie on
 * @list: of &struct fsf_super; what is on one level keeps its order
 */
void fsf_stack_sort(struct list_head *list)
{
	struct fsf_super *super;

	list_for_each_entry(super, list, link)
		super->depth = super_depth(super->sb, 0);
	list_sort(NULL, list, uppermost_first);
}

/**
 * fsf_stack_is_deep() - whether one of them lies on another file system
 * @list: of &struct fsf_super, sorted
 */
bool fsf_stack_is_deep(const struct list_head *list)
{
	return !list_empty(list) &&
	       list_first_entry(list, struct fsf_super, link)->depth > 0;
}

/**
 * fsf_stack_has_btrfs() - whether one is mounted, by anybody
 */
bool fsf_stack_has_btrfs(void)
{
	struct members *members = list_members(open_sysfs(O_DIRECTORY,
							  "fs/btrfs"));
	bool found = false;

	/* Beside them there is a folder that says what this btrfs can do. */
	for (unsigned int i = 0; members && i < members->n; i++)
		found = found || strcmp(members->name[i], "features");
	kfree(members);
	return found;
}

/**
 * fsf_stack_init() - prepare for it
 *
 * Return: 0, or a negative errno.
 */
int fsf_stack_init(void)
{
	struct file_system_type *type = get_fs_type("sysfs");

	if (!type)
		return -ENODEV;
	sysfs_mount = kern_mount(type);
	module_put(type->owner);
	return PTR_ERR_OR_ZERO(sysfs_mount);
}

/**
 * fsf_stack_exit() - the end of it
 */
void fsf_stack_exit(void)
{
	kern_unmount(sysfs_mount);
}
