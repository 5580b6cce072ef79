/* Subscriptions to events: one a connection. */
#include "api/call.h"
#include "api/context.h"
#include "api/handlers.h"
#include "api/hub.h"
#include "proto/json.h"
#include "proto/snapvm-errors.h"

void event_subscribe_handle(struct call *call)
{
    const struct call_sink *sink = call_sink(call);
    json_object *params = call_params(call);
    _cleanup_error_ struct error err = {0};
    json_object *result;
    int64_t seq;

    if (!sink || !sink->subscriber) {
        call_fail(call, SNAPVM_ERROR_INVALID_STATE, "this connection cannot receive events");
        return;
    }
    if (hub_subscribe(call_context(call)->hub, sink->subscriber, json_int(params, "since", -1),
                      json_array(params, "domains"), json_array(params, "kinds"), &seq, &err) < 0) {
        call_error(call, &err);
        return;
    }
    result = json_object_new_object();
    json_add_int(result, "seq", seq);
    call_result(call, result);
}

void event_unsubscribe_handle(struct call *call)
{
    const struct call_sink *sink = call_sink(call);

    if (sink && sink->subscriber)
        hub_unsubscribe(sink->subscriber);
    call_result(call, json_object_new_object());
}
