/* Each command in the words of QEMU's schema. Commands that change something carry `effect`, which
 * makes them boundaries of a crash test; what they report to is kept in a small object of their
 * own, which is freed with the answer or with the connection. */
#include "qemu/qmp-command.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "proto/json.h"
#include "proto/snapvm-errors.h"
#include "qemu/qmp-do.h"
#include "qemu/qmp-view.h"
#include "qemu/qmp.h"
#include "qemu/view.h"

struct done {
    qmp_done_fn fn;
    void *arg;
};

static void done_replied(void *arg, json_object *result _unused_, const struct error *err)
{
    _cleanup_free_ struct done *done = arg;

    done->fn(done->arg, err);
}

void qmp_do_with_fd(struct qmp *qmp, const char *command, json_object *arguments, int fd,
                    qmp_done_fn fn, void *arg)
{
    struct done *done = xzalloc(sizeof(*done));

    *done = (struct done){.fn = fn, .arg = arg};
    qmp_send(qmp, &(struct qmp_request){
                      .command = command,
                      .arguments = arguments,
                      .effect = true,
                      .has_fd = fd >= 0,
                      .fd = fd,
                      .fn = done_replied,
                      .drop = free,
                      .arg = done,
                  });
}

void qmp_do(struct qmp *qmp, const char *command, json_object *arguments, qmp_done_fn fn, void *arg)
{
    qmp_do_with_fd(qmp, command, arguments, -1, fn, arg);
}

/* One object with one member, which is what most commands about a job take. */
static json_object *with_text(const char *name, const char *text)
{
    json_object *object = json_object_new_object();

    json_add_string(object, name, text);
    return object;
}

/* The queries that a view is made of, in the order of sending, and where each reply belongs. The
 * graph is asked for after the jobs: a job that is over by then has done to it what it does. The
 * run state comes last: every STOP and RESUME that arrived before the whole view is older. */
enum part { JOBS, BLOCK_JOBS, BLOCK, BLOCKSTATS, NODES, CHARDEVS, MIGRATE, STATUS, N_PARTS };

static const struct {
    const char *command;
    unsigned looks; /* those that it belongs to */
} parts[N_PARTS] = {
    [JOBS] = {"query-jobs", LOOK_JOBS | LOOK_ALL},
    [BLOCK_JOBS] = {"query-block-jobs", LOOK_JOBS | LOOK_ALL},
    [BLOCK] = {"query-block", LOOK_ROOTS | LOOK_ALL},
    [BLOCKSTATS] = {"query-blockstats", LOOK_ALL},
    [NODES] = {"query-named-block-nodes", LOOK_ALL},
    [CHARDEVS] = {"query-chardev", LOOK_PORTS | LOOK_ALL},
    [MIGRATE] = {"query-migrate", LOOK_MIGRATION},
    [STATUS] = {"query-status", LOOK_JOBS | LOOK_ALL},
};

struct burst {
    qmp_view_fn fn;
    void *arg;
    unsigned waiting; /* replies that are still to come, or to be dropped */
    struct error err; /* the first one that matters */
    struct burst_part {
        struct burst *burst;
        json_object *reply;
    } parts[N_PARTS];
};

static void burst_free(struct burst *burst)
{
    for (unsigned i = 0; i < N_PARTS; i++)
        json_object_put(burst->parts[i].reply);
    error_clear(&burst->err);
    free(burst);
}

static void burst_dropped(void *arg)
{
    struct burst_part *part = arg;

    if (--part->burst->waiting == 0)
        burst_free(part->burst);
}

static struct view *burst_view(const struct burst *burst)
{
    const struct qmp_view_replies replies = {
        .status = burst->parts[STATUS].reply,
        .block = burst->parts[BLOCK].reply,
        .blockstats = burst->parts[BLOCKSTATS].reply,
        .nodes = burst->parts[NODES].reply,
        .jobs = burst->parts[JOBS].reply,
        .block_jobs = burst->parts[BLOCK_JOBS].reply,
        .chardevs = burst->parts[CHARDEVS].reply,
        .migrate = burst->parts[MIGRATE].reply,
    };

    return qmp_view_read(&replies);
}

