#include "client/snapvmctl-value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "client/snapvmctl-verb.h"
#include "proto/json.h"
#include "proto/limits.h"

#define FILE_BYTES (16 * 1024 * 1024) /* the daemon takes less, and says how much */

int value_is_choice(const char *choices, const char *text)
{
    size_t size = strlen(text);

    for (const char *p = choices; size && p; p = strchr(p, '|')) {
        p += *p == '|';
        if (strncmp(p, text, size) == 0 && (p[size] == '|' || p[size] == '\0'))
            return true;
    }
    return false;
}

static struct json_object *read_number(const char *text, bool size, char **ret_why)
{
    static const char suffixes[] = "KMGTPE";
    const char *suffix;
    int64_t number;
    char *end;

    errno = 0;
    number = strtoll(text, &end, 10);
    if (end != text && size && *end && (suffix = strchr(suffixes, *end))) {
        for (; suffix >= suffixes; suffix--)
            if (__builtin_mul_overflow(number, 1024, &number))
                errno = ERANGE;
        end += strncmp(end + 1, "iB", 2) == 0 ? 3 : 1;
    }
    if (end == text || *end) {
        *ret_why = xasprintf(size ? "is no size such as 4096 or 10M" : "is no number");
        return NULL;
    }
    if (errno == ERANGE || (size && number < 0)) {
        *ret_why = xstrdup("is out of range");
        return NULL;
    }
    return json_object_new_int64(number);
}

static struct json_object *read_flag(const char *text, char **ret_why)
{
    if (!text || value_is_choice("yes|true|on", text))
        return json_object_new_boolean(true);
    if (value_is_choice("no|false|off", text))
        return json_object_new_boolean(false);
    *ret_why = xstrdup("is neither yes nor no");
    return NULL;
}

/* The next item of a list, owned by the caller, and what is behind it (NULL: nothing). A comma that
 * belongs to an item is doubled, as QEMU has it. */
static char *next_item(const char **text)
{
    char *item = xrealloc(NULL, strlen(*text) + 1, 1), *end = item;
    const char *p = *text;

    for (; *p && (*p != ',' || p[1] == ','); p++) {
        p += *p == ',';
        *end++ = *p;
    }
    *end = '\0';
    *text = *p ? p + 1 : NULL;
    return item;
}

static struct json_object *read_list(const char *text, bool numbers, struct json_object *old,
                                     char **ret_why)
{
    struct json_object *list = old ? json_object_get(old) : json_object_new_array();

    while (text) {
        _cleanup_free_ char *item = next_item(&text);
        struct json_object *value = numbers ? read_number(item, false, ret_why)
                                            : json_object_new_string(item);

        if (!value) {
            json_object_put(list);
            return NULL;
        }
        json_object_array_add(list, value);
    }
    return list;
}

/* Looks a key up in "first,key,flag?"; NULL takes the first one. The key is the caller's. */
static char *find_key(const char *keys, const char *key, size_t size, bool *ret_flag)
{
    for (const char *p = keys; *p; p += *p == ',') {
        size_t length = strcspn(p, ",?");

        if (!key || (length == size && strncmp(p, key, size) == 0)) {
            *ret_flag = p[length] == '?';
            return xstrndup(p, length);
        }
        p += strcspn(p, ",");
    }
    return NULL;
}

/* One item of a record: "key=value", "flag", or what the first key is for. */
static int read_member(struct json_object *record, const char *keys, const char *item, bool first,
                       char **ret_why)
{
    size_t size = strcspn(item, "=");
    bool flag = false, named = item[size] == '=';
    _cleanup_free_ char *key = find_key(keys, item, size, &flag);
    struct json_object *value;

    if (first && (!key || !(named || flag))) {
        free(key);
        key = find_key(keys, NULL, 0, &flag);
        named = false;
    } else if (!key || !(named || flag)) {
        *ret_why = xasprintf("has \"%s\", which is none of %s", item, keys);
        return -1;
    }
    if (json_member(record, key)) {
        *ret_why = xasprintf("gives \"%s\" twice", key);
        return -1;
    }
    if (flag)
        value = read_flag(named ? item + size + 1 : NULL, ret_why);
    else
        value = json_object_new_string(named ? item + size + 1 : item);
    if (!value)
        return -1;
    json_object_object_add(record, key, value);
    return 0;
}

