/* A command on its way: what was asked, whether it has left, who waits for the answer. The
 * connection (qmp.c) keeps calls in lists and decides when; here is how one is put into words and
 * how it ends. */
#ifndef SNAPVM_QEMU_QMP_CALL_H
#define SNAPVM_QEMU_QMP_CALL_H

#include "proto/json.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "qemu/qmp.h"

struct qmp_call {
    TAILQ_ENTRY(qmp_call) link; /* qmp::calls, qmp::refused or qmp::dying */
    int64_t id;                 /* 0: of bytes that QEMU was made to forget */
    char *command;
    bool effect, sent;
    uint64_t end;     /* its last byte, counted over the connection's output */
    int64_t deadline; /* microseconds of the monotonic clock */
    qmp_result_fn fn;
    void (*drop)(void *arg);
    void *arg;
};

TAILQ_HEAD(qmp_call_list, qmp_call);

/* The request's arguments stay the caller's. last_id is the connection's, and begins at 0. */
struct qmp_call *qmp_call_new(const struct qmp_request *request, int64_t *last_id,
                              int64_t deadline);

/* The command as it goes on the wire, with its arguments (taken over; may be NULL), without the
 * end of the line; the caller puts it. */
json_object *qmp_call_object(const struct qmp_call *call, json_object *arguments);

/* What is asked for in the negotiation, NULL for nothing. With "oob" (where it is offered) QEMU
 * reads a command while it executes the one before; else it takes them one by one, and its threads
 * wake each other up in between. Nothing is ever executed out of turn. */
json_object *qmp_call_capabilities(json_object *greeting);

/* What stands for the answer to bytes that QEMU was made to forget: an error without an id. */
struct qmp_call *qmp_call_new_forgotten(int64_t deadline);

/* Takes the call with the id of a reply out of the list, or for an error without one that of bytes
 * that QEMU was made to forget; NULL when there is none. */
struct qmp_call *qmp_calls_take(struct qmp_call_list *list, json_object *reply);

/* Each ends a call that is in no list: the callback is called, the call is freed. A reply has a
 * result or an error, of any shape. */
void qmp_call_answer(struct qmp_call *call, json_object *reply);
void qmp_call_gone(struct qmp_call *call, const char *reason);

/* Ends a call that is in no list, or all calls of a list, without their callbacks. */
void qmp_call_drop(struct qmp_call *call);
void qmp_calls_drop(struct qmp_call_list *list);

#endif
