/* json-c parses; what it lets pass although it is no JSON (other quotes, NaN, control characters in
 * strings, overlong UTF-8, one level too many where the innermost is empty) is refused by a scan
 * before it, because it would come out of us again as it came in. */
#include "proto/json.h"

#include <limits.h>
#include <string.h>

/* json-c counts a scalar inside the innermost container as a level of its own. */
#define NESTING_OF_SCALAR 1

static int only_space(const char *text, size_t size)
{
    return strspn(text, " \t\r\n") >= size;
}

/* Bytes of the well-formed UTF-8 character that begins here, 0 if there is none. */
static size_t utf8_size(const unsigned char *p, size_t left)
{
    size_t size = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

    if (size == 1)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4 || size > left)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    /* Overlong forms, surrogates, and what lies above U+10FFFF. */
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return size;
}

/* The size of a string with its quotes, 0 if it is not whole or holds what it must not. A NUL, also
 * an escaped one, would end it early in C and hide what follows. */
static size_t scan_string(const char *text, size_t size)
{
    for (size_t i = 1, n; i < size; i += n) {
        if (text[i] == '"')
            return i + 1;
        if ((unsigned char)text[i] < ' ' ||
            (text[i] == '\\' && strncmp(text + i, "\\u0000", 6) == 0))
            return 0;
        n = text[i] == '\\' ? 2 : utf8_size((const unsigned char *)text + i, size - i);
        if (n == 0)
            return 0;
    }
    return 0;
}

/* Also tells how many levels there are. */
static enum json_result json_scan(const char *text, size_t size, int nesting, int *ret_depth)
{
    int depth = 0, deepest = 0;

    for (size_t i = 0, n; i < size; i += n) {
        char c = text[i];

        n = c == '"' ? scan_string(text + i, size - i) : 1;
        if (n == 0 || c == '\0' || !strchr("\",:{}[] \t\r\n0123456789+-.Eaeflnrstu", c))
            return JSON_BAD;
        if (c == '.' && !(text[i + 1] >= '0' && text[i + 1] <= '9'))
            return JSON_BAD;
        depth += (c == '[' || c == '{') - (c == ']' || c == '}');
        if (depth > deepest)
            deepest = depth;
        if (depth > nesting)
            return JSON_TOO_DEEP;
    }
    *ret_depth = deepest;
    return JSON_OK;
}

enum json_result json_read(const char *text, size_t size, int nesting, json_object **ret_value)
{
    int depth = 0;
    enum json_result scanned = size < INT_MAX ? json_scan(text, size, nesting, &depth) : JSON_BAD;
    struct json_tokener *tokener;
    enum json_tokener_error error;
    json_object *value;
    size_t end;

    if (scanned != JSON_OK)
        return scanned;
    /* It gets room for as many levels as it is told: there is no need for all that are allowed. */
    tokener = json_tokener_new_ex(depth + NESTING_OF_SCALAR);
    if (!tokener)
        abort();
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS);
    /* The terminating NUL tells the parser that a bare number has ended. */
    value = json_tokener_parse_ex(tokener, text, (int)size + 1);
    error = json_tokener_get_error(tokener);
    end = json_tokener_get_parse_end(tokener);
    json_tokener_free(tokener);
    if (error == json_tokener_success && (end > size || only_space(text + end, size - end))) {
        *ret_value = value;
        return JSON_OK;
    }
    json_object_put(value);
    return error == json_tokener_error_depth ? JSON_TOO_DEEP : JSON_BAD;
}

const char *json_text(json_object *value)
{
    return json_object_to_json_string_ext(value,
                                          JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

json_object *json_member(json_object *object, const char *name)
{
    json_object *value = NULL;

    if (!json_object_is_type(object, json_type_object))
        return NULL;
    json_object_object_get_ex(object, name, &value);
    return value;
}

static json_object *json_typed(json_object *object, const char *name, enum json_type type)
{
    json_object *value = json_member(object, name);

    return value && json_object_is_type(value, type) ? value : NULL;
}

const char *json_string(json_object *object, const char *name)
{
    json_object *value = json_typed(object, name, json_type_string);

    return value ? json_object_get_string(value) : NULL;
}

json_object *json_array(json_object *object, const char *name)
{
    return json_typed(object, name, json_type_array);
}

json_object *json_sub(json_object *object, const char *name)
{
    return json_typed(object, name, json_type_object);
}

int json_flag(json_object *object, const char *name, int absent)
{
    json_object *value = json_typed(object, name, json_type_boolean);

    return value ? json_object_get_boolean(value) : absent;
}

long long json_int(json_object *object, const char *name, long long absent)
{
    json_object *value = json_typed(object, name, json_type_int);

    return value ? json_object_get_int64(value) : absent;
}

json_object *json_raw(char *text)
{
    json_object *value = json_object_new_string("");

    json_object_set_serializer(value, json_object_userdata_to_json_string, text,
                               json_object_free_userdata);
    return value;
}

void json_write_text(FILE *out, const char *text)
{
    size_t plain;

    if (!text) {
        fputs("null", out);
        return;
    }
    fputc('"', out);
    for (;; text += plain + 1) {
        plain = 0;
        while ((unsigned char)text[plain] >= ' ' && text[plain] != '"' && text[plain] != '\\')
            plain++;
        fwrite(text, 1, plain, out);
        if (text[plain] == '\0')
            break;
        if ((unsigned char)text[plain] < ' ')
            fprintf(out, "\\u%04x", (unsigned)text[plain]);
        else
            fprintf(out, "\\%c", text[plain]);
    }
    fputc('"', out);
}

void json_add_string(json_object *object, const char *name, const char *text)
{
    json_object_object_add(object, name, text ? json_object_new_string(text) : NULL);
}

void json_add_int(json_object *object, const char *name, long long number)
{
    json_object_object_add(object, name, json_object_new_int64(number));
}

void json_add_bool(json_object *object, const char *name, int value)
{
    json_object_object_add(object, name, json_object_new_boolean(value));
}
