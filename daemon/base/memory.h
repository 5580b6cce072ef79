/* Allocation that cannot fail. Running out of memory ends the process: every state that matters is
 * in the journal, so a crash is the one way out that is always tested. */
#ifndef SNAPVM_BASE_MEMORY_H
#define SNAPVM_BASE_MEMORY_H

#include <stdarg.h>
#include <stddef.h>

#include "base/cleanup.h"

/* Zeroed memory for one object, owned by the caller. */
void *xzalloc(size_t size);

/* Room for n objects of the given size; what is new in it is not zeroed. Aborts on overflow. */
void *xrealloc(void *old, size_t n, size_t size);

/* Copies, owned by the caller; xstrdup(NULL) is NULL. */
char *xstrdup(const char *text);
char *xstrndup(const char *text, size_t n);
void *xmemdup(const void *data, size_t size);

/* Formatted text, owned by the caller. */
char *xasprintf(const char *format, ...) _printf_(1, 2);
char *xvasprintf(const char *format, va_list args) _printf_(1, 0);

/* Replaces *text by a copy of value (NULL is allowed). */
void xstrset(char **text, const char *value);

#endif
