#include "job/lease.h"

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
#include "job/quiesce.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "qemu/agent.h"

/* A freeze on its way to be a lease: domain::freezing. */
struct lease {
    struct engine *engine;
    struct domain *domain;
    char **mountpoints; /* NULL: all file systems */
    unsigned n_mountpoints;
    int64_t lease_ms;
    bool recorded;      /* the domain's debt is that of this freeze */
    int64_t asked;      /* monotonic: when the agent answered */
    int64_t count;      /* file systems that the freeze counted */
    bool status_frozen; /* and the agent said frozen */
    unsigned waiting;   /* for the answers of freeze and status */
    struct error failure;
    lease_note_fn note;
    lease_done_fn done;
    void *arg;
};

static void lease_free(struct lease *lease)
{
    for (unsigned i = 0; i < lease->n_mountpoints; i++)
        free(lease->mountpoints[i]);
    free(lease->mountpoints);
    error_clear(&lease->failure);
    free(lease);
}

void lease_forget(struct domain *domain)
{
    if (domain->freezing)
        lease_free(domain->freezing);
    domain->freezing = NULL;
}

static void lease_end(struct lease *lease)
{
    const struct error *err = lease->failure.code ? &lease->failure : NULL;
    struct job *job;

    lease->domain->freezing = NULL;
    lease->done(lease->arg, lease->count, err);
    TAILQ_FOREACH (job, &lease->domain->jobs, link) {
        engine_kick(job); /* a pivot may have waited for this */
    }
    lease_free(lease);
}

/* --- the way back --- */

static void lease_undone(void *arg, bool confirmed _unused_, int64_t count _unused_)
{
    lease_end(arg);
}

/* The freeze was sent: a thaw goes behind it in any case. */
static void lease_undo(struct lease *lease, const struct error *err)
{
    error_copy(&lease->failure, err);
    quiesce_take_back(lease->engine, lease->domain, lease_undone, lease);
}

/* Nothing was sent. */
static void lease_refuse(struct lease *lease, const struct error *err)
{
    error_copy(&lease->failure, err);
    if (lease->recorded && lease->domain->debt)
        debt_strike(lease->domain, NULL);
    lease_end(lease);
}

/* --- granted --- */

static void lease_durable(void *arg, const struct error *err)
{
    struct lease *lease = arg;

    if (!err) {
        lease_end(lease);
        return;
    }
    if (lease->domain->debt)
        lease->domain->debt->count = 0; /* not granted after all */
    lease_undo(lease, err);
}

static void lease_grant(struct lease *lease)
{
    struct domain *domain = lease->domain;
    struct journal_txn *txn = journal_begin(domain->owner->journal);
    _cleanup_free_ char *body = xasprintf("{\"count\":%lld,\"lease_ms\":%lld}",
                                          (long long)lease->count, (long long)lease->lease_ms);

    debt_grant(lease->engine, domain, lease->count, lease->lease_ms, txn);
    journal_add_event(txn, "guest.frozen", domain->record.name, body);
    lease->note(lease->arg, lease->count, txn);
    log_info("domain %s: %lld file systems frozen for %lld ms at most", domain->record.name,
             (long long)lease->count, (long long)lease->lease_ms);
    journal_commit(txn, "lease", lease_durable, lease);
}

/* --- the freeze --- */

/* Both answers are there, in whatever order: one that runs out of time comes when it does. */
static void lease_answered(struct lease *lease)
{
    _cleanup_error_ struct error failure = {0};

    if (--lease->waiting > 0)
        return;
    error_move(&failure, &lease->failure);
    if (!failure.code && !lease->status_frozen) {
        error_set(&failure, SNAPVM_ERROR_QUIESCE_FAILED,
                  "the freeze counted %lld file systems, but the agent does not say that they are "
                  "frozen: something in the guest thawed them",
                  (long long)lease->count);
        error_text(&failure, "reason", "not-frozen");
    }
    if (failure.code)
        lease_undo(lease, &failure);
    else
        lease_grant(lease);
}

static void lease_frozen(void *arg, const struct agent_reply *reply, const struct error *err)
{
    struct lease *lease = arg;

    crash_point(lease->engine->domains->crash, "effect.done", "freeze");
    lease->count = err ? 0 : reply->count;
    quiesce_read_freeze(lease->domain, reply, err, &lease->failure);
    lease_answered(lease);
}

/* The status that was sent right behind the freeze. */
static void lease_status(void *arg, const struct agent_reply *reply, const struct error *err)
{
    struct lease *lease = arg;

    lease->status_frozen = !err && reply->frozen;
    if (lease->status_frozen)
        debt_feed(lease->engine, lease->domain, reply);
    lease_answered(lease);
}

static void lease_send(struct lease *lease)
{
    unsigned timeout_ms = lease->engine->options.freeze_timeout_ms;
    struct crash *crash = lease->engine->domains->crash;
    struct agent *agent = lease->domain->agent;

    lease->waiting = 2;
    crash_point(crash, "effect.before", "freeze");
    agent_cork(agent);
    agent_call(agent, AGENT_FREEZE, (const char *const *)lease->mountpoints, lease->n_mountpoints,
               timeout_ms, lease_frozen, lease);
    agent_call(agent, AGENT_STATUS, NULL, 0, timeout_ms, lease_status, lease);
    agent_uncork(agent);
    crash_point(crash, "effect.sent", "freeze");
}

