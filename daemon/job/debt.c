#include "job/debt.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/memory.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "journal/journal.h"
#include "qemu/agent.h"

#define RETRY_FIRST_MS 200
#define RETRY_LAST_MS 5000

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
    struct event *timer;
    unsigned retry_ms;
    unsigned outstanding; /* answers of the present attempt */
    bool refused;         /* the agent said no to the freeze: an error of the thaw means nothing */
    bool answered;        /* the thaw of this attempt was answered without an error */
    bool thawed;          /* the status behind it said thawed */
    unsigned errors;      /* attempts in which the thaw failed and the status said thawed */
    int64_t count;
};

static void debt_try(struct debt_run *run);

static void debt_retry(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    debt_try(arg);
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
    run->timer = event_new(domain->owner->base, -1, 0, debt_retry, run);
    STAILQ_INIT(&run->creditors);
    return run;
}

void debt_incur(struct domain *domain, int64_t job, int64_t deadline, struct journal_txn *txn)
{
    struct record_debt *debt = xzalloc(sizeof(*debt));

    debt->domain = xstrdup(domain->record.name);
    debt->qemu = domain->record.qemu;
    debt->since = clock_now();
    debt->deadline = deadline;
    debt->job = job;
    domain->debt = debt;
    if (domain->collecting)
        domain->collecting->refused = false;
    journal_put_debt(txn, debt);
}

void debt_load(struct domain *domain, struct record_debt *debt)
{
    domain->debt = xmemdup(debt, sizeof(*debt));
    memset(debt, 0, sizeof(*debt));
    domain->freeze = FREEZE_THAW_OWED;
}

void debt_strike(struct domain *domain, struct journal_txn *txn)
{
    struct journal_txn *own = txn ? NULL : journal_begin(domain->owner->journal);

    if (domain->debt) {
        record_debt_deinit(domain->debt);
        free(domain->debt);
        domain->debt = NULL;
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
    journal_add_event(txn, "guest.thaw_owed", domain->record.name, NULL);
    journal_commit(txn, "debt", NULL, NULL);
}

static void creditor_timeout(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    struct creditor *creditor = arg;

    debt_owed(creditor->run);
    creditor_answer(creditor, false, 0);
}

/* The guest is thawed (confirmed), or its QEMU is gone. Who asked strikes a confirmed debt out in a
 * commit of its own; otherwise it is struck out here. */
static void debt_settled(struct debt_run *run, const char *event, bool confirmed)
{
    struct domain *domain = run->domain;
    struct journal_txn *txn;
    struct creditor *creditor;

    event_del(run->timer);
    run->retry_ms = RETRY_FIRST_MS;
    run->errors = 0;
    if (STAILQ_EMPTY(&run->creditors) || !confirmed) {
        txn = journal_begin(domain->owner->journal);
        if (event)
            journal_add_event(txn, event, domain->record.name, NULL);
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
    struct timeval delay;

    if (--run->outstanding > 0)
        return;
    if (debt_is_confirmed(run)) {
        run->domain->freeze = FREEZE_THAWED;
        debt_settled(run, "guest.thawed", true);
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

    if (run->outstanding || !domain->debt)
        return;
    if (!domain_runs_in(domain, &domain->debt->qemu)) {
        run->count = 0;
        if (domain->freeze == FREEZE_THAW_OWED)
            domain->freeze = FREEZE_UNKNOWN;
        debt_settled(run, NULL, false);
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
    debt_try(run);
}

void debt_chance(struct engine *engine, struct domain *domain)
{
    struct job *job;

    if (!domain->debt)
        return;
    /* A job that walks from its freeze to its thaw collects by itself; a thaw that came between the
     * record of the debt and the freeze would strike it out too early. */
    job = engine_find(engine, domain->debt->job);
    if (job && !job->recovered && domain_runs_in(domain, &domain->debt->qemu) &&
        (job->froze < 0 || (!job_has(job, JOB_UNDOING) &&
                            (!domain->collecting || STAILQ_EMPTY(&domain->collecting->creditors)))))
        return;
    debt_try(debt_run_of(engine, domain));
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
    free(run);
    domain->collecting = NULL;
}
