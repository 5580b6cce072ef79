/* A progress bar on the last line of a terminal: "job 17 [####....]  42 %  80 MiB/s  0:31 left".
 * It needs no more of the terminal than the carriage return. */
#ifndef SNAPVM_CLIENT_SNAPVMCTL_BAR_H
#define SNAPVM_CLIENT_SNAPVMCTL_BAR_H

#include <stdint.h>
#include <stdio.h>

struct bar {
    FILE *out;                   /* NULL: nothing is drawn */
    int64_t last_us, last_bytes; /* the sample before; last_us 0: none yet */
    double rate;                 /* bytes a second, smoothed; 0: not known yet */
    size_t shown;                /* characters on the line */
};

/* A bar on this terminal. */
void bar_init(struct bar *bar, FILE *out);

/* Draws it anew: bytes done of total, at a time of any steady clock. */
void bar_draw(struct bar *bar, const char *label, int64_t current, int64_t total, int64_t now_us);

/* Wipes the line, for what is printed next. */
void bar_wipe(struct bar *bar);

/* The line for so many columns; owned by the caller. rate 0: not known. */
char *bar_line(const char *label, int64_t current, int64_t total, double rate, size_t columns);

#endif