/* --- before it --- */

static void lease_ask(struct lease *lease);

static void lease_recorded(void *arg, const struct error *err)
{
    struct lease *lease = arg;
    _cleanup_error_ struct error failure = {0};

    if (err)
        error_copy(&failure, err);
    else if (lease->domain->debt)
        quiesce_possible(lease->domain, &failure);
    else
        error_set(&failure, SNAPVM_ERROR_AGENT_UNAVAILABLE, "the guest went away");
    if (failure.code)
        lease_refuse(lease, &failure);
    else if (quiesce_answer_is_old(lease->asked))
        lease_ask(lease); /* the journal was slow */
    else
        lease_send(lease);
}

static void lease_record(struct lease *lease)
{
    struct domain *domain = lease->domain;
    struct journal_txn *txn = journal_begin(domain->owner->journal);

    lease->recorded = true;
    debt_incur(domain, 0, clock_now() + lease->lease_ms * 1000, txn);
    domain->debt->listed = lease->mountpoints != NULL;
    journal_put_debt(txn, domain->debt);
    journal_commit(txn, "freeze", lease_recorded, lease);
}

/* Between the question and the record a snapshot may have begun to freeze by itself. */
static int lease_still_free(const struct lease *lease, struct error *err)
{
    if (lease->recorded || !lease->domain->debt)
        return 0;
    error_set(err, SNAPVM_ERROR_BUSY,
              "job %lld has just begun to freeze domain %s; wait for its end",
              (long long)lease->domain->debt->job, lease->domain->record.name);
    return error_number(err, "job", lease->domain->debt->job);
}

static void lease_asked(void *arg, const struct agent_reply *reply, const struct error *err)
{
    struct lease *lease = arg;
    _cleanup_error_ struct error failure = {0};

    lease->asked = clock_monotonic();
    if (quiesce_read_status(reply, err, &failure) < 0 ||
        quiesce_possible(lease->domain, &failure) < 0 || lease_still_free(lease, &failure) < 0)
        lease_refuse(lease, &failure);
    else if (lease->recorded)
        lease_send(lease);
    else
        lease_record(lease);
}

static void lease_ask(struct lease *lease)
{
    _cleanup_error_ struct error failure = {0};

    if (quiesce_possible(lease->domain, &failure) < 0) {
        lease_refuse(lease, &failure);
        return;
    }
    agent_desync(lease->domain->agent);
    agent_call(lease->domain->agent, AGENT_STATUS, NULL, 0, lease->engine->options.agent_timeout_ms,
               lease_asked, lease);
}

/* What frozen file systems, or a freeze on its way, exclude. */
static int lease_check_debt(const struct domain *domain, struct error *err)
{
    char until[CLOCK_TEXT];

    if (debt_is_lease(domain)) {
        error_set(err, SNAPVM_ERROR_QUIESCE_FAILED,
                  "domain %s is frozen already, by a lease until %s: guest.thaw ends it",
                  domain->record.name, clock_text(domain->debt->deadline, until));
        return error_text(err, "reason", "already-frozen");
    }
    if (!domain->debt && !domain->freezing)
        return 0;
    error_set(err, SNAPVM_ERROR_INVALID_STATE,
              domain->freezing ? "another freeze of domain %s is on its way; wait for its answer"
                               : "domain %s is owed a thaw, which comes first; it is collected as "
                                 "soon as its agent answers",
              domain->record.name);
    return error_text(err, "state", domain->freezing ? "freezing" : domain_freeze_name(domain));
}

static int lease_check(const struct domain *domain, struct error *err)
{
    const struct job *job;

    TAILQ_FOREACH (job, &domain->jobs, link) {
        /* Others, which copy, are not disturbed. */
        if (!job->record.snapshot && strcmp(job->record.state, "finishing") != 0)
            continue;
        error_set(err, SNAPVM_ERROR_BUSY,
                  "job %lld (%s of domain %s) freezes or holds the guest by itself; wait for its "
                  "end",
                  (long long)job->record.id, job->record.kind, domain->record.name);
        return error_number(err, "job", job->record.id);
    }
    return lease_check_debt(domain, err);
}

static void lease_port_looked(void *arg)
{
    lease_ask(arg);
}

int lease_begin(struct engine *engine, struct domain *domain, const char *const *mountpoints,
                unsigned n_mountpoints, int64_t lease_ms, lease_note_fn note, lease_done_fn done,
                void *arg, struct error *err)
{
    struct lease *lease;

    if (lease_check(domain, err) < 0)
        return -1;
    lease = domain->freezing = xzalloc(sizeof(*lease));
    *lease = (struct lease){.engine = engine,
                            .domain = domain,
                            .n_mountpoints = n_mountpoints,
                            .lease_ms = lease_ms,
                            .note = note,
                            .done = done,
                            .arg = arg};
    if (mountpoints)
        lease->mountpoints = xrealloc(NULL, n_mountpoints, sizeof(*lease->mountpoints));
    for (unsigned i = 0; i < n_mountpoints; i++)
        lease->mountpoints[i] = xstrdup(mountpoints[i]);
    link_look_port(domain->link, lease_port_looked, lease);
    return 0;
}
