#include "job/debt.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/memory.h"
#include "domain/domains.h"
#include "domain/snapshot.h"
#include "job/engine.h"
#include "journal/journal.h"
#include "qemu/agent.h"

#define RETRY_FIRST_MS 200
#define RETRY_LAST_MS 5000
#define FEED_SHARE 5      /* signs of life within the silence after which a guest thaws by itself */
#define FEED_LEAST_MS 100 /* between two of them, whatever the guest says */
#define FEED_RETRY_MS 1000

/* Somebody who waits for the first answer of a collection. */
struct creditor {
    STAILQ_ENTRY(creditor) link; /* debt_run::creditors */
    struct debt_run *run;
    struct event *timer;
    debt_fn fn;
    void *arg;
};

/* How a debt is being collected. */
struct debt_run {
    struct engine *engine;
    struct domain *domain;
    STAILQ_HEAD(, creditor) creditors;
    struct event *timer; /* the next attempt, or the end of a lease */
    struct event *feed;  /* the next sign of life for a guest that thaws by itself */
    int64_t feed_ms;     /* from one to the next; 0: it does not, -1: it was not heard yet */
    bool feeding;        /* one is on its way */
    bool due;            /* a thaw was asked for, or the lease has ended */
    unsigned retry_ms;
    unsigned outstanding; /* answers of the present attempt */
    bool refused;         /* the agent said no to the freeze: an error of the thaw means nothing */
    bool answered;        /* the thaw of this attempt was answered without an error */
    bool thawed;          /* the status behind it said thawed */
    unsigned errors;      /* attempts in which the thaw failed and the status said thawed */
    int64_t count;
};

static void debt_try(struct debt_run *run);
static void debt_owed(struct debt_run *run);
static void debt_feed_timer(evutil_socket_t fd, short what, void *arg);

static void debt_timer(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    struct debt_run *run = arg;

    run->due = true;
    debt_try(run);
    if (run->domain->debt && !run->outstanding)
        debt_owed(run); /* nobody is there to be asked */
}

static struct debt_run *debt_run_of(struct engine *engine, struct domain *domain)
{
    struct debt_run *run = domain->collecting;

    if (run)
        return run;
    run = domain->collecting = xzalloc(sizeof(*run));
    run->engine = engine;
    run->domain = domain;
    run->retry_ms = RETRY_FIRST_MS;
    run->feed_ms = -1;
    run->timer = event_new(domain->owner->base, -1, 0, debt_timer, run);
    run->feed = event_new(domain->owner->base, -1, 0, debt_feed_timer, run);
    STAILQ_INIT(&run->creditors);
    return run;
}

static void debt_write_down(struct domain *domain, const struct process *qemu, int64_t job,
                            int64_t deadline, struct journal_txn *txn)
{
    struct record_debt *debt = xzalloc(sizeof(*debt));

    assert(!domain->debt);
    debt->domain = xstrdup(domain->record.name);
    debt->qemu = *qemu;
    debt->since = clock_now();
    debt->deadline = deadline;
    debt->job = job;
    domain->debt = debt;
    if (domain->collecting)
        domain->collecting->refused = domain->collecting->due = false;
    journal_put_debt(txn, debt);
}

void debt_incur(struct domain *domain, int64_t job, int64_t deadline, struct journal_txn *txn)
{
    debt_write_down(domain, &domain->record.qemu, job, deadline, txn);
}

void debt_incur_next(struct domain *domain, int64_t job, struct journal_txn *txn)
{
    const struct process none = {0};

    if (domain->debt)
        debt_strike(domain, txn);
    debt_write_down(domain, &none, job, clock_now(), txn);
    domain->freeze = FREEZE_THAW_OWED;
}

/* The first QEMU that is there is the one that was meant. */
static bool debt_has_qemu(struct domain *domain)
{
    struct journal_txn *txn;

    if (domain->debt->qemu.pid != 0)
        return true;
    if (!domain->connected || domain->gone)
        return false;
    domain->debt->qemu = domain->record.qemu;
    txn = journal_begin(domain->owner->journal);
    journal_put_debt(txn, domain->debt);
    journal_commit(txn, "debt", NULL, NULL);
    return true;
}

/* The timer counts from now on, whatever becomes of the calendar; the deadline is for a daemon that
 * is started anew. */
