#include "api/wire.h"

#include <string.h>
#include <sys/stat.h>

#include "api/error-json.h"
#include "base/clock.h"
#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "job/stall.h"
#include "qemu/view.h"

static void add_time(json_object *object, const char *name, int64_t when)
{
    char text[CLOCK_TEXT];

    json_add_string(object, name, when ? clock_text(when, text) : NULL);
}

/* A number, or null where it is unknown. */
static void add_number(json_object *object, const char *name, int64_t number)
{
    if (number < 0)
        json_object_object_add(object, name, NULL);
    else
        json_add_int(object, name, number);
}

static bool is_place(const char *qdev)
{
    return qdev && qdev[0] == '/'; /* QEMU's name for a device that nobody named */
}

static int64_t layer_actual_size(const struct domain *domain, const struct record_layer *layer,
                                 const struct view_node *node)
{
    _cleanup_free_ char *path = NULL;
    struct stat st;

    if (node && node->actual_size >= 0)
        return node->actual_size;
    path = process_reach(&domain->record.qemu, layer->file);
    return stat(path, &st) == 0 ? (int64_t)st.st_blocks * 512 : -1;
}

static json_object *wire_layer(const struct domain *domain, const struct record_layer *layer,
                               const struct view_node *node)
{
    json_object *object = json_object_new_object();

    json_add_string(object, "file", layer->file);
    json_add_string(object, "format", layer->format);
    json_add_string(object, "node", node ? node->name : layer->node);
    add_number(object, "virtual_size", layer->virtual_size);
    add_number(object, "actual_size", layer_actual_size(domain, layer, node));
    return object;
}

json_object *wire_disk(const struct domain *domain, const struct record_disk *disk)
{
    json_object *object = json_object_new_object(), *chain = json_object_new_array();
    const struct view_node *node = domain->connected ? disk_top(domain, disk) : NULL;

    json_add_string(object, "target", disk->target);
    json_add_string(object, "node", node ? node->name : disk->n_chain ? disk->chain[0].node : NULL);
    json_add_string(object, "qdev", is_place(disk->qdev) ? NULL : disk->qdev);
    json_add_string(object, "active", disk->n_chain ? disk->chain[0].file : NULL);
    json_add_string(object, "format", disk->n_chain ? disk->chain[0].format : NULL);
    json_add_bool(object, "read_only", disk->read_only);
    /* A chain that a job answers for may be ahead of what QEMU shows. */
    if (disk->held)
        node = NULL;
    for (unsigned i = 0; i < disk->n_chain; i++) {
        json_object_array_add(chain, wire_layer(domain, &disk->chain[i], node));
        node = node ? view_below(domain->view, node) : NULL;
    }
    json_object_object_add(object, "chain", chain);
    return object;
}

static bool wire_is_ours(const struct domain *domain, const char *id)
{
    const struct job *job;
    char name[JOB_NAME_SIZE];

    TAILQ_FOREACH (job, &domain->jobs, link) {
        if (job->record.disk && strcmp(job_qemu_name(job, job->record.disk, name), id) == 0)
            return true;
        for (unsigned i = 0; i < job->record.n_images; i++)
            if (strcmp(job_qemu_name(job, job->record.images[i].disk, name), id) == 0)
                return true;
    }
    return false;
}

static json_object *wire_foreign_jobs(const struct domain *domain)
{
    json_object *array = json_object_new_array();
    const struct view *view = domain->connected ? domain->view : NULL;

    for (unsigned i = 0; view && i < view->n_jobs; i++) {
        const struct view_job *seen = &view->jobs[i];
        json_object *object;

        if (wire_is_ours(domain, seen->id) || seen->status == VIEW_JOB_NONE)
            continue;
        object = json_object_new_object();
        json_add_string(object, "id", seen->id);
        json_add_string(object, "type", seen->type);
        json_add_string(object, "status", view_job_status_name(seen->status));
        json_object_array_add(array, object);
    }
    return array;
}

