#include "api/request.h"

#include <event2/event.h>
#include <stdbool.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

#include "api/call.h"
#include "api/context.h"
#include "api/method.h"
#include "base/clock.h"
#include "base/memory.h"
#include "conf/conf.h"
#include "journal/journal.h"
#include "proto/json.h"
#include "proto/snapvm-errors.h"

#define HOUR_US (INT64_C(3600) * 1000 * 1000)

/* A call with the request_id of one that has no answer yet. */
struct joined {
    STAILQ_ENTRY(joined) link; /* request::joined or requests::released */
    struct call *call;
};

STAILQ_HEAD(joined_list, joined);

struct request {
    UT_hash_handle hh; /* requests::map, the oldest first */
    struct requests *requests;
    struct record_request record;
    bool noted;  /* the record is in a transaction */
    bool stored; /* and that is durable */
    bool owned;  /* the first call has no answer yet */
    struct joined_list joined;
};

struct requests {
    struct request *map;
    struct joined_list released; /* to be run again on the next turn of the loop */
    struct event *run;
};

static struct request *request_add(struct requests *requests, const char *id, const char *method,
                                   const char *params, int64_t time)
{
    struct request *request = xzalloc(sizeof(*request));

    request->requests = requests;
    request->record = (struct record_request){
        .id = xstrdup(id), .method = xstrdup(method), .params = xstrdup(params), .time = time};
    STAILQ_INIT(&request->joined);
    HASH_ADD_KEYPTR(hh, requests->map, request->record.id, strlen(request->record.id), request);
    return request;
}

static void request_remove(struct request *request)
{
    HASH_DEL(request->requests->map, request);
    record_request_deinit(&request->record);
    free(request);
}

/* Calls that waited look again: what they find is another answer now. Not from here: the caller is
 * in the middle of something. */
static void request_release(struct request *request)
{
    if (STAILQ_EMPTY(&request->joined))
        return;
    STAILQ_CONCAT(&request->requests->released, &request->joined);
    event_active(request->requests->run, EV_TIMEOUT, 0);
}

static void released_run(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    struct requests *requests = arg;
    struct joined_list list = STAILQ_HEAD_INITIALIZER(list);
    struct joined *joined;

    STAILQ_CONCAT(&list, &requests->released);
    while ((joined = STAILQ_FIRST(&list))) {
        struct call *call = joined->call;

        STAILQ_REMOVE_HEAD(&list, link);
        free(joined);
        call_method(call)->handler(call);
    }
}

static int by_time(const struct request *a, const struct request *b)
{
    return (a->record.time > b->record.time) - (a->record.time < b->record.time);
}

struct requests *requests_new(struct event_base *base, const struct record_request *records,
                              unsigned n)
{
    struct requests *requests = xzalloc(sizeof(*requests));
    struct request *request;

    STAILQ_INIT(&requests->released);
    requests->run = event_new(base, -1, 0, released_run, requests);
    for (unsigned i = 0; i < n; i++) {
        request = request_add(requests, records[i].id, records[i].method, records[i].params,
                              records[i].time);
        request->record.job = records[i].job;
        request->record.result = xstrdup(records[i].result);
        request->noted = request->stored = true;
    }
    HASH_SORT(requests->map, by_time);
    return requests;
}

static void joined_refuse(struct joined_list *list)
{
    struct joined *joined;

    while ((joined = STAILQ_FIRST(list))) {
        STAILQ_REMOVE_HEAD(list, link);
        call_fail(joined->call, SNAPVM_ERROR_SHUTTING_DOWN,
                  "snapvmd is stopping; send the request again when it is back");
        free(joined);
    }
}

struct requests *requests_free(struct requests *requests)
{
    struct request *request, *next;

