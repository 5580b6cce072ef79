/* Inner commits and pulls, into the active layer or one below. The disk's active layer is the right
 * image at every instant; what can go wrong is the layer above the merged ones: QEMU writes its new
 * backing name into its header before the copied data's metadata is flushed, and a kill after that
 * loses data. So the job is held in pending, the node that received the data is flushed, and only
 * then may QEMU change the header.
 *
 * Before that the header leads through the merged layers, where all that was copied reads the same;
 * after it, past them. So whoever dies, the header tells which of the two it is, and both are
 * right. It is synced before anything is made of what it tells. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "domain/snapshot.h"
#include "job/engine.h"
#include "job/files.h"
#include "job/leg.h"
#include "job/merge.h"
#include "job/pivot.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "qemu/qmp-command.h"
#include "qemu/qmp.h"
#include "qemu/view.h"

static bool is_pull(const struct job *job)
{
    return strcmp(job->record.kind, "pull") == 0;
}

/* --- evidence --- */

static enum view_job_status merge_status(const struct job *job, const struct view *view)
{
    char name[JOB_NAME_SIZE];

    return view_job_status(view, job_qemu_name(job, job->record.disk, name));
}

/* Whether the merged layers have left the disk's chain. */
static bool merge_is_done(const struct job *job, const struct view *view)
{
    const struct record_disk *disk = disk_find(job->domain, job->record.disk);
    const struct view_disk *seen = disk ? disk_in_view(job->domain, disk) : NULL;

    for (unsigned i = 0; i < job->record.n_images; i++)
        if (leg_merges(&job->record.images[i]) &&
            (!seen || view_in_chain(view, seen->root, job->record.images[i].node)))
            return false;
    return true;
}

static enum seen start_probe(const struct job *job, const struct view *view)
{
    switch (merge_status(job, view)) {
    case VIEW_JOB_NONE:
        return merge_is_done(job, view) ? HOLDS : NOT_YET;
    case VIEW_JOB_CONCLUDED:
        return merge_is_done(job, view) ? HOLDS : LOST;
    case VIEW_JOB_ABORTING:
        return MOVING;
    default:
        return HOLDS;
    }
}

static enum seen converge_probe(const struct job *job, const struct view *view)
{
    switch (merge_status(job, view)) {
    case VIEW_JOB_PENDING:
        return HOLDS;
    case VIEW_JOB_NONE:
    case VIEW_JOB_CONCLUDED:
        return merge_is_done(job, view) ? HOLDS : LOST;
    default:
        return MOVING;
    }
}

static enum seen flush_probe(const struct job *job, const struct view *view)
{
    return merge_is_done(job, view) ? HOLDS : NOT_YET;
}

static enum seen finalize_probe(const struct job *job, const struct view *view)
{
    if (merge_is_done(job, view))
        return HOLDS;
    return merge_status(job, view) == VIEW_JOB_PENDING ? NOT_YET : LOST;
}

static bool merge_has_open_nodes(const struct job *job, const struct view *view)
{
    for (unsigned i = 0; i < job->record.n_images; i++)
        if (leg_merges(&job->record.images[i]) && view_node(view, job->record.images[i].node))
            return true;
    return false;
}

static enum seen tidy_probe(const struct job *job, const struct view *view)
{
    if (merge_status(job, view) != VIEW_JOB_NONE)
        return NOT_YET;
    return job->retry_ms < PIVOT_PATIENCE_MS && merge_has_open_nodes(job, view) ? NOT_YET : HOLDS;
}

/* --- acts --- */

static void start_commit(struct job *job, const char *name)
{
    char filter[JOB_NAME_SIZE];
    const struct record_disk *disk = disk_find(job->domain, job->record.disk);
    const struct view_node *active = disk ? disk_top(job->domain, disk) : NULL;
    struct qmp_commit commit = {
        .job = name,
        .device = active ? active->name : "",
        .top = job_image(job, NULL, "top")->node,
        .base = job_image(job, NULL, "base")->node,
        .backing_file = job_image(job, NULL, "base")->file,
        .filter = job_filter_name(job, job->record.disk, filter),
        .speed = job->record.bandwidth,
    };

    qmp_block_commit(job_qmp(job), &commit, job_reply, job);
}

