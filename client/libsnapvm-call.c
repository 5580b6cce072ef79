#include "client/libsnapvm-call.h"

#include "base/memory.h"
#include "client/libsnapvm-error.h"
#include "proto/json.h"

void calls_init(struct calls *calls)
{
    TAILQ_INIT(&calls->list);
    calls->last_id = 0;
}

struct call *calls_add(struct calls *calls, snapvm_answer_fn callback, void *data)
{
    struct call *call = xzalloc(sizeof(*call));

    call->id = ++calls->last_id;
    call->callback = callback;
    call->data = data;
    TAILQ_INSERT_TAIL(&calls->list, call, link);
    return call;
}

static struct call *calls_find(struct calls *calls, int64_t id)
{
    struct call *call;

    TAILQ_FOREACH (call, &calls->list, link)
        if (call->id == id)
            return call;
    return NULL;
}

/* An error without an id is about a request that the daemon could not read. What the library writes
 * is well-formed, so it can only have been too long: the longest one is meant. */
static struct call *calls_longest(struct calls *calls)
{
    struct call *call, *longest = TAILQ_FIRST(&calls->list);

    TAILQ_FOREACH (call, &calls->list, link)
        if (call->size > longest->size)
            longest = call;
    return longest;
}

void calls_forget(struct calls *calls, int64_t id)
{
    struct call *call = calls_find(calls, id);

    if (!call)
        return;
    TAILQ_REMOVE(&calls->list, call, link);
    free(call);
}

/* The call leaves the list first: its callback may do anything with the connection. */
static void call_finish(struct calls *calls, struct call *call, struct json_object *result,
                        const struct snapvm_error *err)
{
    snapvm_answer_fn callback = call->callback;
    void *data = call->data;

    TAILQ_REMOVE(&calls->list, call, link);
    free(call);
    if (callback)
        callback(result, err, data);
}

int calls_answer(struct calls *calls, struct json_object *answer)
{
    struct snapvm_error err = SNAPVM_ERROR_INIT;
    struct json_object *id, *result, *error;
    struct call *call;

    if (!json_object_object_get_ex(answer, "id", &id))
        return -1;
    error = json_sub(answer, "error");
    if (!error && !json_object_object_get_ex(answer, "result", &result))
        return -1;
    if (id)
        call = calls_find(calls, json_int(answer, "id", 0));
    else
        call = error ? calls_longest(calls) : NULL;
    if (!call)
        return 0;
    if (!error) {
        call_finish(calls, call, result, NULL);
        return 0;
    }
    answer_error(&err, error);
    call_finish(calls, call, NULL, &err);
    snapvm_error_clear(&err);
    return 0;
}

void calls_fail(struct calls *calls, const struct snapvm_error *err)
{
    while (!TAILQ_EMPTY(&calls->list))
        call_finish(calls, TAILQ_FIRST(&calls->list), NULL, err);
}
