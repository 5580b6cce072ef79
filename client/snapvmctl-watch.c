#include "client/snapvmctl-watch.h"

#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "client/snapvm.h"
#include "client/snapvmctl-args.h"
#include "client/snapvmctl-show.h"
#include "client/snapvmctl-verb.h"
#include "proto/json.h"

int watch_is_wanted(const struct args *args)
{
    const char *wait = json_string(args->params, "wait");

    if (args->json || args->quiet || !(args->verb->flags & VERB_TELLS) || !isatty(STDERR_FILENO))
        return false;
    return wait ? strcmp(wait, "no") != 0 : (args->verb->flags & VERB_WAITS) != 0;
}

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void watch_draw(struct watch *watch, struct json_object *progress)
{
    if (progress)
        bar_draw(&watch->bar, watch->label, json_int(progress, "current", 0),
                 json_int(progress, "total", 0), now_us());
}

static void watch_name(struct watch *watch, struct json_object *job)
{
    const char *disk = json_string(job, "disk");

    if (!json_string(job, "kind"))
        return;
    free(watch->label);
    watch->label =
        xasprintf("job %lld%s%s", json_int(job, "id", 0), disk ? " " : "", disk ? disk : "");
}

static void watch_event(struct json_object *event, void *data)
{
    struct watch *watch = data;
    struct json_object *job = json_sub(event, "job"), *progress = json_sub(event, "progress");
    const char *request_id = json_string(job, "request_id"), *kind = json_string(event, "kind");
    int64_t id = json_int(job, "id", json_int(event, "job", 0));

    if (!watch->job && watch->request_id && request_id &&
        strcmp(watch->request_id, request_id) == 0)
        watch->job = id;
    if (!id || id != watch->job || !kind)
        return;
    watch_name(watch, job);
    /* Who looks at a bar that stands still wants to know why, at once. */
    if (strcmp(kind, "job.stalled") == 0) {
        bar_wipe(&watch->bar);
        show_event(event, stderr);
    }
    watch_draw(watch, progress ? progress : json_sub(job, "progress"));
}

/* The job that the command line names, as it stands now. */
static void watch_named_job(struct watch *watch, struct snapvm *conn, const struct args *args)
{
    static const char *const names[] = {"job", "domain", "disk"};
    _cleanup_json_ struct json_object *params = json_object_new_object();
    _cleanup_json_ struct json_object *job = NULL;
    struct json_object *value;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if ((value = json_member(args->params, names[i])))
            json_object_object_add(params, names[i], json_object_get(value));
    if (snapvm_call(conn, "job.get", params, -1, &job, NULL) < 0)
        return;
    watch->job = json_int(job, "id", 0);
    watch_name(watch, job);
    watch_draw(watch, json_sub(job, "progress"));
}

static void watch_new_job(struct watch *watch, const struct args *args)
{
    const char *request_id = json_string(args->params, "request_id");
    uint64_t random[2];

    if (!request_id && getrandom(random, sizeof(random), GRND_NONBLOCK) == sizeof(random)) {
        watch->request_id = xasprintf("snapvmctl-%016" PRIx64 "%016" PRIx64, random[0], random[1]);
        json_add_string(args->params, "request_id", watch->request_id);
    } else {
        watch->request_id = xstrdup(request_id);
    }
}

void watch_start(struct watch *watch, struct snapvm *conn, const struct args *args)
{
    static const char *const kinds[] = {"job.created", "job.progress", "job.ready", "job.stalled",
                                        "job.ended"};
    _cleanup_json_ struct json_object *params = json_object_new_object();
    struct json_object *list = json_object_new_array();

    *watch = (struct watch){.label = xstrdup("job")};
    bar_init(&watch->bar, stderr);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        json_object_array_add(list, json_object_new_string(kinds[i]));
    json_object_object_add(params, "kinds", list);
    if (snapvm_subscribe(conn, params, watch_event, watch, -1, NULL, NULL) < 0)
        return;
    if (strncmp(args->verb->positional, "job", 3) == 0)
        watch_named_job(watch, conn, args);
    else
        watch_new_job(watch, args);
}

void watch_stop(struct watch *watch)
{
    bar_wipe(&watch->bar);
    free(watch->label);
    free(watch->request_id);
}
