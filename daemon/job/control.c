/* What users ask of jobs and what changes their way: pivot, keep, cancel. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "job/image-tool.h"
#include "job/quiesce.h"
#include "job/stall.h"
#include "job/walk.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "qemu/view.h"

/* A command on its way to the journal. */
struct command {
    struct job *job;
    engine_started_fn done;
    void *arg;
    uint32_t flag;
    const struct plan *plan;
    const char *step; /* where the job goes on; NULL: it is taken back */
    struct engine *engine;
    int64_t id; /* where the job may have ended meanwhile */
};

/* A job that gets ready and may pivot. */
static bool job_is_pivoting(const struct job *job)
{
    return job->plan == &plan_commit || job->plan == &plan_copy;
}

static bool job_is_merging(const struct job *job)
{
    return job->plan == &plan_merge || job->plan == &plan_pull;
}

static bool job_at(const struct job *job, const char *step)
{
    return strcmp(job_step(job)->name, step) == 0;
}

static int control_state_error(const struct job *job, struct error *err, const char *what)
{
    error_set(err, SNAPVM_ERROR_INVALID_STATE, "job %lld cannot be %s now: it is %s, at step %s",
              (long long)job->record.id, what, job->record.state, job_step(job)->name);
    return error_text(err, "state", job->record.state);
}

/* Also while the monitor is away. */
static bool job_is_stalled(const struct job *job)
{
    return job_has(job, JOB_STALLED);
}

/* By somebody else, in QEMU: it would take the command and do nothing. */
static bool control_is_held(const struct job *job)
{
    char name[JOB_NAME_SIZE];
    const struct view_job *seen;

    if (!job->domain->connected || !job->record.disk)
        return false;
    seen = view_job(job->domain->view, job_qemu_name(job, job->record.disk, name));
    return seen && seen->status == VIEW_JOB_STANDBY && seen->paused;
}

/* Ready once is ready for good, also while the monitor is away; a stall, or
 * a pause, has to be ended first: QEMU would take the command and do nothing. */
static bool control_is_ready(const struct job *job)
{
    return job_has(job, JOB_READY_SENT) && !job_has(job, JOB_PAUSED_BY_USER) &&
           !job_has(job, JOB_STALLED) && !control_is_held(job);
}

/* Waiting for something: the user, an event, or, with its QEMU alive, the monitor. What is asked of
 * it meanwhile is recorded, and done when the monitor is back. */
static bool control_is_idle(const struct job *job)
{
    return job->phase == PHASE_WAITING || job->phase == PHASE_LOOKING ||
           (job->phase == PHASE_AWAY && !job->domain->gone);
}

static void control_not_ready(const struct job *job, struct error *err)
{
    _cleanup_free_ char *advice = stall_advice(&job->record);
    long long id = job->record.id;

    if (job_has(job, JOB_STALLED))
        error_set(err, SNAPVM_ERROR_NOT_READY, "job %lld is stalled: %s", id, advice);
    else if (job_has(job, JOB_PAUSED_BY_USER))
        error_set(err, SNAPVM_ERROR_NOT_READY, "job %lld is paused: job.resume lets it go on", id);
    else if (control_is_held(job))
        error_set(err, SNAPVM_ERROR_NOT_READY,
                  "somebody else has paused job %lld in QEMU: job.resume lets it go on", id);
    else
        error_set(err, SNAPVM_ERROR_NOT_READY,
                  "job %lld is not ready (%lld of %lld bytes): wait for it with job.wait for "
                  "\"ready\"",
                  id, (long long)job->record.current, (long long)job->record.total);
}

static int control_pivotable(const struct job *job, struct error *err)
{
    if (!job_is_pivoting(job) || job_has(job, JOB_UNDOING) || job->leader != job ||
        !job_is_before(job, "prepare"))
        return control_state_error(job, err, "pivoted");
    if (quiesce_is_going_on(job->engine, job->domain)) {
        error_set(err, SNAPVM_ERROR_INVALID_STATE,
                  "a freeze of domain %s is on its way, and its vCPUs are not held meanwhile; wait "
                  "for its end",
                  job->record.domain);
        return error_text(err, "state", "freezing");
    }
    if (job_at(job, "converge") && control_is_ready(job) && control_is_idle(job))
        return 0;
    if (job->domain->gone)
        return domain_need_live(job->domain, err);
    control_not_ready(job, err);
    return error_number(err, "progress", job->record.current);
}

/* Where a job stands, for going back to it. */
static void control_place(struct job *job, const struct plan *plan, const char *step)
{
    job->plan = plan;
    for (job->step = 0; strcmp(job_step(job)->name, step) != 0; job->step++)
        ;
}

static void control_refused(struct job *job, const struct command *command)
{
    for (unsigned i = 0; i < job->n_members; i++) {
        struct job *member = job->members[i];

        member->record.flags &= ~command->flag;
        if (command->step)
            member->plan = plan_of_step(member->record.kind, "converge", &member->step);
    }
    if (command->step)
        engine_disband(job);
    job->resumed = true;
    engine_look(job);
}

static void control_recorded(void *arg, const struct error *err)
{
    struct command *command = arg;
    struct job *job = command->job;

    if (err)
        control_refused(job, command);
    command->done(command->arg, err ? NULL : job, err);
    if (!err && command->step)
        job_begin(job); /* the record of the command is the record of its first step */
    else if (!err)
        engine_fail(job, NULL);
    free(command);
}

