#include "rpc/reply.h"

#include <event2/buffer.h>
#include <string.h>

#include "api/call.h"
#include "api/context.h"
#include "api/error-json.h"
#include "api/handlers.h"
#include "api/method.h"
#include "api/metrics.h"
#include "base/memory.h"
#include "conf/conf.h"
#include "proto/json.h"
#include "proto/snapvm-errors.h"
#include "rpc/conn.h"
#include "rpc/dispatch.h"

struct reply {
    TAILQ_ENTRY(reply) link; /* conn::replies */
    struct conn *conn;
    struct batch *batch; /* NULL: a line of its own */
    json_object *id;
    bool silent;
    struct call *call; /* NULL: refused before there was one */
};

struct batch {
    TAILQ_ENTRY(batch) link; /* conn::batches */
    json_object *requests;
    size_t next;           /* the first that is not taken on yet */
    size_t open;           /* taken on, without an answer */
    struct evbuffer *text; /* the answers so far: "[a,b" */
    bool subscribes;       /* events follow the answer */
};

static enum call_role conn_role(const struct conn *conn)
{
    return peer_role(&conn->peer, conn->context->conf);
}

static char *answer_text(json_object *id, json_object *result, const struct error *err)
{
    _cleanup_json_ json_object *error = error_to_json(err);

    return xasprintf("{\"jsonrpc\":\"2.0\",\"id\":%s,\"%s\":%s}\n", json_text(id),
                     err ? "error" : "result", json_text(err ? error : result));
}

char *reply_error_line(const struct error *err)
{
    return answer_text(NULL, NULL, err);
}

static size_t output_bound(const struct conn *conn)
{
    return (size_t)conn->context->conf->output_bytes;
}

static void set_too_long(const struct conn *conn, struct error *err)
{
    error_set(err, SNAPVM_ERROR_LIMIT_EXCEEDED,
              "the answer is longer than a connection may hold: ask for less at a time, or raise "
              "output_bytes in snapvmd.conf");
    error_text(err, "limit", "output_bytes");
    error_number(err, "value", (int64_t)output_bound(conn));
}

/* --- batches --- */

static void batch_free(struct conn *conn, struct batch *batch)
{
    TAILQ_REMOVE(&conn->batches, batch, link);
    if (conn->batch == batch)
        conn->batch = NULL;
    json_object_put(batch->requests);
    evbuffer_free(batch->text);
    free(batch);
}

static void batch_begin(struct conn *conn, json_object *requests)
{
    struct batch *batch = xzalloc(sizeof(*batch));

    batch->requests = requests;
    batch->text = evbuffer_new();
    TAILQ_INSERT_TAIL(&conn->batches, batch, link);
    conn->batch = batch;
}

static void batch_add(struct conn *conn, struct batch *batch, const char *text)
{
    /* What is over the bound is not kept: one error will stand for all of it. */
    if (evbuffer_get_length(batch->text) > output_bound(conn))
        return;
    evbuffer_add(batch->text, evbuffer_get_length(batch->text) ? "," : "[", 1);
    evbuffer_add(batch->text, text, strlen(text) - 1);
}

/* Sends the answer of a batch that is done. */
static void batch_finish(struct conn *conn, struct batch *batch)
{
    bool subscribes = batch->subscribes;
    _cleanup_error_ struct error err = {0};
    _cleanup_free_ char *line = NULL;
    size_t size = evbuffer_get_length(batch->text);

    if (size > output_bound(conn)) {
        set_too_long(conn, &err);
        line = reply_error_line(&err);
        size = strlen(line);
    } else if (size > 0) {
        evbuffer_add(batch->text, "]\n", 2);
        size += 2;
        line = xrealloc(NULL, size, 1);
        evbuffer_remove(batch->text, line, size);
    }
    batch_free(conn, batch);
    if (line)
        conn_send(conn, line, size);
    if (subscribes)
        hub_start(&conn->subscriber);
}

/* --- one request --- */

static struct reply *reply_new(struct conn *conn, struct batch *batch)
{
    struct reply *reply = xzalloc(sizeof(*reply));

    reply->conn = conn;
    reply->batch = batch;
    if (batch)
        batch->open++;
    conn->in_flight++;
    TAILQ_INSERT_TAIL(&conn->replies, reply, link);
    return reply;
}

static void reply_free(struct reply *reply)
{
    TAILQ_REMOVE(&reply->conn->replies, reply, link);
    reply->conn->in_flight--;
    if (reply->batch)
        reply->batch->open--;
    json_object_put(reply->id);
    free(reply);
}

static char *reply_text(const struct reply *reply, json_object *result, const struct error *err)
{
    _cleanup_error_ struct error too_long = {0};
    char *text;

    if (reply->silent)
        return NULL;
    text = answer_text(reply->id, result, err);
    if (strlen(text) <= output_bound(reply->conn))
        return text;
    free(text);
    set_too_long(reply->conn, &too_long);
    return answer_text(reply->id, NULL, &too_long);
}

