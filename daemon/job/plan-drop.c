/* The end of a snapshot that is given up, some of whose images hold a part of it inside: QEMU died
 * in the middle of its transaction, or the snapshot had to be quiesced and is not proven to be. The
 * disks are what they were all the time, so nothing can be decided wrongly; what is inside is
 * deleted by whoever can, the guest's QEMU or image tools. */
#include "job/engine.h"
#include "job/evidence.h"
#include "job/internal.h"
#include "job/pivot.h"
#include "job/snapshot-job.h"

static enum seen drop_probe(const struct job *job, const struct view *view _unused_)
{
    return internal_none_inside(job) ? HOLDS : NOT_YET;
}

static void drop_act(struct job *job)
{
    internal_drop(job, job_acted);
}

/* Where an overlay is the disk for good it is so from the start, before any view. */
static void drop_resume(struct job *job)
{
    job->committed = true;
    if (pivot_is_reversed(job))
        snapshot_hold_chains(job);
}

void snapshot_drop(struct job *job)
{
    job->committed = true; /* the way back is the only way on */
    job->record.flags &= ~(unsigned)JOB_UNDOING;
    job_go(job, job_image(job, NULL, "memory") ? &plan_memory_drop : &plan_drop, "drop");
}

static void drop_settle_act(struct job *job)
{
    engine_end(job, pivot_is_reversed(job) ? "failed" : "rolled-back");
}

static const struct step drop_steps[] = {
    {.name = "drop",
     .probe = drop_probe,
     .act = drop_act,
     .flags = STEP_RECORD | STEP_DECIDE | STEP_VERIFY,
     .does = "delete what is inside the images already, by QEMU or, where none runs, by qemu-img",
     .image = "what it was",
     .lives = "tables of snapshots inside the images"},
    {.name = "drop-settle",
     .act = drop_settle_act,
     .flags = STEP_END,
     .does = "outcome and event in one commit",
     .image = "what it was"},
};

const struct plan plan_memory_drop = {
    .name = "memory-snapshot",
    .steps = drop_steps,
    .n_steps = sizeof(drop_steps) / sizeof(drop_steps[0]),
    .undone = "rolled-back",
    .look = evidence_look,
    .resume = drop_resume,
    .conclude = memory_inside_conclude,
};

const struct plan plan_drop = {
    .name = "snapshot",
    .title = "End of a snapshot that is inside some of its images",
    .steps = drop_steps,
    .n_steps = sizeof(drop_steps) / sizeof(drop_steps[0]),
    .undone = "rolled-back",
    .look = evidence_look,
    .resume = drop_resume,
    .conclude = snapshot_conclude,
};
