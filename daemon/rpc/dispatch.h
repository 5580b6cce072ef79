/* A JSON value on its way to a handler: first as JSON-RPC sees it, then by the method table. */
#ifndef SNAPVM_RPC_DISPATCH_H
#define SNAPVM_RPC_DISPATCH_H

#include <stdbool.h>

#include "proto/json.h"

struct call;
struct error;

/* A request's members, borrowed from its value. */
struct dispatch {
    json_object *id; /* NULL: null, or none */
    bool silent;     /* a notification: it runs, and gets no answer */
    const char *method;
    json_object *params; /* NULL: none */
};

/* Errors: InvalidRequest; InvalidParams for params that are an array. The id is set as far as
 * there is a right one, also with an error. */
int dispatch_read(json_object *value, struct dispatch *ret_dispatch, struct error *err);

/* Checks role and params and calls the handler; what is refused is answered here. */
void dispatch_call(struct call *call);

#endif
