/* The walk itself. A job is in one phase at a time; every callback stores what came and lets the
 * job go on from here. */
#include "job/engine.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "job/debt.h"
#include "job/walk.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "qemu/view.h"

#define RETRY_FIRST_MS 50
#define RETRY_LAST_MS 5000
#define PROGRESS_MS 1000

static void engine_undo(struct job *job);

static void engine_set_phase(struct job *job, enum job_phase phase)
{
    job->phase = phase;
    for (unsigned i = 0; i < job->n_members && phase == PHASE_AWAY; i++)
        xstrset(&job->members[i]->record.state, "waiting");
}

static void engine_tell_news(struct job *job, struct journal_txn *txn)
{
    if (job->news)
        journal_add_event(txn, "job.ready", job->record.domain, job->news);
    free(job->news);
    job->news = NULL;
}

void engine_put(struct job *job, struct journal_txn *txn)
{
    for (unsigned i = 0; i < job->n_members; i++) {
        struct job *member = job->members[i];

        member->plan = job->plan;
        member->step = job->step;
        xstrset(&member->record.step, job_step(job)->name);
        member->record.updated = clock_now();
        journal_put_job(txn, &member->record);
        engine_tell_news(member, txn);
    }
}

static char *engine_event_body(struct job *job)
{
    _cleanup_free_ char *text = job->engine->hooks.encode(job);

    return xasprintf("{\"job\":%s}", text);
}

void engine_tell(struct job *job, struct journal_txn *txn, const char *kind)
{
    _cleanup_free_ char *body = engine_event_body(job);

    journal_add_event(txn, kind, job->record.domain, body);
}

void engine_save(struct job *job, const char *name)
{
    struct journal_txn *txn = journal_begin(job->engine->domains->journal);

    engine_put(job->leader, txn);
    journal_commit(txn, name, NULL, NULL);
}

struct ready {
    struct engine *engine;
    int64_t id;
};

static void engine_ready_durable(void *arg, const struct error *err)
{
    struct ready *ready = arg;
    struct job *job = engine_find(ready->engine, ready->id);

    if (job && !err)
        engine_answer_ready(job);
    free(ready);
}

void engine_set_state(struct job *job, const char *state)
{
    bool stalled = strcmp(state, "stalled") == 0, ready = strcmp(state, "ready") == 0;
    enum record_job_flag told = stalled ? JOB_STALLED : JOB_READY_SENT;
    struct journal_txn *txn;
    struct ready *waiting;

    if (strcmp(job->record.state, state) == 0)
        return;
    xstrset(&job->record.state, state);
    if (!(stalled || ready) || job_has(job, told))
        return;
    job->record.flags |= told;
    /* Who watches the progress hears of it at once; the numbered event follows when it is durable:
     * with the decision where the pivot does not wait, to which a sync of its own would only be in
     * the way. */
    if (ready)
        job->engine->hooks.progress(job->engine->hooks.arg, job);
    if (ready && job_has(job, JOB_AUTO_PIVOT)) {
        job->news = engine_event_body(job);
        return;
    }
    txn = journal_begin(job->engine->domains->journal);
    journal_put_job(txn, &job->record);
    engine_tell_news(job, txn);
    engine_tell(job, txn, ready ? "job.ready" : "job.stalled");
    waiting = xzalloc(sizeof(*waiting));
    *waiting = (struct ready){.engine = job->engine, .id = job->record.id};
    journal_commit(txn, ready ? "ready" : "stalled", engine_ready_durable, waiting);
}

/* --- timers --- */

static void engine_timer(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    struct job *job = arg;

    switch (job->phase) {
    case PHASE_RETRYING:
        if (job_has(job, JOB_UNDOING)) {
            engine_undo(job);
        } else {
            job->resumed = true;
            job->acted = false;
            engine_look(job);
        }
        break;
    case PHASE_WAITING:
        if (job->plan->look)
            engine_look(job);
        else
            domain_look_jobs(job->domain);
        break;
    case PHASE_ENDING:
        engine_end(job, job->record.result);
        break;
    default:
        break;
    }
}

void engine_alarm(struct job *job, unsigned ms)
{
    struct timeval delay = clock_timeval_ms(ms);

    if (!job->timer)
        job->timer = event_new(job->engine->domains->base, -1, 0, engine_timer, job);
    event_add(job->timer, &delay);
}