/* A command that this QEMU does not know leaves its part empty. Any other error spoils the view:
 * what it would not show must not look as if it were not there. */
static void burst_replied(void *arg, json_object *result, const struct error *err)
{
    struct burst_part *part = arg;
    struct burst *burst = part->burst;
    const char *class = err ? error_get(err, "class") : NULL;

    part->reply = json_object_get(result);
    if (err && !burst->err.code && (!class || strcmp(class, "CommandNotFound") != 0))
        error_copy(&burst->err, err);
    if (--burst->waiting > 0)
        return;
    if (burst->err.code)
        burst->fn(burst->arg, NULL, &burst->err);
    else
        burst->fn(burst->arg, burst_view(burst), NULL);
    burst_free(burst);
}

static json_object *part_arguments(unsigned part)
{
    json_object *arguments = NULL;

    if (part == NODES) {
        arguments = json_object_new_object();
        json_add_bool(arguments, "flat", true);
    }
    return arguments;
}

void qmp_query_view(struct qmp *qmp, unsigned looks, qmp_view_fn fn, void *arg)
{
    struct burst *burst = xzalloc(sizeof(*burst));

    burst->fn = fn;
    burst->arg = arg;
    qmp_cork(qmp);
    for (unsigned i = 0; i < N_PARTS; i++) {
        if (!(parts[i].looks & looks))
            continue;
        burst->waiting++;
        burst->parts[i].burst = burst;
        qmp_send(qmp, &(struct qmp_request){
                          .command = parts[i].command,
                          .arguments = part_arguments(i),
                          .fn = burst_replied,
                          .drop = burst_dropped,
                          .arg = &burst->parts[i],
                      });
    }
    qmp_uncork(qmp);
}

struct root_query {
    qmp_root_fn fn;
    void *arg;
    char *qom;
};

static void root_query_free(void *arg)
{
    struct root_query *query = arg;

    free(query->qom);
    free(query);
}

static void root_replied(void *arg, json_object *result, const struct error *err)
{
    struct root_query *query = arg;

    query->fn(query->arg, query->qom,
              json_object_is_type(result, json_type_string) ? json_object_get_string(result) : NULL,
              err);
    root_query_free(query);
}

void qmp_query_root(struct qmp *qmp, const char *qom, qmp_root_fn fn, void *arg)
{
    json_object *arguments = with_text("path", qom);
    struct root_query *query = xzalloc(sizeof(*query));

    json_add_string(arguments, "property", "drive");
    *query = (struct root_query){.fn = fn, .arg = arg, .qom = xstrdup(qom)};
    qmp_send(qmp, &(struct qmp_request){
                      .command = "qom-get",
                      .arguments = arguments,
                      .fn = root_replied,
                      .drop = root_query_free,
                      .arg = query,
                  });
}

/* Formats that know of backing files open them by themselves unless told not to; the others refuse
 * the option. */
static bool has_backing(const char *format)
{
    return strcmp(format, "qcow2") == 0 || strcmp(format, "qcow") == 0 ||
           strcmp(format, "qed") == 0 || strcmp(format, "vmdk") == 0;
}

/* What is QEMU's default is left out: reading each member costs QEMU time, 0.3 ms an image for
 * these. */
static void add_cache(json_object *arguments, const struct qmp_open *open)
{
    json_object *cache;

    if (!open->direct && !open->no_flush)
        return;
    cache = json_object_new_object();
    json_add_bool(cache, "direct", open->direct);
    json_add_bool(cache, "no-flush", open->no_flush);
    json_object_object_add(arguments, "cache", cache);
}

void qmp_blockdev_add(struct qmp *qmp, const struct qmp_open *open, qmp_done_fn fn, void *arg)
{
    json_object *arguments = with_text("driver", open->format), *file = with_text("driver", "file");

    json_add_string(file, "filename", open->file);
    json_add_string(arguments, "node-name", open->node);
    if (open->read_only)
        json_add_bool(arguments, "read-only", true);
    if (open->detect_zeroes)
        json_add_string(arguments, "detect-zeroes", open->detect_zeroes);
    add_cache(arguments, open);
    json_object_object_add(arguments, "file", file);
    /* QEMU takes "unmap" only together with this, so the disk that it comes from has it too. */
    if (open->discard || (open->detect_zeroes && strcmp(open->detect_zeroes, "unmap") == 0))
        json_add_string(arguments, "discard", "unmap");
    if (has_backing(open->format))
        json_add_string(arguments, "backing", open->backing);
    qmp_do(qmp, "blockdev-add", arguments, fn, arg);
}

