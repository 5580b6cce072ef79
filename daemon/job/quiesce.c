#include "job/quiesce.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/memory.h"
#include "domain/domains.h"
#include "domain/link.h"
#include "job/debt.h"
#include "job/engine.h"
#include "proto/snapvm-errors.h"
#include "qemu/agent.h"
#include "qemu/qmp-command.h"

/* An answer of the agent that is older than this says nothing of now. */
#define ANSWER_IS_OLD_US 250000

/* An exchange with the guest. The job may end before its answer comes: it is found by id. */
struct exchange {
    struct engine *engine;
    int64_t job;
    quiesce_fn fn; /* of the precheck */
};

static struct exchange *exchange_new(const struct job *job)
{
    struct exchange *exchange = xzalloc(sizeof(*exchange));

    exchange->engine = job->engine;
    exchange->job = job->record.id;
    return exchange;
}

/* Frees the exchange, and returns its job, as long as that has not ended. */
static struct job *exchange_end(struct exchange *exchange)
{
    struct job *job = engine_find(exchange->engine, exchange->job);

    free(exchange);
    return job;
}

static int quiesce_unavailable(struct error *err, const char *reason)
{
    error_set(err, SNAPVM_ERROR_AGENT_UNAVAILABLE, "the guest cannot be frozen: %s", reason);
    return error_text(err, "reason", reason);
}

/* Not quiesced: fatal where it is required, told where it is preferred. */
static void quiesce_failed(struct job *job, const struct error *err)
{
    if (job_has(job, JOB_QUIESCE_REQUIRED)) {
        job_failed(job, err);
        return;
    }
    log_info("job %lld: goes on without a quiesced guest: %s", (long long)job->record.id,
             err->message);
    xstrset(&job->record.quiesce_error, err->message);
    job_acted(job, NULL);
}

void quiesce_take_back(struct engine *engine, struct domain *domain, debt_fn fn, void *arg)
{
    if (!domain_is_running(domain) && domain->agent && agent_unsent(domain->agent) > 0)
        link_renew_agent(domain->link); /* a stopped QEMU has not taken it: cancelled for certain */
    debt_collect(engine, domain, fn, arg);
}

bool quiesce_answer_is_old(int64_t when)
{
    return clock_monotonic() - when > ANSWER_IS_OLD_US;
}

int quiesce_read_status(const struct agent_reply *reply, const struct error *err,
                        struct error *ret_err)
{
    if (err) {
        error_copy(ret_err, err);
        return -1;
    }
    if (!reply->frozen)
        return 0;
    error_set(ret_err, SNAPVM_ERROR_QUIESCE_FAILED,
              "the guest is frozen already by somebody else, and is left so");
    return error_text(ret_err, "reason", "already-frozen");
}

int quiesce_read_freeze(struct domain *domain, const struct agent_reply *reply,
                        const struct error *err, struct error *ret_err)
{
    if (!err && reply->count > 0)
        return 0;
    if (!err) {
        error_set(ret_err, SNAPVM_ERROR_QUIESCE_FAILED,
                  "the guest froze no file system: none is mounted that can be frozen, or none "
                  "of those that were named");
        return error_text(ret_err, "reason", "nothing-frozen");
    }
    error_copy(ret_err, err);
    if (err->code == SNAPVM_ERROR_QUIESCE_FAILED)
        debt_refused(domain);
    else
        ret_err->code = SNAPVM_ERROR_QUIESCE_FAILED; /* it was reached, and did not answer */
    return -1;
}

static bool quiesce_owes(const struct job *job)
{
    return job->domain->debt && job->domain->debt->job == job->record.id;
}

bool quiesce_is_going_on(const struct engine *engine, const struct domain *domain)
{
    const struct job *job = domain->debt ? engine_find(engine, domain->debt->job) : NULL;

    return domain->freezing || (job && job->frozen_since);
}

/* The end of a freeze that was sent, with its thaw where it had succeeded. */
static void quiesce_over(struct job *job)
{
    struct job *other;

    job->frozen_since = 0;
    TAILQ_FOREACH (other, &job->domain->jobs, link) {
        if (other != job)
            engine_kick(other); /* a pivot may have waited for this */
    }
}

/* The status that was sent right behind the freeze: nobody waits for it. */
static void quiesce_status(void *arg, const struct agent_reply *reply, const struct error *err)
{
    struct job *job = exchange_end(arg);

    if (!job)
        return;
    job->status_frozen = !err && reply->frozen;
    if (job->status_frozen && quiesce_owes(job))
        debt_feed(job->engine, job->domain, reply);
}

