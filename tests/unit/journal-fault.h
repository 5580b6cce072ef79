/* A disk that fails when told to: a VFS of SQLite, made the default one, that passes everything on
 * except what is written and synced to a write-ahead log. One a process. */
#ifndef SNAPVM_TESTS_UNIT_JOURNAL_FAULT_H
#define SNAPVM_TESTS_UNIT_JOURNAL_FAULT_H

#include <stdbool.h>
#include <stdint.h>

/* Once more is no harm. */
void fault_install(void);

/* A log has room for so many bytes, and what is written behind them fails; -1: no such bound. */
void fault_set_room(int64_t bytes);

/* No room at all, until told otherwise. */
void fault_set_full(bool full);

/* Every write to a log fails with an I/O error. */
void fault_set_broken(bool broken);

/* Every sync of a log fails, after all was written. */
void fault_set_unsynced(bool unsynced);

/* Syncs of a log, counted from the installation; failed ones too. */
unsigned fault_syncs(void);

/* Waits until so many syncs of a log were asked for. */
void fault_wait_syncs(unsigned syncs);

/* While it is held, a sync of a log waits. */
void fault_hold(bool hold);

#endif