void qmp_blockdev_del(struct qmp *qmp, const char *node, qmp_done_fn fn, void *arg)
{
    qmp_do(qmp, "blockdev-del", with_text("node-name", node), fn, arg);
}

static void put_snapshot(json_object *data, const struct qmp_snapshot *pair)
{
    json_add_string(data, pair->overlay ? "node" : "device", pair->node);
    if (pair->overlay)
        json_add_string(data, "overlay", pair->overlay);
    else
        json_add_string(data, "name", pair->name);
}

static json_object *snapshot_action(const struct qmp_snapshot *pair)
{
    json_object *data = json_object_new_object();
    json_object *action =
        with_text("type", pair->overlay ? "blockdev-snapshot" : "blockdev-snapshot-internal-sync");

    put_snapshot(data, pair);
    json_object_object_add(action, "data", data);
    return action;
}

void qmp_snapshot(struct qmp *qmp, const struct qmp_snapshot *pairs, unsigned n, qmp_done_fn fn,
                  void *arg)
{
    json_object *arguments = json_object_new_object(), *actions;

    if (n == 1 && pairs->overlay) {
        put_snapshot(arguments, pairs);
        qmp_do(qmp, "blockdev-snapshot", arguments, fn, arg);
        return;
    }
    actions = json_object_new_array();
    for (unsigned i = 0; i < n; i++)
        json_object_array_add(actions, snapshot_action(&pairs[i]));
    json_object_object_add(arguments, "actions", actions);
    qmp_do(qmp, "transaction", arguments, fn, arg);
}

void qmp_snapshot_drop(struct qmp *qmp, const char *node, const char *name, qmp_done_fn fn,
                       void *arg)
{
    json_object *arguments = with_text("device", node);

    json_add_string(arguments, "name", name);
    qmp_do(qmp, "blockdev-snapshot-delete-internal-sync", arguments, fn, arg);
}

/* What every job of ours is started with: it waits for us at both ends, and for space in between.
 */
static void add_job_options(json_object *arguments, int64_t speed)
{
    if (speed)
        json_add_int(arguments, "speed", speed);
    json_add_bool(arguments, "auto-finalize", false);
    json_add_bool(arguments, "auto-dismiss", false);
}

void qmp_block_commit(struct qmp *qmp, const struct qmp_commit *commit, qmp_done_fn fn, void *arg)
{
    json_object *arguments = with_text("job-id", commit->job);

    json_add_string(arguments, "device", commit->device);
    if (commit->top)
        json_add_string(arguments, "top-node", commit->top);
    json_add_string(arguments, "base-node", commit->base);
    if (commit->filter)
        json_add_string(arguments, "filter-node-name", commit->filter);
    if (commit->backing_file)
        json_add_string(arguments, "backing-file", commit->backing_file);
    json_add_string(arguments, "on-error", "stop");
    add_job_options(arguments, commit->speed);
    qmp_do(qmp, "block-commit", arguments, fn, arg);
}

void qmp_block_stream(struct qmp *qmp, const struct qmp_stream *stream, qmp_done_fn fn, void *arg)
{
    json_object *arguments = with_text("job-id", stream->job);

    json_add_string(arguments, "device", stream->device);
    if (stream->base)
        json_add_string(arguments, "base-node", stream->base);
    if (stream->base && stream->backing_file)
        json_add_string(arguments, "backing-file", stream->backing_file);
    json_add_string(arguments, "on-error", "stop");
    add_job_options(arguments, stream->speed);
    json_add_bool(arguments, "auto-dismiss", true);
    qmp_do(qmp, "block-stream", arguments, fn, arg);
}

