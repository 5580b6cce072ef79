// SPDX-License-Identifier: GPL-2.0
/*
 * The conversation with the host, by a thread of its own, the receiver. It
 * never waits for a file system: a freeze and a thaw are the freezer's, and
 * while one is under way the receiver listens on.
 *
 * Answers come in the order of the commands, since a client may send several
 * at once and tells their answers apart by nothing else. So what comes behind a
 * freeze is held until the freeze has its answer. Two commands do not wait:
 *
 *   - a thaw takes the freeze back at once, which brings its answer;
 *   - a guest-sync-delimited says that nobody waits for former answers: it
 *     takes the freeze back as well, and is answered at once. So whoever
 *     connects anew is always heard.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "fsfreeze.h"
#include "wire.h"

#define HELD_MAX	32	/* commands; what goes over it gets no answer */
#define PIECE_SIZE	512

/**
 * struct fsf_session - one conversation
 * @port: to the host
 * @receiver: thread
 * @wake: for it
 * @called: there may be something to do
 * @owes: the freezer's end is the answer of @owed
 * @owed: FSF_FREEZE, FSF_FREEZE_LIST or FSF_THAW
 * @held: what came behind @owed
 * @n_held: how many
 * @wire: the command that is coming in
 * @piece: bytes that are being read
 * @answer: the answer that is going out
 */
struct fsf_session {
	struct fsf_port *port;
	struct task_struct *receiver;
	wait_queue_head_t wake;
	bool called;
	bool owes;
	enum fsf_verb owed;
	struct fsf_command held[HELD_MAX];
	unsigned int n_held;
	struct fsf_wire wire;
	u8 piece[PIECE_SIZE];
	char answer[FSF_ANSWER_MAX];
};

/* There is one set of file systems, and one host. */
static atomic_t taken = ATOMIC_INIT(0);

static void send(struct fsf_session *session, size_t size)
{
	if (size > 0)
		session->port->ops->send(session->port, session->answer, size);
}

static void begin_freeze(struct fsf_session *session,
			 const struct fsf_command *command)
{
	bool listed = command->verb == FSF_FREEZE_LIST && !command->all;
	int err = fsf_freezer_freeze(listed ? command->paths : NULL,
				     command->paths_size);

	if (!err) {
		session->owes = true;
		session->owed = command->verb;
	} else if (err == -EBUSY) {
		send(session, fsf_say_refused(session->answer, command->verb));
	} else {
		send(session, fsf_say_error(session->answer,
					    "there is no memory to do it"));
	}
}

static void begin_thaw(struct fsf_session *session)
{
	struct fsf_seen seen;

	fsf_freezer_look(&seen);
	if (seen.state == FSF_THAWED) {
		send(session, fsf_say_number(session->answer, 0));
		return;
	}
	fsf_freezer_thaw();
	session->owes = true;
	session->owed = FSF_THAW;
}

static void answer(struct fsf_session *session,
		   const struct fsf_command *command)
{
	char *text = session->answer;
	struct fsf_seen seen;

	fsf_freezer_look(&seen);
	switch (command->verb) {
	case FSF_PING:
		send(session, fsf_say_done(text));
		break;
	case FSF_SYNC:
		send(session, fsf_say_number(text, command->id));
		break;
	case FSF_SYNC_DELIMITED:
		send(session, fsf_say_delimited(text, command->id));
		break;
	case FSF_INFO:
		send(session, fsf_say_info(text, FSF_VERSION,
					   seen.state != FSF_THAWED));
		break;
	case FSF_STATUS:
		send(session, fsf_say_status(text, seen.state != FSF_THAWED,
					     seen.left_ms));
		break;
	case FSF_FREEZE:
	case FSF_FREEZE_LIST:
		begin_freeze(session, command);
		break;
	case FSF_THAW:
		begin_thaw(session);
		break;
	case FSF_UNKNOWN:
		send(session, fsf_say_unknown(text));
		break;
	case FSF_TOO_LONG:
		send(session, fsf_say_error(text, "the command is too long"));
		break;
	case FSF_BROKEN:
		send(session, fsf_say_error(text, "this is no command"));
		break;
	}
}