static struct json_object *read_record(const char *text, const char *keys, char **ret_why)
{
    struct json_object *record = json_object_new_object();

    for (bool first = true; text; first = false) {
        _cleanup_free_ char *item = next_item(&text);

        if (read_member(record, keys, item, first, ret_why) < 0) {
            json_object_put(record);
            return NULL;
        }
    }
    return record;
}

static struct json_object *read_json(const char *text, char **ret_why)
{
    struct json_object *value = NULL;

    if (json_read(text, strlen(text), LIMIT_QMP_NESTING, &value) == JSON_OK && value)
        return value;
    json_object_put(value);
    *ret_why = xstrdup("is no JSON");
    return NULL;
}

/* A record or several, also as JSON for what the short form cannot say. */
static struct json_object *read_records(const struct option *option, const char *text,
                                        struct json_object *old, char **ret_why)
{
    bool many = option->type == OPTION_RECORDS;
    struct json_object *record, *list;

    if (*text == '{' || *text == '[')
        record = read_json(text, ret_why);
    else
        record = read_record(text, option->value, ret_why);
    if (!record || !many || (json_object_is_type(record, json_type_array) && !old))
        return record;
    list = old ? json_object_get(old) : json_object_new_array();
    json_object_array_add(list, record);
    return list;
}

/* The whole of a file, "-" is the standard input; owned by the caller. */
static char *read_file(const char *path, char **ret_why)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    size_t size = 0, room = 0;
    char *text = NULL;

    if (!file) {
        *ret_why = xasprintf("cannot be read: %s", strerror(errno));
        return NULL;
    }
    do {
        if (size == room) {
            room = room ? room * 2 : 65536;
            text = xrealloc(text, room + 1, 1);
        }
        size += fread(text + size, 1, room - size, file);
    } while (size == room && room < FILE_BYTES);
    if (ferror(file))
        *ret_why = xasprintf("cannot be read: %s", strerror(errno));
    else if (size == room)
        *ret_why = xstrdup("is too large");
    else if (memchr(text, '\0', size))
        *ret_why = xstrdup("is no text");
    text[size] = '\0';
    if (file != stdin)
        fclose(file);
    if (!*ret_why)
        return text;
    free(text);
    return NULL;
}

/* XML and JSON tell by their first character that they are not a file's name. */
static struct json_object *read_document(const struct option *option, const char *text,
                                         char **ret_why)
{
    _cleanup_free_ char *content = NULL;

    if (!strchr(option->type == OPTION_TEXT ? "<" : "{[", *text) || !*text) {
        content = read_file(text, ret_why);
        if (!content)
            return NULL;
        text = content;
    }
    return option->type == OPTION_TEXT ? json_object_new_string(text) : read_json(text, ret_why);
}

static bool grows(const struct option *option)
{
    return option->type == OPTION_LIST || option->type == OPTION_NUMBERS ||
           option->type == OPTION_RECORDS;
}

struct json_object *value_read(const struct option *option, const char *text,
                               struct json_object *old, char **ret_why)
{
    *ret_why = NULL;
    if (old && !grows(option)) {
        *ret_why = xstrdup("was given twice");
        return NULL;
    }
    switch (option->type) {
    case OPTION_NUMBER:
        return read_number(text, false, ret_why);
    case OPTION_SIZE:
        return read_number(text, true, ret_why);
    case OPTION_FLAG:
        return read_flag(text, ret_why);
    case OPTION_CHOICE:
        if (value_is_choice(option->value, text))
            break;
        *ret_why = xasprintf("is none of %s", option->value);
        return NULL;
    case OPTION_LIST:
    case OPTION_NUMBERS:
        return read_list(text, option->type == OPTION_NUMBERS, old, ret_why);
    case OPTION_RECORD:
    case OPTION_RECORDS:
        return read_records(option, text, old, ret_why);
    case OPTION_TEXT:
    case OPTION_JSON:
        return read_document(option, text, ret_why);
    case OPTION_STRING:
        break;
    }
    return json_object_new_string(text);
}
