#include "base/log.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static const struct {
    const char *name;
    int level;
} levels[] = {
    {"error", LOG_ERR},
    {"warning", LOG_WARNING},
    {"info", LOG_INFO},
    {"debug", LOG_DEBUG},
};

#define N_LEVELS (sizeof(levels) / sizeof(levels[0]))

void log_set_level(int level)
{
    setlogmask(LOG_UPTO(level));
}

int log_level_from_name(const char *name)
{
    for (size_t i = 0; i < N_LEVELS; i++)
        if (strcmp(levels[i].name, name) == 0)
            return levels[i].level;
    return -1;
}

bool log_enabled(int level)
{
    return setlogmask(0) & LOG_MASK(level);
}

static const char *level_name(int level)
{
    for (size_t i = 0; i < N_LEVELS; i++)
        if (levels[i].level == level)
            return levels[i].name;
    return "notice";
}

void log_line(int level, const char *format, ...)
{
    char text[1024], line[1200], when[CLOCK_TEXT];
    va_list args;
    int n;

    if (!log_enabled(level))
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    for (char *p = text; *p; p++)
        if (iscntrl((unsigned char)*p))
            *p = '?';
    if (getenv("JOURNAL_STREAM"))
        n = snprintf(line, sizeof(line), "<%d>%s\n", level, text);
    else
        n = snprintf(line, sizeof(line), "%s %s: %s\n", clock_text(clock_now(), when),
                     level_name(level), text);
    /* One write a line, so that lines of several processes never mix. */
    if (write(STDERR_FILENO, line, (size_t)n) < 0)
        return;
}
