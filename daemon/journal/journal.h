/* The journal: SQLite in WAL mode with synchronous=FULL behind one writer thread. Whatever waits is
 * committed together, with one fsync for many domains; each caller's completion comes back to the
 * loop in the order of the commits. Memory holds the model: the database is read at start, and for
 * history.
 *
 * Events are an outbox: rows of the same transaction as the state that they announce. They get
 * their number when they are committed, and reach the sink once they are durable.
 *
 * A journal that cannot be written fails each transaction with a clear error, takes nothing back
 * that was acknowledged, and is tried again by the next one. */
#ifndef SNAPVM_JOURNAL_JOURNAL_H
#define SNAPVM_JOURNAL_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "journal/record.h"

struct crash;
struct event_base;
struct journal;
struct journal_txn;
struct worker;

struct journal_event {
    int64_t seq, time;
    const char *kind, *domain, *body; /* body: JSON text of the event's further members */
};

typedef void (*journal_sink_fn)(void *arg, const struct journal_event *event);

struct journal_options {
    const char *dir;     /* state directory, made if missing (0700) */
    struct crash *crash; /* boundaries "journal.before:NAME" and "journal.done:NAME"; may be NULL */
    struct worker *worker;                        /* where history is read */
    int64_t jobs_days, events, request_ids_hours; /* what is kept: see journal_prune */
    int64_t log_bytes; /* laid out ahead in SQLite's log; 0: it grows as it is written */
};

/* Opens or makes DIR/snapvm.db (0600), migrates an older schema, refuses a newer one, checks it
 * (quick_check), takes the lock that keeps a second daemon out (a locked file beside the database,
 * held until the journal is freed or the process ends), and starts the writer.
 * Errors: Busy (another daemon holds this state), NoSpace, InternalError. */
struct journal *journal_open(struct event_base *base, const struct journal_options *options,
                             struct error *err);

/* Commits what waits, ends the writer. Completions and answers of history that are not delivered
 * yet are dropped; the worker may live longer. Not from within one of these callbacks. */
struct journal *journal_free(struct journal *journal);

void journal_set_sink(struct journal *journal, journal_sink_fn sink, void *arg);

/* A random id made with the database, for daemon.info: tells one history from another. */
const char *journal_instance(const struct journal *journal);

/* The number of the newest durable event that the sink was given, 0 without one, and of the oldest
 * that is kept: when none is, the number that the next one will have. */
int64_t journal_last_seq(const struct journal *journal);
int64_t journal_first_seq(const struct journal *journal);

/* The next number for a job: never given twice, also when the newest job was forgotten. */
int64_t journal_next_job(struct journal *journal);

/* --- at start --- */

struct journal_model {
    struct record_domain *domains;
    struct record_job *jobs;           /* those that have not ended, by id */
    struct record_snapshot *snapshots; /* by domain, then creation */
    struct record_debt *debts;
    struct record_request *requests;
    unsigned n_domains, n_jobs, n_snapshots, n_debts, n_requests;
    int64_t jobs_total; /* all that are kept, ended ones too */
};

/* Reads everything that memory holds. Blocks; called before the loop runs. */
int journal_load(struct journal *journal, struct journal_model *ret_model, struct error *err);
void journal_model_deinit(struct journal_model *model);

/* --- writing --- */

/* A transaction is built on the loop, copying all that it is given, and then committed or freed. */
struct journal_txn *journal_begin(struct journal *journal);
struct journal_txn *journal_txn_free(struct journal_txn *txn);

/* What it was defined by; the domain is there, or put before. */
void journal_put_domain_document(struct journal_txn *txn, const char *domain, const char *xml);

void journal_put_domain(struct journal_txn *txn, const struct record_domain *domain);
/* With its disks, its snapshots and its freeze debt; its jobs stay, as history. Snapshots and debts
 * can only be put for a domain that was put before. */
void journal_drop_domain(struct journal_txn *txn, const char *name);
void journal_put_job(struct journal_txn *txn, const struct record_job *job); /* with its images */
void journal_drop_job(struct journal_txn *txn, int64_t id);
void journal_put_snapshot(struct journal_txn *txn, const struct record_snapshot *snapshot);
/* With its description; its children keep its name as their parent's. */
void journal_drop_snapshot(struct journal_txn *txn, const char *domain, const char *name);
/* Gives all children of `name` another parent, or NULL. */
void journal_move_children(struct journal_txn *txn, const char *domain, const char *name,
                           const char *parent);
/* The description in XML of a snapshot that was put before. */
void journal_put_document(struct journal_txn *txn, const char *domain, const char *snapshot,
                          const char *xml);
void journal_set_current(struct journal_txn *txn, const char *domain,
                         const char *name); /* or NULL */
void journal_put_debt(struct journal_txn *txn, const struct record_debt *debt);
void journal_drop_debt(struct journal_txn *txn, const char *domain);
void journal_put_request(struct journal_txn *txn, const struct record_request *request);

/* Adds an event to the outbox; body is a JSON object's text or NULL. */
void journal_add_event(struct journal_txn *txn, const char *kind, const char *domain,
                       const char *body);

/* Removes ended jobs, events and requests that are older than the options say. */
void journal_prune(struct journal_txn *txn);

/* Takes the transaction over. `done` (may be NULL) comes from the loop, once, in the order of the
 * commits: err NULL means durable; otherwise nothing of it is stored (InternalError or NoSpace).
 * Where the disk leaves open which of the two it is, `done` waits until that is settled, and what
 * is committed meanwhile fails before it.
 * `name` is a literal for the crash points. */
typedef void (*journal_done_fn)(void *arg, const struct error *err);
void journal_commit(struct journal_txn *txn, const char *name, journal_done_fn done, void *arg);

/* --- history (read on the worker, answered on the loop) --- */

/* Jobs that ended, oldest first: of a domain (NULL: all), with id > after, at most limit. The
 * records belong to the call. */
typedef void (*journal_jobs_fn)(void *arg, const struct record_job *jobs, unsigned n,
                                const struct error *err);
void journal_query_jobs(struct journal *journal, const char *domain, int64_t after, unsigned limit,
                        journal_jobs_fn fn, void *arg);

/* One job by id, ended or not: n is 0 or 1. */
void journal_query_job(struct journal *journal, int64_t id, journal_jobs_fn fn, void *arg);

/* The files that ended jobs of a domain touched, the latest first, at most limit: for each the
 * newest such job, of which only the id and that one image are filled. */
void journal_query_touched(struct journal *journal, const char *domain, unsigned limit,
                           journal_jobs_fn fn, void *arg);

/* Events with seq > since and up to last, at most limit, in order. */
typedef void (*journal_events_fn)(void *arg, const struct journal_event *events, unsigned n,
                                  const struct error *err);
void journal_query_events(struct journal *journal, int64_t since, int64_t last, unsigned limit,
                          journal_events_fn fn, void *arg);

struct journal_document {
    char *snapshot, *xml;
};

/* The descriptions of a domain's snapshots by their names, or that of one (n is 0 or 1). They
 * belong to the call. */
typedef void (*journal_documents_fn)(void *arg, const struct journal_document *documents,
                                     unsigned n, const struct error *err);
void journal_query_documents(struct journal *journal, const char *domain, const char *snapshot,
                             journal_documents_fn fn, void *arg);

DEFINE_CLEANUP(struct journal, journal_free)
DEFINE_CLEANUP(struct journal_txn, journal_txn_free)

#endif
