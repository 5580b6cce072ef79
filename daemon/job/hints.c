/* What the domain tells the engine: views, events, losses. An event is a hint that makes a job
 * look; only what was looked at is evidence. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "domain/domains.h"
#include "job/check.h"
#include "job/debt.h"
#include "job/engine.h"
#include "job/walk.h"
#include "proto/snapvm-errors.h"
#include "qemu/qmp-event.h"
#include "qemu/view.h"

void engine_kick(struct job *job)
{
    struct job *leader = job->leader;

    if (leader->phase == PHASE_WAITING)
        engine_look(leader);
    else if (leader->phase == PHASE_LOOKING)
        domain_look_jobs(leader->domain); /* the query on its way may be older than the event */
}

static void engine_judge_fresh(struct job *job)
{
    job->struck = false;
    engine_judge(job);
}

static void engine_viewed_job(struct job *job)
{
    switch (job->phase) {
    case PHASE_AWAY:
        if (!domain_runs_in(job->domain, &job->record.qemu)) {
            engine_away(job);
            break;
        }
        log_info("job %lld: looked at again, at step %s", (long long)job->record.id,
                 job_step(job)->name);
        job->resumed = job->recovered = true;
        if (job->failure.code == SNAPVM_ERROR_QEMU_GONE)
            error_clear(&job->failure); /* a command was cut off: the view tells how far it came */
        job->acted = false; /* a yes from before the loss is old: what was accepted may be undone */
        for (unsigned i = 0; i < job->n_members; i++)
            xstrset(&job->members[i]->record.state, "running");
        engine_judge(job);
        break;
    case PHASE_LOOKING:
        /* An older view says nothing about what was done after it was asked for. */
        if (job->domain->view_number >= job->looks_for)
            engine_judge_fresh(job);
        break;
    case PHASE_WAITING:
        engine_judge_fresh(job);
        break;
    default:
        break;
    }
}

void engine_viewed(void *arg, struct domain *domain)
{
    struct engine *engine = arg;
    struct job *job;

    TAILQ_FOREACH (job, &domain->jobs, link) {
        if (job->leader == job && !job->plan->look)
            engine_viewed_job(job);
    }
    debt_chance(engine, domain);
    check_viewed(engine, domain);
}

void engine_domain_away(void *arg, struct domain *domain)
{
    struct engine *engine = arg;
    struct job *job;

    TAILQ_FOREACH (job, &domain->jobs, link) {
        if (job->plan->look)
            continue;
        if (job->leader == job && (job->phase == PHASE_LOOKING || job->phase == PHASE_WAITING ||
                                   job->phase == PHASE_AWAY || job->phase == PHASE_RETRYING))
            engine_away(job);
    }
    debt_chance(engine, domain);
    check_away(engine, domain);
}

/* The job of an id that one of our names begins with; NULL for a stranger's. */
static struct job *engine_job_of(const struct engine *engine, const char *name)
{
    long long id;

    if (strncmp(name, "snapvm-", 7) != 0)
        return NULL;
    id = strtoll(name + 7, NULL, 10);
    return engine_find(engine, id);
}

/* The job in the view, as the event tells it. */
static void hint_apply(struct domain *domain, const struct qmp_event *event)
{
    struct view_job *seen = view_job(domain->view, event->id);

    if (!seen)
        seen = view_add_job(domain->view, event->id);
    if (event->kind == QMP_EVENT_JOB_STATUS) {
        seen->paused &= event->status == VIEW_JOB_PAUSED || event->status == VIEW_JOB_STANDBY;
        seen->status = event->status;
    }
    if (event->kind == QMP_EVENT_JOB_READY) {
        seen->current = event->current;
        seen->total = event->total;
    }
}

static void hint_glance(struct job *job)
{
    if (job->leader->phase == PHASE_WAITING)
        engine_glance(job->leader);
}

static void hint_status(struct job *job, enum view_job_status status)
{
    switch (status) {
    case VIEW_JOB_CREATED:
    case VIEW_JOB_WAITING:
    case VIEW_JOB_RUNNING:
    case VIEW_JOB_READY: /* BLOCK_JOB_READY follows, with the progress */
        if (strcmp(job->record.state, "stalled") == 0)
            engine_kick(job); /* somebody has resumed it */
        break;
    case VIEW_JOB_PENDING:
        hint_glance(job);
        break;
    default:
        engine_kick(job);
    }
}

/* A stranger's job that comes or goes changes the graph; what it does in between does not. */
static void hint_stranger(struct domain *domain, const struct qmp_event *event)
{
    if (event->kind == QMP_EVENT_JOB_STATUS &&
        (event->status == VIEW_JOB_CREATED || event->status == VIEW_JOB_CONCLUDED ||
         event->status == VIEW_JOB_NONE))
        domain_look(domain);
}

static bool hint_at(const struct job *job, const char *step)
{
    return strcmp(job_step(job)->name, step) == 0;
}

/* While they are held for a switch, or to go back, only the step that ends it lets the vCPUs go. */
static void hint_resumed(struct domain *domain)
{
    struct job *job;

    TAILQ_FOREACH (job, &domain->jobs, link) {
        bool switching = hint_at(job, "prepare") || hint_at(job, "decide") ||
                         hint_at(job, "switch");
        bool loading = hint_at(job, "load-see") || hint_at(job, "load");

        if (((switching && job->leader->held_since) || loading) && !job_has(job, JOB_UNDOING))
            job->let_go = true;
    }
}

static void hint_migration(struct domain *domain)
{
    struct job *job;

    TAILQ_FOREACH (job, &domain->jobs, link) {
        if (job->plan == &plan_memory)
            engine_kick(job);
    }
}

void engine_event(void *arg, struct domain *domain, const struct qmp_event *event)
{
    struct engine *engine = arg;
    struct job *job = engine_job_of(engine, event->id);

    if (event->kind == QMP_EVENT_RESUME)
        hint_resumed(domain);
    if (event->kind == QMP_EVENT_MIGRATION && domain->saving)
        hint_migration(domain);
    if (!job) {
        hint_stranger(domain, event);
        return;
    }
    switch (event->kind) {
    case QMP_EVENT_JOB_STATUS:
        hint_apply(domain, event);
        hint_status(job, event->status);
        break;
    case QMP_EVENT_JOB_READY:
        hint_apply(domain, event);
        hint_glance(job);
        break;
    case QMP_EVENT_JOB_ERROR:
        job->read_failed = event->read;
        job->leader->struck = true;
        engine_kick(job);
        break;
    default:
        break; /* the change of the status told it already */
    }
}
