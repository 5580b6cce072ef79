/* What the daemon says of itself, and the reload of its configuration. */
#include "api/call.h"
#include "api/context.h"
#include "api/handlers.h"
#include "api/method.h"
#include "api/metrics.h"
#include "api/request.h"
#include "base/clock.h"
#include "base/memory.h"
#include "config.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "journal/journal.h"
#include "proto/json.h"
#include "proto/openrpc.h"

#define API_VERSION 1

void rpc_discover_handle(struct call *call)
{
    call_result(call, json_tokener_parse(openrpc_json));
}

/* The methods that work: what is not in here is answered Unsupported. */
static json_object *features(void)
{
    json_object *names = json_object_new_array();
    const struct method *table;
    size_t n;

    table = method_table(&n);
    for (size_t i = 0; i < n; i++)
        if (table[i].handler)
            json_object_array_add(names, json_object_new_string(table[i].name));
    return names;
}

void daemon_info_handle(struct call *call)
{
    const struct daemon_context *context = call_context(call);
    json_object *info = json_object_new_object(), *jobs = json_object_new_object();
    int64_t active, total;
    char started[CLOCK_TEXT];

    engine_counts(context->engine, &active, &total);
    json_add_int(jobs, "active", active);
    json_add_int(jobs, "total", total);
    json_add_string(info, "name", "snapvmd");
    json_add_string(info, "version", PACKAGE_VERSION);
    json_add_int(info, "api", API_VERSION);
    json_add_string(info, "instance", journal_instance(context->journal));
    json_add_string(info, "started", clock_text(context->started, started));
    json_add_int(info, "pid", getpid());
    json_add_int(info, "domains", domains_count(context->domains));
    json_object_object_add(info, "jobs", jobs);
    json_object_object_add(info, "features", features());
    call_result(call, info);
}

void daemon_metrics_handle(struct call *call)
{
    _cleanup_free_ char *text = metrics_text(call_context(call));
    json_object *result = json_object_new_object();

    json_add_string(result, "text", text);
    call_result(call, result);
}

static void reload_stored(void *arg, const struct error *err)
{
    struct call *call = arg;

    if (err)
        call_error(call, err);
    else
        call_result(call, json_object_new_object());
}

void daemon_reload_handle(struct call *call)
{
    struct daemon_context *context = call_context(call);
    _cleanup_error_ struct error err = {0};
    struct journal_txn *txn;
    int64_t job;

    if (request_begin(call, &job) != REQUEST_NEW)
        return;
    if (context->reload(context->reload_arg, &err) < 0) {
        call_error(call, &err);
        return;
    }
    if (!request_record(call)) {
        call_result(call, json_object_new_object());
        return;
    }
    txn = journal_begin(context->journal);
    request_note_result(txn, call, "{}");
    journal_commit(txn, "reload", reload_stored, call);
}
