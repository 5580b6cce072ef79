#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define US INT64_C(1000000)

static int64_t clock_read(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * US + t.tv_nsec / 1000;
}

int64_t clock_now(void)
{
    return clock_read(CLOCK_REALTIME);
}

int64_t clock_monotonic(void)
{
    return clock_read(CLOCK_MONOTONIC);
}

static struct tm clock_fields(int64_t when)
{
    time_t seconds = (time_t)(when / US);
    struct tm fields;

    gmtime_r(&seconds, &fields);
    return fields;
}

const char *clock_text(int64_t when, char buffer[CLOCK_TEXT])
{
    struct tm fields = clock_fields(when);
    size_t n = strftime(buffer, CLOCK_TEXT, "%Y-%m-%dT%H:%M:%S", &fields);

    snprintf(buffer + n, CLOCK_TEXT - n, ".%06dZ", (int)(when % US));
    return buffer;
}

int64_t clock_parse(const char *text)
{
    struct tm fields = {0};
    const char *p = strptime(text, "%Y-%m-%dT%H:%M:%S", &fields);
    int64_t fraction = 0, digit = US / 10;

    if (!p || strspn(text, "0123456789") != 4)
        return -1;
    if (*p == '.')
        for (p++; *p >= '0' && *p <= '9'; p++, digit /= 10)
            fraction += digit * (*p - '0');
    if (strcmp(p, "Z") != 0)
        return -1;
    return (int64_t)timegm(&fields) * US + fraction;
}

const char *clock_name(int64_t when, char buffer[CLOCK_TEXT])
{
    struct tm fields = clock_fields(when);

    if (strftime(buffer, CLOCK_TEXT, "%Y%m%dT%H%M%SZ", &fields) == 0)
        buffer[0] = '\0';
    return buffer;
}

struct timeval clock_timeval_ms(int64_t milliseconds)
{
    return (struct timeval){.tv_sec = milliseconds / 1000, .tv_usec = (milliseconds % 1000) * 1000};
}
