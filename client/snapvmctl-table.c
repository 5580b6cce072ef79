#include "client/snapvmctl-table.h"

#include <libsmartcols.h>
#include <stdarg.h>
#include <stdbool.h>

#include "base/memory.h"
#include "client/snapvmctl-text.h"

/* A row is libsmartcols' line; giving it a name of ours keeps that library's names in this file. */
struct table {
    struct libscols_table *scols;
    size_t n_columns;
};

static struct libscols_line *row_line(struct row *row)
{
    return (struct libscols_line *)row;
}

struct table *table_new(const struct column *columns)
{
    struct table *table = xzalloc(sizeof(*table));

    table->scols = scols_new_table();
    if (!table->scols)
        abort();
    for (; columns[table->n_columns].name; table->n_columns++) {
        const struct column *column = &columns[table->n_columns];
        int flags = (column->flags & COLUMN_RIGHT ? SCOLS_FL_RIGHT : 0) |
                    (column->flags & COLUMN_TREE ? SCOLS_FL_TREE : 0);

        if (!scols_table_new_column(table->scols, column->name, 0, flags))
            abort();
    }
    return table;
}

struct table *table_pairs(void)
{
    static const struct column columns[] = {{"KEY", 0}, {"VALUE", 0}, {NULL, 0}};
    struct table *table = table_new(columns);

    scols_table_enable_noheadings(table->scols, 1);
    return table;
}

struct table *table_free(struct table *table)
{
    if (!table)
        return NULL;
    scols_unref_table(table->scols);
    free(table);
    return NULL;
}

struct row *table_row(struct table *table, struct row *parent)
{
    struct libscols_line *line = scols_table_new_line(table->scols, row_line(parent));
    struct row *row = (struct row *)line;

    if (!line)
        abort();
    for (size_t i = 0; i < table->n_columns; i++)
        row_set(row, i, "-");
    return row;
}

void row_set(struct row *row, size_t column, const char *text)
{
    char *clean;

    if (!text)
        return;
    clean = text_clean(text, "");
    /* An empty cell at the end of a line would look like a forgotten one. */
    if (!*clean) {
        free(clean);
        return;
    }
    if (scols_line_refer_data(row_line(row), column, clean) < 0)
        abort();
}

void row_setf(struct row *row, size_t column, const char *format, ...)
{
    _cleanup_free_ char *text = NULL;
    va_list args;

    va_start(args, format);
    text = xvasprintf(format, args);
    va_end(args);
    row_set(row, column, text);
}

void row_blank(struct row *row)
{
    for (size_t i = 0; i < scols_line_get_ncells(row_line(row)); i++)
        if (scols_line_set_data(row_line(row), i, "") < 0)
            abort();
}

void table_pair(struct table *table, const char *key, const char *value)
{
    struct row *row;

    if (!value)
        return;
    row = table_row(table, NULL);
    row_set(row, 0, key);
    row_set(row, 1, value);
}

void table_pairf(struct table *table, const char *key, const char *format, ...)
{
    _cleanup_free_ char *text = NULL;
    va_list args;

    va_start(args, format);
    text = xvasprintf(format, args);
    va_end(args);
    table_pair(table, key, text);
}

void table_print(struct table *table, FILE *out)
{
    if (scols_table_is_empty(table->scols))
        return;
    scols_table_set_stream(table->scols, out);
    if (scols_print_table(table->scols) < 0)
        abort();
}