char *wire_foreign_names(const struct domain *domain)
{
    char *names = NULL;

    for (unsigned i = 0; i < domain->view->n_jobs; i++) {
        const struct view_job *seen = &domain->view->jobs[i];
        _cleanup_free_ char *before = names;

        if (wire_is_ours(domain, seen->id) || seen->status == VIEW_JOB_NONE)
            before = NULL;
        else
            names = xasprintf("%s%s%s (%s)", before ? before : "", before ? ", " : "", seen->id,
                              seen->type ? seen->type : "?");
    }
    return names;
}

json_object *wire_domain(const struct domain *domain)
{
    json_object *object = json_object_new_object(), *disks = json_object_new_array(),
                *jobs = json_object_new_array();
    const struct job *job;

    json_add_string(object, "name", domain->record.name);
    json_add_string(object, "uuid", domain->record.uuid);
    json_add_string(object, "origin", domain->record.found ? "found" : "defined");
    json_add_string(object, "qmp", domain->record.qmp);
    json_add_string(object, "agent", domain->record.agent);
    json_add_bool(object, "connected", domain->connected);
    json_add_string(object, "state", domain_state(domain));
    json_add_string(object, "agent_state", domain_agent_state(domain));
    json_add_string(object, "freeze", domain_freeze_name(domain));
    json_add_string(object, "qemu_version", domain->connected ? domain->version : NULL);
    for (unsigned i = 0; i < domain->record.n_disks; i++)
        json_object_array_add(disks, wire_disk(domain, &domain->record.disks[i]));
    json_object_object_add(object, "disks", disks);
    TAILQ_FOREACH (job, &domain->jobs, link) {
        json_object_array_add(jobs, json_object_new_int64(job->record.id));
    }
    json_object_object_add(object, "jobs", jobs);
    json_object_object_add(object, "foreign_jobs", wire_foreign_jobs(domain));
    json_add_string(object, "current_snapshot", domain->record.current_snapshot);
    return object;
}

static json_object *wire_files(const struct record_job *job)
{
    json_object *files = json_object_new_array();

    for (unsigned i = 0; i < job->n_images; i++) {
        const struct record_image *image = &job->images[i];
        json_object *file = json_object_new_object();

        json_add_string(file, "file", image->file);
        json_add_string(file, "role", image->role);
        json_add_string(file, "state", image->state);
        json_add_string(file, "disk", image->disk[0] ? image->disk : NULL);
        json_object_array_add(files, file);
    }
    return files;
}

/* A word of the shell that QEMU runs, in quotes where it needs them. */
static char *wire_word(const char *text)
{
    const char *plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:,=@%";
    char *word = xzalloc(4 * strlen(text) + 3), *end = word;

    if (text[strspn(text, plain)] == '\0')
        return strcpy(word, text);
    *end++ = '\'';
    for (; *text; text++) {
        if (*text == '\'')
            end = stpcpy(end, "'\\'");
        *end++ = *text;
    }
    *end = '\'';
    return word;
}

/* What QEMU is started with beside the disks, so that the guest goes on from the memory. */
static json_object *wire_start(const struct record_job *job)
{
    const struct record_image *memory = NULL;
    json_object *start, *arguments;
    _cleanup_free_ char *word = NULL, *uri = NULL;

    for (unsigned i = 0; i < job->n_images && !memory; i++)
        if (strcmp(job->images[i].role, "memory") == 0)
            memory = &job->images[i];
    if (!memory || strcmp(job->result, "completed") != 0 || strncmp(job->step, "off-", 4) != 0)
        return NULL;
    word = wire_word(memory->file);
    uri = xasprintf("exec:cat %s", word);
    start = json_object_new_object();
    arguments = json_object_new_array();
    json_object_array_add(arguments,
                          json_object_new_string(memory->node ? "-loadvm" : "-incoming"));
    json_object_array_add(arguments, json_object_new_string(memory->node ? memory->node : uri));
    if (memory->node && !(job->flags & JOB_RUN))
        json_object_array_add(arguments, json_object_new_string("-S"));
    json_object_object_add(start, "arguments", arguments);
    json_add_bool(start, "cont", !memory->node);
    json_add_bool(start, "thaw", (job->flags & JOB_QUIESCED) != 0);
    return start;
}

