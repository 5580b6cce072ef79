/* An active commit or a copy, from its start to its pivot. The two are one table, since several
 * jobs of a domain pivot as one, of whichever kind they are: the leader walks, each step is done
 * for all its members, and what one member has no part in is skipped for it. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "domain/domains.h"
#include "job/commit.h"
#include "job/copy.h"
#include "job/engine.h"
#include "job/files.h"
#include "job/pivot.h"
#include "proto/snapvm-errors.h"

static void start_act(struct job *job)
{
    xstrset(&job->record.state, "running");
    pivot_start_act(job);
}

static void settle_act(struct job *job)
{
    engine_end(job, "pivoted");
}

static const struct step pivot_steps[] = {
    {.name = "target",
     .act = copy_target_act,
     .undo = copy_target_undo,
     .flags = STEP_RECORD,
     .skip = copy_skip,
     .does = "of a copy: make the target (never over a file that is there), sync it and its folder",
     .image = "source; the file is known by name, and removed",
     .lives = "record; a copy that was not begun is given up",
     .gone = "record: failed, cancelled"},
    {.name = "open",
     .probe = copy_open_probe,
     .act = copy_open_act,
     .undo = copy_open_undo,
     .flags = STEP_RECORD | STEP_VERIFY,
     .skip = copy_skip,
     .does = "of a copy: open the target as a node, a shallow one's over the source's backing node",
     .image = "source",
     .lives = "record, the jobs in QEMU; a copy that was not begun is given up",
     .gone = "record: failed, cancelled"},
    {.name = "start",
     .probe = pivot_start_probe,
     .act = start_act,
     .undo = pivot_start_undo,
     .lay = pivot_start_lay,
     .flags = STEP_RECORD,
     .does = "block-commit or blockdev-mirror with a job id of our own",
     .image = "overlay, source",
     .lives = "the jobs in QEMU; a copy that was not begun is given up",
     .gone = "record: failed, cancelled"},
    {.name = "converge",
     .probe = pivot_converge_probe,
     .flags = STEP_WAIT,
     .does = "copy until ready, then until the pivot or the end is asked for",
     .image = "overlay, source",
     .lives = "the jobs in QEMU",
     .gone = "record: failed, cancelled"},
    {.name = "prepare",
     .probe = pivot_prepare_probe,
     .act = pivot_prepare_act,
     .lay = pivot_prepare_lay,
     .flags = STEP_RECORD | STEP_WAIT,
     .note = pivot_prepare_note,
     .known = pivot_prepare_known,
     .does = "job-complete, until pending: the disk's I/O is held, both images are equal and "
             "flushed",
     .image = "overlay, source",
     .lives = "the jobs in QEMU",
     .gone = "record: failed, cancelled"},
    {.name = "decide",
     .probe = pivot_decide_probe,
     .lay = pivot_switch_lay,
     .flags = STEP_RECORD | STEP_DECIDE,
     .note = pivot_decide_note,
     .does = "record that the base, or the copy, is the disk",
     .image = "both, hence base or copy",
     .lives = "record, the jobs in QEMU",
     .gone = "record: pivoted"},
    {.name = "switch",
     .probe = pivot_switch_probe,
     .act = pivot_switch_act,
     .flags = STEP_VERIFY,
     .does = "hold the vCPUs if they run, job-finalize, look at the graph",
     .image = "base, copy",
     .lives = "the jobs in QEMU, roots of the disks",
     .gone = "record: pivoted"},
    {.name = "reverse",
     .probe = pivot_reverse_probe,
     .flags = STEP_RECORD,
     .skip = pivot_reverse_skip,
     .note = pivot_reverse_note,
     .does = "only if QEMU failed to switch: record that overlay or source are the disk after all",
     .image = "overlay, source",
     .lives = "record",
     .gone = "record: failed"},
    {.name = "tidy",
     .probe = pivot_tidy_probe,
     .act = pivot_tidy_act,
     .flags = STEP_VERIFY,
     .does = "let the vCPUs go that we held, job-dismiss, close the nodes of the layers that were "
             "left",
     .image = "base, copy",
     .lives = "the vCPUs, jobs and nodes in QEMU",
     .gone = "record: pivoted, failed"},
    {.name = "remove",
     .act = pivot_remove_act,
     .skip = pivot_remove_skip,
     .does = "remove the merged layers if asked, after proof that nothing uses them",
     .image = "base, copy"},
    {.name = "settle",
     .act = settle_act,
     .flags = STEP_END,
     .does = "outcome and event in one commit",
     .image = "base, copy"},
};

/* --- hooks --- */

/* A finalize that failed: what the disk is then is recorded before the guest may write on. */
static void pivot_lost(struct job *job)
{
    job_go(job, job->plan, pivot_reverse(job) ? "reverse" : "switch");
}

static bool is_decided(const struct job *member)
{
    return job_has(member, JOB_DECIDED) && !job_has(member, JOB_REVERSED);
}

static void offline_end(struct job *job)
{
    _cleanup_error_ struct error gone = {0};

    if (job_has(job, JOB_DECIDED) && !pivot_is_reversed(job)) {
        job_offline_done(job, "pivoted", NULL);
        return;
    }
    if (job_has(job, JOB_CANCEL)) {
        job_offline_done(job, "cancelled", NULL);
        return;
    }
    error_set(&gone, SNAPVM_ERROR_QEMU_GONE,
              "QEMU ended before the pivot: the disk is what it was, start the guest from it");
    job_offline_done(job, pivot_is_reversed(job) ? "pivoted" : "failed", &gone);
}

static void offline_removed(struct job *member, const struct error *err _unused_)
{
    struct job *job = member->leader;

    if (--job->outstanding == 0)
        offline_end(job);
}

/* The record alone tells. Decided, both images were equal, and base or copy are the disk.
 * Undecided, the old layer was never left, and nothing tells how much of it a copy holds. */
static void pivot_offline(struct job *job)
{
    job->outstanding = 1;
    for (unsigned i = 0; i < job->n_members; i++) {
        struct job *member = job->members[i];

        if (is_decided(member) && job_has(member, JOB_DELETE)) {
            job->outstanding++;
            files_remove_worthless(member, offline_removed);
        } else if (!is_decided(member) && job_image(member, NULL, "target")) {
            job->outstanding++;
            files_remove_made(member, offline_removed);
        }
    }
    offline_removed(job, NULL);
}

static void pivot_conclude(struct job *job, const char *result)
{
    if (job_image(job, NULL, "target"))
        copy_conclude(job, result);
    else
        commit_conclude(job, result);
}

const struct plan plan_commit = {
    .name = "active-commit",
    .title = "Active commit or copy, and its pivot",
    .steps = pivot_steps,
    .n_steps = sizeof(pivot_steps) / sizeof(pivot_steps[0]),
    .undone = "failed",
    .observe = pivot_observe,
    .resume = pivot_resume,
    .lost = pivot_lost,
    .offline = pivot_offline,
    .conclude = pivot_conclude,
};

const struct plan plan_copy = {
    .name = "copy",
    .steps = pivot_steps,
    .n_steps = sizeof(pivot_steps) / sizeof(pivot_steps[0]),
    .undone = "failed",
    .observe = pivot_observe,
    .resume = pivot_resume,
    .forward = copy_forward,
    .lost = pivot_lost,
    .offline = pivot_offline,
    .conclude = pivot_conclude,
};
