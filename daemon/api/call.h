/* A request on its way through a handler: its parameters, already checked against the method's
 * row, and its one answer. A call outlives its connection: a client that goes away takes nothing
 * back, its answer is then dropped. */
#ifndef SNAPVM_API_CALL_H
#define SNAPVM_API_CALL_H

#include <stdint.h>

#include "base/error.h"
#include "proto/json.h"

struct daemon_context;
struct call;
struct method;
struct request;
struct subscriber;

enum call_role {
    ROLE_NONE,
    ROLE_READER,
    ROLE_OPERATOR,
    ROLE_ADMIN,
};

/* Where the answer goes: the connection's side (rpc/). */
struct call_sink {
    /* Called once, with a result or an error; both are borrowed. */
    void (*answer)(void *arg, struct call *call, json_object *result, const struct error *err);
    /* Where the connection receives events; NULL for one that cannot. */
    struct subscriber *subscriber;
    void *arg;
};

/* Made by rpc/ for each request; `params` is an object (taken over). */
struct call *call_new(struct daemon_context *context, const struct method *method,
                      json_object *params, enum call_role role, const struct call_sink *sink);

/* Forgets the sink: the connection is gone. The call is freed when it is answered. */
void call_detach(struct call *call);

struct daemon_context *call_context(const struct call *call);
const struct method *call_method(const struct call *call);
json_object *call_params(const struct call *call);
enum call_role call_role(const struct call *call);
const struct call_sink *call_sink(const struct call *call); /* NULL once detached */

/* The remembered request that this call is the first of (api/request.c), NULL without one. */
struct request *call_request(const struct call *call);
void call_set_request(struct call *call, struct request *request);

/* Exactly one of these ends the call and frees it. The result is taken over. */
void call_result(struct call *call, json_object *result);
void call_error(struct call *call, const struct error *err);
void call_fail(struct call *call, int code, const char *format, ...) _printf_(3, 4);

#endif
