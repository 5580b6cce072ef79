#include "job/delete-job.h"

#include <string.h>

#include "base/memory.h"
#include "domain/domains.h"
#include "domain/snapshot.h"
#include "job/engine.h"
#include "job/internal.h"
#include "job/strand.h"
#include "journal/journal.h"

struct job *delete_job_new(struct engine *engine, struct domain *domain, const char *snapshot,
                           unsigned flags)
{
    struct job *job = job_new(engine, domain, "snapshot-delete");

    job->record.id = journal_next_job(domain->owner->journal);
    job->record.snapshot = xstrdup(snapshot);
    job->record.flags = flags | JOB_DELETE;
    return job;
}

bool delete_takes(const struct job *job, const struct snapshot *snapshot)
{
    bool itself = strcmp(snapshot->record.name, job->record.snapshot) == 0;

    if (itself)
        return !job_has(job, JOB_CHILDREN_ONLY);
    if (!job_has(job, JOB_CHILDREN) && !job_has(job, JOB_CHILDREN_ONLY))
        return false;
    return snapshot_descends(job->domain, snapshot, job->record.snapshot);
}

bool delete_touches(const struct job *job, const char *target)
{
    const struct snapshot *snapshot;

    TAILQ_FOREACH (snapshot, &job->domain->snapshots, link) {
        for (unsigned i = 0; delete_takes(job, snapshot) && i < snapshot->record.n_disks; i++) {
            const struct record_snapshot_disk *disk = &snapshot->record.disks[i];

            if (strcmp(disk->disk, target) == 0 && strcmp(disk->mode, "no") != 0)
                return true;
        }
    }
    return false;
}

const struct plan *delete_merge_plan(struct job *job)
{
    for (unsigned i = 0; i < job->record.n_images; i++) {
        if (strcmp(job->record.images[i].role, "top") != 0 || !job->record.images[i].node)
            continue;
        job->record.flags |= JOB_AUTO_PIVOT;
        return &plan_delete;
    }
    return &plan_off_delete;
}

static void delete_add_inside(struct job *job, const struct snapshot *snapshot)
{
    for (unsigned i = 0; i < snapshot->record.n_disks; i++) {
        const struct record_snapshot_disk *disk = &snapshot->record.disks[i];
        struct record_image *image;

        if (strcmp(disk->mode, "internal") != 0 || !disk->file)
            continue;
        image = record_job_add_image(&job->record, disk->disk, "internal", disk->file);
        xstrset(&image->format, "qcow2");
        xstrset(&image->node, snapshot->record.name);
    }
}

/* The file goes with the snapshot; behind the layers, whose first one names the job's disk. */
static void delete_add_memory(struct job *job, const struct snapshot *snapshot)
{
    const struct record_snapshot *record = &snapshot->record;
    struct record_image *image;

    if (!record->memory || strcmp(record->memory, "external") != 0 || !record->memory_file ||
        record->memory_file[0] != '/')
        return;
    image = record_job_add_image(&job->record, "", "memory", record->memory_file);
    xstrset(&image->format, "raw");
}

void delete_prepare(struct job *job)
{
    const struct snapshot *snapshot;

    TAILQ_FOREACH (snapshot, &job->domain->snapshots, link) {
        if (!delete_takes(job, snapshot))
            continue;
        delete_add_inside(job, snapshot);
        delete_add_memory(job, snapshot);
    }
    job->plan = internal_has(job) ? &plan_delete_inside : delete_merge_plan(job);
}

/* Whether everything is merged, so that the snapshots go. */
static bool delete_is_done(const struct job *job)
{
    return job_has(job, JOB_DECIDED) && !job_has(job, JOB_REVERSED);
}

/* The nearest one that stays, upwards from the current one. */
static const char *delete_current(const struct job *job)
{
    const struct snapshot *at = snapshot_find(job->domain, job->domain->record.current_snapshot);

    while (at && delete_takes(job, at))
        at = at->parent;
    return at ? at->record.name : NULL;
}

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* The names of a disk's images after the merge. Returns whether anything changed. */
static bool delete_rename(const struct job *job, struct record_snapshot_disk *disk)
{
    bool changed = false;

    for (struct strand s = strand_first(job); s.top; s = strand_next(job, &s)) {
        if (!same(s.top->disk, disk->disk) || !same(s.top->file, disk->backing) ||
            !strand_is_done(job, &s))
            continue;
        xstrset(&disk->backing, s.base->file);
        xstrset(&disk->backing_format, s.base->format);
        changed = true;
        break;
    }
    for (unsigned i = 0; i < job->record.n_images; i++) {
        const struct record_image *image = &job->record.images[i];

        if (strcmp(image->role, "branch") != 0 || !same(image->file, disk->file) ||
            !delete_is_done(job))
            continue;
        xstrset(&disk->file, NULL);
        changed = true;
        break;
    }
    return changed;
}

