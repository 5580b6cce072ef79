#include "api/call.h"

#include "api/context.h"
#include "api/method.h"
#include "api/metrics.h"
#include "api/request.h"
#include "base/memory.h"

struct call {
    struct daemon_context *context;
    const struct method *method;
    json_object *params;
    enum call_role role;
    bool attached; /* the sink is still there */
    struct call_sink sink;
    struct request *request;
};

struct call *call_new(struct daemon_context *context, const struct method *method,
                      json_object *params, enum call_role role, const struct call_sink *sink)
{
    struct call *call = xzalloc(sizeof(*call));

    *call = (struct call){.context = context,
                          .method = method,
                          .params = params,
                          .role = role,
                          .attached = true,
                          .sink = *sink};
    return call;
}

void call_detach(struct call *call)
{
    call->attached = false;
}

struct daemon_context *call_context(const struct call *call)
{
    return call->context;
}

const struct method *call_method(const struct call *call)
{
    return call->method;
}

json_object *call_params(const struct call *call)
{
    return call->params;
}

enum call_role call_role(const struct call *call)
{
    return call->role;
}

const struct call_sink *call_sink(const struct call *call)
{
    return call->attached ? &call->sink : NULL;
}

struct request *call_request(const struct call *call)
{
    return call->request;
}

void call_set_request(struct call *call, struct request *request)
{
    call->request = request;
}

static void call_answer(struct call *call, json_object *result, const struct error *err)
{
    metrics_count(call->context->metrics, call->method, err);
    if (call->request)
        request_answered(call->request, err != NULL);
    if (call->attached)
        call->sink.answer(call->sink.arg, call, result, err);
    json_object_put(result);
    json_object_put(call->params);
    free(call);
}

void call_result(struct call *call, json_object *result)
{
    call_answer(call, result, NULL);
}

void call_error(struct call *call, const struct error *err)
{
    call_answer(call, NULL, err);
}

void call_fail(struct call *call, int code, const char *format, ...)
{
    _cleanup_error_ struct error err = {0};
    _cleanup_free_ char *message = NULL;
    va_list args;

    va_start(args, format);
    message = xvasprintf(format, args);
    va_end(args);
    error_set(&err, code, "%s", message);
    call_error(call, &err);
}