static json_object *wire_outcome(const struct record_job *job)
{
    json_object *outcome;

    if (!job->result || strcmp(job->state, "ended") != 0)
        return NULL;
    outcome = json_object_new_object();
    json_add_string(outcome, "result", job->result);
    json_add_string(outcome, "active", job->active);
    json_object_object_add(outcome, "files", wire_files(job));
    json_add_string(outcome, "evidence", job->evidence);
    json_object_object_add(outcome, "error", error_to_json(&job->error));
    add_number(outcome, "paused_us", job->paused_us);
    add_number(outcome, "frozen_us", job->frozen_us);
    if (strcmp(job->kind, "snapshot") == 0 || strcmp(job->kind, "memory-snapshot") == 0) {
        json_add_bool(outcome, "quiesced", (job->flags & JOB_QUIESCED) != 0);
        json_add_string(outcome, "quiesce_error", job->quiesce_error);
    }
    if (strcmp(job->kind, "revert") == 0)
        json_object_object_add(outcome, "start", wire_start(job));
    return outcome;
}

static json_object *wire_progress(const struct record_job *job)
{
    json_object *progress;

    if (job->total < 0)
        return NULL;
    progress = json_object_new_object();
    json_add_int(progress, "current", strcmp(job->state, "ready") == 0 ? job->total : job->current);
    json_add_int(progress, "total", job->total);
    return progress;
}

static json_object *wire_stall(const struct record_job *job)
{
    const char *reason = stall_reason(job);
    _cleanup_free_ char *advice = NULL;
    json_object *stall;

    if (!reason)
        return NULL;
    advice = stall_advice(job);
    stall = json_object_new_object();
    json_add_string(stall, "reason", reason);
    json_add_string(stall, "file", stall_file(job));
    json_add_string(stall, "message", advice);
    return stall;
}

json_object *wire_job(const struct record_job *job)
{
    json_object *object = json_object_new_object();

    json_add_int(object, "id", job->id);
    json_add_string(object, "domain", job->domain);
    json_add_string(object, "disk", job->disk);
    json_add_string(object, "kind", job->kind);
    json_add_string(object, "state", job->state);
    json_add_string(object, "step", job->step);
    json_object_object_add(object, "progress", wire_progress(job));
    json_add_int(object, "bandwidth", job->bandwidth);
    add_time(object, "created", job->created);
    add_time(object, "updated", job->updated);
    add_time(object, "ended", job->ended);
    json_add_string(object, "request_id", job->request_id);
    json_object_object_add(object, "stall", wire_stall(job));
    if (job->snapshot)
        json_add_string(object, "snapshot", job->snapshot);
    if (job->left_out)
        json_object_object_add(object, "left_out", json_raw(xstrdup(job->left_out)));
    json_object_object_add(object, "outcome", wire_outcome(job));
    return object;
}

char *wire_job_text(const struct job *job)
{
    _cleanup_json_ json_object *object = wire_job(&job->record);

    return xstrdup(json_text(object));
}

static json_object *wire_blockdev_layer(const struct domain *domain, const struct record_disk *disk,
                                        unsigned i)
{
    const struct record_layer *layer = &disk->chain[i];
    _cleanup_free_ char *path = process_reach(&domain->record.qemu, layer->file);
    json_object *object = json_object_new_object(), *file = json_object_new_object();
    struct stat st;
    bool device = stat(path, &st) == 0 && S_ISBLK(st.st_mode);

    json_add_string(file, "driver", device ? "host_device" : "file");
    json_add_string(file, "filename", layer->file);
    json_add_string(object, "driver", layer->format);
    if (layer->node)
        json_add_string(object, "node-name", layer->node);
    else if (i == 0)
        json_add_string(object, "node-name", disk->target);
    json_add_bool(object, "read-only", i > 0 || disk->read_only);
    json_object_object_add(object, "file", file);
    return object;
}

json_object *wire_blockdev(const struct domain *domain, const struct record_disk *disk)
{
    json_object *below = NULL;

    for (unsigned i = disk->n_chain; i-- > 0;) {
        json_object *object = wire_blockdev_layer(domain, disk, i);

        /* Said also where there is none: QEMU would open what the header names. */
        if (strcmp(disk->chain[i].format, "raw") != 0)
            json_object_object_add(object, "backing", below);
        below = object;
    }
    return below;
}
