#include "journal/script.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "qemu/process.h"

enum script_kind { SCRIPT_STATEMENT, SCRIPT_INT, SCRIPT_TEXT };

struct script_value {
    enum script_kind kind;
    union {
        enum statement statement;
        int64_t number;
        size_t place; /* of the text */
    };
};

/* Room for a job with its images and an event, so that growing is the exception. */
#define FIRST_VALUES 96
#define FIRST_TEXTS 1024

void script_deinit(struct script *script)
{
    free(script->values);
    free(script->texts);
    memset(script, 0, sizeof(*script));
}

static void script_push(struct script *script, struct script_value value)
{
    if (script->n_values == script->room_values) {
        script->room_values = script->room_values ? 2 * script->room_values : FIRST_VALUES;
        script->values = xrealloc(script->values, script->room_values, sizeof(*script->values));
    }
    script->values[script->n_values++] = value;
}

void script_add(struct script *script, enum statement statement)
{
    script_push(script, (struct script_value){.kind = SCRIPT_STATEMENT, .statement = statement});
}

void script_int(struct script *script, int64_t value)
{
    script_push(script, (struct script_value){.kind = SCRIPT_INT, .number = value});
}

void script_text(struct script *script, const char *value)
{
    size_t place = script_keep(script, value);

    script_push(script, (struct script_value){.kind = SCRIPT_TEXT, .place = place});
}

void script_process(struct script *script, const struct process *process)
{
    script_int(script, process->pid);
    script_int(script, (int64_t)process->start);
    script_text(script, process->boot_id[0] ? process->boot_id : NULL);
}

size_t script_keep(struct script *script, const char *text)
{
    size_t size, place = script->n_texts;

    if (!text)
        return SCRIPT_NULL;
    size = strlen(text) + 1;
    if (size > script->room_texts - script->n_texts) {
        script->room_texts = script->room_texts ? 2 * script->room_texts : FIRST_TEXTS;
        if (script->room_texts < script->n_texts + size)
            script->room_texts = script->n_texts + size;
        script->texts = xrealloc(script->texts, script->room_texts, 1);
    }
    memcpy(script->texts + place, text, size);
    script->n_texts += size;
    return place;
}

const char *script_at(const struct script *script, size_t place)
{
    return place == SCRIPT_NULL ? NULL : script->texts + place;
}

/* Runs the statement at index i and returns the index of the next one in *ret_next. */
static int script_run_one(const struct script *script, struct statement_set *set, size_t i,
                          size_t *ret_next)
{
    enum statement statement = script->values[i].statement;
    int n = 0;

    for (i++; i < script->n_values && script->values[i].kind != SCRIPT_STATEMENT; i++) {
        const struct script_value *value = &script->values[i];

        if (value->kind == SCRIPT_INT)
            statement_bind_int(set, statement, ++n, value->number);
        else
            statement_bind_text(set, statement, ++n, script_at(script, value->place));
    }
    *ret_next = i;
    if (!statement_takes(set, statement, n))
        return SQLITE_MISUSE;
    return statement_run(set, statement);
}

int script_run(const struct script *script, struct statement_set *set)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; i < script->n_values && rc == SQLITE_OK;)
        rc = script_run_one(script, set, i, &i);
    return rc;
}
