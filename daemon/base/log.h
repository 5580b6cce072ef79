/* Log lines to stderr: with the journal's level prefix when systemd's journal reads it, with time
 * and level otherwise. The threshold is kept by libc (setlogmask), so there is no state here.
 * Control characters in what a peer sent are shown as '?': a guest cannot paint our log. */
#ifndef SNAPVM_BASE_LOG_H
#define SNAPVM_BASE_LOG_H

#include <stdbool.h>
#include <syslog.h>

#include "base/cleanup.h"

/* The highest level that is written: LOG_ERR, LOG_WARNING, LOG_INFO or LOG_DEBUG. */
void log_set_level(int level);

/* The level of a word of the configuration (error, warning, info, debug), -1 for another one. */
int log_level_from_name(const char *name);

bool log_enabled(int level);

/* One line; what is longer than 1 KiB is cut. */
void log_line(int level, const char *format, ...) _printf_(2, 3);

#define log_error(...) log_line(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

#endif
