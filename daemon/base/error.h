/* An error on its way to a person: a code of the public contract (proto/snapvm-errors.h), a
 * sentence that says what to do, and the members that the contract names for that code. The text
 * rides with the error, the fact that there is one rides in the return value (-1). */
#ifndef SNAPVM_BASE_ERROR_H
#define SNAPVM_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

#define ERROR_FIELDS 4

struct error_field {
    const char *key; /* a literal */
    char *text;      /* NULL: the field is the number */
    int64_t number;
};

struct error {
    int code; /* 0: no error */
    char *message;
    struct error_field field[ERROR_FIELDS];
    unsigned n_fields;
};

/* Fills the error (which may be NULL: nobody asked) and returns -1, for `return error_set(…)`.
 * What was in it is dropped. */
int error_set(struct error *err, int code, const char *format, ...) _printf_(3, 4);

/* As error_set, with errno's text for the given number behind the sentence. */
int error_set_errno(struct error *err, int code, int errnum, const char *format, ...)
    _printf_(4, 5);

/* Adds a member of the error's data; both return -1 like error_set. The key is a literal. */
int error_text(struct error *err, const char *key, const char *value);
int error_number(struct error *err, const char *key, int64_t value);

/* The text of a member, NULL where there is none. */
const char *error_get(const struct error *err, const char *key);

void error_clear(struct error *err);

/* Moves or copies src over what is in dst; a moved error is empty afterwards. */
void error_move(struct error *dst, struct error *src);
void error_copy(struct error *dst, const struct error *src);

#define _cleanup_error_ _cleanup_(error_clear)

#endif
