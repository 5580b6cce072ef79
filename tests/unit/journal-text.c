#include "tests/unit/journal-text.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "proto/snapvm-errors.h"

struct output {
    FILE *file;
    char *text;
    size_t size;
};

static void output_start(struct output *out)
{
    out->file = open_memstream(&out->text, &out->size);
    ck_assert_ptr_nonnull(out->file);
}

static char *output_end(struct output *out)
{
    fclose(out->file);
    return out->text;
}

static void put_text(struct output *out, const char *name, const char *text)
{
    if (text)
        fprintf(out->file, "%s=\"%s\"\n", name, text);
    else
        fprintf(out->file, "%s=NULL\n", name);
}

static void put_int(struct output *out, const char *name, int64_t number)
{
    fprintf(out->file, "%s=%" PRId64 "\n", name, number);
}

static void put_process(struct output *out, const struct process *process)
{
    put_int(out, "pid", process->pid);
    put_int(out, "start", (int64_t)process->start);
    put_text(out, "boot_id", process->boot_id);
}

static void put_disk(struct output *out, const struct record_disk *disk)
{
    put_text(out, "target", disk->target);
    put_text(out, "qdev", disk->qdev);
    put_text(out, "device", disk->device);
    put_text(out, "node", disk->node);
    put_int(out, "defined", disk->defined);
    put_int(out, "read_only", disk->read_only);
    for (unsigned i = 0; i < disk->n_chain; i++) {
        put_text(out, "layer", disk->chain[i].file);
        put_text(out, "layer.format", disk->chain[i].format);
        put_text(out, "layer.node", disk->chain[i].node);
        put_int(out, "layer.virtual_size", disk->chain[i].virtual_size);
    }
}

char *text_of_domain(const struct record_domain *domain)
{
    struct output out;

    output_start(&out);
    put_text(&out, "name", domain->name);
    put_text(&out, "uuid", domain->uuid);
    put_int(&out, "found", domain->found);
    put_text(&out, "qmp", domain->qmp);
    put_text(&out, "agent", domain->agent);
    put_text(&out, "current_snapshot", domain->current_snapshot);
    put_process(&out, &domain->qemu);
    for (unsigned i = 0; i < domain->n_disks; i++)
        put_disk(&out, &domain->disks[i]);
    return output_end(&out);
}

static void put_image(struct output *out, const struct record_image *image)
{
    put_text(out, "image", image->disk);
    put_text(out, "role", image->role);
    put_text(out, "file", image->file);
    put_text(out, "format", image->format);
    put_text(out, "node", image->node);
    put_int(out, "virtual_size", image->virtual_size);
    put_int(out, "dev", (int64_t)image->dev);
    put_int(out, "ino", (int64_t)image->ino);
    put_int(out, "made", image->made);
    put_text(out, "state", image->state);
    put_int(out, "was_at", image->was_at);
}

static void put_error(struct output *out, const struct error *error)
{
    put_int(out, "error", error->code);
    put_text(out, "message", error->message);
    for (unsigned i = 0; i < error->n_fields; i++) {
        put_text(out, error->field[i].key, error->field[i].text);
        put_int(out, "number", error->field[i].number);
    }
}

static void put_job_outcome(struct output *out, const struct record_job *job)
{
    put_text(out, "result", job->result);
    put_text(out, "active", job->active);
    put_text(out, "evidence", job->evidence);
    put_error(out, &job->error);
    put_int(out, "paused_us", job->paused_us);
    put_int(out, "frozen_us", job->frozen_us);
}

