/* A request's parameters against its method's row. What does not fit is named by its path, as in
 * disks[1].mode, because a person has to find it. */
#include "api/method.h"

#include <stdio.h>
#include <string.h>

#include "proto/json.h"
#include "proto/limits.h"
#include "proto/snapvm-errors.h"

#define PATH_SIZE 128

static const char *const type_names[] = {
    [PARAM_STRING] = "a string",
    [PARAM_INTEGER] = "an integer from 0 up",
    [PARAM_BOOLEAN] = "true or false",
    [PARAM_OBJECT] = "an object",
    [PARAM_STRINGS] = "an array of strings",
    [PARAM_OBJECTS] = "an array of objects",
    [PARAM_INTEGERS] = "an array of integers from 0 up",
};

static int check_members(const struct param *members, json_object *object, const char *path,
                         struct error *err);

static int refuse(struct error *err, const char *path, const char *why, const char *what)
{
    error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "%s %s%s", path, why, what);
    return error_text(err, "param", path);
}

static bool is_word(const char *words, const char *text)
{
    size_t size = strlen(text);
    const char *p = words;

    if (strchr(text, '|'))
        return false;
    for (;;) {
        if (strncmp(p, text, size) == 0 && (p[size] == '|' || p[size] == '\0'))
            return true;
        p = strchr(p, '|');
        if (!p)
            return false;
        p++;
    }
}

/* A NUL would end the text for us where it goes on for the one who sent it. */
static bool has_nul(json_object *value)
{
    return strlen(json_object_get_string(value)) != (size_t)json_object_get_string_len(value);
}

/* What is beyond 63 bits is read as unsigned. */
static bool is_integer(json_object *value)
{
    return json_object_is_type(value, json_type_int) && json_object_get_int64(value) >= 0 &&
           json_object_get_uint64(value) <= INT64_MAX;
}

static int check_string(const struct param *param, json_object *value, const char *path,
                        struct error *err)
{
    if (!json_object_is_type(value, json_type_string))
        return refuse(err, path, "must be ", type_names[PARAM_STRING]);
    if (has_nul(value))
        return refuse(err, path, "must not contain NUL", "");
    if (param->words && !is_word(param->words, json_object_get_string(value)))
        return refuse(err, path, "must be one of ", param->words);
    return 0;
}

/* A value that is no array. */
static int check_one(const struct param *param, json_object *value, const char *path,
                     struct error *err)
{
    switch (param->type) {
    case PARAM_STRING:
    case PARAM_STRINGS:
        return check_string(param, value, path, err);
    case PARAM_INTEGER:
    case PARAM_INTEGERS:
        return is_integer(value) ? 0 : refuse(err, path, "must be ", type_names[PARAM_INTEGER]);
    case PARAM_BOOLEAN:
        return json_object_is_type(value, json_type_boolean)
                   ? 0
                   : refuse(err, path, "must be ", type_names[PARAM_BOOLEAN]);
    case PARAM_OBJECT:
    case PARAM_OBJECTS:
        break;
    }
    if (!json_object_is_type(value, json_type_object))
        return refuse(err, path, "must be ", type_names[PARAM_OBJECT]);
    return param->members ? check_members(param->members, value, path, err) : 0;
}

static int check_value(const struct param *param, json_object *value, const char *path,
                       struct error *err)
{
    char element[PATH_SIZE];

    if (param->type != PARAM_STRINGS && param->type != PARAM_OBJECTS &&
        param->type != PARAM_INTEGERS)
        return check_one(param, value, path, err);
    if (!json_object_is_type(value, json_type_array))
        return refuse(err, path, "must be ", type_names[param->type]);
    for (size_t i = 0; i < json_object_array_length(value); i++) {
        snprintf(element, sizeof(element), "%s[%zu]", path, i);
        if (check_one(param, json_object_array_get_idx(value, i), element, err) < 0)
            return -1;
    }
    return 0;
}

static const struct param *member_find(const struct param *members, const char *name)
{
    for (; members->name; members++)
        if (strcmp(members->name, name) == 0)
            return members;
    return NULL;
}

static int check_members(const struct param *members, json_object *object, const char *path,
                         struct error *err)
{
    char member[PATH_SIZE];

    json_object_object_foreach (object, name, value) {
        const struct param *param = member_find(members, name);

        snprintf(member, sizeof(member), "%s.%s", path, name);
        if (!param)
            return refuse(err, member, "is not known here", "");
        if (check_value(param, value, member, err) < 0)
            return -1;
    }
    for (; members->name; members++) {
        snprintf(member, sizeof(member), "%s.%s", path, members->name);
        if (members->required && !json_object_object_get_ex(object, members->name, NULL))
            return refuse(err, member, "is missing", "");
    }
    return 0;
}

/* How many of the names of an alternative ("domain+disk", up to '|') are given, and of how many. */
static unsigned count_given(const char *names, json_object *params, unsigned *ret_of)
{
    unsigned given = 0, of = 0;
    char name[PATH_SIZE];
    size_t size;

    for (const char *p = names;; p += size + 1) {
        size = strcspn(p, "+|");
        snprintf(name, sizeof(name), "%.*s", (int)size, p);
        of++;
        if (json_object_object_get_ex(params, name, NULL))
            given++;
        if (p[size] != '+')
            break;
    }
    *ret_of = of;
    return given;
}

static int check_either(const char *either, json_object *params, struct error *err)
{
    unsigned whole = 0, touched = 0, given, of;
    char first[PATH_SIZE];

    for (const char *p = either; p; p = strchr(p, '|')) {
        p += *p == '|';
        given = count_given(p, params, &of);
        touched += given > 0;
        whole += given == of;
    }
    if (whole == 1 && touched == 1)
        return 0;
    snprintf(first, sizeof(first), "%.*s", (int)strcspn(either, "+|"), either);
    error_set(err, SNAPVM_ERROR_INVALID_PARAMS,
              "exactly one of these has to be given, and whole: %s", either);
    return error_text(err, "param", first);
}

static int check_request_id(json_object *params, struct error *err)
{
    const char *id = json_string(params, "request_id");
    size_t characters = 0;

    if (!id)
        return 0;
    /* Each character of UTF-8 has one byte that continues nothing. */
    for (const char *p = id; *p; p++)
        characters += (*p & 0xc0) != 0x80;
    if (characters > 0 && characters <= LIMIT_REQUEST_ID)
        return 0;
    return refuse(err, "request_id", "must have 1 to 128 characters", "");
}

int method_check(const struct method *method, json_object *params, struct error *err)
{
    const struct param *param;
    char path[PATH_SIZE];

    json_object_object_foreach (params, name, value) {
        param = method_param(method, name);
        snprintf(path, sizeof(path), "%s", name);
        if (!param)
            return refuse(err, path, "is no parameter of ", method->name);
        if (check_value(param, value, path, err) < 0)
            return -1;
    }
    for (size_t i = 0; (param = method_param_at(method, i)); i++)
        if (param->required && !json_object_object_get_ex(params, param->name, NULL))
            return refuse(err, param->name, "is missing", "");
    if (method->either && check_either(method->either, params, err) < 0)
        return -1;
    return check_request_id(params, err);
}
