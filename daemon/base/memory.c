#include "base/memory.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *p)
{
    if (!p)
        abort();
    return p;
}

void *xzalloc(size_t size)
{
    return checked(calloc(1, size ? size : 1));
}

void *xrealloc(void *old, size_t n, size_t size)
{
    if (size && n > SIZE_MAX / size)
        abort();
    return checked(realloc(old, n && size ? n * size : 1));
}

char *xstrdup(const char *text)
{
    return text ? checked(strdup(text)) : NULL;
}

char *xstrndup(const char *text, size_t n)
{
    return checked(strndup(text, n));
}

void *xmemdup(const void *data, size_t size)
{
    void *copy = xzalloc(size);

    if (size)
        memcpy(copy, data, size);
    return copy;
}

char *xvasprintf(const char *format, va_list args)
{
    char *text = NULL;

    if (vasprintf(&text, format, args) < 0)
        abort();
    return text;
}

char *xasprintf(const char *format, ...)
{
    va_list args;
    char *text;

    va_start(args, format);
    text = xvasprintf(format, args);
    va_end(args);
    return text;
}

void xstrset(char **text, const char *value)
{
    char *copy = xstrdup(value);

    free(*text);
    *text = copy;
}