static void engine_retry(struct job *job)
{
    job->retry_ms = job->retry_ms ? job->retry_ms * 2 : RETRY_FIRST_MS;
    if (job->retry_ms > RETRY_LAST_MS)
        job->retry_ms = RETRY_LAST_MS;
    engine_set_phase(job, PHASE_RETRYING);
    engine_alarm(job, job->retry_ms);
}

/* --- forward --- */

void engine_look(struct job *job)
{
    bool jobs_only = (job_step(job)->flags & STEP_WAIT) && !job->resumed && !job->failure.code;

    engine_set_phase(job, PHASE_LOOKING);
    if (job->plan->look)
        job->plan->look(job);
    else if (!job->domain->connected)
        engine_away(job);
    else if (jobs_only)
        job->looks_for = domain_look_jobs(job->domain);
    else
        job->looks_for = domain_look(job->domain);
}

/* The act sent a look along with its commands: its view is the one to be judged. */
static void engine_await(struct job *job)
{
    engine_set_phase(job, PHASE_LOOKING);
    job->looks_for = job->asked;
    if (job->domain->view_number >= job->asked)
        engine_glance(job);
}

void engine_away(struct job *job)
{
    if (!domain_runs_in(job->domain, &job->record.qemu)) {
        engine_set_phase(job, PHASE_OFFLINE);
        job->recovered = true;
        log_info("job %lld: its QEMU has ended at step %s; settled from records and files",
                 (long long)job->record.id, job_step(job)->name);
        job->plan->offline(job);
        return;
    }
    engine_set_phase(job, PHASE_AWAY);
}

/* Whether what the job works on can be reached: QEMU's monitor, or the files. */
static bool engine_reaches(const struct job *job)
{
    return job->plan->look || job->domain->connected;
}

static void engine_act(struct job *job)
{
    const struct step *step = job_step(job);

    if (!(step->flags & STEP_END) && !engine_reaches(job)) {
        engine_away(job);
        return;
    }
    engine_set_phase(job, PHASE_ACTING);
    job->acted = job->resumed = job->believed = false;
    job->asked = 0;
    error_clear(&job->failure);
    for (unsigned i = 0; i < job->n_members; i++)
        xstrset(&job->members[i]->record.step, step->name);
    log_debug("job %lld: %s", (long long)job->record.id, step->name);
    if (step->act)
        step->act(job);
    else
        job_acted(job, NULL);
}

static void engine_recorded(void *arg, const struct error *err)
{
    struct job *job = arg;

    if (!err) {
        for (unsigned i = 0; i < job->n_members && job_has(job->members[i], JOB_READY_SENT); i++)
            engine_answer_ready(job->members[i]);
        engine_act(job);
        return;
    }
    for (unsigned i = 0; i < job->n_members && (job_step(job)->flags & STEP_DECIDE); i++)
        job->members[i]->record.flags &= ~(unsigned)JOB_DECIDED;
    engine_fail(job, err);
}

static void engine_record(struct job *job)
{
    const struct step *step = job_step(job);
    struct journal_txn *txn = journal_begin(job->engine->domains->journal);

    for (unsigned i = 0; i < job->n_members && (step->flags & STEP_DECIDE); i++)
        job->members[i]->record.flags |= JOB_DECIDED;
    if (step->note)
        step->note(job, txn);
    engine_put(job, txn);
    engine_set_phase(job, PHASE_RECORDING);
    journal_commit(txn, step->name, engine_recorded, job);
    job_lay(job, step->lay);
}

void job_begin(struct job *job)
{
    engine_act(job);
}

static void engine_enter(struct job *job)
{
    const struct step *step = job_step(job);

    if ((step->flags & STEP_RECORD) && !(step->known && step->known(job)))
        engine_record(job);
    else
        engine_act(job);
}

/* Whether the steps that were done can still be taken back. */
static bool engine_can_undo(const struct job *job)
{
    return !job->committed && !job_has(job, JOB_DECIDED);
}

/* The present step holds: on to the next one that applies. */
static void engine_advance(struct job *job)
{
    if (job_step(job)->flags & STEP_COMMITS)
        job->committed = true;
    error_clear(&job->failure);
    job->retry_ms = 0;
    job->acted = false;
    do {
        job->step++;
        assert(job->step < job->plan->n_steps);
    } while (job_step(job)->skip && job_step(job)->skip(job));
    if (job_has(job, JOB_CANCEL) && engine_can_undo(job))
        engine_fail(job, NULL);
    else if (job->resumed)
        engine_judge(job);
    else
        engine_enter(job);
}

