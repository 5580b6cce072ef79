/* An error as the contract writes it: {code, message, data: {kind, ...}}. */
#ifndef SNAPVM_API_ERROR_JSON_H
#define SNAPVM_API_ERROR_JSON_H

#include "proto/json.h"

struct error;

/* Owned by the caller; NULL (JSON's null) for no error. Bytes of a file's name that are no UTF-8
 * become '?', so that every answer is JSON. */
json_object *error_to_json(const struct error *err);

/* A text that may come from a disk or a header as a JSON string, cleaned like that. */
json_object *clean_string(const char *text);

#endif
