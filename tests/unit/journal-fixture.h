/* A journal in a folder of its own, with its loop and its worker, and what its sink was given. */
#ifndef SNAPVM_TESTS_UNIT_JOURNAL_FIXTURE_H
#define SNAPVM_TESTS_UNIT_JOURNAL_FIXTURE_H

#include <stdint.h>

#include "journal/journal.h"

struct event_base;
struct worker;

#define FIXTURE_EVENTS 4096

struct fixture {
    char *dir;
    struct event_base *base;
    struct worker *worker;
    struct journal *journal;
    struct journal_options options;
    int64_t seqs[FIXTURE_EVENTS]; /* of the events that the sink was given */
    unsigned n_seqs;
    unsigned dones; /* completions of fixture_send */
};

/* What became of one transaction. */
struct fixture_result {
    struct fixture *fixture;
    bool told;
    unsigned order; /* 1 for the first completion of the fixture */
    unsigned seqs;  /* events that the sink had been given by then */
    struct error error;
};

void fixture_init(struct fixture *f);

/* The same in a folder of the caller's, which the fixture owns from here. A test that forks does so
 * before: a process with threads that forks may leave the child a lock that nobody gives back. */
void fixture_init_in(struct fixture *f, char *dir);
void fixture_deinit(struct fixture *f);

/* Opens and closes the journal in the folder; opening fails the test if it does not work. */
void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);

/* Tries to open it: the code of the error, 0 and closed again if it works. The sentence goes to
 * ret_message, owned by the caller. */
int fixture_try(struct fixture *f, char **ret_message);

/* Commits; the result is filled by the loop. */
void fixture_send(struct fixture *f, struct journal_txn *txn, struct fixture_result *result);

/* Runs the loop until the result was told; returns its error code and clears it. */
int fixture_wait(struct fixture_result *result);

/* Both. */
int fixture_commit(struct fixture *f, struct journal_txn *txn);

/* A path in the folder; owned by the caller. */
char *fixture_path(const struct fixture *f, const char *name);

/* A job of domain "web" that has just begun, as a record to be deinitialised. */
struct record_job fixture_job(int64_t id);

/* Loads, and returns how many active jobs there are with this id: 0 or 1. */
unsigned fixture_has_job(struct fixture *f, int64_t id);

#endif
