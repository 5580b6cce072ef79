/* job.*: looked at, waited for, and told what to do. */
#include <stdlib.h>
#include <string.h>

#include "api/answer.h"
#include "api/call.h"
#include "api/context.h"
#include "api/handlers.h"
#include "api/request.h"
#include "api/wire.h"
#include "base/memory.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"

#define LIST_LIMIT 1000

/* --- reading --- */

struct listing {
    struct call *call;
    int64_t limit;
};

static bool list_wants(json_object *params, const struct record_job *job)
{
    const char *domain = json_string(params, "domain");

    return job->id > json_int(params, "after", 0) && (!domain || strcmp(domain, job->domain) == 0);
}

static int by_id(const void *a, const void *b)
{
    const struct record_job *const *x = a, *const *y = b;

    return ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

/* Jobs that run and jobs that ended, as one list by id. */
static void list_answer(struct listing *listing, const struct record_job *ended, unsigned n_ended)
{
    struct engine *engine = call_context(listing->call)->engine;
    const struct record_job **all =
        xrealloc(NULL, n_ended + HASH_COUNT(engine->jobs) + 1, sizeof(const struct record_job *));
    json_object *result = json_object_new_object(), *array = json_object_new_array();
    struct job *job, *next;
    size_t n = 0;

    for (unsigned i = 0; i < n_ended; i++)
        if (!engine_find(engine, ended[i].id))
            all[n++] = &ended[i];
    HASH_ITER (hh, engine->jobs, job, next) {
        if (list_wants(call_params(listing->call), &job->record))
            all[n++] = &job->record;
    }
    qsort(all, n, sizeof(const struct record_job *), by_id);
    for (size_t i = 0; i < n && (int64_t)i < listing->limit; i++)
        json_object_array_add(array, wire_job(all[i]));
    json_object_object_add(result, "jobs", array);
    free(all);
    call_result(listing->call, result);
    free(listing);
}

static void list_read(void *arg, const struct record_job *jobs, unsigned n, const struct error *err)
{
    struct listing *listing = arg;

    if (!err) {
        list_answer(listing, jobs, n);
        return;
    }
    call_error(listing->call, err);
    free(listing);
}

void job_list_handle(struct call *call)
{
    json_object *params = call_params(call);
    const char *domain = json_string(params, "domain");
    struct listing *listing = xzalloc(sizeof(*listing));

    listing->call = call;
    listing->limit = json_int(params, "limit", LIST_LIMIT);
    if (listing->limit > LIST_LIMIT)
        listing->limit = LIST_LIMIT;
    if (json_flag(params, "active", 0))
        list_answer(listing, NULL, 0);
    else
        journal_query_jobs(call_context(call)->journal, domain, json_int(params, "after", 0),
                           (unsigned)listing->limit, list_read, listing);
}

void job_get_handle(struct call *call)
{
    int64_t id;
    struct job *job = answer_need_job(call, &id);

    if (job)
        call_result(call, wire_job(&job->record));
    else if (id)
        journal_query_job(call_context(call)->journal, id, answer_history_job, call);
}

void job_wait_handle(struct call *call)
{
    const char *what = json_string(call_params(call), "for");
    int64_t id;
    struct job *job = answer_need_job(call, &id);

    if (job)
        answer_job_again(call, job->record.id, what ? what : "ended");
    else if (id)
        journal_query_job(call_context(call)->journal, id, answer_history_job, call);
}

/* --- commands --- */

/* For a job that has ended: what it was told can no longer be done. */
static void answer_too_late(void *arg, const struct record_job *jobs, unsigned n,
                            const struct error *err)
{
    struct call *call = arg;
    _cleanup_error_ struct error ended = {0};

    if (err) {
        call_error(call, err);
    } else if (n == 0) {
        answer_no_job(call, json_int(call_params(call), "job", 0));
    } else {
        error_set(&ended, SNAPVM_ERROR_INVALID_STATE, "job %lld has ended: %s", (long long)jobs->id,
                  jobs->result ? jobs->result : "?");
        error_text(&ended, "state", "ended");
        call_error(call, &ended);
    }
}

/* The active job of a command; NULL: the call is answered, or will be. */
static struct job *need_active(struct call *call)
{
    int64_t id;
    struct job *job = answer_need_job(call, &id);

    if (!job && id)
        journal_query_job(call_context(call)->journal, id, answer_too_late, call);
    return job;
}

static int by_job_id(const void *a, const void *b)
{
    const struct job *const *x = a, *const *y = b;

    return ((*x)->record.id > (*y)->record.id) - ((*x)->record.id < (*y)->record.id);
}

static int pivot_check_group(struct job **jobs, size_t n, struct error *err)
{
    for (size_t i = 1; i < n; i++) {
        if (jobs[i] == jobs[i - 1])
            error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "a job is named twice");
        else if (jobs[i]->domain != jobs[0]->domain)
            error_set(err, SNAPVM_ERROR_INVALID_PARAMS,
                      "jobs of several domains cannot pivot as one");
        else
            continue;
        return error_text(err, "param", "jobs");
    }
    return 0;
}

