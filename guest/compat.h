/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What differs between kernels, from 6.1 on, in one place.
 */
#ifndef FSF_COMPAT_H
#define FSF_COMPAT_H

#include <linux/fs.h>
#include <linux/version.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>

/* What a line discipline is given beside the bytes. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
typedef u8 fsf_flags;
typedef size_t fsf_count;
#else
typedef const char fsf_flags;
typedef int fsf_count;
#endif

/*
 * From 6.6 on a freeze has a holder. Ours is the kernel's: an administrator's
 * "fsfreeze --unfreeze", or a guest agent beside us, does not take it away.
 * From 6.16 on the kernel's freezes may be told apart by an owner.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
#define FSF_HOLD(call, sb)	call(sb, FREEZE_HOLDER_KERNEL, NULL)
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#define FSF_HOLD(call, sb)	call(sb, FREEZE_HOLDER_KERNEL)
#else
#define FSF_HOLD(call, sb)	call(sb)
#endif

static inline int fsf_compat_freeze(struct super_block *sb)
{
	if (sb->s_op->freeze_super)
		return FSF_HOLD(sb->s_op->freeze_super, sb);
	return FSF_HOLD(freeze_super, sb);
}

static inline int fsf_compat_thaw(struct super_block *sb)
{
	if (sb->s_op->thaw_super)
		return FSF_HOLD(sb->s_op->thaw_super, sb);
	return FSF_HOLD(thaw_super, sb);
}

/* Two queues, each with a callback. */
static inline int fsf_compat_find_vqs(struct virtio_device *vdev,
				      struct virtqueue *vqs[2],
				      vq_callback_t *in, vq_callback_t *out)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
	struct virtqueue_info info[2] = {
		{ "input", in },
		{ "output", out },
	};

	return virtio_find_vqs(vdev, 2, vqs, info, NULL);
#else
	vq_callback_t *callbacks[2] = { in, out };
	const char * const names[2] = { "input", "output" };

	return virtio_find_vqs(vdev, 2, vqs, callbacks, names, NULL);
#endif
}

#endif