/* The answer of a freeze or of a thaw, once there is one. */
static bool answer_owed(struct fsf_session *session)
{
	char *text = session->answer;
	struct fsf_seen seen;

	fsf_freezer_look(&seen);
	if (seen.state == FSF_FREEZING || seen.state == FSF_THAWING)
		return false;
	session->owes = false;
	if (session->owed != FSF_THAW && seen.failed)
		send(session, fsf_say_error(text, seen.reason));
	else
		send(session, fsf_say_number(text, seen.count));
	return true;
}

/* Answers what was held, up to the next one that has to be waited for. */
static void settle(struct fsf_session *session)
{
	unsigned int n = 0;

	if (session->owes && !answer_owed(session))
		return;
	while (n < session->n_held && !session->owes)
		answer(session, &session->held[n++]);
	session->n_held -= n;
	memmove(session->held, session->held + n,
		session->n_held * sizeof(session->held[0]));
}

static void take(struct fsf_session *session, struct fsf_command *command)
{
	if (command->verb < FSF_UNKNOWN)
		fsf_freezer_feed();
	settle(session);
	if (!session->owes) {
		answer(session, command);
		return;
	}
	if (command->verb == FSF_SYNC_DELIMITED) {
		if (session->owed != FSF_THAW)
			fsf_freezer_thaw();
		session->owes = false;
		session->n_held = 0;
		answer(session, command);
		return;
	}
	if (command->verb == FSF_THAW)
		fsf_freezer_thaw();
	/* A list would have to be kept. Nobody sends one behind a freeze. */
	if (command->verb == FSF_FREEZE_LIST && !command->all)
		command->verb = FSF_BROKEN;
	if (session->n_held < HELD_MAX)
		session->held[session->n_held++] = *command;
}

static void read_all(struct fsf_session *session)
{
	struct fsf_port *port = session->port;
	struct fsf_command command;
	size_t n;

	while ((n = port->ops->receive(port, session->piece, PIECE_SIZE)) > 0) {
		for (size_t i = 0; i < n; i++)
			if (fsf_wire_push(&session->wire, session->piece[i],
					  &command))
				take(session, &command);
		cond_resched();
		if (kthread_should_stop())
			break;
	}
}

static int receiver(void *arg)
{
	struct fsf_session *session = arg;

	while (!kthread_should_stop()) {
		wait_event_idle(session->wake, xchg(&session->called, false) ||
				kthread_should_stop());
		settle(session);
		read_all(session);
	}
	return 0;
}

/**
 * fsf_session_wake() - bytes have come, or the freezer has come to an end
 * @session: the session; may be called from an interrupt
 */
void fsf_session_wake(struct fsf_session *session)
{
	WRITE_ONCE(session->called, true);
	wake_up(&session->wake);
}

static void freezer_changed(void *arg)
{
	fsf_session_wake(arg);
}

/**
 * fsf_session_start() - listen to the host
 * @port: to be ready; stays the caller's, until fsf_session_stop()
 *
 * Return: the session, or an ERR_PTR: -EBUSY if the host is listened to on
 * another port already.
 */
struct fsf_session *fsf_session_start(struct fsf_port *port)
{
	struct fsf_session *session;
	int err;

	if (atomic_cmpxchg(&taken, 0, 1))
		return ERR_PTR(-EBUSY);
	session = kvzalloc(sizeof(*session), GFP_KERNEL);
	if (!session) {
		err = -ENOMEM;
		goto out;
	}
	session->port = port;
	init_waitqueue_head(&session->wake);
	fsf_wire_init(&session->wire);
	session->called = true;
	session->receiver = kthread_run(receiver, session, "fsfreeze-receive");
	if (!IS_ERR(session->receiver)) {
		fsf_freezer_watch(freezer_changed, session);
		return session;
	}
	err = PTR_ERR(session->receiver);
	kvfree(session);
out:
	atomic_set(&taken, 0);
	return ERR_PTR(err);
}

/**
 * fsf_session_stop() - the way to the host ends
 * @session: freed; what was frozen is thawed
 */
void fsf_session_stop(struct fsf_session *session)
{
	kthread_stop(session->receiver);
	fsf_freezer_watch(NULL, NULL);
	fsf_freezer_wait_thawed();
	kvfree(session);
	atomic_set(&taken, 0);
}
