#include "client/snapvmctl-bar.h"

#include <string.h>
#include <sys/ioctl.h>

#include "base/memory.h"
#include "client/snapvmctl-text.h"

#define COLUMNS_UNKNOWN 80
#define CELLS_MAX 40
#define CELLS_MIN 5
#define SMOOTH 0.3       /* the weight of the newest sample in the rate */
#define SAMPLE_US 500000 /* two samples that lie closer tell no rate */

void bar_init(struct bar *bar, FILE *out)
{
    *bar = (struct bar){.out = out};
}

/* "0:31", "1:02:03"; owned by the caller. */
static char *clock_text(double seconds)
{
    long long s = (long long)(seconds + 0.5);

    if (s >= 3600)
        return xasprintf("%lld:%02lld:%02lld", s / 3600, s % 3600 / 60, s % 60);
    return xasprintf("%lld:%02lld", s / 60, s % 60);
}

static char *rate_text(int64_t left, double rate)
{
    _cleanup_free_ char *speed = NULL;
    _cleanup_free_ char *time = NULL;

    if (rate < 1)
        return xstrdup("");
    speed = text_bandwidth((int64_t)rate);
    if ((double)left / rate > 100 * 3600.0)
        return xasprintf("  %s", speed);
    time = clock_text((double)left / rate);
    return xasprintf("  %s  %s left", speed, time);
}

char *bar_line(const char *label, int64_t current, int64_t total, double rate, size_t columns)
{
    double part = total > 0 ? (double)current / (double)total : 0;
    _cleanup_free_ char *clean = text_clean(label, "");
    _cleanup_free_ char *speed = NULL;
    char cells[CELLS_MAX + 1];
    size_t used, n = CELLS_MAX, done;

    part = part < 0 ? 0 : part > 1 ? 1 : part;
    speed = rate_text(total - current, part < 1 ? rate : 0);
    used = strlen(clean) + strlen(speed) + sizeof(" []  100 %");
    if (used + n > columns)
        n = used + CELLS_MIN < columns ? columns - used : CELLS_MIN;
    done = (size_t)(part * (double)n);
    memset(cells, '.', n);
    memset(cells, '#', done);
    cells[n] = '\0';
    /* 100 % is not shown before it is reached. */
    return xasprintf("%s [%s]  %3d %%%s", clean, cells, (int)(part * 100), speed);
}

static size_t bar_columns(const struct bar *bar)
{
    struct winsize size;

    if (ioctl(fileno(bar->out), TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
        return COLUMNS_UNKNOWN;
    return size.ws_col;
}

/* The first sample tells no rate: how long its bytes took is not known. */
static void bar_sample(struct bar *bar, int64_t current, int64_t now_us)
{
    double rate;

    if (bar->last_us && now_us - bar->last_us < SAMPLE_US)
        return;
    if (bar->last_us) {
        rate = (double)(current - bar->last_bytes) * 1e6 / (double)(now_us - bar->last_us);
        rate = rate < 0 ? 0 : rate;
        bar->rate = bar->rate > 0 ? bar->rate * (1 - SMOOTH) + rate * SMOOTH : rate;
    }
    bar->last_us = now_us;
    bar->last_bytes = current;
}

void bar_draw(struct bar *bar, const char *label, int64_t current, int64_t total, int64_t now_us)
{
    _cleanup_free_ char *line = NULL;
    size_t columns, size, rest;

    if (!bar->out)
        return;
    bar_sample(bar, current, now_us);
    columns = bar_columns(bar);
    line = bar_line(label, current, total, bar->rate, columns);
    /* A line that wraps could not be drawn over again. */
    if (strlen(line) >= columns)
        line[columns - 1] = '\0';
    size = strlen(line);
    rest = bar->shown > size ? bar->shown - size : 0;
    fprintf(bar->out, "\r%s%*s", line, (int)rest, "");
    fflush(bar->out);
    bar->shown = size;
}

void bar_wipe(struct bar *bar)
{
    if (!bar->out || !bar->shown)
        return;
    fprintf(bar->out, "\r%*s\r", (int)bar->shown, "");
    fflush(bar->out);
    bar->shown = 0;
}
