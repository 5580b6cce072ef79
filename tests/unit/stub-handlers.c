/* Stand-ins for the handlers of domains, snapshots, jobs and guests, in place of the real ones when
 * a test is linked. */
#include <check.h>

#include "api/call.h"
#include "api/context.h"
#include "api/handlers.h"
#include "api/request.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "journal/journal.h"
#include "proto/json.h"
#include "proto/snapvm-errors.h"
#include "tests/unit/rpc-fixture.h"

static struct stub *stub_of(struct call *call)
{
    return (struct stub *)call_context(call)->engine;
}

static void stub_wait(struct call *call)
{
    struct stub *stub = stub_of(call);

    ck_assert_uint_lt(stub->n_pending, FIXTURE_PENDING);
    stub->pending[stub->n_pending++] = call;
}

static void answer_number(struct call *call, const char *name, int64_t number)
{
    json_object *result = json_object_new_object();

    json_add_int(result, name, number);
    call_result(call, result);
}

static void answer_nothing(struct call *call)
{
    call_result(call, json_object_new_object());
}

void domain_list_handle(struct call *call)
{
    stub_of(call)->runs++;
    answer_nothing(call);
}

void domain_get_handle(struct call *call)
{
    call_result(call, json_object_get(call_params(call)));
}

void job_wait_handle(struct call *call)
{
    stub_wait(call);
}

static void started(void *arg, const struct error *err)
{
    struct call *call = arg;
    int64_t job = request_record(call) ? request_record(call)->job : 0;

    if (err) {
        call_error(call, err);
        return;
    }
    request_started(call, job);
    if (json_string(call_params(call), "wait"))
        answer_number(call, "id", job);
    else
        stub_wait(call);
}

/* A job: with `wait` it answers once it is recorded, otherwise it waits for the test. */
void snapshot_create_handle(struct call *call)
{
    struct journal *journal = call_context(call)->journal;
    struct stub *stub = stub_of(call);
    struct journal_txn *txn;
    int64_t job;

    switch (request_begin(call, &job)) {
    case REQUEST_TAKEN:
        return;
    case REQUEST_JOB:
        answer_number(call, "id", job);
        return;
    case REQUEST_NEW:
        break;
    }
    stub->runs++;
    if (stub->fail_start) {
        call_fail(call, SNAPVM_ERROR_BUSY, "another job holds it");
        return;
    }
    txn = journal_begin(journal);
    request_note_job(txn, call, journal_next_job(journal));
    journal_commit(txn, "test", started, call);
}

static void defined(void *arg, const struct error *err)
{
    struct call *call = arg;

    if (err)
        call_error(call, err);
    else
        call_result(call, json_object_get(call_params(call)));
}

void domain_define_handle(struct call *call)
{
    struct journal_txn *txn;
    int64_t job;

    if (request_begin(call, &job) != REQUEST_NEW)
        return;
    stub_of(call)->runs++;
    txn = journal_begin(call_context(call)->journal);
    request_note_result(txn, call, "{\"remembered\":true}");
    journal_commit(txn, "test", defined, call);
}

#define STUB(name)               \
    void name(struct call *call) \
    {                            \
        answer_nothing(call);    \
    }

STUB(domain_undefine_handle)
STUB(domain_blockdev_handle)
STUB(domain_check_handle)
STUB(snapshot_list_handle)
STUB(snapshot_get_handle)
STUB(snapshot_current_handle)
STUB(snapshot_xml_handle)
STUB(snapshot_redefine_handle)
STUB(snapshot_delete_handle)
STUB(snapshot_export_handle)
STUB(snapshot_import_handle)
STUB(snapshot_revert_handle)
STUB(block_commit_handle)
STUB(block_copy_handle)
STUB(block_pull_handle)
STUB(job_list_handle)
STUB(job_get_handle)
STUB(job_pivot_handle)
STUB(job_cancel_handle)
STUB(job_set_speed_handle)
STUB(job_pause_handle)
STUB(job_resume_handle)
STUB(job_forget_handle)
STUB(guest_freeze_handle)
STUB(guest_thaw_handle)
STUB(guest_status_handle)

unsigned domains_count(const struct domains *domains _unused_)
{
    return 3;
}

void engine_counts(const struct engine *engine _unused_, int64_t *ret_active, int64_t *ret_total)
{
    *ret_active = 1;
    *ret_total = 2;
}
