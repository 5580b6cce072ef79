#include "journal/row.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "proto/snapvm-errors.h"

struct row row_start(struct statement_set *set, enum statement statement)
{
    return (struct row){.set = set, .statement = statement, .rc = SQLITE_OK};
}

bool row_next(struct row *row)
{
    int rc = sqlite3_step(row->set->stmt[row->statement]);

    row->column = 0;
    if (rc == SQLITE_ROW)
        return true;
    row->rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
    sqlite3_reset(row->set->stmt[row->statement]);
    return false;
}

int64_t row_int(struct row *row)
{
    return sqlite3_column_int64(row->set->stmt[row->statement], row->column++);
}

char *row_text(struct row *row)
{
    return xstrdup(
        (const char *)sqlite3_column_text(row->set->stmt[row->statement], row->column++));
}

static void row_process(struct row *row, struct process *process)
{
    _cleanup_free_ char *boot = NULL;

    process->pid = (pid_t)row_int(row);
    process->start = (uint64_t)row_int(row);
    boot = row_text(row);
    snprintf(process->boot_id, sizeof(process->boot_id), "%s", boot ? boot : "");
}

void *row_append(void *array, unsigned *n, size_t size)
{
    /* The room is the next power of two. */
    if ((*n & (*n - 1)) == 0)
        array = xrealloc(array, *n ? 2 * (size_t)*n : 1, size);
    memset((char *)array + *n * size, 0, size);
    (*n)++;
    return array;
}

static int row_layers(struct statement_set *set, const char *domain, int64_t position,
                      struct record_disk *disk)
{
    struct row row = row_start(set, STATEMENT_LIST_LAYERS);

    statement_bind_text(set, row.statement, 1, domain);
    statement_bind_int(set, row.statement, 2, position);
    while (row_next(&row)) {
        struct record_layer *layer = record_disk_add_layer(disk, NULL, NULL);

        layer->file = row_text(&row);
        layer->format = row_text(&row);
        layer->node = row_text(&row);
        layer->virtual_size = row_int(&row);
    }
    return row.rc;
}

static int row_disks(struct statement_set *set, struct record_domain *domain)
{
    struct row row = row_start(set, STATEMENT_LIST_DISKS);
    int rc = SQLITE_OK;

    statement_bind_text(set, row.statement, 1, domain->name);
    while (row_next(&row)) {
        struct record_disk *disk = record_domain_add_disk(domain, NULL);

        disk->target = row_text(&row);
        disk->qdev = row_text(&row);
        disk->device = row_text(&row);
        disk->node = row_text(&row);
        disk->format = row_text(&row);
        disk->defined = row_int(&row);
        disk->read_only = row_int(&row);
        disk->firmware = row_int(&row);
        if (rc == SQLITE_OK)
            rc = row_layers(set, domain->name, row_int(&row), disk);
    }
    return rc == SQLITE_OK ? row.rc : rc;
}

static int row_domain_document(struct statement_set *set, struct record_domain *domain)
{
    struct row row = row_start(set, STATEMENT_GET_DOMAIN_DOCUMENT);

    statement_bind_text(set, row.statement, 1, domain->name);
    while (row_next(&row))
        domain->document = row_text(&row);
    return row.rc;
}

int row_domain(struct row *row, struct record_domain *domain)
{
    int rc;

    domain->name = row_text(row);
    domain->uuid = row_text(row);
    domain->found = row_int(row);
    domain->qmp = row_text(row);
    domain->agent = row_text(row);
    domain->current_snapshot = row_text(row);
    row_process(row, &domain->qemu);
    rc = row_domain_document(row->set, domain);
    return rc == SQLITE_OK ? row_disks(row->set, domain) : rc;
}

