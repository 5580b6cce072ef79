#include "base/error.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"

static int error_fill(struct error *err, int code, char *message)
{
    if (!err) {
        free(message);
        return -1;
    }
    error_clear(err);
    err->code = code;
    err->message = message;
    return -1;
}

int error_set(struct error *err, int code, const char *format, ...)
{
    va_list args;
    char *message;

    va_start(args, format);
    message = xvasprintf(format, args);
    va_end(args);
    return error_fill(err, code, message);
}

int error_set_errno(struct error *err, int code, int errnum, const char *format, ...)
{
    _cleanup_free_ char *what = NULL;
    char buffer[128];
    va_list args;

    va_start(args, format);
    what = xvasprintf(format, args);
    va_end(args);
    return error_fill(err, code,
                      xasprintf("%s: %s", what, strerror_r(errnum, buffer, sizeof(buffer))));
}

static struct error_field *error_add(struct error *err, const char *key)
{
    if (!err || err->n_fields == ERROR_FIELDS)
        return NULL;
    err->field[err->n_fields] = (struct error_field){.key = key};
    return &err->field[err->n_fields++];
}

int error_text(struct error *err, const char *key, const char *value)
{
    struct error_field *field = error_add(err, key);

    if (field)
        field->text = xstrdup(value ? value : "");
    return -1;
}

int error_number(struct error *err, const char *key, int64_t value)
{
    struct error_field *field = error_add(err, key);

    if (field)
        field->number = value;
    return -1;
}

const char *error_get(const struct error *err, const char *key)
{
    for (unsigned i = 0; i < err->n_fields; i++)
        if (strcmp(err->field[i].key, key) == 0)
            return err->field[i].text;
    return NULL;
}

void error_clear(struct error *err)
{
    free(err->message);
    for (unsigned i = 0; i < err->n_fields; i++)
        free(err->field[i].text);
    memset(err, 0, sizeof(*err));
}

void error_move(struct error *dst, struct error *src)
{
    if (dst) {
        error_clear(dst);
        *dst = *src;
        memset(src, 0, sizeof(*src));
    } else {
        error_clear(src);
    }
}

void error_copy(struct error *dst, const struct error *src)
{
    struct error copy = *src;

    copy.message = xstrdup(src->message);
    for (unsigned i = 0; i < copy.n_fields; i++)
        copy.field[i].text = xstrdup(src->field[i].text);
    error_clear(dst);
    *dst = copy;
}
