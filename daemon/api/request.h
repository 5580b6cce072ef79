/* What request_id remembers: a request that changes something, sent again, is answered with what
 * the first one did, and does nothing twice. The memory is filled from the journal at start; a new
 * request is stored by the same transaction as its effect, so that one is never there without the
 * other.
 *
 * The way of a handler that changes something:
 *   switch (request_begin(call, &job)) {
 *   case REQUEST_TAKEN: return;
 *   case REQUEST_JOB:   answer with that job, as this call's `wait` says
 *   case REQUEST_NEW:   act: put request_note_job() or request_note_result() into the transaction
 *                       of the effect; once that is durable, request_started() or call_result()
 *   }
 * A call that ends in an error before its effect was durable is forgotten: sent again it is tried
 * again. */
#ifndef SNAPVM_API_REQUEST_H
#define SNAPVM_API_REQUEST_H

#include <stdint.h>

#include "base/cleanup.h"
#include "proto/json.h"

struct call;
struct event_base;
struct journal_txn;
struct record_request;
struct request;
struct requests;

enum request_seen {
    REQUEST_NEW,   /* not seen before, or the call has no request_id: go on */
    REQUEST_JOB,   /* the first one started the job that is returned */
    REQUEST_TAKEN, /* the call has its answer, or waits for the first one and is then run again */
};

/* The memory, filled with copies of the records. */
struct requests *requests_new(struct event_base *base, const struct record_request *records,
                              unsigned n);

/* Answers the calls that still wait here with ShuttingDown. */
struct requests *requests_free(struct requests *requests);

/* Looks the call's request_id up and, if it is new, remembers it. With other params or another
 * method than the first time the call is answered AlreadyExists. */
enum request_seen request_begin(struct call *call, int64_t *ret_job);

/* What is to be stored for this call, with job 0 and no result, for an effect whose transaction is
 * built by a lower layer; NULL when the call has no request_id. Borrowed from the call. */
const struct record_request *request_record(const struct call *call);

/* Put the record into the transaction of the effect: with the job that was started, or with the
 * result (JSON text). Nothing happens for a call without request_id. */
void request_note_job(struct journal_txn *txn, struct call *call, int64_t job);
void request_note_result(struct journal_txn *txn, struct call *call, const char *result);

/* The job and this request's record are durable, and the call may wait on. To be called for every
 * job, whether it was noted here or by a lower layer: from now on the same request answers with the
 * job, whatever becomes of this call. */
void request_started(struct call *call, int64_t job);

/* Used by call.c: the call that came first was answered. */
void request_answered(struct request *request, int failed);

DEFINE_CLEANUP(struct requests, requests_free)

#endif
