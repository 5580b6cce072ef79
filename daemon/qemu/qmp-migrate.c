#include "qemu/qmp-migrate.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "proto/json.h"
#include "proto/snapvm-errors.h"
#include "qemu/qmp-do.h"
#include "qemu/qmp-view.h"
#include "qemu/qmp.h"
#include "qemu/view.h"

static json_object *with_name(const char *name)
{
    json_object *arguments = json_object_new_object();

    json_add_string(arguments, "fdname", name);
    return arguments;
}

void qmp_getfd(struct qmp *qmp, const char *name, int fd, qmp_done_fn fn, void *arg)
{
    qmp_do_with_fd(qmp, "getfd", with_name(name), fd, fn, arg);
}

void qmp_closefd(struct qmp *qmp, const char *name, qmp_done_fn fn, void *arg)
{
    qmp_do(qmp, "closefd", with_name(name), fn, arg);
}

/* The questions and the command, of which the last reply ends it. */
struct prepare {
    unsigned waiting;
    struct error err; /* the first one */
    qmp_done_fn fn;
    void *arg;
};

static void prepare_unref(void *arg)
{
    struct prepare *prepare = arg;

    if (--prepare->waiting > 0)
        return;
    error_clear(&prepare->err);
    free(prepare);
}

static void prepare_replied(struct prepare *prepare, const struct error *err)
{
    if (err && !prepare->err.code)
        error_copy(&prepare->err, err);
    if (prepare->waiting == 1)
        prepare->fn(prepare->arg, prepare->err.code ? &prepare->err : NULL);
    prepare_unref(prepare);
}

static int refuse(struct error *err, const char *why)
{
    error_set(err, SNAPVM_ERROR_INVALID_STATE, "the memory cannot be saved now: %s", why);
    return error_text(err, "state", "migration");
}

/* Capabilities with which a plain stream into a file is written all the same. With all others QEMU
 * waits for somebody at the other end, writes another format, or gives up the guest's memory. */
static bool is_harmless(const char *capability)
{
    static const char *const harmless[] = {"events",      "xbzrle",        "auto-converge",
                                           "zero-blocks", "validate-uuid", "late-block-activate"};

    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
        if (strcmp(harmless[i], capability) == 0)
            return true;
    return false;
}

static int check_capabilities(json_object *list, struct error *err)
{
    size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

    for (size_t i = 0; i < n; i++) {
        json_object *entry = json_object_array_get_idx(list, i);
        const char *name = json_string(entry, "capability");
        _cleanup_free_ char *why = NULL;

        if (!name || !json_flag(entry, "state", false) || is_harmless(name))
            continue;
        why = xasprintf("the migration capability %s of this QEMU is on; switch it off "
                        "(migrate-set-capabilities)",
                        name);
        return refuse(err, why);
    }
    return 0;
}

static void prepare_capabilities(void *arg, json_object *result, const struct error *err)
{
    struct prepare *prepare = arg;
    _cleanup_error_ struct error why = {0};

    if (!err && check_capabilities(result, &why) < 0)
        err = &why;
    prepare_replied(prepare, err);
}

/* The first of the reasons for which QEMU refuses every migration, NULL without one. */
static const char *blocked_reason(json_object *state)
{
    json_object *reasons = json_array(state, "blocked-reasons"), *first;

    if (!reasons || json_object_array_length(reasons) == 0)
        return NULL;
    first = json_object_array_get_idx(reasons, 0);
    return json_object_is_type(first, json_type_string) ? json_object_get_string(first) : NULL;
}

static void prepare_state(void *arg, json_object *result, const struct error *err)
{
    struct prepare *prepare = arg;
    const char *reason = err ? NULL : blocked_reason(result);
    _cleanup_error_ struct error why = {0};

    if (!err && qmp_migration_of(json_string(result, "status")) == VIEW_MIGRATION_ACTIVE) {
        refuse(&why, "a migration of the guest is under way; wait for its end");
    } else if (reason) {
        error_set(&why, SNAPVM_ERROR_QEMU, "QEMU cannot save the memory of this guest: %s", reason);
        error_text(&why, "class", "GenericError");
        error_text(&why, "desc", reason);
        error_text(&why, "command", "migrate");
    }
    prepare_replied(prepare, why.code ? &why : err);
}

/* A job that is over waits for its dismissal alone. */
static int check_jobs(json_object *list, struct error *err)
{
    size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

    for (size_t i = 0; i < n; i++) {
        json_object *entry = json_object_array_get_idx(list, i);
        const char *status = json_string(entry, "status"), *id = json_string(entry, "id");

        if (view_job_status_of(status) != VIEW_JOB_CONCLUDED)
            return error_set(err, SNAPVM_ERROR_BUSY,
                             "job %s works in this QEMU, and writes to images that it gives up for "
                             "a moment when the memory is saved; wait for its end, or end it",
                             id ? id : "of no name");
    }
    return 0;
}

static void prepare_jobs(void *arg, json_object *result, const struct error *err)
{
    struct prepare *prepare = arg;
    _cleanup_error_ struct error why = {0};

    if (!err && check_jobs(result, &why) < 0)
        err = &why;
    prepare_replied(prepare, err);
}

static void prepare_events(void *arg, json_object *result _unused_, const struct error *err)
{
    prepare_replied(arg, err);
}

static json_object *events_on(void)
{
    json_object *arguments = json_object_new_object(), *list = json_object_new_array();
    json_object *events = json_object_new_object();

    json_add_string(events, "capability", "events");
    json_add_bool(events, "state", true);
    json_object_array_add(list, events);
    json_object_object_add(arguments, "capabilities", list);
    return arguments;
}

void qmp_migrate_prepare(struct qmp *qmp, qmp_done_fn fn, void *arg)
{
    struct prepare *prepare = xzalloc(sizeof(*prepare));
    struct qmp_request request = {.drop = prepare_unref, .arg = prepare};

    *prepare = (struct prepare){.waiting = 4, .fn = fn, .arg = arg};
    qmp_cork(qmp);
    request.command = "query-jobs";
    request.fn = prepare_jobs;
    qmp_send(qmp, &request);
    request.command = "query-migrate-capabilities";
    request.fn = prepare_capabilities;
    qmp_send(qmp, &request);
    request.command = "query-migrate";
    request.fn = prepare_state;
    qmp_send(qmp, &request);
    request.command = "migrate-set-capabilities";
    request.arguments = events_on();
    request.effect = true;
    request.fn = prepare_events;
    qmp_send(qmp, &request);
    qmp_uncork(qmp);
}

void qmp_migrate(struct qmp *qmp, const char *name, qmp_done_fn fn, void *arg)
{
    _cleanup_free_ char *uri = xasprintf("fd:%s", name);
    json_object *arguments = json_object_new_object();

    json_add_string(arguments, "uri", uri);
    qmp_do(qmp, "migrate", arguments, fn, arg);
}

void qmp_migrate_cancel(struct qmp *qmp, qmp_done_fn fn, void *arg)
{
    qmp_do(qmp, "migrate_cancel", NULL, fn, arg);
}
