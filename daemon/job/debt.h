/* Freeze debts: a freeze is written down before it is made and struck out when the thaw is
 * confirmed, or when that QEMU has ended. While a debt stands, thaw is due: now, at every reconnect
 * of the agent, whenever the guest goes on or its agent's port opens, and by a timer.
 *
 * The debt of a job is due when its snapshot is taken. That of a client's lease is due at its
 * deadline, by the clock of the daemon that runs then, or when the client says so; until its freeze
 * is confirmed it is due like any other.
 *
 * Neither the agent's status nor an error settles a debt alone: a restarted agent says "thawed"
 * over frozen file systems, and a thaw can fail and have thawed. So thaw is always sent, its count
 * is read, and then the status. Thaw needs no journal. */
#ifndef SNAPVM_JOB_DEBT_H
#define SNAPVM_JOB_DEBT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct agent_reply;
struct domain;
struct engine;
struct journal_txn;
struct record_debt;

/* Writes a debt down: in memory, and into the transaction. The domain owes nothing yet; job 0 is a
 * lease. */
void debt_incur(struct domain *domain, int64_t job, int64_t deadline, struct journal_txn *txn);

/* The same to the next QEMU of a domain that is shut off: it may be started from a memory that was
 * saved frozen. In place of a debt to one that has ended. */
void debt_incur_next(struct domain *domain, int64_t job, struct journal_txn *txn);

/* The freeze of a lease is confirmed: it holds so many file systems, for that long from now. */
void debt_grant(struct engine *engine, struct domain *domain, int64_t count, int64_t lease_ms,
                struct journal_txn *txn);

/* Whether a lease holds the guest: granted, and its thaw not due. */
bool debt_is_lease(const struct domain *domain);

/* Takes over a debt that the journal held at start. A lease goes on to its deadline. */
void debt_load(struct engine *engine, struct domain *domain, struct record_debt *debt);

/* Strikes it out: in memory at once, and in the transaction. */
void debt_strike(struct domain *domain, struct journal_txn *txn);

/* Tells how the freeze ended: an agent that said no owes nothing more than a status. */
void debt_refused(struct domain *domain);

/* Collects: sends thaw until it is confirmed. The callback (may be NULL) tells of the first answer:
 * confirmed, with the count of file systems, or not confirmed within the agent's time-out; the debt
 * is then collected on. A job that asks with a callback strikes its confirmed debt itself; all
 * others are struck out before the callback, with their event. */
typedef void (*debt_fn)(void *arg, bool confirmed, int64_t count);
void debt_collect(struct engine *engine, struct domain *domain, debt_fn fn, void *arg);

/* What the agent says of itself while the debt's freeze stands. Where it thaws by itself when it
 * hears nothing of us (agent_reply::thaw_in_ms), it is asked for its status from now on until a
 * thaw is due, so often that it does not, also by the next daemon. Where it denies a lease, that
 * shows. */
void debt_feed(struct engine *engine, struct domain *domain, const struct agent_reply *status);

/* A chance: the agent is there, the guest goes on, or its QEMU has ended. */
void debt_chance(struct engine *engine, struct domain *domain);

/* Drops the runtime side, before the domain is freed. */
void debt_forget(struct domain *domain);

#endif