static void pivot(struct call *call, struct job **jobs, size_t n)
{
    const char *pause = json_string(call_params(call), "pause");
    _cleanup_error_ struct error err = {0};

    qsort(jobs, n, sizeof(*jobs), by_job_id);
    if (pivot_check_group(jobs, n, &err) < 0 ||
        engine_pivot(jobs, (unsigned)n, pause && strcmp(pause, "never") == 0, answer_note_job,
                     answer_started, call, &err) < 0)
        call_error(call, &err);
}

static void pivot_several(struct call *call, json_object *ids)
{
    size_t n = json_object_array_length(ids);
    struct job **jobs = xrealloc(NULL, n + 1, sizeof(*jobs));
    int64_t missing = 0;

    for (size_t i = 0; i < n && !missing; i++) {
        int64_t id = json_object_get_int64(json_object_array_get_idx(ids, i));

        jobs[i] = engine_find(call_context(call)->engine, id);
        if (!jobs[i])
            missing = id;
    }
    if (missing) {
        json_add_int(call_params(call), "job", missing);
        journal_query_job(call_context(call)->journal, missing, answer_too_late, call);
    } else if (n == 0)
        call_fail(call, SNAPVM_ERROR_INVALID_PARAMS, "jobs is empty: name those that are to pivot");
    else
        pivot(call, jobs, n);
    free(jobs);
}

void job_pivot_handle(struct call *call)
{
    json_object *ids = json_array(call_params(call), "jobs");
    struct job *job;

    if (!answer_is_new(call, "ended"))
        return;
    if (ids) {
        pivot_several(call, ids);
        return;
    }
    job = need_active(call);
    if (job)
        pivot(call, &job, 1);
}

void job_cancel_handle(struct call *call)
{
    _cleanup_error_ struct error err = {0};
    struct job *job;

    if (!answer_is_new(call, "ended"))
        return;
    job = need_active(call);
    if (job && engine_cancel(job, json_flag(call_params(call), "force", 0), answer_note_job,
                             answer_started, call, &err) < 0)
        call_error(call, &err);
}

static void tuned_stored(void *arg, const struct error *err)
{
    struct call *call = arg;
    struct job *job =
        engine_find(call_context(call)->engine, json_int(call_params(call), "job", 0));

    if (err)
        call_error(call, err);
    else if (job)
        call_result(call, wire_job(&job->record));
    else
        answer_job_again(call, json_int(call_params(call), "job", 0), "no");
}

static void tuned(void *arg, struct job *job, const struct error *err)
{
    struct call *call = arg;
    struct journal_txn *txn;

    if (err) {
        call_error(call, err);
        return;
    }
    json_add_int(call_params(call), "job", job->record.id);
    txn = journal_begin(call_context(call)->journal);
    request_note_job(txn, call, job->record.id);
    journal_commit(txn, "tune", tuned_stored, call);
}

void job_set_speed_handle(struct call *call)
{
    _cleanup_error_ struct error err = {0};
    struct job *job;

    if (!answer_is_new(call, "no"))
        return;
    job = need_active(call);
    if (job &&
        engine_set_speed(job, json_int(call_params(call), "bandwidth", 0), tuned, call, &err) < 0)
        call_error(call, &err);
}

static void pause_or_resume(struct call *call, bool pause)
{
    _cleanup_error_ struct error err = {0};
    struct job *job;

    if (!answer_is_new(call, "no"))
        return;
    job = need_active(call);
    if (job && engine_pause(job, pause, tuned, call, &err) < 0)
        call_error(call, &err);
}

void job_pause_handle(struct call *call)
{
    pause_or_resume(call, true);
}

void job_resume_handle(struct call *call)
{
    pause_or_resume(call, false);
}

/* --- job.forget --- */

static void forgotten(void *arg, const struct error *err)
{
    struct call *call = arg;

    if (err) {
        call_error(call, err);
        return;
    }
    call_context(call)->engine->total--;
    call_result(call, json_object_new_object());
}

static void forget_found(void *arg, const struct record_job *jobs, unsigned n,
                         const struct error *err)
{
    struct call *call = arg;
    struct journal_txn *txn;

    if (err) {
        call_error(call, err);
        return;
    }
    if (n == 0) {
        answer_no_job(call, json_int(call_params(call), "job", 0));
        return;
    }
    txn = journal_begin(call_context(call)->journal);
    journal_drop_job(txn, jobs->id);
    request_note_result(txn, call, "{}");
    journal_commit(txn, "forget", forgotten, call);
}

void job_forget_handle(struct call *call)
{
    _cleanup_error_ struct error err = {0};
    struct job *job;
    int64_t id;

    if (!answer_is_new(call, "no"))
        return;
    job = answer_need_job(call, &id);
    if (!job && id) {
        journal_query_job(call_context(call)->journal, id, forget_found, call);
    } else if (job) {
        error_set(&err, SNAPVM_ERROR_INVALID_STATE,
                  "job %lld is active: it can be forgotten once it has ended",
                  (long long)job->record.id);
        error_text(&err, "state", job->record.state);
        call_error(call, &err);
    }
}
