/* Tables, trees and blocks of "key  value" for people; the one file that knows libsmartcols. What
 * is put into a cell is cleaned as in snapvmctl-text.h. */
#ifndef SNAPVM_CLIENT_SNAPVMCTL_TABLE_H
#define SNAPVM_CLIENT_SNAPVMCTL_TABLE_H

#include <stddef.h>
#include <stdio.h>

#include "base/cleanup.h"

struct table;
struct row; /* owned by its table */

enum column_flags {
    COLUMN_RIGHT = 1, /* numbers */
    COLUMN_TREE = 2,  /* rows are shown below their parents */
};

struct column {
    const char *name;
    unsigned flags;
};

/* Columns until one without a name. */
struct table *table_new(const struct column *columns);

/* Two columns without a heading. */
struct table *table_pairs(void);

struct table *table_free(struct table *table);

/* A new row with "-" in each cell; parent (may be NULL) matters where there is a tree column. */
struct row *table_row(struct table *table, struct row *parent);

/* The text of a cell; NULL leaves "-". */
void row_set(struct row *row, size_t column, const char *text);
void row_setf(struct row *row, size_t column, const char *format, ...) _printf_(3, 4);

/* Leaves all cells of a row empty, for one that is a heading. */
void row_blank(struct row *row);

/* A row of a table of pairs; nothing at all when the value is NULL. */
void table_pair(struct table *table, const char *key, const char *value);
void table_pairf(struct table *table, const char *key, const char *format, ...) _printf_(3, 4);

/* Prints it; an empty table prints nothing. */
void table_print(struct table *table, FILE *out);

DEFINE_CLEANUP(struct table, table_free)
#define _cleanup_table_ _cleanup_(table_freep)

#endif
