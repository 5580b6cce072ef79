/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of the module know of each other:
 *
 *   port (virtio.c, tty.c)  bytes from and to the host
 *   session.c               the receiver: commands in, answers out, in order
 *   freezer.c               the worker, which freezes, and the dead man, which
 *                           thaws
 *   supers.c, stack.c       the file systems, and which lies on which
 */
#ifndef FSF_FSFREEZE_H
#define FSF_FSFREEZE_H

#include <linux/gfp.h>
#include <linux/types.h>

#define FSF_VERSION	"0.1.0"

/*
 * While file systems are frozen, memory must not be waited for that only they
 * could free.
 */
#define FSF_GFP		(GFP_NOIO | __GFP_NOWARN)

#define FSF_TEXT_MAX	128	/* bytes of a reason */

/* --- port --- */

struct fsf_port;

/**
 * struct fsf_port_ops - what a transport does for the session, and its thread
 * @receive: takes up to @size bytes that have come, without waiting; 0 is none
 * @send: sends an answer; waits a moment at most, and drops it then
 */
struct fsf_port_ops {
	size_t (*receive)(struct fsf_port *port, u8 *data, size_t size);
	void (*send)(struct fsf_port *port, const char *data, size_t size);
};

/**
 * struct fsf_port - a way to the host
 * @ops: what it can do
 * @name: for messages
 */
struct fsf_port {
	const struct fsf_port_ops *ops;
	const char *name;
};

/* --- session --- */

struct fsf_session;

struct fsf_session *fsf_session_start(struct fsf_port *port);
void fsf_session_stop(struct fsf_session *session);
void fsf_session_wake(struct fsf_session *session);

/* --- freezer --- */

enum fsf_state {
	FSF_THAWED,
	FSF_FREEZING,	/* the worker is at it */
	FSF_FROZEN,
	FSF_THAWING,	/* the dead man is at it */
};

/**
 * struct fsf_seen - what the freezer says of itself
 * @state: now
 * @count: file systems: frozen in FSF_FROZEN; in FSF_THAWED what the thaw that
 *	was asked for has thawed
 * @left_ms: until the dead man thaws, if nothing is heard of the host
 * @failed: the last freeze did not succeed, or did not last
 * @reason: why it did not
 */
struct fsf_seen {
	enum fsf_state state;
	unsigned int count;
	unsigned int left_ms;
	bool failed;
	char reason[FSF_TEXT_MAX];
};

int fsf_freezer_start(void);
void fsf_freezer_stop(void);
void fsf_freezer_watch(void (*changed)(void *arg), void *arg);

int fsf_freezer_freeze(const char *paths, size_t paths_size);
void fsf_freezer_thaw(void);
void fsf_freezer_feed(void);
void fsf_freezer_look(struct fsf_seen *seen);
void fsf_freezer_wait_thawed(void);

/* --- transports --- */

int fsf_virtio_register(void);
void fsf_virtio_unregister(void);

int fsf_tty_start(void);
void fsf_tty_stop(void);

#endif