static void control_commit(struct job *job, const struct command *what, engine_note_fn note)
{
    struct journal_txn *txn = journal_begin(job->engine->domains->journal);
    struct command *command = xmemdup(what, sizeof(*what));

    if (what->step)
        control_place(job, what->plan, what->step);
    if (what->step && (job_step(job)->flags & STEP_DECIDE))
        command->flag |= JOB_DECIDED;
    for (unsigned i = 0; i < job->n_members; i++) {
        job->members[i]->record.flags |= command->flag;
        xstrset(&job->members[i]->record.state, "finishing");
    }
    if (what->step && job_step(job)->note)
        job_step(job)->note(job, txn);
    engine_put(job, txn);
    if (note)
        note(what->arg, job, txn);
    job->phase = PHASE_RECORDING;
    journal_commit(txn, what->step ? what->step : "command", control_recorded, command);
}

int engine_pivot(struct job **jobs, unsigned n, bool pause_never, engine_note_fn note,
                 engine_started_fn done, void *arg, struct error *err)
{
    struct command command = {.done = done, .arg = arg, .flag = JOB_PIVOT};

    for (unsigned i = 0; i < n; i++)
        if (control_pivotable(jobs[i], err) < 0)
            return -1;
    if (pause_never)
        command.flag |= JOB_PAUSE_NEVER;
    engine_lead(jobs[0], jobs + 1, n - 1);
    command.job = jobs[0];
    command.plan = jobs[0]->plan;
    command.step = "prepare";
    control_commit(jobs[0], &command, note);
    return 0;
}

static void control_flagged(void *arg, const struct error *err)
{
    struct command *command = arg;
    struct job *job = engine_find(command->engine, command->id);
    _cleanup_error_ struct error gone = {0};

    if (err && job)
        job->record.flags &= ~command->flag;
    if (!err && !job) {
        error_set(&gone, SNAPVM_ERROR_INVALID_STATE, "job %lld has ended meanwhile",
                  (long long)command->id);
        error_text(&gone, "state", "ended");
        err = &gone;
    }
    command->done(command->arg, err ? NULL : job, err);
    free(command);
}

/* The job is in the middle of a step: it turns back as soon as that has ended. */
static void control_cancel_later(struct job *job, const struct command *what, engine_note_fn note)
{
    struct journal_txn *txn = journal_begin(job->engine->domains->journal);
    struct command *command = xmemdup(what, sizeof(*what));

    command->engine = job->engine;
    command->id = job->record.id;
    job->record.flags |= JOB_CANCEL;
    image_tool_stop(job);
    engine_put(job, txn);
    if (note)
        note(what->arg, job, txn);
    journal_commit(txn, "command", control_flagged, command);
}

/* Stopped at an error on the way to its end, where nothing was decided yet: with it the whole group
 * waits for a user, who may have enough of it. */
static bool control_is_stuck(const struct job *job)
{
    bool stalled = false;

    for (unsigned i = 0; i < job->leader->n_members; i++)
        stalled |= job_is_stalled(job->leader->members[i]);
    return stalled && (job_at(job, "prepare") || job_at(job, "keep"));
}

/* Up to the pivot, or to the switch of a snapshot, everything can be taken back. */
static bool control_can_cancel(const struct job *job)
{
    if (!job_has(job, JOB_UNDOING) && !job_has(job, JOB_DECIDED) && control_is_stuck(job))
        return true;
    if (job_has(job, JOB_UNDOING) || job_has(job, JOB_DECIDED) || job->committed ||
        job->leader != job || job->n_members > 1)
        return false;
    if (job_is_pivoting(job))
        return job_is_before(job, "prepare");
    if (job->plan->look)
        return !job_has(job, JOB_DECIDED) && !(job_step(job)->flags & (STEP_DECIDE | STEP_END));
    if (job->plan == &plan_delete)
        return job_is_before(job, "delete-flush");
    if (job_is_merging(job))
        return job_at(job, "merge-start") || job_at(job, "merge-converge");
    if (job->plan == &plan_memory_inside)
        return job_is_before(job, "inside-save");
    return (job->plan == &plan_snapshot || job->plan == &plan_memory) && !job_at(job, "switch");
}

int engine_cancel(struct job *job, bool force, engine_note_fn note, engine_started_fn done,
                  void *arg, struct error *err)
{
    struct command command = {.job = job, .done = done, .arg = arg, .flag = JOB_CANCEL};

    if (!control_can_cancel(job))
        return control_state_error(job, err, "cancelled");
    /* A stalled job has not copied all: there is nothing to be kept. */
    if (control_is_stuck(job)) {
        command.job = job = job->leader;
    } else if (job_has(job, JOB_READY_SENT) && !force && !job_is_stalled(job)) {
        if (!control_is_idle(job) || job_has(job, JOB_PAUSED_BY_USER) || control_is_held(job))
            return control_state_error(job, err, "cancelled");
        command.flag = JOB_KEEP;
        command.plan = job->plan == &plan_copy ? &plan_copied : &plan_keep;
        command.step = "keep";
    }
    if (control_is_idle(job))
        control_commit(job, &command, note);
    else
        control_cancel_later(job, &command, note);
    return 0;
}
