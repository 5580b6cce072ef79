/* Two clocks, both in microseconds: the calendar (what is stored and shown) and the monotonic one
 * (what intervals are measured with). */
#ifndef SNAPVM_BASE_CLOCK_H
#define SNAPVM_BASE_CLOCK_H

#include <stdint.h>
#include <sys/time.h>

#define CLOCK_TEXT 40 /* room for a time as text */

/* Microseconds since 1970 in UTC. */
int64_t clock_now(void);

/* Microseconds of the monotonic clock. */
int64_t clock_monotonic(void);

/* RFC 3339 in UTC with microseconds, into the buffer, which is returned. */
const char *clock_text(int64_t when, char buffer[CLOCK_TEXT]);

/* Such a time (with a fraction of any length or none) as microseconds since 1970; -1 for another
 * text. */
int64_t clock_parse(const char *text);

/* The form used for names: 20261121T013000Z. */
const char *clock_name(int64_t when, char buffer[CLOCK_TEXT]);

struct timeval clock_timeval_ms(int64_t milliseconds);

#endif
