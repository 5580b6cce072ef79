/* A transaction of the journal: what it does, the events that it announces, and whom to tell. Built
 * on the loop, run on the writer's thread, delivered on the loop; it has one owner at a time. */
#ifndef SNAPVM_JOURNAL_TXN_H
#define SNAPVM_JOURNAL_TXN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/error.h"
#include "journal/journal.h"
#include "journal/script.h"

/* What journal_prune leaves. */
struct txn_keep {
    int64_t jobs_days, events, request_ids_hours;
};

struct txn_event {
    int64_t seq; /* given by the writer */
    int64_t time;
    size_t kind, domain, body; /* places in the script */
};

struct journal_txn {
    STAILQ_ENTRY(journal_txn) link; /* writer::waiting, writer::finished, or a batch */
    struct journal *journal;
    const struct txn_keep *keep;
    struct script script;
    struct txn_event *events;
    unsigned n_events;
    bool prunes;
    int64_t first_seq; /* after a prune: the oldest event that is left, 0 for none */
    const char *name;  /* a literal, for the crash points */
    journal_done_fn done;
    void *arg;
    struct error error; /* code 0: it is durable */
};

STAILQ_HEAD(txn_list, journal_txn);

/* Runs it in the transaction that is open. Returns SQLite's code. */
int txn_run(struct journal_txn *txn, struct statement_set *set);

/* An event as its readers see it; the texts belong to the transaction. */
struct journal_event txn_event(const struct journal_txn *txn, unsigned i);

#endif