void row_image(struct row *row, struct record_job *job)
{
    struct record_image *image = record_job_add_image(job, NULL, NULL, NULL);

    image->disk = row_text(row);
    image->role = row_text(row);
    image->file = row_text(row);
    image->format = row_text(row);
    image->node = row_text(row);
    image->virtual_size = row_int(row);
    image->dev = (dev_t)row_int(row);
    image->ino = (ino_t)row_int(row);
    image->made = row_int(row);
    image->state = row_text(row);
    image->was_at = row_int(row);
}

static int row_images(struct statement_set *set, struct record_job *job)
{
    struct row row = row_start(set, STATEMENT_LIST_IMAGES);

    statement_bind_int(set, row.statement, 1, job->id);
    while (row_next(&row))
        row_image(&row, job);
    return row.rc;
}

static void row_outcome(struct row *row, struct record_job *job)
{
    _cleanup_free_ char *error = NULL;

    job->result = row_text(row);
    job->active = row_text(row);
    job->evidence = row_text(row);
    error = row_text(row);
    /* That a job failed must not be forgotten because the reason cannot be read. */
    if (error && record_error_parse(error, &job->error) < 0)
        error_set(&job->error, SNAPVM_ERROR_INTERNAL, "The stored error cannot be read: %s", error);
    job->paused_us = row_int(row);
    job->frozen_us = row_int(row);
    job->left_out = row_text(row);
}

int row_job(struct row *row, struct record_job *job)
{
    job->id = row_int(row);
    job->domain = row_text(row);
    job->disk = row_text(row);
    job->kind = row_text(row);
    job->state = row_text(row);
    job->step = row_text(row);
    job->flags = (uint32_t)row_int(row);
    job->group = row_int(row);
    job->bandwidth = row_int(row);
    job->created = row_int(row);
    job->updated = row_int(row);
    job->ended = row_int(row);
    job->current = row_int(row);
    job->total = row_int(row);
    job->request_id = row_text(row);
    row_process(row, &job->qemu);
    job->snapshot = row_text(row);
    job->description = row_text(row);
    job->guest_state = row_text(row);
    job->quiesce_error = row_text(row);
    row_outcome(row, job);
    return row_images(row->set, job);
}

static int row_snapshot_disks(struct statement_set *set, struct record_snapshot *snapshot)
{
    struct row row = row_start(set, STATEMENT_LIST_SNAPSHOT_DISKS);

    statement_bind_text(set, row.statement, 1, snapshot->domain);
    statement_bind_text(set, row.statement, 2, snapshot->name);
    while (row_next(&row)) {
        struct record_snapshot_disk *disk = record_snapshot_add_disk(snapshot, NULL);

        disk->disk = row_text(&row);
        disk->mode = row_text(&row);
        disk->file = row_text(&row);
        disk->format = row_text(&row);
        disk->backing = row_text(&row);
        disk->backing_format = row_text(&row);
    }
    return row.rc;
}

int row_snapshot(struct row *row, struct record_snapshot *snapshot)
{
    snapshot->domain = row_text(row);
    snapshot->name = row_text(row);
    snapshot->parent = row_text(row);
    snapshot->description = row_text(row);
    snapshot->state = row_text(row);
    snapshot->memory = row_text(row);
    snapshot->quiesced = row_int(row);
    snapshot->quiesce_error = row_text(row);
    snapshot->created = row_int(row);
    snapshot->memory_file = row_text(row);
    return row_snapshot_disks(row->set, snapshot);
}

int row_debt(struct row *row, struct record_debt *debt)
{
    debt->domain = row_text(row);
    row_process(row, &debt->qemu);
    debt->since = row_int(row);
    debt->deadline = row_int(row);
    debt->job = row_int(row);
    debt->count = row_int(row);
    debt->listed = row_int(row);
    return SQLITE_OK;
}

int row_request(struct row *row, struct record_request *request)
{
    request->id = row_text(row);
    request->method = row_text(row);
    request->params = row_text(row);
    request->job = row_int(row);
    request->result = row_text(row);
    request->time = row_int(row);
    return SQLITE_OK;
}
