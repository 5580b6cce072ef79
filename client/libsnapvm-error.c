#include "client/libsnapvm-error.h"

#include <limits.h>
#include <stdarg.h>

#include "base/memory.h"
#include "proto/errors.h"
#include "proto/json.h"

void snapvm_error_clear(struct snapvm_error *err)
{
    free(err->kind);
    free(err->message);
    json_object_put(err->data);
    *err = (struct snapvm_error)SNAPVM_ERROR_INIT;
}

static const char *local_kind(int code)
{
    switch (code) {
    case SNAPVM_LOCAL_NO_DAEMON:
        return "NoDaemon";
    case SNAPVM_LOCAL_DISCONNECTED:
        return "Disconnected";
    case SNAPVM_LOCAL_BAD_ANSWER:
        return "BadAnswer";
    default:
        return errors_kind(code);
    }
}

int local_error(struct snapvm_error *err, int code, const char *format, ...)
{
    va_list args;

    if (!err)
        return -1;
    snapvm_error_clear(err);
    err->code = code;
    err->kind = xstrdup(local_kind(code));
    va_start(args, format);
    err->message = xvasprintf(format, args);
    va_end(args);
    return -1;
}

void answer_error(struct snapvm_error *err, struct json_object *error)
{
    struct json_object *data = json_sub(error, "data");
    const char *message = json_string(error, "message");
    const char *kind = json_string(data, "kind");
    long long code = json_int(error, "code", SNAPVM_ERROR_INTERNAL);

    /* A code of ours would be taken for what happened on this side. */
    if (code > INT_MAX || code < INT_MIN || (code < 0 && code >= SNAPVM_LOCAL_BAD_ANSWER))
        code = SNAPVM_ERROR_INTERNAL;
    snapvm_error_clear(err);
    err->code = (int)code;
    err->kind = xstrdup(kind ? kind : errors_kind((int)code));
    err->message = xstrdup(message ? message : "The daemon gave no reason.");
    err->data = json_object_get(data);
}

void copy_error(struct snapvm_error *dst, const struct snapvm_error *src)
{
    if (!dst)
        return;
    snapvm_error_clear(dst);
    dst->code = src->code;
    dst->kind = xstrdup(src->kind);
    dst->message = xstrdup(src->message);
    dst->data = json_object_get(src->data);
}
