#include "tests/unit/journal-fixture.h"

#include <check.h>
#include <event2/event.h>

#include "base/memory.h"
#include "base/worker.h"
#include "tests/unit/scratch.h"

void fixture_init(struct fixture *f)
{
    fixture_init_in(f, scratch_new());
}

void fixture_init_in(struct fixture *f, char *dir)
{
    *f = (struct fixture){.dir = dir, .base = event_base_new()};
    f->worker = worker_new(f->base);
    ck_assert_ptr_nonnull(f->worker);
    f->options = (struct journal_options){.dir = f->dir,
                                          .worker = f->worker,
                                          .jobs_days = 30,
                                          .events = 100000,
                                          .request_ids_hours = 24};
}

void fixture_deinit(struct fixture *f)
{
    fixture_close(f);
    worker_free(f->worker);
    event_base_free(f->base);
    scratch_free(f->dir);
}

static void fixture_sink(void *arg, const struct journal_event *event)
{
    struct fixture *f = arg;

    ck_assert_uint_lt(f->n_seqs, FIXTURE_EVENTS);
    ck_assert_int_eq(journal_last_seq(f->journal), event->seq);
    f->seqs[f->n_seqs++] = event->seq;
}

void fixture_open(struct fixture *f)
{
    struct error err = {0};

    f->journal = journal_open(f->base, &f->options, &err);
    ck_assert_msg(f->journal != NULL, "%s", err.message ? err.message : "no message");
    journal_set_sink(f->journal, fixture_sink, f);
}

void fixture_close(struct fixture *f)
{
    f->journal = journal_free(f->journal);
}

int fixture_try(struct fixture *f, char **ret_message)
{
    struct error err = {0};
    struct journal *journal = journal_open(f->base, &f->options, &err);
    int code = err.code;

    ck_assert_int_eq(journal == NULL, code != 0);
    journal_free(journal);
    *ret_message = xstrdup(err.message ? err.message : "");
    error_clear(&err);
    return code;
}

static void fixture_done(void *arg, const struct error *err)
{
    struct fixture_result *result = arg;

    ck_assert(!result->told);
    result->told = true;
    result->order = ++result->fixture->dones;
    result->seqs = result->fixture->n_seqs;
    if (err)
        error_copy(&result->error, err);
}

void fixture_send(struct fixture *f, struct journal_txn *txn, struct fixture_result *result)
{
    *result = (struct fixture_result){.fixture = f};
    journal_commit(txn, "test", fixture_done, result);
}

int fixture_wait(struct fixture_result *result)
{
    int code;

    while (!result->told)
        event_base_loop(result->fixture->base, EVLOOP_ONCE);
    code = result->error.code;
    error_clear(&result->error);
    return code;
}

int fixture_commit(struct fixture *f, struct journal_txn *txn)
{
    struct fixture_result result;

    fixture_send(f, txn, &result);
    return fixture_wait(&result);
}

char *fixture_path(const struct fixture *f, const char *name)
{
    return xasprintf("%s/%s", f->dir, name);
}

struct record_job fixture_job(int64_t id)
{
    return (struct record_job){
        .id = id,
        .domain = xstrdup("web"),
        .kind = xstrdup("snapshot"),
        .state = xstrdup("starting"),
        .created = 1,
        .updated = 1,
        .total = -1,
        .paused_us = -1,
        .frozen_us = -1,
    };
}

unsigned fixture_has_job(struct fixture *f, int64_t id)
{
    struct journal_model model;
    struct error err = {0};
    unsigned n = 0;

    ck_assert_msg(journal_load(f->journal, &model, &err) == 0, "%s", err.message);
    for (unsigned i = 0; i < model.n_jobs; i++)
        n += model.jobs[i].id == id;
    journal_model_deinit(&model);
    return n;
}
