// SPDX-License-Identifier: GPL-2.0
/*
 * The way to the host by a serial port, for machines without virtio: a line
 * discipline that keeps what comes for the receiver. Its number is the one that
 * is set aside for modules out of the kernel's tree. The port is opened by the
 * kernel itself, so nothing in the guest has to run for it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/kfifo.h>
#include <linux/module.h>
#include <linux/tty.h>
#include <linux/tty_ldisc.h>
#include <linux/wait.h>

#include "compat.h"
#include "fsfreeze.h"

#define IN_SIZE		16384
#define SEND_WAIT	HZ

static char *tty;
module_param(tty, charp, 0444);
MODULE_PARM_DESC(tty, "Listen on this serial port, such as ttyS1, too");

/**
 * struct fsf_tty - the port; there is one
 * @port: of the session
 * @tty: NULL while it is not open
 * @session: NULL while there is none
 * @writable: for who waits until the port takes more
 * @in: what has come; written by the line discipline, read by the receiver
 */
static struct fsf_tty {
	struct fsf_port port;
	struct tty_struct *tty;
	struct fsf_session *session;
	wait_queue_head_t writable;
	DECLARE_KFIFO(in, u8, IN_SIZE);
} line;

static size_t line_receive(struct fsf_port *port, u8 *data, size_t size)
{
	return kfifo_out(&line.in, data, size);
}

static void line_send(struct fsf_port *port, const char *data, size_t size)
{
	struct tty_struct *tty = line.tty;

	while (size > 0) {
		int n;

		set_bit(TTY_DO_WRITE_WAKEUP, &tty->flags);
		if (!wait_event_idle_timeout(line.writable,
					     tty_write_room(tty) > 0,
					     SEND_WAIT)) {
			pr_warn_ratelimited("%s takes no answers\n",
					    port->name);
			return;
		}
		n = tty->ops->write(tty, (const u8 *)data, size);
		if (n < 0)
			return;
		data += n;
		size -= n;
	}
}

static const struct fsf_port_ops line_port_ops = {
	.receive = line_receive,
	.send = line_send,
};

static int ldisc_open(struct tty_struct *tty)
{
	/* It is for our own port, not for one that userland has opened. */
	if (tty != line.tty)
		return -EPERM;
	tty->receive_room = IN_SIZE;
	/* One in use keeps its module, but this one is the module's to end. */
	module_put(THIS_MODULE);
	return 0;
}

static void ldisc_close(struct tty_struct *tty)
{
	__module_get(THIS_MODULE);
}

/* What there is no room for is lost, and the command with it. */
static void ldisc_receive(struct tty_struct *tty, const u8 *data,
			  const fsf_flags *flags, fsf_count count)
{
	struct fsf_session *session = READ_ONCE(line.session);

	if (kfifo_avail(&line.in) >= count)
		kfifo_in(&line.in, data, count);
	if (session)
		fsf_session_wake(session);
}

static void ldisc_wakeup(struct tty_struct *tty)
{
	wake_up(&line.writable);
}

static struct tty_ldisc_ops ldisc = {
	.owner = THIS_MODULE,
	.num = N_DEVELOPMENT,
	.name = "fsfreeze",
	.open = ldisc_open,
	.close = ldisc_close,
	.receive_buf = ldisc_receive,
	.write_wakeup = ldisc_wakeup,
};

/* Bytes as they are, and no modem to wait for. */
static void set_raw(struct tty_struct *tty)
{
	struct ktermios termios = tty->termios;

	termios.c_iflag = 0;
	termios.c_oflag = 0;
	termios.c_lflag = 0;
	termios.c_cflag = B115200 | CS8 | CREAD | CLOCAL;
	tty_set_termios(tty, &termios);
}

static void line_close(void)
{
	tty_lock(line.tty);
	if (line.tty->ops->close)
		line.tty->ops->close(line.tty, NULL);
	tty_ldisc_flush(line.tty);
	tty_unlock(line.tty);
	tty_kclose(line.tty);
	line.tty = NULL;
}

static int line_open(const char *name)
{
	struct tty_struct *opened;
	dev_t number;
	int err = tty_dev_name_to_number(name, &number);

	if (err)
		return err;
	opened = tty_kopen_exclusive(number);
	if (IS_ERR(opened))
		return PTR_ERR(opened);
	/* It is locked by now. */
	line.tty = opened;
	err = opened->ops->open ? opened->ops->open(opened, NULL) : -ENODEV;
	tty_unlock(opened);
	if (!err) {
		clear_bit(TTY_HUPPED, &opened->flags);
		set_raw(opened);
		err = tty_set_ldisc(opened, N_DEVELOPMENT);
	}
	if (err)
		line_close();
	return err;
}

static int line_start(void)
{
	struct fsf_session *session;
	int err = line_open(tty);

	if (err)
		return err;
	session = fsf_session_start(&line.port);
	if (IS_ERR(session)) {
		line_close();
		return PTR_ERR(session);
	}
	WRITE_ONCE(line.session, session);
	fsf_session_wake(session);
	return 0;
}

/**
 * fsf_tty_start() - listen on the serial port that was named, if one was
 *
 * Return: 0, or a negative errno.
 */
int fsf_tty_start(void)
{
	int err;

	if (!tty)
		return 0;
	line.port.ops = &line_port_ops;
	line.port.name = tty;
	init_waitqueue_head(&line.writable);
	INIT_KFIFO(line.in);
	err = tty_register_ldisc(&ldisc);
	if (err)
		return err;
	err = line_start();
	if (err) {
		tty_unregister_ldisc(&ldisc);
		pr_err("%s cannot be listened on: error %d\n", tty, -err);
	} else {
		pr_info("%s: the host can freeze the file systems\n", tty);
	}
	return err;
}

/**
 * fsf_tty_stop() - the end of it
 */
void fsf_tty_stop(void)
{
	struct fsf_session *session = line.session;

	if (!session)
		return;
	/* Waits until nobody is in our line discipline any more. */
	tty_set_ldisc(line.tty, N_TTY);
	WRITE_ONCE(line.session, NULL);
	fsf_session_stop(session);
	line_close();
	tty_unregister_ldisc(&ldisc);
}