static void start_pull(struct job *job, const char *name)
{
    const struct record_image *base = job_image(job, NULL, "base");
    struct qmp_stream stream = {
        .job = name,
        .device = job_image(job, NULL, "above")->node,
        .base = base ? base->node : NULL,
        .backing_file = base ? base->file : NULL,
        .speed = job->record.bandwidth,
    };

    qmp_block_stream(job_qmp(job), &stream, job_reply, job);
}

static void start_act(struct job *job)
{
    char name[JOB_NAME_SIZE];

    xstrset(&job->record.state, "running");
    job_qemu_name(job, job->record.disk, name);
    job_expect(job, 1);
    if (is_pull(job))
        start_pull(job, name);
    else
        start_commit(job, name);
}

static void start_undo(struct job *job)
{
    char name[JOB_NAME_SIZE];

    job_qemu_name(job, job->record.disk, name);
    job_expect(job, 1);
    if (merge_status(job, job->domain->view) == VIEW_JOB_CONCLUDED)
        qmp_job_dismiss(job_qmp(job), name, job_reply_lenient, job);
    else
        qmp_job_cancel(job_qmp(job), name, job_reply_lenient, job);
}

static void flush_act(struct job *job)
{
    const char *receiver = is_pull(job) ? "above" : "base";

    xstrset(&job->record.state, "finishing");
    job_expect(job, 1);
    qmp_flush(job_qmp(job), job_image(job, NULL, receiver)->node, job_reply, job);
}

static void finalize_act(struct job *job)
{
    char name[JOB_NAME_SIZE];

    job_expect(job, 1);
    qmp_job_finalize(job_qmp(job), job_qemu_name(job, job->record.disk, name), job_reply, job);
}

static void tidy_act(struct job *job)
{
    char name[JOB_NAME_SIZE];
    unsigned n = 1;

    for (unsigned i = 0; i < job->record.n_images; i++)
        n += leg_merges(&job->record.images[i]);
    job_expect(job, n);
    qmp_cork(job_qmp(job));
    qmp_job_dismiss(job_qmp(job), job_qemu_name(job, job->record.disk, name), job_reply_lenient,
                    job);
    for (unsigned i = 0; i < job->record.n_images; i++)
        if (leg_merges(&job->record.images[i]))
            qmp_blockdev_del(job_qmp(job), job->record.images[i].node, job_reply_lenient, job);
    qmp_uncork(job_qmp(job));
}

static void settle_act(struct job *job)
{
    engine_end(job, "completed");
}

static const struct step merge_steps[] = {
    {.name = "merge-start",
     .probe = start_probe,
     .act = start_act,
     .undo = start_undo,
     .flags = STEP_RECORD,
     .does = "block-commit or block-stream with a job id of our own",
     .image = "the active layer; the old chain reads right",
     .lives = "the job in QEMU, the disk's chain",
     .gone = "header above: failed, completed, cancelled"},
    {.name = "merge-converge",
     .probe = converge_probe,
     .flags = STEP_WAIT,
     .does = "copy until pending: the guest's I/O goes on",
     .image = "the active layer; the old chain reads right",
     .lives = "the job in QEMU, the disk's chain",
     .gone = "header above: failed, completed, cancelled"},
    {.name = "merge-flush",
     .probe = flush_probe,
     .act = flush_act,
     .does = "flush the node that received the data",
     .image = "the active layer; the old chain reads right",
     .lives = "the job in QEMU, the disk's chain",
     .gone = "header above: failed"},
    {.name = "merge-finalize",
     .probe = finalize_probe,
     .act = finalize_act,
     .flags = STEP_COMMITS | STEP_VERIFY,
     .does = "job-finalize: QEMU writes the new backing name into the header above",
     .image = "the active layer; old and new chain read right, its header tells which it is",
     .lives = "the job in QEMU, the disk's chain",
     .gone = "header above: failed, completed"},
    {.name = "merge-tidy",
     .probe = tidy_probe,
     .act = tidy_act,
     .flags = STEP_VERIFY,
     .does = "job-dismiss, close the nodes of the merged layers",
     .image = "the active layer",
     .lives = "the job and the nodes in QEMU",
     .gone = "header above: completed"},
    {.name = "merge-store",
     .act = pivot_store_act,
     .does = "sync the header above",
     .image = "the active layer; old and new chain read right"},
    {.name = "merge-remove",
     .act = pivot_remove_act,
     .skip = pivot_remove_skip,
     .does = "remove the merged layers if asked, after proof that nothing uses them",
     .image = "the active layer; the new chain"},
    {.name = "merge-settle",
     .act = settle_act,
     .flags = STEP_END,
     .does = "outcome and event in one commit",
     .image = "the active layer"},
};

