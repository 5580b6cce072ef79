#include "qemu/qmp-call.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "proto/json.h"
#include "proto/snapvm-errors.h"

/* QEMU reads a monitor byte by byte, each with a handful of system calls: what a short command
 * costs is its length. So ids begin anew; of two calls in flight with the same one the older is
 * answered first. */
#define LAST_ID 99

struct qmp_call *qmp_call_new(const struct qmp_request *request, int64_t *last_id, int64_t deadline)
{
    struct qmp_call *call = xzalloc(sizeof(*call));

    *last_id = *last_id % LAST_ID + 1;
    *call = (struct qmp_call){
        .id = *last_id,
        .command = xstrdup(request->command),
        .effect = request->effect,
        .deadline = deadline,
        .fn = request->fn,
        .drop = request->drop,
        .arg = request->arg,
    };
    return call;
}

static void forgotten(void *arg _unused_, json_object *result _unused_,
                      const struct error *err _unused_)
{
}

struct qmp_call *qmp_call_new_forgotten(int64_t deadline)
{
    struct qmp_call *call = xzalloc(sizeof(*call));

    *call = (struct qmp_call){
        .command = xstrdup("what was taken back"), .deadline = deadline, .fn = forgotten};
    return call;
}

static void qmp_call_free(struct qmp_call *call)
{
    free(call->command);
    free(call);
}

json_object *qmp_call_object(const struct qmp_call *call, json_object *arguments)
{
    json_object *object = json_object_new_object();

    json_add_string(object, "execute", call->command);
    if (arguments)
        json_object_object_add(object, "arguments", arguments);
    json_add_int(object, "id", call->id);
    return object;
}

json_object *qmp_call_capabilities(json_object *greeting)
{
    json_object *offered = json_array(greeting, "capabilities");
    json_object *arguments = NULL, *list;

    for (size_t i = 0; offered && !arguments && i < json_object_array_length(offered); i++) {
        const char *name = json_object_get_string(json_object_array_get_idx(offered, i));

        if (!name || strcmp(name, "oob") != 0)
            continue;
        list = json_object_new_array();
        json_object_array_add(list, json_object_new_string(name));
        arguments = json_object_new_object();
        json_object_object_add(arguments, "enable", list);
    }
    return arguments;
}

struct qmp_call *qmp_calls_take(struct qmp_call_list *list, json_object *reply)
{
    json_object *id = json_member(reply, "id");
    int64_t number = json_object_is_type(id, json_type_int) ? json_object_get_int64(id) : 0;
    struct qmp_call *call;

    if (number == 0 && (id || !json_member(reply, "error")))
        return NULL;
    TAILQ_FOREACH (call, list, link) {
        if (call->id != number)
            continue;
        TAILQ_REMOVE(list, call, link);
        return call;
    }
    return NULL;
}

void qmp_call_answer(struct qmp_call *call, json_object *reply)
{
    json_object *error = json_member(reply, "error");
    const char *desc = json_string(error, "desc");
    _cleanup_error_ struct error err = {0};

    if (error) {
        error_set(&err, SNAPVM_ERROR_QEMU, "QEMU refused '%s': %s", call->command,
                  desc ? desc : "it gave no reason");
        error_text(&err, "class", json_string(error, "class"));
        error_text(&err, "desc", desc);
        error_text(&err, "command", call->command);
    }
    call->fn(call->arg, error ? NULL : json_member(reply, "return"), error ? &err : NULL);
    qmp_call_free(call);
}

void qmp_call_gone(struct qmp_call *call, const char *reason)
{
    _cleanup_error_ struct error err = {0};

    error_set(&err, SNAPVM_ERROR_QEMU_GONE, "'%s' got no answer and %s: %s", call->command,
              call->sent ? "may or may not have run" : "was not run", reason);
    call->fn(call->arg, NULL, &err);
    qmp_call_free(call);
}

void qmp_call_drop(struct qmp_call *call)
{
    if (call->drop)
        call->drop(call->arg);
    qmp_call_free(call);
}

void qmp_calls_drop(struct qmp_call_list *list)
{
    struct qmp_call *call;

    while ((call = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, call, link);
        qmp_call_drop(call);
    }
}