/* Events keep the jobs of the view current: while the connection stands they are believed, except
 * when they say that something is lost, or that an I/O error struck, which io-status tells of. */
void engine_glance(struct job *job)
{
    const struct step *step = job_step(job);

    if (job->struck || (step->probe && step->probe(job, job->domain->view) == LOST))
        engine_look(job);
    else
        engine_judge(job);
}

static void engine_undone(struct job *job, const struct error *err);

void job_acted(struct job *job, const struct error *err)
{
    if (job_has(job, JOB_UNDOING)) {
        engine_undone(job, err);
        return;
    }
    if (err) {
        error_copy(&job->failure, err);
        job->doubted = true;
        log_debug("job %lld: %s: %s", (long long)job->record.id, job_step(job)->name, err->message);
        engine_look(job);
        return;
    }
    job->acted = true;
    if (job_step(job)->flags & STEP_WAIT) {
        engine_glance(job);
    } else if ((job_step(job)->flags & STEP_VERIFY) && !job->believed) {
        if (job->asked)
            engine_await(job);
        else
            engine_look(job);
    } else {
        engine_advance(job);
    }
}

void job_go(struct job *job, const struct plan *plan, const char *step)
{
    job->plan = plan;
    for (job->step = 0; strcmp(job_step(job)->name, step) != 0; job->step++)
        assert(job->step + 1 < plan->n_steps);
    job->acted = false;
    error_clear(&job->failure);
    engine_enter(job);
}

static void engine_wait_on(struct job *job)
{
    engine_set_phase(job, PHASE_WAITING);
    engine_answer_begun(job);
    /* Nothing but the user ends the state of being ready, or stalled. */
    if (strcmp(job->record.state, "ready") != 0 && strcmp(job->record.state, "stalled") != 0)
        engine_alarm(job, PROGRESS_MS);
}

static void engine_judge_lost(struct job *job)
{
    _cleanup_error_ struct error err = {0};

    if (job_has(job, JOB_DECIDED) && job->plan->lost) {
        job->plan->lost(job);
        return;
    }
    if (job_why_failed(job, &err))
        error_clear(&job->failure);
    else if (job->failure.code)
        error_move(&err, &job->failure);
    else
        error_set(&err, SNAPVM_ERROR_QEMU, "the work in QEMU ended before step \"%s\" was done",
                  job_step(job)->name);
    engine_fail(job, &err);
}

static void engine_judge_not_yet(struct job *job)
{
    _cleanup_error_ struct error err = {0};

    if (job->failure.code) {
        error_move(&err, &job->failure);
        engine_fail(job, &err);
    } else if (job->acted && (job_step(job)->flags & STEP_WAIT)) {
        engine_wait_on(job);
    } else if (job->acted) {
        error_set(&err, SNAPVM_ERROR_QEMU, "QEMU accepted step \"%s\" but did not do it",
                  job_step(job)->name);
        engine_fail(job, &err);
    } else {
        job->resumed = false;
        engine_enter(job);
    }
}

static void engine_judge_forward(struct job *job)
{
    const struct step *step = job_step(job);
    const struct view *view = job->domain->view;
    enum seen seen;

    if (job_has(job, JOB_CANCEL) && engine_can_undo(job)) {
        engine_fail(job, NULL);
        return;
    }
    if (step->probe)
        seen = step->probe(job, view);
    else
        seen = job->acted ? HOLDS : NOT_YET;
    switch (seen) {
    case HOLDS:
        engine_advance(job);
        break;
    case MOVING:
        engine_wait_on(job);
        break;
    case NOT_YET:
        engine_judge_not_yet(job);
        break;
    case LOST:
        engine_judge_lost(job);
        break;
    }
}

static void engine_judge_undo(struct job *job);

/* Whether a resumed job goes back instead of on; it is on its way then. */
static bool engine_turns_back(struct job *job)
{
    _cleanup_error_ struct error err = {0};

    if (!job->resumed || !job->plan->forward || !engine_can_undo(job) ||
        job->plan->forward(job, job->domain->view, &err) == 0)
        return false;
    engine_fail(job, &err);
    return true;
}

