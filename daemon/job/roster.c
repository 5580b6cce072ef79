/* Jobs coming and going: started, loaded after a restart, waited for, released at their end. */
#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/worker.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "job/check.h"
#include "job/debt.h"
#include "job/engine.h"
#include "job/lease.h"
#include "job/walk.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "qemu/qmp-event.h"
#include "qemu/tool.h"

/* A journal that cannot take a job's end is tried again this often. */
#define RETRY_END_MS 5000

struct waiter {
    TAILQ_ENTRY(waiter) link; /* job::waiters */
    struct job *job;
    enum engine_wait what;
    struct event *timer; /* NULL: waits for ever */
    engine_waited_fn fn;
    void *arg;
};

static void engine_agent(void *arg, struct domain *domain)
{
    debt_chance(arg, domain);
}

static void leash_take(void *arg)
{
    tool_leash_take(((struct engine *)arg)->leash);
}

static void leash_taken(void *arg _unused_)
{
}

/* The worker's tasks run one after another: nobody looks at an image, or has a tool work on one,
 * before it. */
static void engine_take_leash(struct engine *engine, const char *state_dir)
{
    _cleanup_error_ struct error err = {0};

    engine->leash = -1;
    if (state_dir && tool_leash_open(state_dir, &engine->leash, &err) < 0)
        log_warning("image tools of a daemon before are not waited for: %s", err.message);
    if (engine->leash >= 0)
        worker_run(engine->domains->worker, leash_take, leash_taken, NULL, engine);
}

struct engine *engine_new(struct domains *domains, const struct engine_options *options,
                          const struct engine_hooks *hooks)
{
    static const struct domain_handlers handlers = {
        .viewed = engine_viewed,
        .away = engine_domain_away,
        .event = engine_event,
        .agent = engine_agent,
    };
    struct engine *engine = xzalloc(sizeof(*engine));

    engine->domains = domains;
    engine->options = *options;
    engine->options.qemu_img = xstrdup(options->qemu_img ? options->qemu_img : "qemu-img");
    engine->hooks = *hooks;
    TAILQ_INIT(&engine->checks);
    domains_set_handlers(domains, &handlers, engine);
    engine_take_leash(engine, options->state_dir);
    return engine;
}

/* Takes a job out of memory; its row stays. */
static void engine_drop(struct job *job)
{
    HASH_DEL(job->engine->jobs, job);
    TAILQ_REMOVE(&job->domain->jobs, job, link);
    job->domain->turns++;
    job_free(job);
}

static void waiter_free(struct waiter *waiter)
{
    TAILQ_REMOVE(&waiter->job->waiters, waiter, link);
    if (waiter->timer)
        event_free(waiter->timer);
    free(waiter);
}

struct engine *engine_free(struct engine *engine)
{
    struct job *job, *next_job;
    struct domain *domain, *next;
    struct waiter *waiter;

    if (!engine)
        return NULL;
    check_drop_all(engine);
    HASH_ITER (hh, engine->jobs, job, next_job) {
        while ((waiter = TAILQ_FIRST(&job->waiters)))
            waiter_free(waiter);
        engine_drop(job);
    }
    HASH_ITER (hh, engine->domains->map, domain, next) {
        debt_forget(domain);
        lease_forget(domain);
    }
    if (engine->leash >= 0)
        close(engine->leash);
    free((char *)engine->options.qemu_img);
    free(engine);
    return NULL;
}

static void engine_insert(struct job *job)
{
    HASH_ADD(hh, job->engine->jobs, record.id, sizeof(job->record.id), job);
    TAILQ_INSERT_TAIL(&job->domain->jobs, job, link);
    job->domain->turns++;
}

struct job *engine_find(const struct engine *engine, int64_t id)
{
    struct job *job = NULL;

    HASH_FIND(hh, engine->jobs, &id, sizeof(id), job);
    return job;
}

void engine_counts(const struct engine *engine, int64_t *ret_active, int64_t *ret_total)
{
    *ret_active = HASH_COUNT(engine->jobs);
    *ret_total = engine->total;
}

bool engine_is_settling(const struct engine *engine)
{
    struct job *job, *next;

    HASH_ITER (hh, engine->jobs, job, next) {
        if (job->phase == PHASE_OFFLINE || job->phase == PHASE_ENDING)
            return true;
    }
    return false;
}

/* --- start --- */

struct starting {
    struct job *job;
    engine_started_fn done;
    void *arg;
};

