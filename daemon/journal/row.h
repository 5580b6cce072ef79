/* Rows back into records: a cursor that takes the columns of a row one after another, in the order
 * in which they were bound. What it makes is the same struct that was stored. */
#ifndef SNAPVM_JOURNAL_ROW_H
#define SNAPVM_JOURNAL_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "journal/record.h"
#include "journal/statement.h"

struct row {
    struct statement_set *set;
    enum statement statement;
    int column; /* the next one */
    int rc;     /* SQLite's code, once row_next has returned false */
};

/* Begins a query whose parameters are bound. */
struct row row_start(struct statement_set *set, enum statement statement);

/* Steps to the next row; false at the end or on an error. The query is then ready for its next
 * use. */
bool row_next(struct row *row);

int64_t row_int(struct row *row);
char *row_text(struct row *row); /* owned by the caller; NULL for SQL's NULL */

/* Each reads a whole record from the row and, where it has a list, what belongs to it. They return
 * SQLite's code; the record is then to be deinitialised either way. */
int row_domain(struct row *row, struct record_domain *domain);
int row_job(struct row *row, struct record_job *job);
int row_snapshot(struct row *row, struct record_snapshot *snapshot);
int row_debt(struct row *row, struct record_debt *debt);
int row_request(struct row *row, struct record_request *request);

/* An image of a job, whose columns come next. */
void row_image(struct row *row, struct record_job *job);

/* Appends a zeroed element to an array that only this function grows. */
void *row_append(void *array, unsigned *n, size_t size);

#endif
