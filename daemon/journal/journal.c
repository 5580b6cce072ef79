#include "journal/journal.h"

#include <sqlite3.h>
#include <stdlib.h>

#include "base/crash.h"
#include "base/memory.h"
#include "journal/db.h"
#include "journal/history.h"
#include "journal/load.h"
#include "journal/lock.h"
#include "journal/migrate.h"
#include "journal/txn.h"
#include "journal/writer.h"

struct journal {
    char *path; /* of the database */
    int lock;
    struct crash *crash;
    struct txn_keep keep;
    sqlite3 *db; /* the writer's while it runs */
    struct writer *writer;
    struct history *history;
    journal_sink_fn sink;
    void *sink_arg;
    char *instance;
    int64_t first_seq, last_seq, next_job;
};

static int journal_open_db(struct journal *journal, struct error *err)
{
    if (db_create(journal->path, err) < 0 ||
        db_open(journal->path, DB_WRITE, &journal->db, err) < 0 || db_check(journal->db, err) < 0 ||
        migrate_run(journal->db, migrate_plan_current(), err) < 0)
        return -1;
    return 0;
}

/* The counters live on after the rows that they counted, in the table that SQLite keeps for
 * AUTOINCREMENT. */
static int journal_read_counters(struct journal *journal, struct error *err)
{
    int64_t last_job;

    if (db_get_text(journal->db, "SELECT instance FROM meta", &journal->instance, err) < 0 ||
        db_get_int(journal->db, "SELECT seq FROM sqlite_sequence WHERE name = 'event'",
                   &journal->last_seq, err) < 0 ||
        db_get_int(journal->db, "SELECT min(seq) FROM event", &journal->first_seq, err) < 0 ||
        db_get_int(journal->db, "SELECT seq FROM sqlite_sequence WHERE name = 'job'", &last_job,
                   err) < 0)
        return -1;
    if (journal->first_seq == 0)
        journal->first_seq = journal->last_seq + 1;
    journal->next_job = last_job + 1;
    return 0;
}

/* On the loop: what the transaction announces is durable, so it is announced, and then its owner
 * is told. */
static void journal_deliver(void *arg, struct journal_txn *txn)
{
    struct journal *journal = arg;
    bool durable = txn->error.code == 0;

    for (unsigned i = 0; durable && i < txn->n_events; i++) {
        struct journal_event event = txn_event(txn, i);

        journal->last_seq = event.seq;
        if (journal->sink)
            journal->sink(journal->sink_arg, &event);
    }
    if (durable && txn->prunes)
        journal->first_seq = txn->first_seq ? txn->first_seq : journal->last_seq + 1;
    crash_point(journal->crash, "journal.done", txn->name);
    if (txn->done)
        txn->done(txn->arg, durable ? NULL : &txn->error);
    journal_txn_free(txn);
}

struct journal *journal_open(struct event_base *base, const struct journal_options *options,
                             struct error *err)
{
    _cleanup_(journal_freep) struct journal *journal = xzalloc(sizeof(*journal));

    *journal = (struct journal){
        .path = xasprintf("%s/snapvm.db", options->dir),
        .lock = -1,
        .crash = options->crash,
        .keep = {.jobs_days = options->jobs_days,
                 .events = options->events,
                 .request_ids_hours = options->request_ids_hours},
    };
    if (lock_take(options->dir, &journal->lock, err) < 0 || journal_open_db(journal, err) < 0 ||
        journal_read_counters(journal, err) < 0)
        return NULL;
    db_lay_out_log(journal->db, options->log_bytes);
    journal->writer = writer_new(base, journal->db, journal_deliver, journal, err);
    if (!journal->writer)
        return NULL;
    journal->history = history_new(options->worker, journal->path);
    return TAKE_PTR(journal);
}

struct journal *journal_free(struct journal *journal)
{
    if (!journal)
        return NULL;
    writer_free(journal->writer);
    history_free(journal->history);
    db_close(journal->db);
    if (journal->lock >= 0)
        close(journal->lock);
    free(journal->instance);
    free(journal->path);
    free(journal);
    return NULL;
}

void journal_set_sink(struct journal *journal, journal_sink_fn sink, void *arg)
{
    journal->sink = sink;
    journal->sink_arg = arg;
}

const char *journal_instance(const struct journal *journal)
{
    return journal->instance;
}

int64_t journal_last_seq(const struct journal *journal)
{
    return journal->last_seq;
}

int64_t journal_first_seq(const struct journal *journal)
{
    return journal->first_seq;
}

int64_t journal_next_job(struct journal *journal)
{
    return journal->next_job++;
}

int journal_load(struct journal *journal, struct journal_model *ret_model, struct error *err)
{
    return load_model(journal->path, ret_model, err);
}

struct journal_txn *journal_begin(struct journal *journal)
{
    struct journal_txn *txn = xzalloc(sizeof(*txn));

    txn->journal = journal;
    txn->keep = &journal->keep;
    return txn;
}

void journal_commit(struct journal_txn *txn, const char *name, journal_done_fn done, void *arg)
{
    struct journal *journal = txn->journal;

    txn->name = name;
    txn->done = done;
    txn->arg = arg;
    crash_point(journal->crash, "journal.before", name);
    writer_add(journal->writer, txn);
}

void journal_query_jobs(struct journal *journal, const char *domain, int64_t after, unsigned limit,
                        journal_jobs_fn fn, void *arg)
{
    history_jobs(journal->history, domain, after, limit, fn, arg);
}

void journal_query_job(struct journal *journal, int64_t id, journal_jobs_fn fn, void *arg)
{
    history_job(journal->history, id, fn, arg);
}

void journal_query_touched(struct journal *journal, const char *domain, unsigned limit,
                           journal_jobs_fn fn, void *arg)
{
    history_touched(journal->history, domain, limit, fn, arg);
}

void journal_query_documents(struct journal *journal, const char *domain, const char *snapshot,
                             journal_documents_fn fn, void *arg)
{
    history_documents(journal->history, domain, snapshot, fn, arg);
}

void journal_query_events(struct journal *journal, int64_t since, int64_t last, unsigned limit,
                          journal_events_fn fn, void *arg)
{
    history_events(journal->history, since, last, limit, fn, arg);
}