char *text_of_job(const struct record_job *job)
{
    struct output out;

    output_start(&out);
    put_int(&out, "id", job->id);
    put_text(&out, "domain", job->domain);
    put_text(&out, "disk", job->disk);
    put_text(&out, "kind", job->kind);
    put_text(&out, "state", job->state);
    put_text(&out, "step", job->step);
    put_int(&out, "flags", job->flags);
    put_int(&out, "group", job->group);
    put_int(&out, "bandwidth", job->bandwidth);
    put_int(&out, "created", job->created);
    put_int(&out, "updated", job->updated);
    put_int(&out, "ended", job->ended);
    put_int(&out, "current", job->current);
    put_int(&out, "total", job->total);
    put_text(&out, "request_id", job->request_id);
    put_process(&out, &job->qemu);
    put_text(&out, "snapshot", job->snapshot);
    put_text(&out, "description", job->description);
    put_text(&out, "guest_state", job->guest_state);
    put_text(&out, "quiesce_error", job->quiesce_error);
    put_job_outcome(&out, job);
    for (unsigned i = 0; i < job->n_images; i++)
        put_image(&out, &job->images[i]);
    return output_end(&out);
}

char *text_of_snapshot(const struct record_snapshot *snapshot)
{
    struct output out;

    output_start(&out);
    put_text(&out, "domain", snapshot->domain);
    put_text(&out, "name", snapshot->name);
    put_text(&out, "parent", snapshot->parent);
    put_text(&out, "description", snapshot->description);
    put_text(&out, "state", snapshot->state);
    put_text(&out, "memory", snapshot->memory);
    put_int(&out, "quiesced", snapshot->quiesced);
    put_text(&out, "quiesce_error", snapshot->quiesce_error);
    put_int(&out, "created", snapshot->created);
    put_text(&out, "memory_file", snapshot->memory_file);
    for (unsigned i = 0; i < snapshot->n_disks; i++) {
        put_text(&out, "disk", snapshot->disks[i].disk);
        put_text(&out, "mode", snapshot->disks[i].mode);
        put_text(&out, "file", snapshot->disks[i].file);
        put_text(&out, "format", snapshot->disks[i].format);
        put_text(&out, "backing", snapshot->disks[i].backing);
    }
    return output_end(&out);
}

char *text_of_debt(const struct record_debt *debt)
{
    struct output out;

    output_start(&out);
    put_text(&out, "domain", debt->domain);
    put_process(&out, &debt->qemu);
    put_int(&out, "since", debt->since);
    put_int(&out, "deadline", debt->deadline);
    put_int(&out, "job", debt->job);
    put_int(&out, "count", debt->count);
    put_int(&out, "listed", debt->listed);
    return output_end(&out);
}

char *text_of_request(const struct record_request *request)
{
    struct output out;

    output_start(&out);
    put_text(&out, "id", request->id);
    put_text(&out, "method", request->method);
    put_text(&out, "params", request->params);
    put_int(&out, "job", request->job);
    put_text(&out, "result", request->result);
    put_int(&out, "time", request->time);
    return output_end(&out);
}

/* A text of its own for a field: the name of the field behind the seed. */
static char *seeded(const char *seed, const char *field)
{
    return seed ? xasprintf("%s%s", seed, field) : NULL;
}

static struct process make_process(const char *seed)
{
    struct process process = {0};

    if (!seed)
        return process;
    process.pid = 4711;
    process.start = UINT64_MAX - 5; /* more than SQLite's integers hold */
    strcpy(process.boot_id, "0b5e6f0c-24a2-4bd6-9d5c-6b4b6f5b7a11");
    return process;
}

struct record_domain make_domain(const char *name, const char *seed)
{
    struct record_domain domain = {.name = xstrdup(name),
                                   .uuid = seeded(seed, "uuid"),
                                   .found = seed != NULL,
                                   .qmp = seeded(seed, "qmp"),
                                   .agent = seeded(seed, "agent"),
                                   .current_snapshot = seeded(seed, "current"),
                                   .qemu = make_process(seed)};