static void engine_started(void *arg, const struct error *err)
{
    struct starting *starting = arg;
    struct job *job = starting->job;

    starting->done(starting->arg, err ? NULL : job, err);
    free(starting);
    if (err) {
        if (job->domain->debt && job->domain->debt->job == job->record.id)
            debt_strike(job->domain, NULL);
        job->phase = PHASE_ENDED;
        engine_drop(job);
        return;
    }
    job->engine->total++;
    log_info("job %lld: %s of domain %s begins", (long long)job->record.id, job->record.kind,
             job->record.domain);
    /* The record of the first step is the one that was just made. */
    job->phase = PHASE_LOOKING;
    job_begin(job);
}

void engine_start(struct job *job, engine_note_fn note, engine_started_fn done, void *arg)
{
    struct journal *journal = job->engine->domains->journal;
    struct journal_txn *txn = journal_begin(journal);
    struct starting *starting = xzalloc(sizeof(*starting));

    *starting = (struct starting){.job = job, .done = done, .arg = arg};
    engine_insert(job);
    engine_put(job, txn);
    if (job_step(job)->note)
        job_step(job)->note(job, txn);
    engine_tell(job, txn, "job.created");
    if (note)
        note(arg, job, txn);
    journal_commit(txn, "start", engine_started, starting);
    job_lay(job, job_step(job)->lay);
}

/* --- load --- */

static void engine_load_job(struct engine *engine, struct record_job *record)
{
    struct domain *domain = domains_find(engine->domains, record->domain);
    struct job *job;
    unsigned step;
    const struct plan *plan = plan_of_step(record->kind, record->step, &step);

    if (!domain || !plan) {
        log_error("job %lld: its domain %s or step %s is unknown; it is left alone",
                  (long long)record->id, record->domain, record->step);
        return;
    }
    job = job_new(engine, domain, record->kind);
    record_job_deinit(&job->record);
    job->record = *record;
    memset(record, 0, sizeof(*record));
    job->plan = plan;
    job->step = step;
    job->resumed = job->recovered = true;
    job->phase = PHASE_AWAY;
    if (!plan->look)
        xstrset(&job->record.state, "waiting"); /* for a monitor, which others may hold */
    engine_insert(job);
}

void engine_lead(struct job *leader, struct job **members, unsigned n)
{
    leader->members = xrealloc(leader->members, leader->n_members + n, sizeof(*leader->members));
    for (unsigned i = 0; i < n; i++) {
        members[i]->leader = leader;
        members[i]->phase = PHASE_PASSENGER;
        members[i]->record.group = leader->record.id;
        leader->members[leader->n_members++] = members[i];
    }
    leader->record.group = leader->record.id;
}

void engine_disband(struct job *leader)
{
    for (unsigned i = 1; i < leader->n_members; i++) {
        leader->members[i]->leader = leader->members[i];
        leader->members[i]->phase = PHASE_WAITING;
        leader->members[i]->record.group = 0;
    }
    leader->n_members = 1;
    leader->record.group = 0;
}

/* Jobs of a common pivot walk together again. */
static void engine_load_groups(struct engine *engine)
{
    struct job *job, *next, *leader;

    HASH_ITER (hh, engine->jobs, job, next) {
        if (!job->record.group || job->record.group == job->record.id)
            continue;
        leader = engine_find(engine, job->record.group);
        if (leader)
            engine_lead(leader, &job, 1);
    }
}

/* A debt to a guest whose QEMU has ended is void. */
static void engine_load_debts(struct engine *engine, struct journal_model *model)
{
    for (unsigned i = 0; i < model->n_debts; i++) {
        struct domain *domain = domains_find(engine->domains, model->debts[i].domain);

        if (!domain)
            continue;
        debt_load(engine, domain, &model->debts[i]);
        if (domain->gone)
            debt_chance(engine, domain);
    }
}

void engine_load(struct engine *engine, struct journal_model *model)
{
    struct job *job, *next;

    engine->total = model->jobs_total;
    for (unsigned i = 0; i < model->n_jobs; i++)
        engine_load_job(engine, &model->jobs[i]);
    engine_load_groups(engine);
    engine_load_debts(engine, model);
    HASH_ITER (hh, engine->jobs, job, next) {
        if (job->plan->resume)
            job->plan->resume(job);
    }
    HASH_ITER (hh, engine->jobs, job, next) {
        if (job->plan->look) {
            log_info("job %lld: looked at again, at step %s", (long long)job->record.id,
                     job_step(job)->name);
            engine_look(job);
        } else if (job->leader == job && !process_alive(&job->record.qemu)) {
            engine_away(job);
        }
    }
}