static void debt_await(struct engine *engine, struct domain *domain, int64_t ms)
{
    struct timeval delay = clock_timeval_ms(ms);

    event_add(debt_run_of(engine, domain)->timer, &delay);
    domain->freeze = FREEZE_FROZEN;
}

void debt_grant(struct engine *engine, struct domain *domain, int64_t count, int64_t lease_ms,
                struct journal_txn *txn)
{
    domain->debt->count = count;
    domain->debt->deadline = clock_now() + lease_ms * 1000;
    journal_put_debt(txn, domain->debt);
    debt_await(engine, domain, lease_ms);
}

bool debt_is_lease(const struct domain *domain)
{
    const struct record_debt *debt = domain->debt;

    return debt && debt->job == 0 && debt->count > 0 && domain_runs_in(domain, &debt->qemu) &&
           !(domain->collecting && domain->collecting->due);
}

void debt_load(struct engine *engine, struct domain *domain, struct record_debt *debt)
{
    int64_t left_ms = (debt->deadline - clock_now()) / 1000;

    domain->debt = xmemdup(debt, sizeof(*debt));
    memset(debt, 0, sizeof(*debt));
    domain->freeze = FREEZE_THAW_OWED;
    if (left_ms > engine->options.lease_max_ms)
        left_ms = engine->options.lease_max_ms; /* the calendar was set back */
    if (debt_is_lease(domain) && left_ms > 0)
        debt_await(engine, domain, left_ms);
    else
        debt_run_of(engine, domain)->due = true;
}

void debt_strike(struct domain *domain, struct journal_txn *txn)
{
    struct journal_txn *own = txn ? NULL : journal_begin(domain->owner->journal);

    if (domain->debt) {
        record_debt_deinit(domain->debt);
        free(domain->debt);
        domain->debt = NULL;
    }
    if (domain->collecting) {
        event_del(domain->collecting->feed);
        domain->collecting->feed_ms = -1;
    }
    journal_drop_debt(txn ? txn : own, domain->record.name);
    if (own)
        journal_commit(own, "debt", NULL, NULL);
}

void debt_refused(struct domain *domain)
{
    if (domain->collecting)
        domain->collecting->refused = true;
}

static void creditor_answer(struct creditor *creditor, bool confirmed, int64_t count)
{
    debt_fn fn = creditor->fn;
    void *arg = creditor->arg;

    STAILQ_REMOVE(&creditor->run->creditors, creditor, creditor, link);
    event_free(creditor->timer);
    free(creditor);
    fn(arg, confirmed, count);
}

static void debt_owed(struct debt_run *run)
{
    struct domain *domain = run->domain;
    struct journal_txn *txn;

    if (domain->freeze == FREEZE_THAW_OWED)
        return;
    domain->freeze = FREEZE_THAW_OWED;
    log_warning("domain %s: a thaw is owed and cannot be confirmed yet; it is tried on",
                domain->record.name);
    txn = journal_begin(domain->owner->journal);
    if (domain->debt) { /* a lease is over, for the next daemon too */
        domain->debt->deadline = clock_now();
        journal_put_debt(txn, domain->debt);
    }
    journal_add_event(txn, "guest.thaw_owed", domain->record.name, NULL);
    journal_commit(txn, "debt", NULL, NULL);
}

static void creditor_timeout(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    struct creditor *creditor = arg;

    debt_owed(creditor->run);
    creditor_answer(creditor, false, 0);
}

/* A snapshot that was taken within a lease was called quiesced for what the agent said before and
 * behind it. Only the thaw counts what was really frozen: where it counts something else, somebody
 * in the guest had thawed behind the agent's back, and the record is corrected. */
static void debt_correct_snapshots(struct domain *domain, int64_t count, struct journal_txn *txn)
{
    struct snapshot *snapshot;

    TAILQ_FOREACH (snapshot, &domain->snapshots, link) {
        if (!snapshot->record.quiesced || snapshot->record.created < domain->debt->since)
            continue;
        snapshot->record.quiesced = false;
        snapshot->record.quiesce_error =
            xasprintf("the lease's freeze counted %lld file systems, its thaw %lld: the guest was "
                      "thawed or frozen by somebody else meanwhile",
                      (long long)domain->debt->count, (long long)count);
        journal_put_snapshot(txn, &snapshot->record);
    }
}