void qmp_blockdev_mirror(struct qmp *qmp, const struct qmp_mirror *mirror, qmp_done_fn fn,
                         void *arg)
{
    json_object *arguments = with_text("job-id", mirror->job);

    json_add_string(arguments, "device", mirror->device);
    json_add_string(arguments, "target", mirror->target);
    json_add_string(arguments, "filter-node-name", mirror->filter);
    json_add_string(arguments, "sync", mirror->top_only ? "top" : "full");
    if (mirror->write_blocking)
        json_add_string(arguments, "copy-mode", "write-blocking");
    if (mirror->granularity)
        json_add_int(arguments, "granularity", mirror->granularity);
    if (mirror->buf_size)
        json_add_int(arguments, "buf-size", mirror->buf_size);
    json_add_string(arguments, "on-source-error", "stop");
    json_add_string(arguments, "on-target-error", "stop");
    add_job_options(arguments, mirror->speed);
    qmp_do(qmp, "blockdev-mirror", arguments, fn, arg);
}

void qmp_job_complete(struct qmp *qmp, const char *job, qmp_done_fn fn, void *arg)
{
    qmp_do(qmp, "job-complete", with_text("id", job), fn, arg);
}

void qmp_job_finalize(struct qmp *qmp, const char *job, qmp_done_fn fn, void *arg)
{
    qmp_do(qmp, "job-finalize", with_text("id", job), fn, arg);
}

void qmp_job_dismiss(struct qmp *qmp, const char *job, qmp_done_fn fn, void *arg)
{
    qmp_do(qmp, "job-dismiss", with_text("id", job), fn, arg);
}

void qmp_job_cancel(struct qmp *qmp, const char *job, qmp_done_fn fn, void *arg)
{
    qmp_do(qmp, "job-cancel", with_text("id", job), fn, arg);
}

void qmp_job_pause(struct qmp *qmp, const char *job, qmp_done_fn fn, void *arg)
{
    qmp_do(qmp, "job-pause", with_text("id", job), fn, arg);
}

void qmp_job_resume(struct qmp *qmp, const char *job, qmp_done_fn fn, void *arg)
{
    qmp_do(qmp, "job-resume", with_text("id", job), fn, arg);
}

void qmp_job_keep(struct qmp *qmp, const char *job, qmp_done_fn fn, void *arg)
{
    qmp_do(qmp, "block-job-cancel", with_text("device", job), fn, arg);
}

void qmp_job_set_speed(struct qmp *qmp, const char *job, int64_t speed, qmp_done_fn fn, void *arg)
{
    json_object *arguments = with_text("device", job);

    json_add_int(arguments, "speed", speed);
    qmp_do(qmp, "block-job-set-speed", arguments, fn, arg);
}

void qmp_quit(struct qmp *qmp, qmp_done_fn fn, void *arg)
{
    qmp_do(qmp, "quit", NULL, fn, arg);
}

void qmp_stop(struct qmp *qmp, qmp_done_fn fn, void *arg)
{
    qmp_do(qmp, "stop", NULL, fn, arg);
}

void qmp_cont(struct qmp *qmp, qmp_done_fn fn, void *arg)
{
    qmp_do(qmp, "cont", NULL, fn, arg);
}

/* The human monitor reports its errors as the text that it would have printed: a success prints
 * nothing. */
static void flush_replied(void *arg, json_object *result, const struct error *err)
{
    _cleanup_free_ struct done *done = arg;
    _cleanup_error_ struct error printed = {0};
    const char *text =
        json_object_is_type(result, json_type_string) ? json_object_get_string(result) : NULL;

    if (!err && text && text[0]) {
        error_set(&printed, SNAPVM_ERROR_QEMU, "QEMU could not flush: %s", text);
        error_text(&printed, "class", "GenericError");
        error_text(&printed, "desc", text);
        error_text(&printed, "command", "human-monitor-command");
        err = &printed;
    }
    done->fn(done->arg, err);
}

void qmp_flush(struct qmp *qmp, const char *node, qmp_done_fn fn, void *arg)
{
    _cleanup_free_ char *line = xasprintf("qemu-io %s flush", node);
    struct done *done = xzalloc(sizeof(*done));

    *done = (struct done){.fn = fn, .arg = arg};
    qmp_send(qmp, &(struct qmp_request){
                      .command = "human-monitor-command",
                      .arguments = with_text("command-line", line),
                      .effect = true,
                      .fn = flush_replied,
                      .drop = free,
                      .arg = done,
                  });
}
