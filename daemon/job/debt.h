/* Freeze debts: a freeze is written down before it is made and struck out when the thaw is
 * confirmed, or when that QEMU has ended. While a debt stands, thaw is due: now, at every reconnect
 * of the agent, whenever the guest goes on or its agent's port opens, and by a timer.
 *
 * Neither the agent's status nor an error settles a debt alone: a restarted agent says "thawed"
 * over frozen file systems, and a thaw can fail and have thawed. So thaw is always sent, its count
 * is read, and then the status. Thaw needs no journal. */
#ifndef SNAPVM_JOB_DEBT_H
#define SNAPVM_JOB_DEBT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct domain;
struct engine;
struct journal_txn;
struct record_debt;

/* Writes a debt down: in memory, and into the transaction. */
void debt_incur(struct domain *domain, int64_t job, int64_t deadline, struct journal_txn *txn);

/* Takes over a debt that the journal held at start. */
void debt_load(struct domain *domain, struct record_debt *debt);

/* Strikes it out: in memory at once, and in the transaction. */
void debt_strike(struct domain *domain, struct journal_txn *txn);

/* Tells how the freeze ended: an agent that said no owes nothing more than a status. */
void debt_refused(struct domain *domain);

/* Collects: sends thaw until it is confirmed. The callback (may be NULL) tells of the first answer:
 * confirmed, with the count of file systems, or not confirmed within the agent's time-out; the debt
 * is then collected on. The caller strikes a confirmed debt if it asked with a callback. */
typedef void (*debt_fn)(void *arg, bool confirmed, int64_t count);
void debt_collect(struct engine *engine, struct domain *domain, debt_fn fn, void *arg);

/* A chance: the agent is there, the guest goes on, or its QEMU has ended. */
void debt_chance(struct engine *engine, struct domain *domain);

/* Drops the runtime side, before the domain is freed. */
void debt_forget(struct domain *domain);

#endif
