/* Text for a terminal. Names, messages and labels come from guests and images: nothing of them
 * reaches the terminal that could steer it, so that all output goes through this file or through
 * the tables. What is taken out is shown as octal ("\033"). */
#ifndef SNAPVM_CLIENT_SNAPVMCTL_TEXT_H
#define SNAPVM_CLIENT_SNAPVMCTL_TEXT_H

#include <stdint.h>
#include <stdio.h>

#include "base/cleanup.h"

struct json_object;

/* A copy without control characters, bidirectional overrides, bytes that are no UTF-8 and, in a
 * locale of another character set, anything beyond ASCII. Characters of `keep` (ASCII) stay. */
char *text_clean(const char *text, const char *keep);

/* One line, cleaned, with its end. */
void text_line(FILE *out, const char *format, ...) _printf_(2, 3);

/* A text of many lines; its tabs stay too. */
void text_lines(FILE *out, const char *text);

/* A value as JSON on one line; the control characters that JSON allows in strings are escaped,
 * which leaves the value what it is. */
void text_json(FILE *out, struct json_object *value);

/* "1.5 GiB"; exact below 1 KiB. All these are owned by the caller. */
char *text_size(int64_t bytes);

/* "12.5 MiB/s", "unlimited" for 0. */
char *text_bandwidth(int64_t bytes_per_second);

/* "3.2 ms", "1 min 05 s". */
char *text_duration(int64_t us);

/* "2026-11-21 01:30:00Z" of a time of the contract; what is no such time stays as it is. */
char *text_time(const char *rfc3339);

/* An argument in single quotes, which a shell takes as it is; owned by the caller. */
char *text_quoted(const char *text);

#endif
