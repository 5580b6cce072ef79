// SPDX-License-Identifier: GPL-2.0
/*
 * The way to the host by a virtio console device that has one port and no
 * control queues (VIRTIO_CONSOLE_F_MULTIPORT is not offered). Such a device is
 * ours. One with many ports is left to virtio_console, which has the same id;
 * nothing in the device says more, so this driver is loaded only by name: there
 * is no MODULE_DEVICE_TABLE. What virtio_console has already may be this
 * system's console, and is taken only when the administrator says so.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <linux/wait.h>

#include "compat.h"
#include "fsfreeze.h"
#include "wire.h"

static bool takeover;
module_param(takeover, bool, 0444);
MODULE_PARM_DESC(takeover,
		 "Take the device from virtio_console if that was first (N)");

#define IN_SIZE		4096
#define SEND_WAIT	HZ

/**
 * struct fsf_virtio - one device
 * @port: of the session
 * @vdev: the device
 * @in: queue from the host
 * @out: queue to the host
 * @session: NULL while there is none
 * @sent: for who waits until the host has taken the last answer
 * @sending: it has not yet
 * @in_data: what the host fills; IN_SIZE bytes
 * @in_size: bytes that it has filled
 * @in_used: bytes of them that were read
 * @out_data: the answer on its way; FSF_ANSWER_MAX bytes
 */
struct fsf_virtio {
	struct fsf_port port;
	struct virtio_device *vdev;
	struct virtqueue *in;
	struct virtqueue *out;
	struct fsf_session *session;
	wait_queue_head_t sent;
	bool sending;
	u8 *in_data;
	unsigned int in_size;
	unsigned int in_used;
	char *out_data;
};

static struct fsf_virtio *virtio_of(struct fsf_port *port)
{
	return container_of(port, struct fsf_virtio, port);
}

static void offer_input(struct fsf_virtio *virtio)
{
	struct scatterlist sg;

	virtio->in_size = 0;
	virtio->in_used = 0;
	sg_init_one(&sg, virtio->in_data, IN_SIZE);
	if (!virtqueue_add_inbuf(virtio->in, &sg, 1, virtio->in_data, FSF_GFP))
		virtqueue_kick(virtio->in);
}

static size_t virtio_receive(struct fsf_port *port, u8 *data, size_t size)
{
	struct fsf_virtio *virtio = virtio_of(port);
	unsigned int n;

	if (!virtio->in_size) {
		if (!virtqueue_get_buf(virtio->in, &n))
			return 0;
		virtio->in_size = min_t(unsigned int, n, IN_SIZE);
	}
	n = min_t(size_t, virtio->in_size - virtio->in_used, size);
	memcpy(data, virtio->in_data + virtio->in_used, n);
	virtio->in_used += n;
	if (virtio->in_used == virtio->in_size)
		offer_input(virtio);
	return n;
}

static bool is_sent(struct fsf_virtio *virtio)
{
	unsigned int n;

	if (virtio->sending && virtqueue_get_buf(virtio->out, &n))
		virtio->sending = false;
	return !virtio->sending;
}

static void virtio_send(struct fsf_port *port, const char *data, size_t size)
{
	struct fsf_virtio *virtio = virtio_of(port);
	struct scatterlist sg;

	if (!wait_event_idle_timeout(virtio->sent, is_sent(virtio),
				     SEND_WAIT)) {
		dev_warn_ratelimited(&virtio->vdev->dev,
				     "the host takes no answers\n");
		return;
	}
	memcpy(virtio->out_data, data, size);
	sg_init_one(&sg, virtio->out_data, size);
	if (virtqueue_add_outbuf(virtio->out, &sg, 1, virtio->out_data,
				 FSF_GFP))
		return;
	virtio->sending = true;
	virtqueue_kick(virtio->out);
}

static const struct fsf_port_ops virtio_port_ops = {
	.receive = virtio_receive,
	.send = virtio_send,
};

static void on_input(struct virtqueue *vq)
{
	struct fsf_virtio *virtio = vq->vdev->priv;

	if (virtio->session)
		fsf_session_wake(virtio->session);
}

static void on_output(struct virtqueue *vq)
{
	struct fsf_virtio *virtio = vq->vdev->priv;

	wake_up(&virtio->sent);
}

/* Begins the conversation: at the start, and after a sleep of the system. */
static int virtio_open(struct fsf_virtio *virtio)
{
	struct virtqueue *vqs[2];
	struct fsf_session *session;
	int err = fsf_compat_find_vqs(virtio->vdev, vqs, on_input, on_output);

	if (err)
		return err;
	virtio->in = vqs[0];
	virtio->out = vqs[1];
	virtio->sending = false;
	virtio_device_ready(virtio->vdev);
	offer_input(virtio);
	session = fsf_session_start(&virtio->port);
	if (!IS_ERR(session)) {
		WRITE_ONCE(virtio->session, session);
		fsf_session_wake(session);
		return 0;
	}
	virtio_reset_device(virtio->vdev);
	virtio->vdev->config->del_vqs(virtio->vdev);
	return PTR_ERR(session);
}

