/* The end of an active commit without pivot: the overlay stays, and may be committed again later.
 * The overlay is the right image at every instant of it, so nothing can be decided wrongly. A soft
 * cancel looks the same as a pivot in QEMU's events and in query-jobs; that it was asked for is
 * recorded before it is. Only a pending job proves that the base holds all that the overlay did:
 * what ends before that has kept nothing, and is called failed, or cancelled. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "job/commit.h"
#include "job/engine.h"
#include "job/keep.h"
#include "job/pivot.h"
#include "proto/snapvm-errors.h"
#include "qemu/qmp-command.h"
#include "qemu/qmp.h"
#include "qemu/view.h"

enum view_job_status keep_status(const struct job *job, const struct view *view)
{
    char name[JOB_NAME_SIZE];

    return view_job_status(view, job_qemu_name(job, job->record.disk, name));
}

enum seen keep_probe(const struct job *job, const struct view *view)
{
    if (job_has(job, JOB_UNDOING))
        return pivot_start_probe(job, view);
    switch (keep_status(job, view)) {
    case VIEW_JOB_PENDING:
        return HOLDS;
    case VIEW_JOB_CONCLUDED:
    case VIEW_JOB_NONE:
        return LOST;
    case VIEW_JOB_WAITING:
    case VIEW_JOB_ABORTING:
        return MOVING;
    default:
        return NOT_YET;
    }
}

void keep_act(struct job *job)
{
    char name[JOB_NAME_SIZE];

    job_expect(job, 1);
    qmp_job_keep(job_qmp(job), job_qemu_name(job, job->record.disk, name), job_reply, job);
}

enum seen let_go_probe(const struct job *job, const struct view *view)
{
    switch (keep_status(job, view)) {
    case VIEW_JOB_PENDING:
        return NOT_YET;
    case VIEW_JOB_CONCLUDED:
    case VIEW_JOB_NONE:
        return HOLDS;
    default:
        return MOVING;
    }
}

void let_go_act(struct job *job)
{
    char name[JOB_NAME_SIZE];

    job_expect(job, 1);
    qmp_job_finalize(job_qmp(job), job_qemu_name(job, job->record.disk, name), job_reply, job);
}

static enum seen dismiss_probe(const struct job *job, const struct view *view)
{
    return keep_status(job, view) == VIEW_JOB_NONE ? HOLDS : NOT_YET;
}

static void dismiss_act(struct job *job)
{
    char name[JOB_NAME_SIZE];

    job_expect(job, 1);
    qmp_job_dismiss(job_qmp(job), job_qemu_name(job, job->record.disk, name), job_reply_lenient,
                    job);
}

static void kept_act(struct job *job)
{
    engine_end(job, "kept");
}

static void keep_offline(struct job *job)
{
    _cleanup_error_ struct error gone = {0};

    if (job_has(job, JOB_DECIDED)) {
        job_offline_done(job, "kept", NULL);
        return;
    }
    error_set(&gone, SNAPVM_ERROR_QEMU_GONE,
              "QEMU ended before the base held all that the overlay does: the overlay is the disk");
    job_offline_done(job, job_has(job, JOB_CANCEL) ? "cancelled" : "failed", &gone);
}

static const struct step keep_steps[] = {
    {.name = "keep",
     .probe = keep_probe,
     .act = keep_act,
     .undo = pivot_start_undo,
     .flags = STEP_RECORD | STEP_WAIT,
     .does = "end the ready job without pivot: block-job-cancel without force, until pending",
     .image = "overlay",
     .lives = "the job in QEMU",
     .gone = "record: failed, cancelled"},
    {.name = "let-go",
     .probe = let_go_probe,
     .act = let_go_act,
     .flags = STEP_RECORD | STEP_DECIDE | STEP_WAIT,
     .does = "record that the base is level; job-finalize: the guest's I/O goes on",
     .image = "overlay",
     .lives = "the job in QEMU",
     .gone = "record: kept"},
    {.name = "dismiss",
     .probe = dismiss_probe,
     .act = dismiss_act,
     .flags = STEP_VERIFY,
     .does = "job-dismiss",
     .image = "overlay",
     .lives = "the job in QEMU",
     .gone = "record: kept"},
    {.name = "kept",
     .act = kept_act,
     .flags = STEP_END,
     .does = "outcome and event in one commit",
     .image = "overlay"},
};

const struct plan plan_keep = {
    .name = "active-commit",
    .title = "End of an active commit without pivot",
    .steps = keep_steps,
    .n_steps = sizeof(keep_steps) / sizeof(keep_steps[0]),
    .undone = "failed",
    .observe = pivot_observe,
    .offline = keep_offline,
    .conclude = commit_conclude,
};
