/* An active commit, from its start to its pivot. Several jobs of a domain pivot as one: the leader
 * walks, each step is done for all its members. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "job/commit.h"
#include "job/engine.h"
#include "job/files.h"
#include "job/pivot.h"
#include "job/walk.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "qemu/view.h"

static void start_act(struct job *job)
{
    xstrset(&job->record.state, "running");
    pivot_start_act(job);
}

static void settle_act(struct job *job)
{
    engine_end(job, "pivoted");
}

static const struct step commit_steps[] = {
    {.name = "start",
     .probe = pivot_start_probe,
     .act = start_act,
     .undo = pivot_start_undo,
     .flags = STEP_RECORD,
     .does = "block-commit with a job id and a filter node of our own",
     .image = "overlay"},
    {.name = "converge",
     .probe = pivot_converge_probe,
     .flags = STEP_WAIT,
     .does = "copy until ready, then until the pivot or the end is asked for",
     .image = "overlay"},
    {.name = "prepare",
     .probe = pivot_prepare_probe,
     .act = pivot_prepare_act,
     .flags = STEP_RECORD | STEP_WAIT,
     .note = pivot_prepare_note,
     .known = pivot_prepare_known,
     .does = "job-complete, until pending: the disk's I/O is held, both images are equal and "
             "flushed",
     .image = "overlay"},
    {.name = "decide",
     .probe = pivot_decide_probe,
     .flags = STEP_RECORD | STEP_DECIDE,
     .note = pivot_decide_note,
     .does = "record that the base is the disk",
     .image = "both, hence the base"},
    {.name = "switch",
     .probe = pivot_switch_probe,
     .act = pivot_switch_act,
     .flags = STEP_VERIFY,
     .does = "hold the vCPUs if they run, job-finalize, look at the graph",
     .image = "base"},
    {.name = "reverse",
     .probe = pivot_reverse_probe,
     .flags = STEP_RECORD,
     .skip = pivot_reverse_skip,
     .note = pivot_reverse_note,
     .does = "only if QEMU failed to switch: record that the overlay is the disk after all",
     .image = "overlay"},
    {.name = "tidy",
     .probe = pivot_tidy_probe,
     .act = pivot_tidy_act,
     .flags = STEP_VERIFY,
     .does = "let the vCPUs go that we held, job-dismiss, close the nodes of the merged layers",
     .image = "base"},
    {.name = "remove",
     .act = pivot_remove_act,
     .skip = pivot_remove_skip,
     .does = "remove the merged layers if asked, after proof that nothing uses them",
     .image = "base"},
    {.name = "settle",
     .act = settle_act,
     .flags = STEP_END,
     .does = "outcome and event in one commit",
     .image = "base"},
};

/* --- hooks --- */

/* A finalize that failed: that the overlay is the disk is recorded before the guest may write on.
 */
static void commit_lost(struct job *job)
{
    job_go(job, &plan_commit, pivot_reverse(job) ? "reverse" : "switch");
}

static void offline_removed(struct job *member, const struct error *err _unused_)
{
    struct job *job = member->leader;

    if (--job->outstanding == 0)
        job_offline_done(job, "pivoted", NULL);
}

/* The record alone tells: decided, both images were equal and the base is the disk; undecided, the
 * overlay was never left. */
static void commit_offline(struct job *job)
{
    _cleanup_error_ struct error gone = {0};

    if (job_has(job, JOB_DECIDED) && !pivot_is_reversed(job)) {
        job->outstanding = 1;
        for (unsigned i = 0; i < job->n_members; i++) {
            if (!job_has(job->members[i], JOB_DELETE))
                continue;
            job->outstanding++;
            files_remove_worthless(job->members[i], offline_removed);
        }
        offline_removed(job, NULL);
        return;
    }
    if (job_has(job, JOB_CANCEL)) {
        job_offline_done(job, "cancelled", NULL);
        return;
    }
    error_set(&gone, SNAPVM_ERROR_QEMU_GONE,
              "QEMU ended before the pivot: the overlay is the disk, start the guest from it");
    job_offline_done(job, pivot_is_reversed(job) ? "pivoted" : "failed", &gone);
}

static const char *commit_worth(bool pivoted, const struct record_image *image)
{
    bool base = strcmp(image->role, "base") == 0;

    if (pivoted)
        return base ? "active" : "invalid";
    return strcmp(image->role, "top") == 0 ? "active" : "backing";
}

void commit_conclude(struct job *job, const char *result)
{
    struct record_disk *disk = disk_find(job->domain, job->record.disk);
    bool pivoted = strcmp(result, "pivoted") == 0 && !job_has(job, JOB_REVERSED);

    if (strcmp(result, "pivoted") == 0 && !pivoted)
        xstrset(&job->record.result, "failed");
    if (pivoted)
        error_clear(&job->record.error);
    for (unsigned i = 0; i < job->record.n_images; i++) {
        struct record_image *image = &job->record.images[i];
        const char *worth = commit_worth(pivoted, image);

        if (strcmp(worth, "active") == 0)
            xstrset(&job->record.active, image->file);
        if (!image->state || strcmp(image->state, "removed") != 0)
            xstrset(&image->state, worth);
    }
    if (disk)
        disk->held = false;
}

struct job *commit_new(struct engine *engine, struct domain *domain, struct record_disk *disk,
                       unsigned base, uint32_t flags, int64_t bandwidth)
{
    struct job *job = job_new(engine, domain, "active-commit");
    const struct view_node *node = disk_top(domain, disk);

    job->record.id = journal_next_job(domain->owner->journal);
    job->record.disk = xstrdup(disk->target);
    job->record.flags = flags;
    job->record.bandwidth = bandwidth;
    for (unsigned i = 0; i <= base && node; i++, node = view_below(domain->view, node)) {
        const char *role = i == 0 ? "top" : i == base ? "base" : "intermediate";
        struct record_image *image =
            record_job_add_image(&job->record, disk->target, role, disk->chain[i].file);

        xstrset(&image->format, node->driver);
        xstrset(&image->node, node->name);
        image->virtual_size = node->virtual_size;
    }
    job->plan = &plan_commit;
    return job;
}

const struct plan plan_commit = {
    .name = "active-commit",
    .title = "Active commit and its pivot",
    .steps = commit_steps,
    .n_steps = sizeof(commit_steps) / sizeof(commit_steps[0]),
    .undone = "failed",
    .observe = pivot_observe,
    .resume = pivot_resume,
    .lost = commit_lost,
    .offline = commit_offline,
    .conclude = commit_conclude,
};
