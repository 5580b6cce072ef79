/* Strict JSON from a peer: UTF-8 checked, nesting bounded, nothing behind the value. */
#ifndef SNAPVM_PROTO_JSON_H
#define SNAPVM_PROTO_JSON_H

#include <json-c/json.h>
#include <stddef.h>
#include <stdio.h>

enum json_result {
    JSON_OK,
    JSON_BAD,      /* not one JSON text in UTF-8 */
    JSON_TOO_DEEP, /* nested deeper than the bound */
};

/* The value of a whole text of `size` bytes with a NUL behind it; the caller puts it. A bare value
 * nests 0 deep. Escaped NULs are refused, so that strings and names are whole as C strings. Of
 * members of the same name the last one counts. */
enum json_result json_read(const char *text, size_t size, int nesting, json_object **ret_value);

/* Compact text without '\n', as it goes on the wire; owned by the value. */
const char *json_text(json_object *value);

static inline void json_putp(json_object **value)
{
    if (*value)
        json_object_put(*value);
}

#define _cleanup_json_ __attribute__((cleanup(json_putp)))

/* Members by name. The getters return NULL or the default where the member is absent or has
 * another type: what a peer sends is never trusted to have the right shape. */
json_object *json_member(json_object *object, const char *name);
const char *json_string(json_object *object, const char *name);
json_object *json_array(json_object *object, const char *name);
json_object *json_sub(json_object *object, const char *name);
int json_flag(json_object *object, const char *name, int absent);
long long json_int(json_object *object, const char *name, long long absent);

/* A value that comes out as the given text, which is JSON and is taken over: for long lists, which
 * are made member by member and cost no more than their text. */
json_object *json_raw(char *text);

/* Writes a text of UTF-8 as JSON, NULL as null. */
void json_write_text(FILE *out, const char *text);

/* Adds a member; a NULL text adds null. */
void json_add_string(json_object *object, const char *name, const char *text);
void json_add_int(json_object *object, const char *name, long long number);
void json_add_bool(json_object *object, const char *name, int value);

#endif