/* The answer, sent or put to the others of its batch. Frees the reply. */
static void reply_finish(struct reply *reply, json_object *result, const struct error *err)
{
    bool subscribes = !err && reply->call &&
                      call_method(reply->call)->handler == event_subscribe_handle;
    _cleanup_free_ char *text = reply_text(reply, result, err);
    struct batch *batch = reply->batch;
    struct conn *conn = reply->conn;

    reply_free(reply);
    if (batch) {
        batch->subscribes |= subscribes;
        if (text)
            batch_add(conn, batch, text);
        if (conn->batch != batch && batch->open == 0)
            batch_finish(conn, batch);
    } else {
        if (text)
            conn_send(conn, text, strlen(text));
        if (subscribes)
            hub_start(&conn->subscriber);
    }
    conn_answered(conn);
}

static void reply_answer(void *arg, struct call *call _unused_, json_object *result,
                         const struct error *err)
{
    reply_finish(arg, result, err);
}

static void reply_call(struct reply *reply, const struct dispatch *dispatch)
{
    struct conn *conn = reply->conn;
    enum call_role role = conn_role(conn);
    const struct method *method = method_find(dispatch->method);
    struct call_sink sink = {.answer = reply_answer, .subscriber = &conn->subscriber, .arg = reply};
    _cleanup_error_ struct error err = {0};

    if (role == ROLE_NONE)
        conn->ending = true;
    /* A stranger is not told which methods there are. */
    if (!method && role == ROLE_NONE)
        method = method_find("rpc.discover");
    if (!method) {
        error_set(&err, SNAPVM_ERROR_METHOD_NOT_FOUND,
                  "there is no method '%.64s': rpc.discover lists them", dispatch->method);
        reply_finish(reply, NULL, &err);
        return;
    }
    reply->call =
        call_new(conn->context, method,
                 dispatch->params ? json_object_get(dispatch->params) : json_object_new_object(),
                 role, &sink);
    dispatch_call(reply->call);
}

static void reply_request(struct conn *conn, struct batch *batch, json_object *value)
{
    struct reply *reply = reply_new(conn, batch);
    _cleanup_error_ struct error err = {0};
    struct dispatch dispatch;
    int r = dispatch_read(value, &dispatch, &err);

    reply->id = json_object_get(dispatch.id);
    reply->silent = dispatch.silent;
    if (r == 0) {
        reply_call(reply, &dispatch);
        return;
    }
    conn->context->metrics->malformed++;
    reply_finish(reply, NULL, &err);
}

void reply_next(struct conn *conn)
{
    struct batch *batch = conn->batch;
    _cleanup_json_ json_object *value = NULL;

    value = json_object_get(json_object_array_get_idx(batch->requests, batch->next++));
    /* From the last one on its answers may complete the batch. */
    if (batch->next == json_object_array_length(batch->requests))
        conn->batch = NULL;
    reply_request(conn, batch, value);
}

void reply_malformed(struct conn *conn, const struct error *err)
{
    _cleanup_free_ char *line = reply_error_line(err);

    conn->context->metrics->malformed++;
    if (conn_role(conn) == ROLE_NONE)
        conn->ending = true;
    conn_send(conn, line, strlen(line));
}

void reply_line(struct conn *conn, const char *line, size_t size)
{
    int nesting = conn->context->conf->nesting;
    _cleanup_error_ struct error err = {0};
    _cleanup_json_ json_object *value = NULL;

    switch (json_read(line, size, nesting, &value)) {
    case JSON_OK:
        break;
    case JSON_BAD:
        error_set(&err, SNAPVM_ERROR_PARSE, "this line is not one JSON text in UTF-8");
        reply_malformed(conn, &err);
        return;
    case JSON_TOO_DEEP:
        error_set(&err, SNAPVM_ERROR_LIMIT_EXCEEDED, "a request may be nested %d deep", nesting);
        error_text(&err, "limit", "nesting");
        error_number(&err, "value", nesting);
        reply_malformed(conn, &err);
        return;
    }
    if (!json_object_is_type(value, json_type_array)) {
        reply_request(conn, NULL, value);
    } else if (conn_role(conn) == ROLE_NONE) {
        error_set(&err, SNAPVM_ERROR_ACCESS_DENIED,
                  "this needs the role reader, and you have none");
        error_text(&err, "needs", "reader");
        reply_malformed(conn, &err);
    } else if (json_object_array_length(value) > 0) {
        batch_begin(conn, TAKE_PTR(value));
    } else {
        error_set(&err, SNAPVM_ERROR_INVALID_REQUEST, "a batch must hold a request");
        reply_malformed(conn, &err);
    }
}

void reply_stop(struct conn *conn, const struct error *err)
{
    struct reply *reply;

    /* The rest of a batch is not begun. */
    conn->batch = NULL;
    while ((reply = TAILQ_FIRST(&conn->replies))) {
        call_detach(reply->call);
        reply_finish(reply, NULL, err);
    }
}

void reply_drop(struct conn *conn)
{
    struct reply *reply;
    struct batch *batch;

    while ((reply = TAILQ_FIRST(&conn->replies))) {
        if (reply->call)
            call_detach(reply->call);
        reply_free(reply);
    }
    while ((batch = TAILQ_FIRST(&conn->batches)))
        batch_free(conn, batch);
}
