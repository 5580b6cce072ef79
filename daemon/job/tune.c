/* What users ask of jobs and what leaves their way as it is: speed, pause, resume. A job that QEMU
 * has only just been asked for gets it as soon as it runs. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "job/leg.h"
#include "job/stall.h"
#include "job/walk.h"
#include "proto/snapvm-errors.h"
#include "qemu/qmp-command.h"
#include "qemu/qmp.h"

struct tuning {
    struct engine *engine;
    int64_t id, bandwidth;
    enum { TUNE_SPEED, TUNE_PAUSE, TUNE_RESUME } what;
    engine_started_fn done;
    void *arg;
    unsigned outstanding; /* replies of QEMU, one a leg of a job of several disks */
    struct error failure; /* the first of them */
};

static int tune_error(const struct job *job, struct error *err)
{
    error_set(err, SNAPVM_ERROR_INVALID_STATE,
              "job %lld is not one that this can be told now: it is %s, at step %s",
              (long long)job->record.id, job->record.state, job_step(job)->name);
    return error_text(err, "state", job->record.state);
}

/* QEMU has the job, or is about to get it. */
static bool tune_runs(const struct job *job)
{
    const char *name = job_step(job)->name;

    return !job_has(job, JOB_UNDOING) &&
           (strcmp(name, "converge") == 0 || strcmp(name, "merge-converge") == 0 ||
            strcmp(name, "delete-converge") == 0);
}

static bool tune_begins(const struct job *job)
{
    return !job_has(job, JOB_UNDOING) &&
           (job_is_before(job, "converge") || job_is_before(job, "merge-converge") ||
            job_is_before(job, "delete-converge"));
}

static void tune_end(struct tuning *tuning, struct job *job, const struct error *err)
{
    tuning->done(tuning->arg, err ? NULL : job, err);
    error_clear(&tuning->failure);
    free(tuning);
}

/* Should it stall again, that is another stall, and is told again. */
static void tune_resumed(struct job *job)
{
    job->record.flags &= ~(unsigned)JOB_PAUSED_BY_USER;
    if (strcmp(job->record.state, "stalled") == 0)
        xstrset(&job->record.state, "running");
    stall_forget(job);
}

static void tune_done(void *arg, const struct error *err)
{
    struct tuning *tuning = arg;
    struct job *job = engine_find(tuning->engine, tuning->id);
    _cleanup_error_ struct error gone = {0};

    if (!err && !job) {
        error_set(&gone, SNAPVM_ERROR_INVALID_STATE, "job %lld has ended meanwhile",
                  (long long)tuning->id);
        error_text(&gone, "state", "ended");
        err = &gone;
    }
    if (!err) {
        if (tuning->what == TUNE_SPEED)
            job->record.bandwidth = tuning->bandwidth;
        else if (tuning->what == TUNE_PAUSE)
            job->record.flags |= JOB_PAUSED_BY_USER;
        else
            tune_resumed(job);
        engine_save(job, "tune");
        engine_kick(job);
    }
    tune_end(tuning, job, err);
}

static void tune_reply(void *arg, const struct error *err)
{
    struct tuning *tuning = arg;

    if (err && !tuning->failure.code)
        error_copy(&tuning->failure, err);
    if (--tuning->outstanding == 0)
        tune_done(tuning, tuning->failure.code ? &tuning->failure : NULL);
}

static void tune_send_one(struct tuning *tuning, struct job *job, const char *name)
{
    tuning->outstanding++;
    if (tuning->what == TUNE_SPEED)
        qmp_job_set_speed(job_qmp(job), name, tuning->bandwidth, tune_reply, tuning);
    else if (tuning->what == TUNE_PAUSE)
        qmp_job_pause(job_qmp(job), name, tune_reply, tuning);
    else
        qmp_job_resume(job_qmp(job), name, tune_reply, tuning);
}

/* Whether QEMU would take it for this job: one that is pending has no speed, and goes on. */
static bool tune_fits(const struct tuning *tuning, enum view_job_status status)
{
    bool paused = status == VIEW_JOB_PAUSED || status == VIEW_JOB_STANDBY;

    if (tuning->what == TUNE_RESUME)
        return paused;
    return paused || status == VIEW_JOB_RUNNING || status == VIEW_JOB_READY;
}

static void tune_send(struct tuning *tuning, struct job *job)
{
    char name[JOB_NAME_SIZE];

    tuning->outstanding = 1;
    qmp_cork(job_qmp(job));
    if (job->record.disk)
        tune_send_one(tuning, job, job_qemu_name(job, job->record.disk, name));
    for (struct leg leg = leg_first(job); leg.job && !job->record.disk; leg = leg_next(job, &leg))
        if (tune_fits(tuning, leg_status(&leg, job->domain->view)))
            tune_send_one(tuning, job, leg.name);
    qmp_uncork(job_qmp(job));
    tune_reply(tuning, NULL);
}

static void tune_begun(void *arg, struct job *job, const struct error *err _unused_)
{
    struct tuning *tuning = arg;
    _cleanup_error_ struct error late = {0};

    if (tune_runs(job) && job->domain->connected) {
        tune_send(tuning, job);
        return;
    }
    tune_error(job, &late);
    tune_end(tuning, NULL, &late);
}

/* A stalled job stands already; what it waits for is to be resumed, wherever on its way it is. */
static bool tune_is_open(const struct job *job, const struct tuning *what)
{
    bool stalled = strcmp(job->record.state, "stalled") == 0;

    if (stalled && !job_has(job, JOB_UNDOING) && what->what == TUNE_RESUME)
        return true;
    return tune_runs(job) && !(stalled && what->what == TUNE_PAUSE);
}

static int tune(struct job *job, const struct tuning *what, struct error *err)
{
    bool begins = tune_begins(job);
    struct tuning *tuning;

    if (!begins && !tune_is_open(job, what))
        return tune_error(job, err);
    if (domain_need_live(job->domain, err) < 0)
        return -1;
    tuning = xmemdup(what, sizeof(*what));
    tuning->engine = job->engine;
    tuning->id = job->record.id;
    if (begins)
        engine_wait(job, WAIT_BEGUN, 0, tune_begun, tuning);
    else
        tune_send(tuning, job);
    return 0;
}

int engine_set_speed(struct job *job, int64_t bandwidth, engine_started_fn done, void *arg,
                     struct error *err)
{
    struct tuning tuning = {.what = TUNE_SPEED, .bandwidth = bandwidth, .done = done, .arg = arg};

    return tune(job, &tuning, err);
}

int engine_pause(struct job *job, bool pause, engine_started_fn done, void *arg, struct error *err)
{
    struct tuning tuning = {.what = pause ? TUNE_PAUSE : TUNE_RESUME, .done = done, .arg = arg};

    return tune(job, &tuning, err);
}
