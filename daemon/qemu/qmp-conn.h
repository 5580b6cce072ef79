/* Between the files of a connection to a monitor: its life and what comes in (qmp.c), and what goes
 * out (qmp-send.c). */
#ifndef SNAPVM_QEMU_QMP_CONN_H
#define SNAPVM_QEMU_QMP_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "proto/frame.h"
#include "qemu/process.h"
#include "qemu/qmp-call.h"
#include "qemu/qmp-out.h"
#include "qemu/qmp.h"

struct crash;
struct event;
struct event_base;

enum qmp_state { QMP_CONNECTING, QMP_GREETING, QMP_NEGOTIATING, QMP_UP, QMP_DOWN };

struct qmp {
    struct event_base *base;
    const struct qmp_handlers *handlers;
    void *arg;
    char *path;
    unsigned greeting_timeout_ms, command_timeout_ms;
    struct crash *crash;

    enum qmp_state state;
    int fd, pidfd;
    struct event *readable, *writable, *ended; /* of fd, fd and pidfd */
    struct event *retry, *timer;               /* timer: of the greeting, then of the oldest call */
    struct event *later;                       /* what may not be done inside the caller's call */
    struct error why;                          /* set: the connection is about to go down */

    struct frame frame;
    struct qmp_out out;
    unsigned corked;
    bool laying;

    struct qmp_call_list calls;   /* oldest first */
    struct qmp_call_list refused; /* made while it was not up: to be answered from the loop */
    struct qmp_call_list dying;   /* being answered with QemuGone */
    int64_t last_id;

    struct process process;
    char *version;
    unsigned depth; /* entries from the loop that are on the stack */
    bool freed;     /* its memory goes with the last of them */
};

/* Takes the connection down as soon as the loop runs: for what happens inside a call of the owner.
 * `why` is used up. */
void qmp_down_later(struct qmp *qmp, struct error *why);

/* Puts a command into the output, whatever the state; qmp_write sends what is there. */
void qmp_queue(struct qmp *qmp, const struct qmp_request *request);
void qmp_write(struct qmp *qmp);

#endif
