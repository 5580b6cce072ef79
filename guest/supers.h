/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The file systems that there are to freeze. They are found by super block, so
 * that the mount namespaces do not matter.
 */
#ifndef FSF_SUPERS_H
#define FSF_SUPERS_H

#include <linux/list.h>
#include <linux/types.h>
#include <linux/version.h>

struct file_system_type;
struct super_block;
struct vfsmount;

/**
 * struct fsf_super - a file system that does not go away
 * @link: in one list of its user
 * @sb: the super block, of which one active reference is held: an unmount
 *	meanwhile takes effect when it is let go
 * @depth: how many file systems lie below it, through its devices
 */
struct fsf_super {
	struct list_head link;
	struct super_block *sb;
	unsigned int depth;
};

struct fsf_places;

struct fsf_places *fsf_places_find(const char *paths, size_t size);
bool fsf_places_have(const struct fsf_places *places,
		     const struct super_block *sb);
void fsf_places_release(struct fsf_places *places);

/* Whether a file system is to be left out of a collection. */
typedef bool (*fsf_left_out_fn)(void *arg, const struct super_block *sb);

int fsf_supers_init(void);
void fsf_supers_exit(void);

int fsf_supers_collect(struct list_head *list, fsf_left_out_fn left_out,
		       void *arg);
void fsf_supers_release(struct list_head *list);

int fsf_stack_init(void);
void fsf_stack_exit(void);

void fsf_stack_sort(struct list_head *list);
bool fsf_stack_is_deep(const struct list_head *list);
bool fsf_stack_has_btrfs(void);

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
struct file_system_type *fsf_btrfs_type(struct file_system_type *known,
					struct vfsmount *proc);
#endif

#endif
