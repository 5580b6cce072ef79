/* A snapshot inside the images of a live guest, with its memory inside one of them. QEMU does it in
 * one job, in which it holds the vCPUs and lets them go by itself, and answers nothing: so neither
 * the guest nor the images wait for us. Where it takes longer than an answer is waited for, the
 * connection is given up, and the next one finds the job done. It writes the memory first, then the
 * snapshot into one image after another; a name in the tables of all of them is a whole snapshot.
 *
 * The disks are what they were all the time. QEMU ends: what of the snapshot is inside some images
 * is deleted, what is inside all of them is completed. The daemon ends: what QEMU has begun is
 * completed, as it was of the moment at which it was asked for; what it has not begun is not taken
 * late. */
#include <string.h>

#include "base/memory.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "job/internal.h"
#include "job/memory-inside.h"
#include "job/memory.h"
#include "job/quiesce.h"
#include "job/snapshot-job.h"
#include "proto/snapvm-errors.h"
#include "qemu/view.h"

static enum seen save_probe(const struct job *job, const struct view *view)
{
    enum seen seen = memory_inside_seen(job, view);

    if (job_has(job, JOB_UNDOING))
        return seen == LOST ? HOLDS : seen; /* it waits to be dismissed */
    if (seen == NOT_YET && job->failure.code != SNAPVM_ERROR_QEMU &&
        internal_all_in_view(job, view))
        return HOLDS;
    return seen;
}

/* Once QEMU has begun to save, the freeze is over for this job. */
static enum seen save_freeze_probe(const struct job *job, const struct view *view)
{
    return save_probe(job, view) == NOT_YET ? NOT_YET : HOLDS;
}

static void save_start(struct job *job)
{
    memory_inside_start(job, qmp_state_save);
}

static void save_act(struct job *job)
{
    memory_calm(job, save_start);
}

static void save_dropped(struct job *job, const struct error *err)
{
    if (err)
        job_acted(job, err);
    else
        memory_inside_dismiss(job);
}

/* A job that failed has taken back what it did, and a name that it found inside is a stranger's. */
static void save_undo(struct job *job)
{
    enum seen seen = memory_inside_seen(job, job->domain->view);

    if (seen == HOLDS || (seen == NOT_YET && job->memory.accepted))
        internal_drop(job, save_dropped);
    else if (seen == LOST)
        memory_inside_dismiss(job);
    else
        job_acted(job, NULL);
}

static enum seen dismiss_probe(const struct job *job, const struct view *view)
{
    return memory_inside_seen(job, view) == NOT_YET ? HOLDS : NOT_YET;
}

static const struct step inside_steps[] = {
    {.name = "inside-names",
     .act = names_act,
     .flags = STEP_RECORD,
     .does = "see by the tables of the images that the name is free in all of them",
     .image = "the same",
     .lives = "record: a snapshot that was not begun is given up",
     .gone = "record: rolled-back"},
    {.name = "inside-ask",
     .probe = overlays_probe,
     .act = overlays_act,
     .undo = overlays_undo,
     .flags = STEP_RECORD,
     .note = overlays_note,
     .does = "ask the agent; the freeze debt is recorded with it",
     .image = "the same",
     .lives = "the job in QEMU, snapshots inside images",
     .gone = "snapshots inside images: rolled-back, completed"},
    {.name = "inside-freeze",
     .probe = save_freeze_probe,
     .act = quiesce_freeze,
     .undo = quiesce_undo,
     .skip = freeze_skip,
     .does = "if the guest runs and its agent has just answered: freeze",
     .image = "the same",
     .lives = "the job in QEMU, snapshots inside images",
     .gone = "snapshots inside images: rolled-back"},
    {.name = "inside-save",
     .probe = save_probe,
     .act = save_act,
     .undo = save_undo,
     .flags = STEP_VERIFY | STEP_COMMITS,
     .does = "take a freeze back that was not answered: the saved memory would obey it later; "
             "snapshot-save, which holds the vCPUs and lets them go; see whether it succeeded",
     .image = "the same",
     .lives = "the job in QEMU, snapshots inside images",
     .gone = "snapshots inside images: rolled-back, completed"},
    {.name = "inside-thaw",
     .act = quiesce_thaw,
     .skip = thaw_skip,
     .does = "thaw; its count and the status behind it tell whether the snapshot is quiesced",
     .image = "the same"},
    {.name = "inside-dismiss",
     .probe = dismiss_probe,
     .act = memory_inside_dismiss,
     .flags = STEP_VERIFY,
     .does = "job-dismiss",
     .image = "the same",
     .lives = "the job in QEMU",
     .gone = "snapshots inside images: completed, rolled-back"},
    {.name = "inside-settle",
     .act = settle_act,
     .flags = STEP_END,
     .note = snapshot_settle_note,
     .does = "metadata, current snapshot, outcome and events in one commit",
     .image = "the same"},
};

/* --- hooks --- */

static int save_forward(const struct job *job, const struct view *view, struct error *err)
{
    if (!snapshot_is_unbegun(job) && save_probe(job, view) != NOT_YET)
        return 0;
    return snapshot_refuse_late(err);
}

void memory_inside_conclude(struct job *job, const char *result)
{
    snapshot_conclude(job, result);
    xstrset(&job_image(job, NULL, "memory")->state, "active"); /* it is a disk's */
}

void snapshot_job_add_memory_inside(struct job *job)
{
    struct record_image *image =
        record_job_add_image(&job->record, "", "memory", memory_inside_file(job));

    xstrset(&job->record.kind, "memory-snapshot");
    xstrset(&image->format, "qcow2");
    xstrset(&image->node, job->record.snapshot);
    job->plan = &plan_memory_inside;
    job->step = 0;
}

const struct plan plan_memory_inside = {
    .name = "memory-snapshot",
    .title = "Snapshot of a live guest with its memory, inside its images",
    .steps = inside_steps,
    .n_steps = sizeof(inside_steps) / sizeof(inside_steps[0]),
    .undone = "rolled-back",
    .observe = memory_inside_observe,
    .forward = save_forward,
    .offline = snapshot_offline,
    .conclude = memory_inside_conclude,
};
