/* One connection to the journal's database, and what SQLite's errors mean to a person. */
#ifndef SNAPVM_JOURNAL_DB_H
#define SNAPVM_JOURNAL_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"

struct sqlite3;

enum db_mode {
    DB_READ,  /* sees what is committed, beside the writer */
    DB_WRITE, /* WAL, synchronous=FULL, foreign keys enforced */
};

/* Makes an empty file of mode 0600 where there is none, durably: SQLite gives its other files the
 * same mode. */
int db_create(const char *path, struct error *err);

/* Opens an existing file for one thread at a time. Errors: InternalError, NoSpace. */
int db_open(const char *path, enum db_mode mode, struct sqlite3 **ret_db, struct error *err);
struct sqlite3 *db_close(struct sqlite3 *db);

/* Fills the log up to this size with zeros, which end what is read from it: a commit that writes
 * where the file has its blocks already has less to sync. Where there is no room the log grows as
 * it is written. */
void db_lay_out_log(struct sqlite3 *db, int64_t bytes);

/* Looks through the whole file for damage (InternalError that says what to do about it). */
int db_check(struct sqlite3 *db, struct error *err);

/* Runs constant SQL, one or more statements. */
int db_exec(struct sqlite3 *db, const char *sql, struct error *err);

/* The first column of the first row of constant SQL; 0 or NULL when there is no row. */
int db_get_int(struct sqlite3 *db, const char *sql, int64_t *ret_value, struct error *err);
int db_get_text(struct sqlite3 *db, const char *sql, char **ret_value, struct error *err);

/* Fills the error from the connection's last failure: NoSpace for a full disk, InternalError
 * otherwise. Returns -1. */
int db_error(struct sqlite3 *db, struct error *err);

/* Whether the code blames what was to be stored, and not the database or its disk. */
bool db_blames_record(int code);

/* Whether a COMMIT that failed with this code may have left a whole transaction in the log, where
 * a crash would bring it back. */
bool db_leaves_doubt(int code);

DEFINE_CLEANUP(struct sqlite3, db_close)

#endif
