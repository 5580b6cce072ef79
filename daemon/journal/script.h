/* What a transaction does, written down on the loop and run by the writer: statements with their
 * values, in order. Everything is copied into two arrays that grow, so that a job's step costs two
 * or three allocations and not one for each text. */
#ifndef SNAPVM_JOURNAL_SCRIPT_H
#define SNAPVM_JOURNAL_SCRIPT_H

#include <stddef.h>
#include <stdint.h>

#include "journal/statement.h"

struct process;
struct script_value;

/* Zeroed is empty. */
struct script {
    struct script_value *values;
    size_t n_values, room_values;
    char *texts; /* NUL-terminated, one behind the other */
    size_t n_texts, room_texts;
};

#define SCRIPT_NULL SIZE_MAX /* the place of a text that is NULL */

void script_deinit(struct script *script);

/* Begins the next statement; its values follow, one call each, in the order of its parameters. */
void script_add(struct script *script, enum statement statement);
void script_int(struct script *script, int64_t value);
void script_text(struct script *script, const char *value);
void script_process(struct script *script, const struct process *process); /* three values */

/* Keeps a text that is no value yet: its place, and the text at a place, which moves with the next
 * one that is kept. */
size_t script_keep(struct script *script, const char *text);
const char *script_at(const struct script *script, size_t place);

/* Runs all statements, up to the first that fails. Returns SQLite's code. */
int script_run(const struct script *script, struct statement_set *set);

#endif