static void engine_observe(struct job *job)
{
    int64_t now = clock_monotonic();
    struct engine *engine = job->engine;

    job->plan->observe(job, job->domain->view);
    if (job->record.total < 0 || strcmp(job->record.state, "running") != 0 ||
        now - job->progress_told < PROGRESS_MS * INT64_C(1000))
        return;
    job->progress_told = now;
    engine->hooks.progress(engine->hooks.arg, job);
}

/* A fresh view is here, or, for a job that was resumed, still good for the next step. */
void engine_judge(struct job *job)
{
    for (unsigned i = 0; i < job->n_members && job->plan->observe; i++)
        engine_observe(job->members[i]);
    if (job_has(job, JOB_UNDOING))
        engine_judge_undo(job);
    else if (!engine_turns_back(job))
        engine_judge_forward(job);
}

/* --- backward --- */

static void engine_step_back(struct job *job)
{
    job->stepping_back = false;
    job->retry_ms = 0;
    if (job->step == 0 && job->plan->before) {
        job->plan = job->plan->before;
        job->step = job->plan->n_steps;
    }
    if (job->step > 0) {
        job->step--;
        engine_undo(job);
        return;
    }
    engine_end(job, job_has(job, JOB_CANCEL) ? "cancelled" : job->plan->undone);
}

static void engine_undo(struct job *job)
{
    const struct step *step = job_step(job);

    if (!step->undo || (step->skip && step->skip(job))) {
        engine_step_back(job);
        return;
    }
    if (!engine_reaches(job)) {
        engine_away(job);
        return;
    }
    engine_set_phase(job, PHASE_ACTING);
    job->stepping_back = true;
    log_debug("job %lld: undo of %s", (long long)job->record.id, step->name);
    step->undo(job);
}

static void engine_undone(struct job *job, const struct error *err)
{
    if (err && err->code != SNAPVM_ERROR_QEMU_GONE) {
        log_warning("job %lld: undo of %s: %s; tried again", (long long)job->record.id,
                    job_step(job)->name, err->message);
        engine_retry(job);
    } else if (err || job_step(job)->probe) {
        job->stepping_back = !err; /* cut off in the middle, it is called again */
        error_clear(&job->failure);
        job->resumed = true; /* asks for a whole view */
        engine_look(job);
    } else {
        engine_step_back(job);
    }
}

static void engine_judge_undo(struct job *job)
{
    const struct step *step = job_step(job);
    enum seen seen = step->probe ? step->probe(job, job->domain->view) : NOT_YET;

    if (!job->stepping_back)
        engine_undo(job); /* resumed here: the undo is called at least once */
    else if (seen == NOT_YET)
        engine_step_back(job);
    else if (seen == MOVING)
        engine_wait_on(job);
    else if (job->retry_ms == 0) {
        job->retry_ms = RETRY_FIRST_MS;
        engine_undo(job);
    } else
        engine_retry(job);
}

static void engine_undo_recorded(void *arg, const struct error *err)
{
    struct job *job = arg;

    /* What cannot be recorded is taken back all the same: after a crash it would be tried anew. */
    if (err)
        log_error("job %lld: its undo is not recorded: %s", (long long)job->record.id,
                  err->message);
    engine_undo(job);
}

void engine_note_failure(struct job *job, const struct error *err)
{
    for (unsigned i = 0; i < job->n_members && err; i++)
        if (!job->members[i]->record.error.code)
            error_copy(&job->members[i]->record.error, err);
}

void engine_fail(struct job *job, const struct error *err)
{
    struct journal_txn *txn;

    if (!engine_can_undo(job)) {
        log_warning("job %lld: step %s must be done and is tried again: %s",
                    (long long)job->record.id, job_step(job)->name,
                    err ? err->message : "no reason given");
        error_clear(&job->failure);
        engine_retry(job);
        return;
    }
    engine_note_failure(job, err);
    for (unsigned i = 0; i < job->n_members; i++) {
        job->members[i]->record.flags |= JOB_UNDOING;
        xstrset(&job->members[i]->record.state, "finishing");
    }
    error_clear(&job->failure);
    job->stepping_back = job->acted = false;
    job->retry_ms = 0;
    /* No frozen guest waits for the journal. */
    if (job->froze >= 0 && job->domain->debt && job->domain->debt->job == job->record.id)
        debt_collect(job->engine, job->domain, NULL, NULL);
    txn = journal_begin(job->engine->domains->journal);
    engine_put(job, txn);
    engine_set_phase(job, PHASE_RECORDING);
    journal_commit(txn, "undo", engine_undo_recorded, job);
}