static void quiesce_frozen(void *arg, const struct agent_reply *reply, const struct error *err)
{
    struct exchange *exchange = arg;
    struct crash *crash = exchange->engine->domains->crash;
    struct job *job = exchange_end(exchange);
    _cleanup_error_ struct error failure = {0};

    crash_point(crash, "effect.done", "freeze");
    if (!job)
        return;
    if (quiesce_read_freeze(job->domain, reply, err, &failure) == 0) {
        job->froze = reply->count;
        job->domain->freeze = FREEZE_FROZEN;
        job_acted(job, NULL);
        return;
    }
    quiesce_over(job);
    quiesce_take_back(job->engine, job->domain, NULL, NULL);
    quiesce_failed(job, &failure);
}

static void quiesce_send(struct job *job)
{
    unsigned timeout_ms = job->engine->options.freeze_timeout_ms;
    struct agent *agent = job->domain->agent;

    job->froze = 0;
    job->status_frozen = false;
    job->frozen_since = clock_monotonic();
    crash_point(job->engine->domains->crash, "effect.before", "freeze");
    agent_cork(agent);
    agent_call(agent, AGENT_FREEZE, NULL, 0, timeout_ms, quiesce_frozen, exchange_new(job));
    agent_call(agent, AGENT_STATUS, NULL, 0, timeout_ms, quiesce_status, exchange_new(job));
    agent_uncork(agent);
    crash_point(job->engine->domains->crash, "effect.sent", "freeze");
}

int quiesce_possible(const struct domain *domain, struct error *err)
{
    if (!domain->record.agent)
        return quiesce_unavailable(err, "no agent is configured for this domain");
    if (!domain_is_running(domain))
        return quiesce_unavailable(err, "the guest does not run");
    if (!domain->agent || !agent_is_up(domain->agent))
        return quiesce_unavailable(err, "the agent's socket is not connected");
    if (!domain->port_open)
        return quiesce_unavailable(err, "no agent runs in the guest (its port is closed)");
    return 0;
}

/* The answer of the precheck: noted, for the freeze. */
static void quiesce_answered(void *arg, const struct agent_reply *reply, const struct error *err)
{
    struct exchange *exchange = arg;
    quiesce_fn fn = exchange->fn;
    struct job *job = exchange_end(exchange);

    if (!job)
        return;
    job->asked_agent = clock_monotonic();
    quiesce_read_status(reply, err, &job->no_freeze);
    fn(job);
}

/* --- within a lease --- */

/* Whether somebody else's debt stands: a lease that can be used, or what comes first. */
static int quiesce_check_debt(const struct job *job, struct error *err)
{
    const struct domain *domain = job->domain;
    const char *reason, *sentence;

    if (!domain->debt || quiesce_owes(job) || (debt_is_lease(domain) && !domain->debt->listed))
        return 0;
    if (debt_is_lease(domain)) {
        reason = "partly-frozen";
        sentence = "the guest is frozen by a lease that holds some of its file systems alone";
    } else if (domain->freezing) {
        reason = "freezing";
        sentence = "another freeze of the guest is on its way; wait for its answer";
    } else {
        reason = "thaw-owed";
        sentence = "the guest is owed a thaw from before, which comes first";
    }
    error_set(err, SNAPVM_ERROR_QUIESCE_FAILED, "%s", sentence);
    return error_text(err, "reason", reason);
}

static void quiesce_not_joined(struct job *job, const char *sentence, const char *reason)
{
    _cleanup_error_ struct error err = {0};

    error_set(&err, SNAPVM_ERROR_QUIESCE_FAILED, "%s", sentence);
    error_text(&err, "reason", reason);
    job->lease = 0;
    quiesce_failed(job, &err);
}

static bool quiesce_lease_stands(const struct job *job)
{
    return debt_is_lease(job->domain) && job->domain->debt->since == job->lease;
}

static void quiesce_joined(void *arg, const struct agent_reply *reply, const struct error *err)
{
    struct job *job = exchange_end(arg);

    if (!job)
        return;
    if (err)
        quiesce_not_joined(job, err->message, "no answer");
    else if (!reply->frozen || !quiesce_lease_stands(job))
        quiesce_not_joined(job, "the guest was thawed, though its lease had not ended",
                           "not-frozen");
    else
        job_acted(job, NULL);
}

static void quiesce_join(struct job *job)
{
    job->lease = job->domain->debt->since;
    agent_desync(job->domain->agent);
    agent_call(job->domain->agent, AGENT_STATUS, NULL, 0, job->engine->options.agent_timeout_ms,
               quiesce_joined, exchange_new(job));
}

