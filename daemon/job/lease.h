/* A client's freeze, for a time: the lease. Its thaw is a debt from before the freeze on, so that
 * it comes when the client says so, or at the lease's end, whatever becomes of client and daemon:
 *
 *   ask        the agent's status: a guest that somebody else holds frozen is left alone
 *   "freeze"   the debt is recorded, without a count: due at once after a crash, for nobody was
 * told freeze     and the status, in one write "lease"    count, deadline, event and answer in one
 * record: from now on it is due at its end
 *
 * A freeze that is refused, unanswered or cannot be recorded is followed by a thaw before the
 * client is told. */
#ifndef SNAPVM_JOB_LEASE_H
#define SNAPVM_JOB_LEASE_H

#include <stdint.h>

#include "base/error.h"

struct domain;
struct engine;
struct journal_txn;
struct lease;

/* `note` adds to the record of a lease that was granted; `done` tells that it is durable (count:
 * the file systems that are frozen), or why there is none; the guest is thawed then, or the thaw is
 * owed. */
typedef void (*lease_note_fn)(void *arg, int64_t count, struct journal_txn *txn);
typedef void (*lease_done_fn)(void *arg, int64_t count, const struct error *err);

/* Begins to freeze for a client: all file systems, or those mount points (copied). The lease counts
 * from the end of the freeze. Errors at once: Busy (a job that stops or freezes the guest by
 * itself), InvalidState (a thaw is owed, another freeze is on its way), QuiesceFailed
 * already-frozen (another lease). `done` may come before it returns. */
int lease_begin(struct engine *engine, struct domain *domain, const char *const *mountpoints,
                unsigned n_mountpoints, int64_t lease_ms, lease_note_fn note, lease_done_fn done,
                void *arg, struct error *err);

/* Drops one that is on its way, silently: the domain, or the daemon, ends. */
void lease_forget(struct domain *domain);

#endif
