// SPDX-License-Identifier: GPL-2.0
/*
 * virtio-fsfreeze: the host freezes and thaws this system's file systems, with
 * no process in between that could be killed, swapped out, or blocked by what
 * it has frozen itself. See virtio-fsfreeze(4).
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

#include "fsfreeze.h"
#include "supers.h"

static int __init fsf_init(void)
{
	int err = fsf_supers_init();

	if (err)
		return err;
	err = fsf_stack_init();
	if (err)
		goto out_supers;
	err = fsf_freezer_start();
	if (err)
		goto out_stack;
	/* A port that was named goes before a device that was found. */
	err = fsf_tty_start();
	if (err)
		goto out_freezer;
	err = fsf_virtio_register();
	if (err)
		goto out_tty;
	return 0;

out_tty:
	fsf_tty_stop();
out_freezer:
	fsf_freezer_stop();
out_stack:
	fsf_stack_exit();
out_supers:
	fsf_supers_exit();
	return err;
}

static void __exit fsf_exit(void)
{
	fsf_virtio_unregister();
	fsf_tty_stop();
	fsf_freezer_stop();
	fsf_stack_exit();
	fsf_supers_exit();
}

module_init(fsf_init);
module_exit(fsf_exit);

MODULE_DESCRIPTION("Freeze and thaw of all file systems by the host");
MODULE_AUTHOR("The snapvm developers");
MODULE_LICENSE("GPL");
MODULE_VERSION(FSF_VERSION);