/* --- hooks --- */

/* The record of the chain without the merged layers. */
static void merge_drop_layers(struct job *job)
{
    struct record_disk *disk = disk_find(job->domain, job->record.disk);

    for (unsigned i = 0; disk && i < job->record.n_images; i++)
        for (unsigned k = 0; leg_merges(&job->record.images[i]) && k < disk->n_chain; k++)
            if (strcmp(disk->chain[k].file, job->record.images[i].file) == 0) {
                record_disk_drop_layers(disk, k, 1);
                break;
            }
}

/* The record of the chain with them: it may have been written while QEMU's header was not synced
 * yet, and the host has ended since. */
static void merge_raise_layers(struct job *job)
{
    struct record_disk *disk = disk_find(job->domain, job->record.disk);
    int at = record_disk_place(disk, job_image(job, NULL, "above")->file);

    for (unsigned i = 0; at >= 0 && i < job->record.n_images; i++) {
        const struct record_image *image = &job->record.images[i];

        if (!leg_merges(image))
            continue;
        if ((unsigned)++at == disk->n_chain || strcmp(disk->chain[at].file, image->file) != 0)
            record_disk_insert_layer(disk, (unsigned)at, image->file, image->format)->virtual_size =
                image->virtual_size;
    }
}

static void offline_removed(struct job *job, const struct error *err _unused_)
{
    job_offline_done(job, "completed", NULL);
}

/* The header is the one truth: it names the base only after the data there was flushed. */
static void offline_looked(struct job *job, bool merged)
{
    _cleanup_error_ struct error gone = {0};

    if (merged) {
        merge_drop_layers(job);
        if (job_has(job, JOB_DELETE))
            files_remove_worthless(job, offline_removed);
        else
            job_offline_done(job, "completed", NULL);
        return;
    }
    merge_raise_layers(job);
    if (job_has(job, JOB_CANCEL)) {
        job_offline_done(job, "cancelled", NULL);
        return;
    }
    error_set(&gone, SNAPVM_ERROR_QEMU_GONE,
              "QEMU ended before the layers were merged: the chain is what it was");
    job_offline_done(job, "failed", &gone);
}

static void merge_offline(struct job *job)
{
    files_look_at_header(job, offline_looked);
}

/* A pull changes nothing below. A commit writes the layers above an intermediate one into the base
 * that it lies on: it no longer reads as it did; the top still does. */
static const char *merge_worth(const struct job *job, const struct record_image *image)
{
    if (!leg_merges(image))
        return "backing";
    return is_pull(job) || strcmp(image->role, "top") == 0 ? "valid" : "invalid";
}

static void merge_conclude(struct job *job, const char *result)
{
    const struct record_disk *disk = disk_find(job->domain, job->record.disk);
    const char *active = disk && disk->n_chain ? disk->chain[0].file : NULL;
    bool merged = strcmp(result, "completed") == 0;

    if (merged)
        error_clear(&job->record.error);
    xstrset(&job->record.active, active);
    for (unsigned i = 0; i < job->record.n_images; i++) {
        struct record_image *image = &job->record.images[i];

        if (image->state && strcmp(image->state, "removed") == 0)
            continue;
        if (active && strcmp(image->file, active) == 0)
            xstrset(&image->state, "active");
        else
            xstrset(&image->state, merged ? merge_worth(job, image) : "backing");
    }
}

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

