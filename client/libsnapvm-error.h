/* Filling of a struct snapvm_error, inside the library. */
#ifndef SNAPVM_CLIENT_LIBSNAPVM_ERROR_H
#define SNAPVM_CLIENT_LIBSNAPVM_ERROR_H

#include "base/cleanup.h"
#include "client/snapvm.h"

/* Fills the error (NULL: nobody asked) with a sentence and returns -1. */
int local_error(struct snapvm_error *err, int code, const char *format, ...) _printf_(3, 4);

/* Fills it from the `error` member of an answer, whatever shape that has. */
void answer_error(struct snapvm_error *err, struct json_object *error);

/* A copy over what is in dst (which may be NULL). */
void copy_error(struct snapvm_error *dst, const struct snapvm_error *src);

#endif
