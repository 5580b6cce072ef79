/* Answers that several handlers give alike: a job, waited for as the call says. */
#ifndef SNAPVM_API_ANSWER_H
#define SNAPVM_API_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "proto/json.h"

struct call;
struct domain;
struct job;
struct journal_txn;

/* Answers with a job that runs, once it is what `wait` (of the call, or the default) says. */
void answer_job(struct call *call, struct job *job, const char *default_wait);

/* Answers a repeated request, or one that only looks, with the job as it is or was: also one that
 * failed is told, not refused. A job that has ended comes from the history. */
void answer_job_again(struct call *call, int64_t id, const char *default_wait);

/* Whether a call that starts or changes a job is a new one; a repeated one is answered with the job
 * that it was about. */
bool answer_is_new(struct call *call, const char *default_wait);

/* Answers with the job that the history holds, as it is (a journal_jobs_fn). */
struct record_job;
void answer_history_job(void *call, const struct record_job *jobs, unsigned n,
                        const struct error *err);

/* Whether the call has to wait, as a job's QEMU has ended and what that left is not settled: the
 * handler is run again then. For who tells what a disk is: an image that is named is not removed by
 * the settlement. */
bool answer_waits_settled(struct call *call, const struct domain *domain);

/* An engine_started_fn of a call whose job began, or could not: such a call waits for the job's end
 * unless its parameters say otherwise. */
void answer_started(void *call, struct job *job, const struct error *err);

/* The domain that the call's parameter "domain" names; answers the call and returns NULL when there
 * is none. */
struct domain *answer_need_domain(struct call *call);

/* The active job that the call names by id or by domain and disk. NULL with *ret_id 0: the call has
 * its answer; NULL with *ret_id: no active job has that id. */
struct job *answer_need_job(struct call *call, int64_t *ret_id);

/* Puts the call's request_id, as that of a job, into the transaction (an engine_note_fn). */
void answer_note_job(void *call, struct job *job, struct journal_txn *txn);

/* Answers NotFound for a job. */
void answer_no_job(struct call *call, int64_t id);

#endif