static const char *merge_format_of(const struct job *job, const char *file)
{
    for (unsigned i = 0; i < job->record.n_images; i++)
        if (strcmp(job->record.images[i].file, file) == 0)
            return job->record.images[i].format;
    return NULL;
}

/* An overlay that lies on something else now is no longer that of the layer that a snapshot froze,
 * which stays what it is. */
static bool merge_leave_overlay(const struct job *job, struct record_snapshot *record)
{
    const struct record_image *above = job_image(job, NULL, "above");

    for (unsigned i = 0; above && i < record->n_disks; i++) {
        struct record_snapshot_disk *disk = &record->disks[i];

        /* Without an overlay: also one that it had when its end was to be recorded first. */
        if (!same(disk->disk, above->disk) || !disk->backing ||
            (disk->file && !same(disk->file, above->file)))
            continue;
        if (!disk->backing_format)
            xstrset(&disk->backing_format, merge_format_of(job, disk->backing));
        xstrset(&disk->file, NULL);
        return true;
    }
    return false;
}

void merge_note_end(struct job *job, struct journal_txn *txn)
{
    struct snapshot *snapshot;

    if (strcmp(job->record.result, "completed") != 0)
        return;
    TAILQ_FOREACH (snapshot, &job->domain->snapshots, link) {
        if (merge_leave_overlay(job, &snapshot->record))
            journal_put_snapshot(txn, &snapshot->record);
    }
}

static void merge_add_layers(struct job *job, const struct record_disk *disk, unsigned above,
                             unsigned base, const char *first)
{
    const struct view_node *node = disk_top(job->domain, disk);

    for (unsigned i = 0; i < disk->n_chain && i <= base && node;
         i++, node = view_below(job->domain->view, node)) {
        const char *role = i == above ? "above" : i == base ? "base" : "intermediate";
        struct record_image *image;

        if (i < above)
            continue;
        if (i == above + 1 && i != base)
            role = first;
        image = record_job_add_image(&job->record, disk->target, role, disk->chain[i].file);
        xstrset(&image->format, node->driver);
        xstrset(&image->node, node->name);
        image->virtual_size = node->virtual_size;
    }
}

static struct job *merge_new(struct engine *engine, struct domain *domain, struct record_disk *disk,
                             const struct plan *plan)
{
    struct job *job = job_new(engine, domain, plan->name);

    job->record.id = journal_next_job(domain->owner->journal);
    job->record.disk = xstrdup(disk->target);
    job->plan = plan;
    return job;
}

struct job *merge_commit_new(struct engine *engine, struct domain *domain, struct record_disk *disk,
                             unsigned top, unsigned base, uint32_t flags, int64_t bandwidth)
{
    struct job *job = merge_new(engine, domain, disk, &plan_merge);

    job->record.flags = flags;
    job->record.bandwidth = bandwidth;
    merge_add_layers(job, disk, top - 1, base, "top");
    return job;
}

struct job *merge_pull_new(struct engine *engine, struct domain *domain, struct record_disk *disk,
                           unsigned top, unsigned base, int64_t bandwidth)
{
    struct job *job = merge_new(engine, domain, disk, &plan_pull);

    job->record.bandwidth = bandwidth;
    merge_add_layers(job, disk, top, base, "intermediate");
    return job;
}

const struct plan plan_merge = {
    .name = "commit",
    .title = "Commit of inner layers",
    .steps = merge_steps,
    .n_steps = sizeof(merge_steps) / sizeof(merge_steps[0]),
    .undone = "failed",
    .observe = pivot_observe,
    .offline = merge_offline,
    .conclude = merge_conclude,
    .note_end = merge_note_end,
};

const struct plan plan_pull = {
    .name = "pull",
    .title = "Pull of lower layers",
    .steps = merge_steps,
    .n_steps = sizeof(merge_steps) / sizeof(merge_steps[0]),
    .undone = "failed",
    .observe = pivot_observe,
    .offline = merge_offline,
    .conclude = merge_conclude,
    .note_end = merge_note_end,
};