    if (!requests)
        return NULL;
    joined_refuse(&requests->released);
    HASH_ITER (hh, requests->map, request, next) {
        joined_refuse(&request->joined);
        request_remove(request);
    }
    event_free(requests->run);
    free(requests);
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A copy whose members are sorted by name on every level, so that equal params are equal text. */
static json_object *sorted_copy(json_object *value)
{
    _cleanup_free_ const char **names = NULL;
    json_object *copy;
    size_t n = 0;

    if (json_object_is_type(value, json_type_array)) {
        copy = json_object_new_array();
        for (size_t i = 0; i < json_object_array_length(value); i++)
            json_object_array_add(copy, sorted_copy(json_object_array_get_idx(value, i)));
        return copy;
    }
    if (!json_object_is_type(value, json_type_object))
        return json_object_get(value);
    copy = json_object_new_object();
    names = xrealloc(NULL, (size_t)json_object_object_length(value) + 1, sizeof(*names));
    json_object_object_foreach (value, name, member)
        names[n++] = name;
    qsort(names, n, sizeof(*names), by_name);
    for (size_t i = 0; i < n; i++)
        json_object_object_add(copy, names[i], sorted_copy(json_member(value, names[i])));
    return copy;
}

/* How long a client wants to wait is no part of what it asks for. */
static char *canonical_text(json_object *params)
{
    _cleanup_json_ json_object *copy = sorted_copy(params);

    json_object_object_del(copy, "request_id");
    json_object_object_del(copy, "wait");
    json_object_object_del(copy, "timeout_ms");
    return xstrdup(json_text(copy));
}

static void requests_prune(struct requests *requests, int64_t before)
{
    struct request *request, *next;

    HASH_ITER (hh, requests->map, request, next) {
        if (request->record.time >= before)
            return;
        if (!request->owned)
            request_remove(request);
    }
}

static enum request_seen request_refuse(struct call *call, const char *id, const char *what)
{
    _cleanup_error_ struct error err = {0};

    error_set(&err, SNAPVM_ERROR_ALREADY_EXISTS,
              "this request_id was used with %s before; choose a new one for a new request", what);
    error_text(&err, "object", "request");
    error_text(&err, "name", id);
    call_error(call, &err);
    return REQUEST_TAKEN;
}

static void request_join(struct request *request, struct call *call)
{
    struct joined *joined = xzalloc(sizeof(*joined));

    joined->call = call;
    STAILQ_INSERT_TAIL(&request->joined, joined, link);
}

enum request_seen request_begin(struct call *call, int64_t *ret_job)
{
    struct daemon_context *context = call_context(call);
    const char *id = json_string(call_params(call), "request_id");
    const char *method = call_method(call)->name;
    _cleanup_free_ char *params = NULL;
    struct request *request;
    int64_t now;

    if (!id)
        return REQUEST_NEW;
    now = clock_now();
    requests_prune(context->requests, now - context->conf->request_ids_hours * HOUR_US);
    params = canonical_text(call_params(call));
    HASH_FIND_STR(context->requests->map, id, request);
    if (!request) {
        request = request_add(context->requests, id, method, params, now);
        request->owned = true;
        call_set_request(call, request);
        return REQUEST_NEW;
    }
    if (strcmp(request->record.method, method) != 0)
        return request_refuse(call, id, "another method");
    if (strcmp(request->record.params, params) != 0)
        return request_refuse(call, id, "other params");
    if (!request->stored) {
        request_join(request, call);
        return REQUEST_TAKEN;
    }
    if (request->record.job) {
        *ret_job = request->record.job;
        return REQUEST_JOB;
    }
    call_result(call, json_tokener_parse(request->record.result));
    return REQUEST_TAKEN;
}

const struct record_request *request_record(const struct call *call)
{
    struct request *request = call_request(call);

    return request ? &request->record : NULL;
}

void request_note_job(struct journal_txn *txn, struct call *call, int64_t job)
{
    struct request *request = call_request(call);

    if (!request)
        return;
    request->record.job = job;
    request->noted = true;
    journal_put_request(txn, &request->record);
}

void request_note_result(struct journal_txn *txn, struct call *call, const char *result)
{
    struct request *request = call_request(call);

    if (!request)
        return;
    xstrset(&request->record.result, result);
    request->noted = true;
    journal_put_request(txn, &request->record);
}

void request_started(struct call *call, int64_t job)
{
    struct request *request = call_request(call);

    if (!request)
        return;
    request->record.job = job;
    request->noted = request->stored = true;
    request_release(request);
}

void request_answered(struct request *request, int failed)
{
    request->owned = false;
    if (!failed && request->noted)
        request->stored = true;
    request_release(request);
    if (!request->stored)
        request_remove(request);
}
