#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "bench/contender.h"
#include "bench/guest.h"
#include "bench/raw-qmp.h"
#include "client/snapvm.h"
#include "proto/json.h"

struct daemon {
    struct snapvm *calls, *events;
    int64_t ready, recorded; /* when a job was heard to be ready first, and when in job.ready */
};

static struct snapvm *daemon_connect(const char *socket)
{
    struct snapvm_error err = SNAPVM_ERROR_INIT;
    struct snapvm *conn = snapvm_connect(socket, &err);

    if (!conn)
        die("%s", err.message);
    return conn;
}

/* Calls, and puts the parameters. */
static void daemon_call(struct daemon *daemon, const char *method, json_object *params)
{
    struct snapvm_error err = SNAPVM_ERROR_INIT;
    json_object *result = NULL;

    if (snapvm_call(daemon->calls, method, params, -1, &result, &err) < 0)
        die("%s: %s", method, err.message);
    if (json_sub(json_sub(result, "outcome"), "error"))
        die("%s: %s", method, json_text(result));
    json_object_put(result);
    json_object_put(params);
}

static int64_t daemon_snapshot(void *self, struct guest *guest)
{
    json_object *params;
    char name[16];
    int64_t start;

    guest->snapshot++;
    start = clock_monotonic();
    params = json_object_new_object();
    snprintf(name, sizeof(name), "s%u", guest->snapshot);
    json_add_string(params, "domain", guest->name);
    json_add_string(params, "name", name);
    json_add_string(params, "quiesce", "required");
    daemon_call(self, "snapshot.create", params);
    return clock_monotonic() - start;
}

static json_object *disk_params(const struct guest *guest, unsigned disk)
{
    json_object *params = json_object_new_object();
    char target[4];

    json_add_string(params, "domain", guest->name);
    json_add_string(params, "disk", guest_target(disk, target));
    return params;
}

static int64_t daemon_commit(void *self, struct guest *guest, unsigned disk)
{
    int64_t start = clock_monotonic();
    json_object *params = disk_params(guest, disk);

    json_add_bool(params, "active", 1);
    json_add_bool(params, "shallow", 1);
    json_add_bool(params, "auto_pivot", 1);
    json_add_string(params, "wait", "ended");
    daemon_call(self, "block.commit", params);
    return clock_monotonic() - start;
}

/* Progress tells it at once, the event when it is durable. */
static void daemon_heard(json_object *event, void *data)
{
    struct daemon *daemon = data;
    const char *state = json_string(json_sub(event, "job"), "state");

    if (state && strcmp(state, "ready") == 0 && !daemon->ready)
        daemon->ready = clock_now();
    if (strcmp(json_string(event, "kind"), "job.ready") == 0)
        daemon->recorded = clock_now();
}

static void daemon_ready(void *self, struct guest *guest, unsigned disk, int64_t samples[2])
{
    struct daemon *daemon = self;
    struct pollfd wait = {.fd = snapvm_fd(daemon->events), .events = POLLIN};
    json_object *params = disk_params(guest, disk);
    struct raw_event event;

    snapvm_dispatch(daemon->events, NULL); /* of jobs that were ready before */
    daemon->ready = daemon->recorded = 0;
    json_add_bool(params, "active", 1);
    json_add_bool(params, "shallow", 1);
    daemon_call(daemon, "block.commit", params);
    while (!daemon->recorded)
        if (poll(&wait, 1, -1) < 0 || snapvm_dispatch(daemon->events, NULL) < 0)
            die("the subscription was lost");
    event = raw_qmp_wait(guest->witness, 0, "ready");
    params = disk_params(guest, disk);
    json_add_string(params, "wait", "ended");
    daemon_call(daemon, "job.pivot", params);
    samples[0] = daemon->ready - event.stamp;
    samples[1] = daemon->recorded - event.stamp;
}

struct contender daemon_contender(const char *socket)
{
    struct daemon *daemon = xzalloc(sizeof(*daemon));
    _cleanup_json_ json_object *params = json_object_new_object();
    struct snapvm_error err = SNAPVM_ERROR_INIT;
    json_object *kinds = json_object_new_array();

    daemon->calls = daemon_connect(socket);
    daemon->events = daemon_connect(socket);
    json_object_array_add(kinds, json_object_new_string("job.ready"));
    json_object_array_add(kinds, json_object_new_string("job.progress"));
    json_object_object_add(params, "kinds", kinds);
    if (snapvm_subscribe(daemon->events, params, daemon_heard, daemon, -1, NULL, &err) < 0)
        die("event.subscribe: %s", err.message);
    return (struct contender){daemon_snapshot, daemon_commit, daemon_ready, daemon};
}
