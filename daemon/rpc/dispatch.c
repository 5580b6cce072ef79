#include "rpc/dispatch.h"

#include <string.h>

#include "api/call.h"
#include "api/context.h"
#include "api/method.h"
#include "base/error.h"
#include "proto/snapvm-errors.h"

static bool valid_id(json_object *id)
{
    switch (json_object_get_type(id)) {
    case json_type_null:
    case json_type_string:
    case json_type_int:
    case json_type_double:
        return true;
    default:
        return false;
    }
}

static int invalid(struct error *err, const char *why)
{
    return error_set(err, SNAPVM_ERROR_INVALID_REQUEST, "this is no JSON-RPC 2.0 request: %s", why);
}

int dispatch_read(json_object *value, struct dispatch *ret_dispatch, struct error *err)
{
    const char *version = json_string(value, "jsonrpc");
    json_object *id = json_member(value, "id");
    struct dispatch dispatch = {0};

    *ret_dispatch = dispatch;
    if (!json_object_is_type(value, json_type_object))
        return invalid(err, "it is no object");
    if (!valid_id(id))
        return invalid(err, "id must be a string, a number or null");
    dispatch.id = ret_dispatch->id = id;
    if (!version || strcmp(version, "2.0") != 0)
        return invalid(err, "jsonrpc must be \"2.0\"");
    dispatch.method = json_string(value, "method");
    if (!dispatch.method)
        return invalid(err, "method must be a string");
    dispatch.silent = !json_object_object_get_ex(value, "id", NULL);
    if (json_object_object_get_ex(value, "params", &dispatch.params)) {
        enum json_type type = json_object_get_type(dispatch.params);

        if (type == json_type_array) {
            ret_dispatch->silent = dispatch.silent;
            error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "params must be an object, with names");
            return error_text(err, "param", "params");
        }
        if (type != json_type_object)
            return invalid(err, "params must be an object");
    }
    *ret_dispatch = dispatch;
    return 0;
}

static int check_role(const struct call *call, struct error *err)
{
    enum call_role needs = method_needs(call_method(call), call_params(call));

    if (call_role(call) >= needs)
        return 0;
    error_set(err, SNAPVM_ERROR_ACCESS_DENIED,
              "%s needs the role %s, and you have %s: see [access] in snapvmd.conf(5)",
              call_method(call)->name, method_role_name(needs), method_role_name(call_role(call)));
    return error_text(err, "needs", method_role_name(needs));
}

static int check(const struct call *call, struct error *err)
{
    const struct method *method = call_method(call);

    if (check_role(call, err) < 0)
        return -1;
    if (!method->handler) {
        error_set(err, SNAPVM_ERROR_UNSUPPORTED,
                  "this version of snapvmd does not have %s yet: daemon.info lists what it has",
                  method->name);
        return error_text(err, "feature", method->name);
    }
    if (method_check(method, call_params(call), err) < 0)
        return -1;
    if (call_context(call)->stopping && method_alters(method, call_params(call)))
        return error_set(err, SNAPVM_ERROR_SHUTTING_DOWN,
                         "snapvmd is stopping; send the request again when it is back");
    return 0;
}

void dispatch_call(struct call *call)
{
    _cleanup_error_ struct error err = {0};

    if (check(call, &err) < 0)
        call_error(call, &err);
    else
        call_method(call)->handler(call);
}
