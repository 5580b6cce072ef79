#include "api/answer.h"

#include <stdio.h>
#include <string.h>

#include "api/call.h"
#include "api/context.h"
#include "api/method.h"
#include "api/request.h"
#include "api/wire.h"
#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "job/job.h"
#include "job/plan.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "qemu/process.h"

/* A snapshot that was not taken is an error of the call that asked for it; other jobs that ended
 * are told as they ended. */
static void answer_record(struct call *call, const struct record_job *record)
{
    _cleanup_error_ struct error err = {0};
    bool ended = strcmp(record->state, "ended") == 0;

    if (ended && record->error.code && strcmp(record->kind, "snapshot") == 0 &&
        strcmp(record->result, "completed") != 0) {
        error_copy(&err, &record->error);
        error_number(&err, "job", record->id);
        call_error(call, &err);
        return;
    }
    call_result(call, wire_job(record));
}

static void answer_waited(void *arg, struct job *job, const struct error *err)
{
    struct call *call = arg;

    if (err)
        call_error(call, err);
    else
        answer_record(call, &job->record);
}

static void answer_waited_again(void *arg, struct job *job, const struct error *err)
{
    struct call *call = arg;

    if (err)
        call_error(call, err);
    else
        call_result(call, wire_job(&job->record));
}

static void answer_when(struct call *call, struct job *job, const char *default_wait,
                        engine_waited_fn fn)
{
    json_object *params = call_params(call);
    const char *wait = json_string(params, "wait");
    int64_t timeout_ms = json_int(params, "timeout_ms", 0);

    if (!wait)
        wait = default_wait;
    if (strcmp(wait, "ended") == 0)
        engine_wait(job, WAIT_ENDED, timeout_ms, fn, call);
    else if (strcmp(wait, "ready") == 0 && !job_has(job, JOB_READY_SENT))
        engine_wait(job, WAIT_READY, timeout_ms, fn, call);
    else
        fn(call, job, NULL);
}

void answer_job(struct call *call, struct job *job, const char *default_wait)
{
    answer_when(call, job, default_wait, answer_waited);
}

void answer_history_job(void *arg, const struct record_job *jobs, unsigned n,
                        const struct error *err)
{
    struct call *call = arg;

    if (err)
        call_error(call, err);
    else if (n == 0)
        answer_no_job(call, json_int(call_params(call), "job", 0));
    else
        call_result(call, wire_job(jobs));
}

void answer_job_again(struct call *call, int64_t id, const char *default_wait)
{
    struct daemon_context *context = call_context(call);
    struct job *job = engine_find(context->engine, id);

    if (job)
        answer_when(call, job, default_wait, answer_waited_again);
    else
        journal_query_job(context->journal, id, answer_history_job, call);
}

bool answer_is_new(struct call *call, const char *default_wait)
{
    int64_t id;

    switch (request_begin(call, &id)) {
    case REQUEST_TAKEN:
        return false;
    case REQUEST_JOB:
        answer_job_again(call, id, default_wait);
        return false;
    case REQUEST_NEW:
        break;
    }
    return true;
}

void answer_started(void *arg, struct job *job, const struct error *err)
{
    struct call *call = arg;

    if (err) {
        call_error(call, err);
        return;
    }
    request_started(call, job->record.id);
    answer_job(call, job, "ended");
}

struct domain *answer_need_domain(struct call *call)
{
    _cleanup_error_ struct error err = {0};
    struct domain *domain =
        domains_need(call_context(call)->domains, json_string(call_params(call), "domain"), &err);

    if (!domain)
        call_error(call, &err);
    return domain;
}

static void answer_run_again(void *arg, struct job *job _unused_, const struct error *err _unused_)
{
    struct call *call = arg;

    call_method(call)->handler(call);
}

bool answer_waits_settled(struct call *call, const struct domain *domain)
{
    struct job *job;

    TAILQ_FOREACH (job, &domain->jobs, link) {
        if (job->plan->look || job->phase == PHASE_ENDING || job->phase == PHASE_ENDED)
            continue;
        if (process_alive(&job->record.qemu))
            continue; /* asked of the system: that it has ended may not have been noticed yet */
        engine_wait(job, WAIT_ENDED, 0, answer_run_again, call);
        return true;
    }
    return false;
}

void answer_no_job(struct call *call, int64_t id)
{
    _cleanup_error_ struct error err = {0};
    char name[32];

    snprintf(name, sizeof(name), "%lld", (long long)id);
    error_set(&err, SNAPVM_ERROR_NOT_FOUND,
              "there is no job %s; job.list shows those that are kept", name);
    error_text(&err, "object", "job");
    error_text(&err, "name", name);
    call_error(call, &err);
}

static struct job *answer_job_of_disk(struct call *call)
{
    _cleanup_error_ struct error err = {0};
    struct domain *domain = answer_need_domain(call);
    struct record_disk *disk;
    struct job *job;

    if (!domain)
        return NULL;
    disk = disk_need(domain, json_string(call_params(call), "disk"), &err);
    if (!disk) {
        call_error(call, &err);
        return NULL;
    }
    job = job_on_disk(domain, disk->target);
    if (job)
        return job;
    error_set(&err, SNAPVM_ERROR_NOT_FOUND, "no job is active on disk %s of domain %s",
              disk->target, domain->record.name);
    error_text(&err, "object", "job");
    error_text(&err, "name", disk->target);
    call_error(call, &err);
    return NULL;
}

struct job *answer_need_job(struct call *call, int64_t *ret_id)
{
    int64_t id = json_int(call_params(call), "job", 0);

    *ret_id = id;
    if (!json_member(call_params(call), "job"))
        return answer_job_of_disk(call);
    if (id == 0) {
        answer_no_job(call, id);
        return NULL;
    }
    return engine_find(call_context(call)->engine, id);
}

void answer_note_job(void *arg, struct job *job, struct journal_txn *txn)
{
    request_note_job(txn, arg, job->record.id);
}
