/* The state directory and the lock that gives it to one daemon: a locked file snapvm.lock, in which
 * the holder's pid stands for whoever comes second. */
#ifndef SNAPVM_JOURNAL_LOCK_H
#define SNAPVM_JOURNAL_LOCK_H

#include "base/error.h"

/* Makes the directory if it is missing (0700) and takes the lock; the lock is held until the
 * descriptor is closed. Errors: Busy (another daemon holds it), NoSpace, InternalError. */
int lock_take(const char *dir, int *ret_fd, struct error *err);

#endif