static void quiesce_left(void *arg, const struct agent_reply *reply, const struct error *err)
{
    struct job *job = exchange_end(arg);

    if (!job)
        return;
    if (!err && reply->frozen && quiesce_lease_stands(job))
        job->record.flags |= JOB_QUIESCED;
    else
        xstrset(&job->record.quiesce_error,
                err ? err->message : "the lease ended, or the guest was thawed, before the switch");
    job_acted(job, NULL);
}

static void quiesce_leave(struct job *job)
{
    if (!quiesce_lease_stands(job) || quiesce_possible(job->domain, NULL) < 0) {
        xstrset(&job->record.quiesce_error, "the lease ended before the snapshot was taken");
        job_acted(job, NULL);
        return;
    }
    agent_call(job->domain->agent, AGENT_STATUS, NULL, 0, job->engine->options.agent_timeout_ms,
               quiesce_left, exchange_new(job));
}

/* --- the steps --- */

static void quiesce_port_looked(void *arg)
{
    struct exchange *exchange = arg;
    quiesce_fn fn = exchange->fn;
    struct job *job = exchange_end(exchange);

    if (!job)
        return;
    if (quiesce_possible(job->domain, &job->no_freeze) < 0 ||
        quiesce_check_debt(job, &job->no_freeze) < 0 || debt_is_lease(job->domain)) {
        job->asked_agent = clock_monotonic();
        fn(job);
        return;
    }
    exchange = exchange_new(job);
    exchange->fn = fn;
    agent_desync(job->domain->agent);
    agent_call(job->domain->agent, AGENT_STATUS, NULL, 0, job->engine->options.agent_timeout_ms,
               quiesce_answered, exchange);
}

void quiesce_ask(struct job *job, quiesce_fn fn)
{
    struct exchange *exchange = exchange_new(job);

    error_clear(&job->no_freeze);
    exchange->fn = fn;
    link_look_port(job->domain->link, quiesce_port_looked, exchange);
}

void quiesce_freeze(struct job *job)
{
    if (!job->no_freeze.code && quiesce_answer_is_old(job->asked_agent)) {
        quiesce_ask(job, quiesce_freeze);
        return;
    }
    /* STOP events come in order with QEMU's replies, the last of which has been read: memory knows
     * whether the guest runs as well as a query would. */
    if (!job->no_freeze.code && !job->domain->debt)
        quiesce_unavailable(&job->no_freeze, "its debt was settled before it began");
    else if (!job->no_freeze.code && quiesce_check_debt(job, &job->no_freeze) == 0)
        quiesce_possible(job->domain, &job->no_freeze);
    if (!job->no_freeze.code) {
        if (quiesce_owes(job))
            quiesce_send(job);
        else
            quiesce_join(job);
        return;
    }
    if (quiesce_owes(job))
        debt_strike(job->domain, NULL);
    quiesce_failed(job, &job->no_freeze);
}

static const char *quiesce_doubt(const struct job *job, bool confirmed, int64_t count)
{
    if (job->froze < 0)
        return "the daemon was restarted while the guest was frozen";
    if (!confirmed)
        return "the guest's thaw could not be confirmed";
    if (!job->status_frozen)
        return "the agent did not say that it was frozen";
    if (count != job->froze)
        return "the guest was thawed before the snapshot was taken, or in part";
    return NULL;
}

static void quiesce_thawed(void *arg, bool confirmed, int64_t count)
{
    struct job *job = arg;
    const char *doubt = quiesce_doubt(job, confirmed, count);

    if (job->frozen_since)
        job->record.frozen_us = clock_monotonic() - job->frozen_since;
    quiesce_over(job);
    if (!doubt)
        job->record.flags |= JOB_QUIESCED;
    else if (!job->record.quiesce_error)
        xstrset(&job->record.quiesce_error, doubt);
    job_acted(job, NULL);
}

void quiesce_thaw(struct job *job)
{
    if (job->lease)
        quiesce_leave(job);
    else
        debt_collect(job->engine, job->domain, quiesce_thawed, job);
}

static void quiesce_undone(void *arg, bool confirmed, int64_t count _unused_)
{
    struct job *job = arg;

    if (confirmed)
        debt_strike(job->domain, NULL);
    quiesce_over(job);
    job_acted(job, NULL);
}

void quiesce_undo(struct job *job)
{
    if (quiesce_owes(job) && (job->froze >= 0 || job->recovered))
        debt_collect(job->engine, job->domain, quiesce_undone, job);
    else
        job_acted(job, NULL);
}
