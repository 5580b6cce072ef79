/* Errors as JSON text, in the shape in which they go on the wire. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "journal/record.h"
#include "proto/errors.h"
#include "proto/json.h"

#define NESTING 4

/* The members of data that the contract names. A field's key is a literal: this is where the ones
 * that are read come from. */
static const char *const keys[] = {
    "param",  "object", "name",  "job",     "state",   "needs", "progress",
    "reason", "class",  "desc",  "command", "feature", "file",  "expected",
    "found",  "count",  "limit", "value",   "first",
};

/* How many bytes the UTF-8 sequence at p has, 0 if it is none. */
static size_t utf8_length(const unsigned char *p)
{
    size_t n = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0;

    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) ||
        (*p == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

/* The text with '?' for every byte that is not UTF-8 (file names may hold any), so that what is
 * written can be read again. Owned by the caller. */
static char *utf8_clean(const char *text)
{
    char *clean = xstrdup(text ? text : "");
    unsigned char *p = (unsigned char *)clean;

    while (*p) {
        size_t n = utf8_length(p);

        if (n == 0)
            *p = '?';
        p += n ? n : 1;
    }
    return clean;
}

static void add_text(json_object *object, const char *name, const char *text)
{
    _cleanup_free_ char *clean = utf8_clean(text);

    json_add_string(object, name, clean);
}

char *record_error_text(const struct error *error)
{
    _cleanup_json_ json_object *object = json_object_new_object();
    json_object *data = json_object_new_object();

    json_add_int(object, "code", error->code);
    add_text(object, "message", error->message);
    json_add_string(data, "kind", errors_kind(error->code));
    for (unsigned i = 0; i < error->n_fields; i++) {
        const struct error_field *field = &error->field[i];

        if (field->text)
            add_text(data, field->key, field->text);
        else
            json_add_int(data, field->key, field->number);
    }
    json_object_object_add(object, "data", data);
    return xstrdup(json_text(object));
}

static void parse_data(json_object *data, struct error *error)
{
    /* Iterated as they stand, so that the order of the fields survives. */
    json_object_object_foreach (data, key, value) {
        for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
            if (strcmp(keys[i], key) != 0)
                continue;
            if (json_object_is_type(value, json_type_int))
                error_number(error, keys[i], json_object_get_int64(value));
            else if (json_object_is_type(value, json_type_string))
                error_text(error, keys[i], json_object_get_string(value));
        }
    }
}

int record_error_parse(const char *text, struct error *ret_error)
{
    _cleanup_json_ json_object *object = NULL;
    json_object *data;
    const char *message;
    long long code;

    if (json_read(text, strlen(text), NESTING, &object) != JSON_OK)
        return -1;
    code = json_int(object, "code", SNAPVM_ERROR_NONE);
    message = json_string(object, "message");
    if (code == SNAPVM_ERROR_NONE || code < INT32_MIN || code > INT32_MAX || !message)
        return -1;
    error_set(ret_error, (int)code, "%s", message);
    data = json_sub(object, "data");
    if (data)
        parse_data(data, ret_error);
    return 0;
}

char *record_snapshot_event(const char *name, bool quiesced)
{
    _cleanup_json_ json_object *body = json_object_new_object();

    json_add_string(body, "name", name);
    json_add_bool(body, "quiesced", quiesced);
    return xstrdup(json_text(body));
}

char *record_name_event(const char *name)
{
    _cleanup_json_ json_object *body = json_object_new_object();

    json_add_string(body, "name", name);
    return xstrdup(json_text(body));
}