    for (int i = 0; i < 3; i++) {
        _cleanup_free_ char *target = xasprintf("vd%c", 'a' + i);
        struct record_disk *disk = record_domain_add_disk(&domain, target);

        disk->qdev = seeded(seed, "qdev");
        disk->device = seeded(seed, "device");
        disk->node = seeded(seed, "node");
        disk->defined = i == 1;
        disk->read_only = i == 2;
        for (int j = 0; j < i * 2; j++) {
            _cleanup_free_ char *file = xasprintf("%s/disk %d layer %d", seed ? seed : "", i, j);
            struct record_layer *layer = record_disk_add_layer(disk, file, seed);

            layer->node = seeded(seed, "layer");
            layer->virtual_size = j ? INT64_C(1) << 40 : -1;
        }
    }
    return domain;
}

static void make_images(struct record_job *job, const char *seed)
{
    for (int i = 0; i < 3; i++) {
        struct record_image *image = record_job_add_image(job, seed, seed, seed);

        image->format = seeded(seed, "format");
        image->node = seeded(seed, "node");
        image->virtual_size = 512 * i - 1;
        image->dev = 0xfd00000000000001u + (dev_t)i;
        image->ino = UINT64_MAX - (ino_t)i;
        image->made = i == 1;
        image->state = seeded(seed, "state");
        image->was_at = i == 2;
    }
}

struct record_job make_job(int64_t id, const char *domain, const char *seed)
{
    struct record_job job = {.id = id,
                             .domain = xstrdup(domain),
                             .disk = seeded(seed, "disk"),
                             .kind = xstrdup("active-commit"),
                             .state = xstrdup("finishing"),
                             .step = seeded(seed, "step"),
                             .flags = UINT32_MAX,
                             .group = 7,
                             .bandwidth = 8,
                             .created = 9,
                             .updated = INT64_MAX,
                             .current = 11,
                             .total = -1,
                             .request_id = seeded(seed, "request"),
                             .qemu = make_process(seed),
                             .snapshot = seeded(seed, "snapshot"),
                             .description = seeded(seed, "description"),
                             .guest_state = seeded(seed, "guest"),
                             .quiesce_error = seeded(seed, "quiesce"),
                             .result = seeded(seed, "result"),
                             .active = seeded(seed, "active"),
                             .evidence = seeded(seed, "evidence"),
                             .paused_us = 12,
                             .frozen_us = -1};

    if (seed) {
        error_set(&job.error, SNAPVM_ERROR_IMAGE, "a \"sentence\" with\n%s", "é");
        error_text(&job.error, "file", "/images/a");
        error_text(&job.error, "reason", "");
        error_number(&job.error, "count", INT64_MIN);
    }
    make_images(&job, seed);
    return job;
}

struct record_snapshot make_snapshot(const char *domain, const char *name, const char *seed)
{
    struct record_snapshot snapshot = {.domain = xstrdup(domain),
                                       .name = xstrdup(name),
                                       .parent = seeded(seed, "parent"),
                                       .description = seeded(seed, "description"),
                                       .state = seeded(seed, "state"),
                                       .memory = seeded(seed, "memory"),
                                       .quiesced = seed != NULL,
                                       .quiesce_error = seeded(seed, "quiesce"),
                                       .created = 17,
                                       .memory_file = seeded(seed, "memory file")};

    for (int i = 0; i < 2; i++) {
        struct record_snapshot_disk *disk = record_snapshot_add_disk(&snapshot, seed);

        disk->mode = seeded(seed, "mode");
        disk->file = seeded(seed, "file");
        disk->format = seeded(seed, "format");
        disk->backing = seeded(seed, "backing");
    }
    return snapshot;
}

struct record_debt make_debt(const char *domain, const char *seed)
{
    return (struct record_debt){.domain = xstrdup(domain),
                                .qemu = make_process(seed),
                                .since = 21,
                                .deadline = INT64_MAX,
                                .job = 22,
                                .count = 23,
                                .listed = true};
}

struct record_request make_request(const char *id, const char *seed)
{
    return (struct record_request){.id = xstrdup(id),
                                   .method = xstrdup("snapshot.create"),
                                   .params = seeded(seed, "params"),
                                   .job = 31,
                                   .result = seeded(seed, "result"),
                                   .time = 32};
}