static bool delete_rename_all(const struct job *job, struct record_snapshot *record)
{
    bool changed = false;

    for (unsigned i = 0; i < record->n_disks; i++)
        changed |= delete_rename(job, &record->disks[i]);
    return changed;
}

/* Whether a layer is one that its snapshot cannot rely on any more. */
static bool delete_writes_to(const struct job *job, const struct record_snapshot_disk *disk)
{
    for (struct strand s = strand_first(job); s.top; s = strand_next(job, &s))
        for (const struct record_image *image = s.top + 1; image <= s.base; image++)
            if (same(image->disk, disk->disk) && same(image->file, disk->backing))
                return true;
    return false;
}

static void delete_spoil(const struct job *job, struct record_snapshot *record)
{
    for (unsigned i = 0; i < record->n_disks; i++)
        if (delete_writes_to(job, &record->disks[i]))
            xstrset(&record->disks[i].backing, NULL);
}

static const char *delete_parent(const struct job *job, const struct snapshot *snapshot)
{
    const struct snapshot *parent = snapshot->parent;

    while (parent && delete_takes(job, parent))
        parent = parent->parent;
    return parent ? parent->record.name : NULL;
}

static void delete_note_one(const struct job *job, const struct snapshot *snapshot,
                            struct journal_txn *txn)
{
    struct record_snapshot copy = {0};
    const char *parent = delete_parent(job, snapshot);
    bool moved = delete_is_done(job) && !same(parent, snapshot->record.parent) &&
                 (parent || snapshot->parent);

    record_snapshot_copy(&copy, &snapshot->record);
    if (moved)
        xstrset(&copy.parent, parent);
    if (delete_rename_all(job, &copy) || moved)
        journal_put_snapshot(txn, &copy);
    record_snapshot_deinit(&copy);
}

/* Memory has it at once: a record of the domain that is saved before the end is durable, as when
 * QEMU connects, would bring the snapshot that is gone back as the current one. */
static void delete_tell(struct job *job, struct journal_txn *txn)
{
    const char *current = delete_current(job), *domain = job->record.domain;
    _cleanup_free_ char *body = NULL;

    if (!delete_is_done(job) || same(current, job->domain->record.current_snapshot) ||
        !job->domain->record.current_snapshot)
        return;
    body = record_name_event(current);
    journal_set_current(txn, domain, current);
    journal_add_event(txn, "snapshot.current", domain, body);
    xstrset(&job->domain->record.current_snapshot, current);
}

static void delete_note_taken(const struct job *job, const struct snapshot *snapshot,
                              struct journal_txn *txn)
{
    _cleanup_free_ char *body = record_name_event(snapshot->record.name);
    struct record_snapshot copy = {0};

    if (delete_is_done(job)) {
        journal_drop_snapshot(txn, job->record.domain, snapshot->record.name);
        journal_add_event(txn, "snapshot.deleted", job->record.domain, body);
        return;
    }
    record_snapshot_copy(&copy, &snapshot->record);
    delete_spoil(job, &copy);
    journal_put_snapshot(txn, &copy);
    record_snapshot_deinit(&copy);
}

void delete_note(struct job *job, struct journal_txn *txn)
{
    const struct snapshot *snapshot;

    delete_tell(job, txn);
    TAILQ_FOREACH (snapshot, &job->domain->snapshots, link) {
        if (delete_takes(job, snapshot))
            delete_note_taken(job, snapshot, txn);
        else
            delete_note_one(job, snapshot, txn);
    }
}

static void delete_apply_undone(struct job *job)
{
    struct snapshot *snapshot;

    TAILQ_FOREACH (snapshot, &job->domain->snapshots, link) {
        if (delete_takes(job, snapshot))
            delete_spoil(job, &snapshot->record);
        else
            delete_rename_all(job, &snapshot->record);
    }
}

void delete_apply(struct job *job)
{
    _cleanup_free_ char *current = xstrdup(delete_current(job));
    struct snapshot *snapshot, *next;

    if (!delete_is_done(job)) {
        delete_apply_undone(job);
        return;
    }
    xstrset(&job->domain->record.current_snapshot, current);
    /* Descendants are told by the one that is deleted itself, which therefore goes last. */
    for (snapshot = TAILQ_LAST(&job->domain->snapshots, snapshot_list); snapshot; snapshot = next) {
        next = TAILQ_PREV(snapshot, snapshot_list, link);
        if (strcmp(snapshot->record.name, job->record.snapshot) == 0)
            continue;
        if (delete_takes(job, snapshot))
            snapshot_remove(job->domain, snapshot);
        else
            delete_rename_all(job, &snapshot->record);
    }
    snapshot = snapshot_find(job->domain, job->record.snapshot);
    if (snapshot && delete_takes(job, snapshot))
        snapshot_remove(job->domain, snapshot);
    else if (snapshot)
        delete_rename_all(job, &snapshot->record);
}

void delete_note_end(struct job *job, struct journal_txn *txn)
{
    if (delete_is_done(job) || !(job->touched || job->recovered))
        return;
    delete_note(job, txn);
    delete_apply(job);
}
