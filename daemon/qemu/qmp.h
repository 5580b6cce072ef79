/* One connection to one QEMU's monitor. It connects without blocking, waits for the greeting for a
 * bounded time (a monitor that somebody else holds accepts the connection and stays silent),
 * negotiates, and is then `up`. Commands are answered in order; several may be in flight. It never
 * reconnects: when it is down it stays down, and its owner makes a new one. */
#ifndef SNAPVM_QEMU_QMP_H
#define SNAPVM_QEMU_QMP_H

#include "proto/json.h"
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "qemu/process.h"
#include "qemu/qmp-event.h"

struct crash;
struct event_base;
struct qmp;

struct qmp_options {
    const char *path;             /* of the socket; copied */
    unsigned greeting_timeout_ms; /* connect, greeting and negotiation together */
    unsigned command_timeout_ms;  /* a reply that is later than this takes the connection down */
    struct crash *crash;          /* boundaries "effect.before/sent/done:COMMAND"; may be NULL */
};

struct qmp_handlers {
    /* Negotiated: commands may be sent. */
    void (*up)(void *arg);
    /* Lost or never made: said once, after all outstanding commands were answered with QemuGone.
     * Kinds: NotFound (nobody listens: no such socket, or refused), QemuGone (cannot be reached,
     * closed, process ended), Timeout (no greeting: somebody else holds this monitor; or a command
     * without answer). */
    void (*down)(void *arg, const struct error *why);
    void (*event)(void *arg, const struct qmp_event *event);
};

/* Begins to connect; handlers are called from the loop only, never from within this call.
 * The handlers' struct must outlive the connection. */
struct qmp *qmp_new(struct event_base *base, const struct qmp_options *options,
                    const struct qmp_handlers *handlers, void *arg);

/* Closes silently: neither `down` nor replies are called any more. May be called from a handler. */
struct qmp *qmp_free(struct qmp *qmp);

bool qmp_is_up(const struct qmp *qmp);

/* The process at the other end; pid 0 before the connection stands. */
const struct process *qmp_process(const struct qmp *qmp);

/* "7.2.22", NULL before the greeting. */
const char *qmp_version(const struct qmp *qmp);

/* A reply: `result` is the value of "return", or NULL with the error. QemuError carries class, desc
 * and command; QemuGone when the connection was lost: the command may or may not have run. */
typedef void (*qmp_result_fn)(void *arg, json_object *result, const struct error *err);

/* Sends a command with its arguments (taken over; NULL: none). The callback comes from the loop,
 * exactly once, unless the connection is freed before. Use the typed calls of qmp-command.h. */
void qmp_execute(struct qmp *qmp, const char *command, json_object *arguments, qmp_result_fn fn,
                 void *arg);

/* The same with all choices. A command with `effect` changes something in QEMU and passes the
 * boundaries of crash.h; a question passes none. `drop` (may be NULL) is called with `arg` instead
 * of `fn` when the connection is freed before the reply: it frees what `arg` owns, nothing else. */
struct qmp_request {
    const char *command;
    json_object *arguments; /* taken over */
    bool effect, has_fd;
    int fd; /* where it has one: goes to QEMU with the command; taken over */
    qmp_result_fn fn;
    void (*drop)(void *arg);
    void *arg;
};
void qmp_send(struct qmp *qmp, const struct qmp_request *request);

/* Between these two, commands are gathered and leave in one write. They nest. */
void qmp_cork(struct qmp *qmp);
void qmp_uncork(struct qmp *qmp);

/* Between these two nothing is executed, and no callback called: the first command that is sent is
 * laid out in QEMU (qmp-out.h), the others are dropped. The same one, sent next, is only ended. Any
 * other takes it back first, so that laying out is never more than a guess. */
void qmp_lay(struct qmp *qmp);
void qmp_laid(struct qmp *qmp);

DEFINE_CLEANUP(struct qmp, qmp_free)

#endif