static void virtio_close(struct fsf_virtio *virtio)
{
	struct fsf_session *session = virtio->session;

	if (!session)
		return;
	/* No callback comes any more, then nobody knows of the session. */
	virtio_break_device(virtio->vdev);
	virtio_reset_device(virtio->vdev);
	WRITE_ONCE(virtio->session, NULL);
	fsf_session_stop(session);
	virtio->vdev->config->del_vqs(virtio->vdev);
}

static void virtio_free(struct fsf_virtio *virtio)
{
	kfree(virtio->in_data);
	kfree(virtio->out_data);
	kfree(virtio);
}

/* Before the features are settled, so that virtio_console can settle others. */
static int fsf_virtio_validate(struct virtio_device *vdev)
{
	if (virtio_has_feature(vdev, VIRTIO_CONSOLE_F_MULTIPORT))
		return -ENODEV;
	return 0;
}

static int fsf_virtio_probe(struct virtio_device *vdev)
{
	struct fsf_virtio *virtio;
	int err;

	virtio = kzalloc(sizeof(*virtio), GFP_KERNEL);
	if (!virtio)
		return -ENOMEM;
	virtio->port.ops = &virtio_port_ops;
	virtio->port.name = dev_name(&vdev->dev);
	virtio->vdev = vdev;
	virtio->in_data = kmalloc(IN_SIZE, GFP_KERNEL);
	virtio->out_data = kmalloc(FSF_ANSWER_MAX, GFP_KERNEL);
	init_waitqueue_head(&virtio->sent);
	vdev->priv = virtio;
	err = virtio->in_data && virtio->out_data ? virtio_open(virtio) :
						    -ENOMEM;
	if (err) {
		if (err == -EBUSY)
			dev_err(&vdev->dev,
				"the host is listened to elsewhere already\n");
		virtio_free(virtio);
		return err;
	}
	dev_info(&vdev->dev, "the host can freeze the file systems\n");
	return 0;
}

static void fsf_virtio_remove(struct virtio_device *vdev)
{
	struct fsf_virtio *virtio = vdev->priv;

	virtio_close(virtio);
	virtio_free(virtio);
}

#ifdef CONFIG_PM_SLEEP
static int fsf_virtio_freeze(struct virtio_device *vdev)
{
	virtio_close(vdev->priv);
	return 0;
}

static int fsf_virtio_restore(struct virtio_device *vdev)
{
	return virtio_open(vdev->priv);
}
#endif

static const struct virtio_device_id id_table[] = {
	{ VIRTIO_ID_CONSOLE, VIRTIO_DEV_ANY_ID },
	{ 0 },
};

/* It is accepted only to see whether it is offered. */
static const unsigned int features[] = { VIRTIO_CONSOLE_F_MULTIPORT };

static struct virtio_driver fsf_virtio_driver = {
	.driver.name = "virtio-fsfreeze",
	.driver.owner = THIS_MODULE,
	.id_table = id_table,
	.feature_table = features,
	.feature_table_size = ARRAY_SIZE(features),
	.validate = fsf_virtio_validate,
	.probe = fsf_virtio_probe,
	.remove = fsf_virtio_remove,
#ifdef CONFIG_PM_SLEEP
	.freeze = fsf_virtio_freeze,
	.restore = fsf_virtio_restore,
#endif
};

static bool is_single_port(struct virtio_device *vdev)
{
	return vdev->id.device == VIRTIO_ID_CONSOLE &&
	       !(vdev->config->get_features(vdev) &
		 BIT_ULL(VIRTIO_CONSOLE_F_MULTIPORT));
}

/* Virtio_console was first: takes a device from it, or says how to do that. */
static int take_over(struct device *dev, void *arg)
{
	struct device_driver *ours = &fsf_virtio_driver.driver;
	int err;

	if (!dev->driver || dev->driver == ours ||
	    !is_single_port(dev_to_virtio(dev)))
		return 0;
	if (!takeover) {
		dev_notice(dev,
			   "%s has it; load with takeover=1 if the host is to freeze by it\n",
			   dev->driver->name);
		return 0;
	}
	device_release_driver(dev);
	err = device_driver_attach(ours, dev);
	if (err)
		err = device_attach(dev);
	return min(err, 0);
}

/**
 * fsf_virtio_register() - take the devices that there are, and those that come
 *
 * Return: 0, or a negative errno.
 */
int fsf_virtio_register(void)
{
	int err = register_virtio_driver(&fsf_virtio_driver);

	if (err)
		return err;
	err = bus_for_each_dev(fsf_virtio_driver.driver.bus, NULL, NULL,
			       take_over);
	if (err)
		unregister_virtio_driver(&fsf_virtio_driver);
	return err;
}

/**
 * fsf_virtio_unregister() - give them back
 */
void fsf_virtio_unregister(void)
{
	unregister_virtio_driver(&fsf_virtio_driver);
}