static void debt_note_thaw(struct debt_run *run, bool told, struct journal_txn *txn)
{
    const struct record_debt *debt = run->domain->debt;
    _cleanup_free_ char *body = xasprintf("{\"count\":%lld}", (long long)run->count);

    if (debt->count > 0 && debt->count != run->count)
        debt_correct_snapshots(run->domain, run->count, txn);
    if (told || debt->job || debt->count > 0)
        journal_add_event(txn, "guest.thawed", run->domain->record.name, body);
}

/* The guest is thawed (confirmed), or its QEMU is gone. A job strikes a confirmed debt out in a
 * commit of its own; all others are struck out here. `told`: guest.thaw_owed was sent. */
static void debt_settled(struct debt_run *run, bool confirmed, bool told)
{
    struct domain *domain = run->domain;
    struct journal_txn *txn;
    struct creditor *creditor;

    event_del(run->timer);
    run->retry_ms = RETRY_FIRST_MS;
    run->errors = 0;
    run->due = false;
    if (domain->debt && (STAILQ_EMPTY(&run->creditors) || !confirmed ||
                         !engine_find(run->engine, domain->debt->job))) {
        txn = journal_begin(domain->owner->journal);
        if (confirmed)
            debt_note_thaw(run, told, txn);
        debt_strike(domain, txn);
        journal_commit(txn, "debt", NULL, NULL);
    }
    while ((creditor = STAILQ_FIRST(&run->creditors)))
        creditor_answer(creditor, confirmed, run->count);
}

static bool debt_is_confirmed(struct debt_run *run)
{
    if (!run->thawed)
        return false;
    if (run->answered || run->refused)
        return true;
    /* A thaw that errs may have thawed (a missing hook): twice the same is taken for it. */
    return ++run->errors >= 2;
}

static void debt_answer(struct debt_run *run)
{
    bool told = run->domain->freeze == FREEZE_THAW_OWED;
    struct timeval delay;

    if (--run->outstanding > 0)
        return;
    if (debt_is_confirmed(run)) {
        run->domain->freeze = FREEZE_THAWED;
        debt_settled(run, true, told);
        return;
    }
    delay = clock_timeval_ms(run->retry_ms);
    event_add(run->timer, &delay);
    run->retry_ms = run->retry_ms * 2 > RETRY_LAST_MS ? RETRY_LAST_MS : run->retry_ms * 2;
    if (STAILQ_EMPTY(&run->creditors))
        debt_owed(run);
}

static void debt_thaw_answer(void *arg, const struct agent_reply *reply, const struct error *err)
{
    struct debt_run *run = arg;

    crash_point(run->domain->owner->crash, "effect.done", "thaw");
    run->answered = !err;
    run->count = err ? 0 : reply->count;
    debt_answer(run);
}

static void debt_status_answer(void *arg, const struct agent_reply *reply, const struct error *err)
{
    struct debt_run *run = arg;

    run->thawed = !err && !reply->frozen;
    debt_answer(run);
}

static void debt_try(struct debt_run *run)
{
    struct domain *domain = run->domain;
    unsigned timeout_ms = run->engine->options.agent_timeout_ms;

    if (run->outstanding || !domain->debt || !debt_has_qemu(domain))
        return;
    if (!domain_runs_in(domain, &domain->debt->qemu)) {
        run->count = 0;
        domain->freeze = FREEZE_UNKNOWN;
        debt_settled(run, false, false);
        return;
    }
    /* A stopped guest answers nothing; RESUME is the next chance. */
    if (!domain_is_running(domain) || !domain->agent || !agent_is_up(domain->agent))
        return;
    run->outstanding = 2;
    run->answered = run->thawed = false;
    crash_point(domain->owner->crash, "effect.before", "thaw");
    agent_cork(domain->agent);
    agent_call(domain->agent, AGENT_THAW, NULL, 0, timeout_ms, debt_thaw_answer, run);
    agent_call(domain->agent, AGENT_STATUS, NULL, 0, timeout_ms, debt_status_answer, run);
    agent_uncork(domain->agent);
    crash_point(domain->owner->crash, "effect.sent", "thaw");
}

void debt_collect(struct engine *engine, struct domain *domain, debt_fn fn, void *arg)
{
    struct debt_run *run = debt_run_of(engine, domain);
    struct timeval delay = clock_timeval_ms(engine->options.agent_timeout_ms);
    struct creditor *creditor;

    if (fn && !domain->debt) {
        fn(arg, false, 0);
        return;
    }
    if (fn) {
        creditor = xzalloc(sizeof(*creditor));
        *creditor = (struct creditor){.run = run, .fn = fn, .arg = arg};
        creditor->timer = event_new(domain->owner->base, -1, 0, creditor_timeout, creditor);
        event_add(creditor->timer, &delay);
        STAILQ_INSERT_TAIL(&run->creditors, creditor, link);
    }
    run->due = true;
    debt_try(run);
}

