/* The first part of a deletion, where the snapshots that go are inside images: these are deleted
 * there, by the QEMU that has the image open as a disk, or by image tools where nobody has. An
 * image gives one up by one write of its table, so that it has it or has it not; what was lost in
 * between are clusters. The disks are what they were all the time.
 *
 * It cannot be taken back. A deletion that ends in the middle of it leaves the snapshots in the
 * tree, to be deleted again: what is gone by then is not missed. After a crash the tables of the
 * images tell what is left. Only when nothing is, the layers of the others are merged, by the plan
 * for these. */
#include "base/memory.h"
#include "domain/domains.h"
#include "job/delete-job.h"
#include "job/engine.h"
#include "job/evidence.h"
#include "job/internal.h"
#include "job/strand.h"
#include "proto/snapvm-errors.h"

static enum seen inside_probe(const struct job *job, const struct view *view _unused_)
{
    if (internal_none_inside(job))
        return HOLDS;
    return internal_can_drop(job) ? NOT_YET : MOVING; /* until it is known whether QEMU runs */
}

static void inside_act(struct job *job)
{
    xstrset(&job->record.state, "running");
    internal_drop(job, job_acted);
}

/* Layers that a QEMU has open, which has ended since, are those of another guest now. */
static void on_act(struct job *job)
{
    const struct plan *plan = delete_merge_plan(job);
    _cleanup_error_ struct error gone = {0};

    if (plan->look || domain_runs_in(job->domain, &job->record.qemu)) {
        job_go(job, plan, plan->steps[0].name);
        return;
    }
    error_set(&gone, SNAPVM_ERROR_QEMU_GONE,
              "QEMU ended before the layers were merged: the chain is what it was, delete the "
              "snapshot again");
    job_failed(job, &gone);
}

static const struct step inside_steps[] = {
    {.name = "delete-inside",
     .probe = inside_probe,
     .act = inside_act,
     .flags = STEP_RECORD | STEP_VERIFY,
     .does = "delete the snapshot in each image that has it inside: by QEMU where that has it open "
             "as a disk, by qemu-img snapshot -d where nobody has",
     .image = "what it was",
     .lives = "tables of snapshots inside the images"},
    {.name = "delete-on",
     .act = on_act,
     .does = "go on with the layers: the plans below, which only end it if there are none",
     .image = "what it was"},
};

static void inside_conclude(struct job *job, const char *result _unused_)
{
    strands_conclude(job);
}

const struct plan plan_delete_inside = {
    .name = "snapshot-delete",
    .title = "Deletion of snapshots that are inside images",
    .steps = inside_steps,
    .n_steps = sizeof(inside_steps) / sizeof(inside_steps[0]),
    .undone = "failed",
    .look = evidence_look,
    .conclude = inside_conclude,
};
