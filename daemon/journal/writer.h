/* The one thread that writes the journal. Transactions wait in a queue; the thread takes all of
 * them, commits them together with one sync, and hands them back to the loop in that order. Each
 * has a savepoint of its own, so that one that cannot be stored fails alone. */
#ifndef SNAPVM_JOURNAL_WRITER_H
#define SNAPVM_JOURNAL_WRITER_H

#include "base/cleanup.h"
#include "base/error.h"

struct event_base;
struct journal_txn;
struct sqlite3;
struct writer;

/* Called on the loop for each transaction, which it takes over: durable, or with its error set. */
typedef void (*writer_fn)(void *arg, struct journal_txn *txn);

/* Starts the thread, which uses the connection alone from now on. The connection stays the
 * caller's to close, after writer_free. */
struct writer *writer_new(struct event_base *base, struct sqlite3 *db, writer_fn fn, void *arg,
                          struct error *err);

/* Waits until everything that was added is committed, and ends the thread. What was not handed back
 * yet is dropped. Not to be called from within the callback. */
struct writer *writer_free(struct writer *writer);

/* Queues a transaction and takes it over. */
void writer_add(struct writer *writer, struct journal_txn *txn);

DEFINE_CLEANUP(struct writer, writer_free)

#endif
