/* What is seen of a job that QEMU works on: progress, readiness, stalls, and what somebody else has
 * done to it. */
#include <string.h>

#include "job/engine.h"
#include "job/leg.h"
#include "job/pivot.h"
#include "job/stall.h"
#include "job/walk.h"
#include "proto/snapvm-errors.h"
#include "qemu/view.h"

/* Behind the first wait, which is for QEMU to have copied, every step is one of the job's end. */
static bool pivot_is_copying(const struct job *job)
{
    for (unsigned i = 0; i < job->step; i++)
        if (job->plan->steps[i].flags & STEP_WAIT)
            return false;
    return !job_has(job, JOB_KEEP) && strcmp(job->record.state, "finishing") != 0;
}

static const char *pivot_state(const struct job *job, const struct view_job *seen)
{
    if (!pivot_is_copying(job))
        return "finishing";
    switch (seen->status) {
    case VIEW_JOB_READY:
    case VIEW_JOB_STANDBY:
        return "ready";
    case VIEW_JOB_RUNNING:
    case VIEW_JOB_PAUSED:
        /* QEMU does not go back from there: this was asked before the event came. */
        return job_has(job, JOB_READY_SENT) ? "ready" : "running";
    default:
        return job->record.state;
    }
}

/* Where the guest would wait the pivot is given up at a stall, and this is why. */
static void pivot_note_stall(struct job *job, const char *disk)
{
    bool space = job_has(job, JOB_STALL_SPACE);

    if (pivot_is_copying(job) || !pivot_is_pressing(job->leader) || job->record.error.code)
        return;
    error_set(&job->record.error, space ? SNAPVM_ERROR_NO_SPACE : SNAPVM_ERROR_IMAGE,
              "the image that disk %s was to go on from could not be brought level: %s; %s", disk,
              space ? "no room is left for it" : "it could not be read or written",
              leg_count(job->leader) > 1 ? "no disk of the group is switched"
                                         : "the disk stays on the one that it is on");
    if (!space) {
        error_text(&job->record.error, "file", stall_file(&job->record));
        error_text(&job->record.error, "reason", "I/O error");
    }
}

/* The same where somebody else has paused the job. */
static void pivot_note_pause(struct job *job, const char *name, const struct view_job *seen)
{
    struct error *err = &job->record.error;

    if (seen->status != VIEW_JOB_STANDBY || !seen->paused || pivot_is_copying(job) ||
        !pivot_is_pressing(job->leader) || err->code)
        return;
    error_set(err, SNAPVM_ERROR_QEMU,
              "somebody else has paused job %s in QEMU: the pivot was given up, so that the guest "
              "goes on",
              name);
    error_text(err, "class", "GenericError");
    error_text(err, "desc", "");
}

/* The job in QEMU is ours to end: where it ends otherwise, the outcome says so. From pending there
 * is no way back to ready, and the guest's I/O is held: such a job is given up. */
static void pivot_note_stranger(struct job *job, const char *name, const struct view_job *seen)
{
    struct error *err = &job->record.error;
    bool waits = job_step(job)->flags & STEP_WAIT;

    if (!waits || job_has(job, JOB_DECIDED) || err->code)
        return;
    if (!seen)
        error_set(err, SNAPVM_ERROR_QEMU, "somebody else has ended and dismissed job %s in QEMU",
                  name);
    else if (seen->status == VIEW_JOB_CONCLUDED)
        error_set(err, SNAPVM_ERROR_QEMU, "job %s ended in QEMU before it was told to: %s", name,
                  seen->error ? seen->error : "somebody else completed it");
    else if (seen->status == VIEW_JOB_PENDING && pivot_is_copying(job) &&
             !pivot_is_asked(job->leader))
        error_set(err, SNAPVM_ERROR_QEMU,
                  "somebody else asked QEMU to end job %s: it was given up, so that the guest's "
                  "writes go on",
                  name);
    else
        return;
    error_text(err, "class", "GenericError");
    error_text(err, "desc", seen && seen->error ? seen->error : "");
}

/* A job of several disks is as far as all of them together, and stalls with the first of them. */
void pivot_observe_legs(struct job *job, const struct view *view)
{
    const struct view_job *stalled = NULL;
    const char *disk = NULL;

    if (job_has(job, JOB_UNDOING))
        return;
    if (pivot_is_copying(job))
        job->record.current = job->record.total = 0;
    for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg)) {
        const struct view_job *seen = view_job(view, leg.name);

        if (seen && pivot_is_copying(job)) {
            job->record.current += seen->current;
            job->record.total += seen->total;
        }
        if (!stalled && stall_is_seen(job, seen)) {
            stalled = seen;
            disk = leg.from->disk;
        }
    }
    if (stalled) {
        stall_note(job, stalled);
        engine_set_state(job, "stalled");
        pivot_note_stall(job, disk);
        return;
    }
    stall_forget(job);
    engine_set_state(job, pivot_is_copying(job) ? "running" : "finishing");
}

void pivot_observe(struct job *job, const struct view *view)
{
    char name[JOB_NAME_SIZE];
    const struct view_job *seen = view_job(view, job_qemu_name(job, job->record.disk, name));

    if (!job_has(job, JOB_UNDOING) && strcmp(job->record.kind, "active-commit") == 0)
        pivot_note_stranger(job, name, seen);
    if (!seen || job_has(job, JOB_UNDOING))
        return;
    if (pivot_is_copying(job)) {
        job->record.current = seen->current;
        job->record.total = seen->total;
    }
    if (stall_is_seen(job, seen)) {
        stall_note(job, seen);
        engine_set_state(job, "stalled");
        pivot_note_stall(job, job->record.disk);
        return;
    }
    stall_forget(job);
    pivot_note_pause(job, name, seen);
    engine_set_state(job, pivot_state(job, seen));
}
