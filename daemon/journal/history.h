/* What is not in memory, read back from the database: ended jobs, past events and the descriptions
 * of snapshots. Queries run on the worker's thread, over a read-only connection of their own that
 * never waits for the writer, and are answered on the loop. */
#ifndef SNAPVM_JOURNAL_HISTORY_H
#define SNAPVM_JOURNAL_HISTORY_H

#include <stdint.h>

#include "journal/journal.h"

struct history;
struct worker;

/* The connection is opened with the first query. */
struct history *history_new(struct worker *worker, const char *path);

/* Queries that still run are not answered any more; the connection is closed with the last of
 * them, so the worker may live longer. */
struct history *history_free(struct history *history);

/* As the functions of journal.h. */
void history_jobs(struct history *history, const char *domain, int64_t after, unsigned limit,
                  journal_jobs_fn fn, void *arg);
void history_job(struct history *history, int64_t id, journal_jobs_fn fn, void *arg);
void history_touched(struct history *history, const char *domain, unsigned limit,
                     journal_jobs_fn fn, void *arg);
void history_documents(struct history *history, const char *domain, const char *snapshot,
                       journal_documents_fn fn, void *arg);
void history_events(struct history *history, int64_t since, int64_t last, unsigned limit,
                    journal_events_fn fn, void *arg);

#endif
