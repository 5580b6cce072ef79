/* The calls of a connection that wait for their answers, and the finding of the one that an answer
 * belongs to. No descriptor here. */
#ifndef SNAPVM_CLIENT_LIBSNAPVM_CALL_H
#define SNAPVM_CLIENT_LIBSNAPVM_CALL_H

#include <stddef.h>
#include <sys/queue.h>

#include "client/snapvm.h"

struct call {
    TAILQ_ENTRY(call) link; /* calls::list */
    int64_t id;
    size_t size; /* bytes of its request */
    snapvm_answer_fn callback;
    void *data;
};

struct calls {
    TAILQ_HEAD(, call) list; /* in the order of sending */
    int64_t last_id;
};

void calls_init(struct calls *calls);

/* A new call in the list; its size is filled in by the caller. */
struct call *calls_add(struct calls *calls, snapvm_answer_fn callback, void *data);

/* Drops a call without calling back. */
void calls_forget(struct calls *calls, int64_t id);

/* Gives an answer to the call that it belongs to; one that nobody waits for is dropped. -1 when
 * the object is no JSON-RPC answer. The callback may change the list. */
int calls_answer(struct calls *calls, struct json_object *answer);

/* Answers all of them with the error. Callbacks may forget others, but must not add any. */
void calls_fail(struct calls *calls, const struct snapvm_error *err);

#endif