/* --- a guest that thaws by itself --- */

static void debt_feed_later(struct debt_run *run, int64_t ms)
{
    struct timeval delay = clock_timeval_ms(ms);

    event_add(run->feed, &delay);
}

static void debt_denied(struct domain *domain)
{
    if (!debt_is_lease(domain) || domain->freeze != FREEZE_FROZEN)
        return;
    domain->freeze = FREEZE_UNKNOWN;
    log_warning("domain %s: its agent denies that a lease holds it frozen: something in the guest "
                "has thawed it, or the agent was started anew",
                domain->record.name);
}

void debt_feed(struct engine *engine, struct domain *domain, const struct agent_reply *status)
{
    struct debt_run *run = debt_run_of(engine, domain);

    run->feed_ms = status->frozen ? status->thaw_in_ms / FEED_SHARE : 0;
    if (run->feed_ms < FEED_LEAST_MS && status->thaw_in_ms > 0)
        run->feed_ms = FEED_LEAST_MS;
    if (run->feed_ms > 0)
        debt_feed_later(run, run->feed_ms);
    if (!status->frozen)
        debt_denied(domain);
}

static void debt_fed(void *arg, const struct agent_reply *reply, const struct error *err)
{
    struct debt_run *run = arg;

    run->feeding = false;
    if (!run->domain->debt || run->due)
        return;
    if (!err) {
        debt_feed(run->engine, run->domain, reply);
        return;
    }
    log_debug("domain %s: whether it is frozen: %s", run->domain->record.name, err->message);
    debt_feed_later(run, run->feed_ms > 0 ? run->feed_ms : FEED_RETRY_MS);
}

/* Nobody is asked who is not there, or who is asked already: debt_chance comes when that ends. */
static void debt_give_sign(struct debt_run *run)
{
    struct domain *domain = run->domain;

    if (run->feeding || !domain_is_running(domain) || !domain->agent || !agent_is_up(domain->agent))
        return;
    run->feeding = true;
    agent_call(domain->agent, AGENT_STATUS, NULL, 0, run->engine->options.agent_timeout_ms,
               debt_fed, run);
}

static void debt_feed_timer(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    struct debt_run *run = arg;

    if (run->domain->debt && !run->due)
        debt_give_sign(run);
}

/* Whether a sign is missing: nobody was there to hear it, or this daemon has just taken the lease
 * over from another. */
static bool debt_must_feed(const struct debt_run *run)
{
    bool wanted = run->feed_ms > 0 || (run->feed_ms < 0 && debt_is_lease(run->domain));

    return wanted && !run->due && !event_pending(run->feed, EV_TIMEOUT, NULL);
}

/* Whoever walks from a freeze to its thaw collects by himself: a job, or a client's freeze on its
 * way. A thaw that came between the record of the debt and the freeze would strike it out too
 * early. */
static bool debt_is_due(struct engine *engine, struct debt_run *run)
{
    const struct domain *domain = run->domain;
    const struct job *job = engine_find(engine, domain->debt->job);

    if (!domain_runs_in(domain, &domain->debt->qemu))
        return true;
    if (domain->debt->job == 0)
        return run->due;
    return !job || job->recovered ||
           (job->froze >= 0 && (job_has(job, JOB_UNDOING) || !STAILQ_EMPTY(&run->creditors)));
}

void debt_chance(struct engine *engine, struct domain *domain)
{
    struct debt_run *run;

    if (!domain->debt)
        return;
    run = debt_run_of(engine, domain);
    if (debt_is_due(engine, run))
        debt_try(run);
    else if (debt_must_feed(run))
        debt_give_sign(run);
}

void debt_forget(struct domain *domain)
{
    struct debt_run *run = domain->collecting;
    struct creditor *creditor;

    if (!run)
        return;
    while ((creditor = STAILQ_FIRST(&run->creditors))) {
        STAILQ_REMOVE_HEAD(&run->creditors, link);
        event_free(creditor->timer);
        free(creditor);
    }
    event_free(run->timer);
    event_free(run->feed);
    free(run);
    domain->collecting = NULL;
}
