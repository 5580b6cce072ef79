/* Kinds of the errors in snapvm-errors.h, by code and back. */
#ifndef SNAPVM_PROTO_ERRORS_H
#define SNAPVM_PROTO_ERRORS_H

#include "proto/snapvm-errors.h"

/* The kind of a code ("NotFound"); "InternalError" for a code that is not in the contract. */
const char *errors_kind(int code);

/* The code of a kind, SNAPVM_ERROR_NONE for an unknown one. */
int errors_code(const char *kind);

#endif
