#include "api/error-json.h"

#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "proto/errors.h"

/* The bytes of the UTF-8 character at p, 0 when there is none. Overlong forms, surrogates and what
 * lies behind the last code point are told by the second byte. */
static size_t character_size(const unsigned char *p)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t size;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    size = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (p[0] == 0xe0)
        low = 0xa0;
    if (p[0] == 0xed)
        high = 0x9f;
    if (p[0] == 0xf0)
        low = 0x90;
    if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return size;
}

json_object *clean_string(const char *text)
{
    _cleanup_free_ char *copy = xstrdup(text ? text : "");
    unsigned char *p = (unsigned char *)copy;
    size_t size;

    while (*p) {
        size = character_size(p);
        if (size == 0)
            *p = '?';
        p += size ? size : 1;
    }
    return json_object_new_string(copy);
}

json_object *error_to_json(const struct error *err)
{
    json_object *value, *data;

    if (!err || err->code == 0)
        return NULL;
    value = json_object_new_object();
    data = json_object_new_object();
    json_object_object_add(value, "code", json_object_new_int(err->code));
    json_object_object_add(value, "message", clean_string(err->message));
    json_object_object_add(value, "data", data);
    json_object_object_add(data, "kind", json_object_new_string(errors_kind(err->code)));
    for (unsigned i = 0; i < err->n_fields; i++)
        json_object_object_add(data, err->field[i].key,
                               err->field[i].text ? clean_string(err->field[i].text)
                                                  : json_object_new_int64(err->field[i].number));
    return value;
}
