/* The journal's SQL: every statement there is, in one table, and a set of them prepared once for
 * one connection. */
#ifndef SNAPVM_JOURNAL_STATEMENT_H
#define SNAPVM_JOURNAL_STATEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct sqlite3;
struct sqlite3_stmt;

enum statement {
    /* What the writer uses. */
    STATEMENT_BEGIN,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_SAVEPOINT,
    STATEMENT_RELEASE,
    STATEMENT_ROLLBACK_TO,
    STATEMENT_PUT_DOMAIN,
    STATEMENT_DROP_DOMAIN,
    STATEMENT_PUT_DOMAIN_DOCUMENT,
    STATEMENT_SET_CURRENT,
    STATEMENT_PUT_DISK,
    STATEMENT_TRIM_DISKS,
    STATEMENT_PUT_LAYER,
    STATEMENT_TRIM_LAYERS,
    STATEMENT_PUT_JOB,
    STATEMENT_DROP_JOB,
    STATEMENT_PUT_IMAGE,
    STATEMENT_TRIM_IMAGES,
    STATEMENT_PUT_SNAPSHOT,
    STATEMENT_DROP_SNAPSHOT,
    STATEMENT_MOVE_CHILDREN,
    STATEMENT_PUT_DOCUMENT,
    STATEMENT_PUT_SNAPSHOT_DISK,
    STATEMENT_TRIM_SNAPSHOT_DISKS,
    STATEMENT_PUT_DEBT,
    STATEMENT_DROP_DEBT,
    STATEMENT_PUT_REQUEST,
    STATEMENT_ADD_EVENT,
    STATEMENT_PRUNE_JOBS,
    STATEMENT_PRUNE_REQUESTS,
    STATEMENT_PRUNE_EVENTS,
    STATEMENT_FIRST_EVENT,

    /* What readers use, at start and for history. */
    STATEMENT_BEGIN_READ,
    STATEMENT_END_READ,
    STATEMENT_LIST_DOMAINS,
    STATEMENT_GET_DOMAIN_DOCUMENT,
    STATEMENT_LIST_DISKS,
    STATEMENT_LIST_LAYERS,
    STATEMENT_LIST_ACTIVE_JOBS,
    STATEMENT_LIST_IMAGES,
    STATEMENT_LIST_SNAPSHOTS,
    STATEMENT_LIST_SNAPSHOT_DISKS,
    STATEMENT_LIST_DOCUMENTS,
    STATEMENT_LIST_DEBTS,
    STATEMENT_LIST_REQUESTS,
    STATEMENT_COUNT_JOBS,
    STATEMENT_GET_JOB,
    STATEMENT_LIST_ENDED_JOBS,
    STATEMENT_LIST_ENDED_JOBS_OF,
    STATEMENT_LIST_TOUCHED,
    STATEMENT_LIST_EVENTS,

    STATEMENT_END,
};

#define STATEMENT_WRITES STATEMENT_BEGIN     /* the first one of the writer */
#define STATEMENT_READS STATEMENT_BEGIN_READ /* the first one of the readers */

struct statement_set {
    struct sqlite3 *db; /* borrowed */
    struct sqlite3_stmt *stmt[STATEMENT_END];
};

/* Prepares the statements from `first` up to, and without, `end`. InternalError when the database
 * does not have the schema that they are written for. */
int statement_prepare(struct statement_set *set, struct sqlite3 *db, enum statement first,
                      enum statement end, struct error *err);
void statement_deinit(struct statement_set *set);

/* Binds a parameter, counted from 1. A text must live until the statement was run; NULL is SQL's
 * NULL. */
void statement_bind_int(struct statement_set *set, enum statement statement, int index,
                        int64_t value);
void statement_bind_text(struct statement_set *set, enum statement statement, int index,
                         const char *value);

/* Whether that many values are what the statement takes. */
bool statement_takes(const struct statement_set *set, enum statement statement, int n_values);

/* Runs a statement to its end and makes it ready for the next use. Returns SQLite's code. */
int statement_run(struct statement_set *set, enum statement statement);

/* Runs a statement that yields one number, absent when there is no row or it is NULL. */
int statement_number(struct statement_set *set, enum statement statement, int64_t absent,
                     int64_t *ret_number);

#endif
