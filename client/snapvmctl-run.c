#include "client/snapvmctl-run.h"

#include <poll.h>
#include <string.h>

#include "base/memory.h"
#include "client/snapvm.h"
#include "client/snapvmctl-args.h"
#include "client/snapvmctl-show.h"
#include "client/snapvmctl-text.h"
#include "client/snapvmctl-verb.h"
#include "client/snapvmctl-watch.h"
#include "proto/json.h"

static void connection_end(struct snapvm **conn)
{
    snapvm_disconnect(*conn);
}

#define _cleanup_conn_ _cleanup_(connection_end)
#define _cleanup_refusal_ _cleanup_(snapvm_error_clear)

static int tell_error(const struct snapvm_error *err)
{
    text_line(stderr, "snapvmctl: %s (%s)", err->message, err->kind);
    if (err->code == SNAPVM_ERROR_TIMEOUT)
        return RUN_TIMEOUT;
    if (err->code < 0 && err->code >= SNAPVM_LOCAL_BAD_ANSWER)
        return RUN_NO_DAEMON;
    return RUN_REFUSED;
}

/* A job can fail although the question about it was answered. */
static int tell_outcome(struct json_object *job)
{
    _cleanup_free_ char *title = show_job_title(job);
    struct json_object *outcome = json_sub(job, "outcome"), *error = json_sub(outcome, "error");
    const char *result = json_string(outcome, "result"), *message = json_string(error, "message");
    const char *kind = json_string(json_sub(error, "data"), "kind");

    if (!result || (strcmp(result, "failed") != 0 && strcmp(result, "rolled-back") != 0))
        return RUN_DONE;
    kind = kind ? kind : json_string(error, "kind");
    text_line(stderr, "snapvmctl: %s: %s: %s%s%s%s", title, result,
              message ? message : "no reason was given", kind ? " (" : "", kind ? kind : "",
              kind ? ")" : "");
    return RUN_REFUSED;
}

static int tell_result(const struct args *args, struct json_object *result)
{
    const struct verb *verb = args->verb;

    if (args->json)
        text_json(stdout, result);
    else if (!args->quiet || !(verb->flags & (VERB_CHANGES | VERB_TELLS)))
        verb->show(result);
    return verb->flags & VERB_TELLS ? tell_outcome(result) : RUN_DONE;
}

/* What was asked for of several jobs is answered with the first: the others are asked about. */
static int tell_others(struct snapvm *conn, const struct args *args, struct json_object *first)
{
    struct json_object *ids = json_array(args->params, "jobs");
    int status = RUN_DONE;

    for (size_t i = 0; ids && i < json_object_array_length(ids) && !args->json; i++) {
        _cleanup_refusal_ struct snapvm_error err = SNAPVM_ERROR_INIT;
        _cleanup_json_ struct json_object *params = json_object_new_object(), *job = NULL;
        struct json_object *id = json_object_array_get_idx(ids, i);
        int told;

        if (json_object_get_int64(id) == json_int(first, "id", 0))
            continue;
        json_object_object_add(params, "job", json_object_get(id));
        told = snapvm_call(conn, "job.get", params, -1, &job, &err) < 0 ? tell_error(&err)
                                                                        : tell_result(args, job);
        status = status ? status : told;
    }
    return status;
}

static int run_call(struct snapvm *conn, const struct args *args)
{
    _cleanup_refusal_ struct snapvm_error err = SNAPVM_ERROR_INIT;
    _cleanup_json_ struct json_object *result = NULL;
    const struct verb *verb = args->verb;
    struct watch watch;
    const char *disk = json_string(args->local, "disk");
    int r, others, watching = watch_is_wanted(args);

    if (watching)
        watch_start(&watch, conn, args);
    r = snapvm_call(conn, verb->method, args->params, -1, &result, &err);
    if (watching)
        watch_stop(&watch);
    if (r < 0)
        return tell_error(&err);
    if (disk && !args->json && show_only_disk(result, disk) < 0) {
        text_line(stderr, "snapvmctl: the domain has no disk \"%s\" (NotFound)", disk);
        return RUN_REFUSED;
    }
    r = tell_result(args, result);
    others = tell_others(conn, args, result);
    return r ? r : others;
}

int run_args(const struct args *args)
{
    _cleanup_refusal_ struct snapvm_error err = SNAPVM_ERROR_INIT;
    _cleanup_conn_ struct snapvm *conn = snapvm_connect(args->socket, &err);

    if (!conn)
        return tell_error(&err);
    return args->verb->run ? args->verb->run(conn, args) : run_call(conn, args);
}

struct follower {
    const struct args *args;
    int status; /* of the subscription */
};

static void print_event(struct json_object *event, void *data)
{
    const struct follower *follower = data;

    if (follower->args->json)
        text_json(stdout, event);
    else
        show_event(event, stdout);
}

static void print_subscribed(struct json_object *result, const struct snapvm_error *err, void *data)
{
    struct follower *follower = data;

    if (err)
        follower->status = tell_error(err);
    else if (follower->args->json)
        text_json(stdout, result);
}

/* The answer is taken by a callback and not waited for: with --json it is printed, and that before
 * the events that come right behind it. */
int run_events(struct snapvm *conn, const struct args *args)
{
    _cleanup_refusal_ struct snapvm_error err = SNAPVM_ERROR_INIT;
    struct follower follower = {.args = args, .status = RUN_DONE};
    struct pollfd pollfd = {.fd = snapvm_fd(conn)};

    snapvm_on_event(conn, print_event, &follower);
    snapvm_send(conn, args->verb->method, args->params, print_subscribed, &follower, NULL);
    while (follower.status == RUN_DONE && !ferror(stdout)) {
        pollfd.events = snapvm_events(conn);
        if (poll(&pollfd, 1, -1) < 0)
            continue;
        if (snapvm_dispatch(conn, &err) < 0)
            return follower.status ? follower.status : tell_error(&err);
        fflush(stdout);
    }
    return follower.status;
}

static void print_names(struct json_object *result, const char *list, const char *member)
{
    struct json_object *array = json_array(result, list), *value;

    for (size_t i = 0; array && i < json_object_array_length(array); i++) {
        value = json_member(json_object_array_get_idx(array, i), member);
        if (value)
            text_line(stdout, "%s", json_object_get_string(value));
    }
}

int run_names(const char *what, const char *domain)
{
    static const struct {
        const char *what, *method, *list, *member;
    } lists[] = {
        {"domain", "domain.list", "domains", "name"},
        {"disk", "domain.get", "disks", "target"},
        {"snapshot", "snapshot.list", "snapshots", "name"},
        {"job", "job.list", "jobs", "id"},
    };
    _cleanup_json_ struct json_object *params = json_object_new_object();
    _cleanup_json_ struct json_object *result = NULL;
    _cleanup_conn_ struct snapvm *conn = snapvm_connect(NULL, NULL);

    if (!conn)
        return RUN_NO_DAEMON;
    if (domain)
        json_add_string(params, "domain", domain);
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        if (strcmp(what, lists[i].what) != 0)
            continue;
        if (strcmp(what, "job") == 0)
            json_add_bool(params, "active", true);
        if (snapvm_call(conn, lists[i].method, params, -1, &result, NULL) == 0)
            print_names(result, lists[i].list, lists[i].member);
        return RUN_DONE;
    }
    return RUN_USAGE;
}
