/* Scope guards: an owner is released when its variable leaves the scope, unless TAKE_PTR or
 * TAKE_FD handed it over. Guards are given by a function that takes a pointer to the variable. */
#ifndef SNAPVM_BASE_CLEANUP_H
#define SNAPVM_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_ __attribute__((unused))

/* The value of a pointer variable, which is NULL afterwards: for handing ownership over. */
#define TAKE_PTR(p)                 \
    ({                              \
        __typeof__(p) _taken = (p); \
        (p) = NULL;                 \
        _taken;                     \
    })

/* The same for a file descriptor, which is -1 afterwards. */
#define TAKE_FD(fd)        \
    ({                     \
        int _taken = (fd); \
        (fd) = -1;         \
        _taken;            \
    })

/* Defines the guard FUNC##p for a TYPE whose FUNC(TYPE *) accepts NULL. */
#define DEFINE_CLEANUP(type, func)                \
    static inline _unused_ void func##p(type **p) \
    {                                             \
        if (*p)                                   \
            func(*p);                             \
    }

static inline _unused_ void cleanup_free(void *p)
{
    free(*(void **)p);
}

static inline _unused_ void cleanup_close(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#define _cleanup_free_ _cleanup_(cleanup_free)
#define _cleanup_close_ _cleanup_(cleanup_close)

#endif
