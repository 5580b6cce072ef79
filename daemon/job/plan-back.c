/* A snapshot that must be quiesced and is not proven to be: the transaction was executed, and then
 * the guest turned out to have been thawed before it, or the daemon was killed in the window and
 * nobody can tell. What was asked for is refused as a whole, so everything becomes what it was: the
 * overlays are committed into the layers below them, the disks pivot back, the overlays go. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "job/files.h"
#include "job/internal.h"
#include "job/memory.h"
#include "job/pivot.h"
#include "job/snapshot-job.h"
#include "proto/snapvm-errors.h"

static void back_settle_act(struct job *job)
{
    if (internal_has(job))
        snapshot_drop(job);
    else
        engine_end(job, pivot_is_reversed(job) ? "failed" : "rolled-back");
}

static const struct step back_steps[] = {
    {.name = "back-start",
     .probe = pivot_start_probe,
     .act = pivot_start_act,
     .flags = STEP_RECORD,
     .does = "block-commit of every overlay into the layer below",
     .image = "the overlay",
     .lives = "the jobs in QEMU",
     .gone = "record: failed"},
    {.name = "back-converge",
     .probe = pivot_converge_probe,
     .flags = STEP_WAIT,
     .does = "copy until all are ready",
     .image = "the overlay",
     .lives = "the jobs in QEMU",
     .gone = "record: failed"},
    {.name = "back-prepare",
     .probe = pivot_prepare_probe,
     .act = pivot_prepare_act,
     .flags = STEP_RECORD | STEP_WAIT,
     .note = pivot_prepare_note,
     .known = pivot_prepare_known,
     .does = "job-complete, until all are pending",
     .image = "the overlay",
     .lives = "the jobs in QEMU",
     .gone = "record: failed"},
    {.name = "back-decide",
     .probe = pivot_decide_probe,
     .flags = STEP_RECORD | STEP_DECIDE,
     .note = pivot_decide_note,
     .does = "record that the old layers are the disks",
     .image = "both, hence the old layer",
     .lives = "record, the jobs in QEMU",
     .gone = "record: rolled-back"},
    {.name = "back-switch",
     .probe = pivot_switch_probe,
     .act = pivot_switch_act,
     .flags = STEP_VERIFY,
     .does = "hold the vCPUs if they run, job-finalize, look at the graph",
     .image = "the old layer",
     .lives = "the jobs in QEMU, roots of the disks",
     .gone = "record: rolled-back"},
    {.name = "back-reverse",
     .probe = pivot_reverse_probe,
     .flags = STEP_RECORD,
     .skip = pivot_reverse_skip,
     .note = pivot_reverse_note,
     .does = "only if QEMU failed to switch: record that the overlay is the disk after all",
     .image = "the overlay",
     .lives = "record",
     .gone = "record: failed"},
    {.name = "back-tidy",
     .probe = pivot_tidy_probe,
     .act = pivot_tidy_act,
     .flags = STEP_VERIFY,
     .does = "let the vCPUs go that we held, job-dismiss, close the overlays",
     .image = "the old layer",
     .lives = "the vCPUs, jobs and nodes in QEMU",
     .gone = "record: rolled-back, failed"},
    {.name = "back-remove",
     .act = pivot_remove_act,
     .skip = pivot_remove_skip,
     .does = "remove the overlays that the job made, after proof that nothing uses them",
     .image = "the old layer"},
    {.name = "back-settle",
     .act = back_settle_act,
     .flags = STEP_END,
     .does = "outcome and event in one commit",
     .image = "the old layer"},
};

static void back_resume(struct job *job)
{
    job->committed = true; /* the way back is the only way on */
    snapshot_hold_chains(job);
    pivot_resume(job);
}

static void back_lost(struct job *job)
{
    job_go(job, job->plan, pivot_reverse(job) ? "back-reverse" : "back-switch");
}

/* What the disks are is settled. */
static void back_offline_done(struct job *job, const char *result)
{
    if (!internal_has(job)) {
        job_offline_done(job, result, NULL);
        return;
    }
    xstrset(&job->record.evidence, "recovered-offline");
    snapshot_drop(job);
}

static void back_offline_removed(struct job *job, const struct error *err _unused_)
{
    back_offline_done(job, "rolled-back");
}

static void back_offline(struct job *job)
{
    if (job_has(job, JOB_DECIDED) && !pivot_is_reversed(job))
        files_remove_worthless(job, back_offline_removed);
    else {
        job->record.flags |= JOB_REVERSED;
        back_offline_done(job, "failed");
    }
}

const struct plan plan_back = {
    .name = "snapshot",
    .title = "Way back from a snapshot that must be quiesced and is not",
    .steps = back_steps,
    .n_steps = sizeof(back_steps) / sizeof(back_steps[0]),
    .undone = "failed",
    .resume = back_resume,
    .lost = back_lost,
    .offline = back_offline,
    .conclude = snapshot_conclude,
};

const struct plan plan_memory_back = {
    .name = "memory-snapshot",
    .steps = back_steps,
    .n_steps = sizeof(back_steps) / sizeof(back_steps[0]),
    .undone = "failed",
    .resume = back_resume,
    .lost = back_lost,
    .offline = back_offline,
    .conclude = memory_conclude,
};
