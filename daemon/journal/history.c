#include "journal/history.h"

#include <sqlite3.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/worker.h"
#include "journal/db.h"
#include "journal/row.h"

struct history {
    /* The loop's. */
    struct worker *worker;
    unsigned refs; /* the journal and each query */
    bool closed;

    /* The worker's, while a query runs. */
    char *path;
    sqlite3 *db;
    struct statement_set statements;
};

struct query {
    struct history *history; /* a reference */
    enum statement statement;
    char *domain;        /* NULL: of all */
    char *snapshot;      /* NULL: of all */
    int64_t after, last; /* for one job: its id in `after` */
    unsigned limit;
    void (*answer)(struct query *);
    journal_jobs_fn jobs_fn;
    journal_events_fn events_fn;
    journal_documents_fn documents_fn;
    void *arg;

    struct record_job *jobs;
    struct journal_event *events; /* their texts are owned */
    struct journal_document *documents;
    unsigned n;
    struct error error;
};

struct history *history_new(struct worker *worker, const char *path)
{
    struct history *history = xzalloc(sizeof(*history));

    *history = (struct history){.worker = worker, .refs = 1, .path = xstrdup(path)};
    return history;
}

static void history_unref(struct history *history)
{
    if (--history->refs > 0)
        return;
    statement_deinit(&history->statements);
    db_close(history->db);
    free(history->path);
    free(history);
}

struct history *history_free(struct history *history)
{
    if (!history)
        return NULL;
    history->closed = true;
    history_unref(history);
    return NULL;
}

static void query_clear(struct query *query)
{
    for (unsigned i = 0; query->jobs && i < query->n; i++)
        record_job_deinit(&query->jobs[i]);
    for (unsigned i = 0; query->events && i < query->n; i++) {
        free((char *)query->events[i].kind);
        free((char *)query->events[i].domain);
        free((char *)query->events[i].body);
    }
    for (unsigned i = 0; query->documents && i < query->n; i++) {
        free(query->documents[i].snapshot);
        free(query->documents[i].xml);
    }
    free(query->jobs);
    free(query->events);
    free(query->documents);
    query->documents = NULL;
    query->jobs = NULL;
    query->events = NULL;
    query->n = 0;
}

static void query_free(void *arg)
{
    struct query *query = arg;

    query_clear(query);
    history_unref(query->history);
    error_clear(&query->error);
    free(query->domain);
    free(query->snapshot);
    free(query);
}

static void query_answer_jobs(struct query *query)
{
    query->jobs_fn(query->arg, query->jobs, query->n, query->error.code ? &query->error : NULL);
}

static void query_answer_events(struct query *query)
{
    query->events_fn(query->arg, query->events, query->n, query->error.code ? &query->error : NULL);
}

static void query_answer_documents(struct query *query)
{
    query->documents_fn(query->arg, query->documents, query->n,
                        query->error.code ? &query->error : NULL);
}

static void query_done(void *arg)
{
    struct query *query = arg;

    if (!query->history->closed)
        query->answer(query);
    query_free(query);
}

static int history_open(struct history *history, struct error *err)
{
    if (history->db)
        return 0;
    if (db_open(history->path, DB_READ, &history->db, err) < 0)
        return -1;
    if (statement_prepare(&history->statements, history->db, STATEMENT_READS, STATEMENT_END, err) ==
        0)
        return 0;
    statement_deinit(&history->statements);
    history->db = db_close(history->db);
    return -1;
}

static int query_read_jobs(struct query *query)
{
    struct row row = row_start(&query->history->statements, query->statement);
    int rc = SQLITE_OK;

    statement_bind_int(row.set, row.statement, 1, query->after);
    if (query->statement != STATEMENT_GET_JOB)
        statement_bind_int(row.set, row.statement, 2, query->limit);
    if (query->statement == STATEMENT_LIST_ENDED_JOBS_OF)
        statement_bind_text(row.set, row.statement, 3, query->domain);
    while (row_next(&row)) {
        query->jobs = row_append(query->jobs, &query->n, sizeof(*query->jobs));
        if (rc == SQLITE_OK)
            rc = row_job(&row, &query->jobs[query->n - 1]);
    }
    return rc == SQLITE_OK ? row.rc : rc;
}

static int query_read_touched(struct query *query)
{
    struct row row = row_start(&query->history->statements, query->statement);

    statement_bind_text(row.set, row.statement, 1, query->domain);
    statement_bind_int(row.set, row.statement, 2, query->limit);
    while (row_next(&row)) {
        query->jobs = row_append(query->jobs, &query->n, sizeof(*query->jobs));
        query->jobs[query->n - 1].id = row_int(&row);
        row_image(&row, &query->jobs[query->n - 1]);
    }
    return row.rc;
}