/* --- the end --- */

static void engine_ended(void *arg, const struct error *err)
{
    struct job *job = arg;
    struct domain *domain = job->domain;
    bool shown = job->shown && !job->doubted && !job->recovered;

    if (err) {
        log_error("job %lld: its end is not recorded, tried again: %s", (long long)job->record.id,
                  err->message);
        engine_alarm(job, RETRY_END_MS);
        return;
    }
    engine_release(job);
    if (domain->connected && !shown)
        domain_look(domain);
}

void engine_end(struct job *job, const char *result)
{
    struct journal_txn *txn = journal_begin(job->engine->domains->journal);
    const struct step *step = job_step(job);
    _cleanup_free_ char *word = xstrdup(result);

    for (unsigned i = 0; i < job->n_members; i++) {
        struct job *member = job->members[i];

        xstrset(&member->record.result, word);
        job->plan->conclude(member, word);
        if (!member->record.evidence)
            xstrset(&member->record.evidence, job->recovered ? "recovered-live" : "query");
        xstrset(&member->record.state, "ended");
        member->record.ended = clock_now();
    }
    if ((step->flags & STEP_END) && step->note)
        step->note(job, txn);
    if (job->plan->note_end)
        job->plan->note_end(job, txn);
    domain_save(job->domain, txn);
    engine_put(job, txn);
    for (unsigned i = 0; i < job->n_members; i++)
        engine_tell(job->members[i], txn, "job.ended");
    job->phase = PHASE_ENDING;
    /* An alarm of a phase before would end it once more while the journal takes its time. */
    if (job->timer)
        event_del(job->timer);
    journal_commit(txn, "end", engine_ended, job);
}

void job_offline_done(struct job *job, const char *result, const struct error *why)
{
    if (why)
        engine_note_failure(job, why);
    for (unsigned i = 0; i < job->n_members; i++)
        xstrset(&job->members[i]->record.evidence, "recovered-offline");
    engine_end(job, result);
}

/* --- wait --- */

static void waiter_answer(struct waiter *waiter, const struct error *err)
{
    struct job *job = waiter->job;
    engine_waited_fn fn = waiter->fn;
    void *arg = waiter->arg;

    waiter_free(waiter);
    fn(arg, job, err);
}

static void waiter_timeout(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    struct waiter *waiter = arg;
    _cleanup_error_ struct error err = {0};

    error_set(&err, SNAPVM_ERROR_TIMEOUT,
              "job %lld is not there yet (%s); it goes on: wait for it with job.wait",
              (long long)waiter->job->record.id, waiter->job->record.state);
    error_number(&err, "job", waiter->job->record.id);
    waiter_answer(waiter, &err);
}

void engine_wait(struct job *job, enum engine_wait what, int64_t timeout_ms, engine_waited_fn fn,
                 void *arg)
{
    struct waiter *waiter = xzalloc(sizeof(*waiter));
    struct timeval delay = clock_timeval_ms(timeout_ms);

    *waiter = (struct waiter){.job = job, .what = what, .fn = fn, .arg = arg};
    TAILQ_INSERT_TAIL(&job->waiters, waiter, link);
    if (timeout_ms > 0) {
        waiter->timer = event_new(job->engine->domains->base, -1, 0, waiter_timeout, waiter);
        event_add(waiter->timer, &delay);
    }
}

static void engine_answer(struct job *job, enum engine_wait reached)
{
    struct waiter *waiter, *next;

    for (waiter = TAILQ_FIRST(&job->waiters); waiter; waiter = next) {
        next = TAILQ_NEXT(waiter, link);
        if (waiter->what <= reached)
            waiter_answer(waiter, NULL);
    }
}

void engine_answer_begun(struct job *job)
{
    engine_answer(job, WAIT_BEGUN);
}

void engine_answer_ready(struct job *job)
{
    engine_answer(job, WAIT_READY);
}

void engine_release(struct job *leader)
{
    struct job **members = leader->members;
    unsigned n = leader->n_members;

    leader->members = NULL;
    leader->n_members = 0;
    for (unsigned i = n; i-- > 0;) {
        struct job *job = members[i];

        job->phase = PHASE_ENDED;
        log_info("job %lld: %s of domain %s ended: %s", (long long)job->record.id, job->record.kind,
                 job->record.domain, job->record.result);
        engine_answer(job, WAIT_ENDED);
        engine_drop(job);
    }
    free(members);
}