static int query_read_documents(struct query *query)
{
    struct row row = row_start(&query->history->statements, query->statement);

    statement_bind_text(row.set, row.statement, 1, query->domain);
    statement_bind_text(row.set, row.statement, 2, query->snapshot);
    while (row_next(&row)) {
        query->documents = row_append(query->documents, &query->n, sizeof(*query->documents));
        query->documents[query->n - 1].snapshot = row_text(&row);
        query->documents[query->n - 1].xml = row_text(&row);
    }
    return row.rc;
}

static int query_read_events(struct query *query)
{
    struct row row = row_start(&query->history->statements, query->statement);

    statement_bind_int(row.set, row.statement, 1, query->after);
    statement_bind_int(row.set, row.statement, 2, query->last);
    statement_bind_int(row.set, row.statement, 3, query->limit);
    while (row_next(&row)) {
        struct journal_event *event;

        query->events = row_append(query->events, &query->n, sizeof(*query->events));
        event = &query->events[query->n - 1];
        event->seq = row_int(&row);
        event->time = row_int(&row);
        event->kind = row_text(&row);
        event->domain = row_text(&row);
        event->body = row_text(&row);
    }
    return row.rc;
}

static int query_read(struct query *query)
{
    if (query->events_fn)
        return query_read_events(query);
    if (query->statement == STATEMENT_LIST_TOUCHED)
        return query_read_touched(query);
    return query->documents_fn ? query_read_documents(query) : query_read_jobs(query);
}

/* On the worker. One read transaction, so that a job and its images are of one instant. */
static void query_run(void *arg)
{
    struct query *query = arg;
    struct history *history = query->history;
    int rc;

    if (history_open(history, &query->error) < 0)
        return;
    rc = statement_run(&history->statements, STATEMENT_BEGIN_READ);
    if (rc == SQLITE_OK)
        rc = query_read(query);
    if (rc == SQLITE_OK)
        rc = statement_run(&history->statements, STATEMENT_END_READ);
    if (rc == SQLITE_OK)
        return;
    db_error(history->db, &query->error);
    if (!sqlite3_get_autocommit(history->db))
        statement_run(&history->statements, STATEMENT_END_READ);
    query_clear(query);
}

static void query_start(struct history *history, struct query query)
{
    query.history = history;
    history->refs++;
    worker_run(history->worker, query_run, query_done, query_free, xmemdup(&query, sizeof(query)));
}

void history_jobs(struct history *history, const char *domain, int64_t after, unsigned limit,
                  journal_jobs_fn fn, void *arg)
{
    query_start(history,
                (struct query){
                    .statement = domain ? STATEMENT_LIST_ENDED_JOBS_OF : STATEMENT_LIST_ENDED_JOBS,
                    .domain = xstrdup(domain),
                    .after = after,
                    .limit = limit,
                    .answer = query_answer_jobs,
                    .jobs_fn = fn,
                    .arg = arg,
                });
}

void history_job(struct history *history, int64_t id, journal_jobs_fn fn, void *arg)
{
    query_start(history, (struct query){
                             .statement = STATEMENT_GET_JOB,
                             .after = id,
                             .answer = query_answer_jobs,
                             .jobs_fn = fn,
                             .arg = arg,
                         });
}

void history_touched(struct history *history, const char *domain, unsigned limit,
                     journal_jobs_fn fn, void *arg)
{
    query_start(history, (struct query){
                             .statement = STATEMENT_LIST_TOUCHED,
                             .domain = xstrdup(domain),
                             .limit = limit,
                             .answer = query_answer_jobs,
                             .jobs_fn = fn,
                             .arg = arg,
                         });
}

void history_documents(struct history *history, const char *domain, const char *snapshot,
                       journal_documents_fn fn, void *arg)
{
    query_start(history, (struct query){
                             .statement = STATEMENT_LIST_DOCUMENTS,
                             .domain = xstrdup(domain),
                             .snapshot = xstrdup(snapshot),
                             .answer = query_answer_documents,
                             .documents_fn = fn,
                             .arg = arg,
                         });
}

void history_events(struct history *history, int64_t since, int64_t last, unsigned limit,
                    journal_events_fn fn, void *arg)
{
    query_start(history, (struct query){
                             .statement = STATEMENT_LIST_EVENTS,
                             .after = since,
                             .last = last,
                             .limit = limit,
                             .answer = query_answer_events,
                             .events_fn = fn,
                             .arg = arg,
                         });
}
