#include "journal/writer.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/memory.h"
#include "journal/db.h"
#include "journal/txn.h"
#include "proto/snapvm-errors.h"

/* Pages in the log from which on it is copied back into the database: when nobody waits, or, past
 * the second bound, in any case. SQLite would do it within a commit, on somebody's time. */
#define LOG_PAGES 1000
#define LOG_PAGES_MAX 4000

struct writer {
    /* The thread's. */
    sqlite3 *db;
    struct statement_set statements;
    int log_pages;

    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows up to `wake` */
    pthread_cond_t work;
    struct txn_list waiting, finished;
    bool ending;
    int wake; /* eventfd: something is in `finished` */

    /* The loop's. */
    struct event *event;
    writer_fn fn;
    void *arg;
};

static int writer_committed(void *arg, sqlite3 *db _unused_, const char *name _unused_, int pages)
{
    struct writer *writer = arg;

    writer->log_pages = pages;
    return SQLITE_OK;
}

/* Runs one transaction in its savepoint. A failure that is its own is noted in it and leaves the
 * others; any other code ends the batch. */
static int writer_apply(struct writer *writer, struct journal_txn *txn)
{
    struct statement_set *set = &writer->statements;
    int rc = statement_run(set, STATEMENT_SAVEPOINT);

    if (rc == SQLITE_OK)
        rc = txn_run(txn, set);
    if (rc == SQLITE_OK)
        return statement_run(set, STATEMENT_RELEASE);
    if (!db_blames_record(rc) || sqlite3_get_autocommit(writer->db))
        return rc;
    db_error(writer->db, &txn->error);
    rc = statement_run(set, STATEMENT_ROLLBACK_TO);
    return rc == SQLITE_OK ? statement_run(set, STATEMENT_RELEASE) : rc;
}

static void writer_fail(struct txn_list *batch, const struct error *error)
{
    struct journal_txn *txn;

    STAILQ_FOREACH (txn, batch, link)
        error_copy(&txn->error, error);
}

static void writer_finish(struct writer *writer, struct txn_list *batch)
{
    pthread_mutex_lock(&writer->lock);
    STAILQ_CONCAT(&writer->finished, batch);
    pthread_mutex_unlock(&writer->lock);
    eventfd_write(writer->wake, 1);
}

/* Fails everything that waits, then sleeps until there is more of it, but a second at most. False
 * when it is time to end. */
static bool writer_refuse(struct writer *writer, const struct error *error)
{
    struct txn_list refused = STAILQ_HEAD_INITIALIZER(refused);
    struct timespec until;
    bool ending;

    pthread_mutex_lock(&writer->lock);
    STAILQ_CONCAT(&refused, &writer->waiting);
    pthread_mutex_unlock(&writer->lock);
    writer_fail(&refused, error);
    writer_finish(writer, &refused);

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    pthread_mutex_lock(&writer->lock);
    if (STAILQ_EMPTY(&writer->waiting) && !writer->ending)
        pthread_cond_timedwait(&writer->work, &writer->lock, &until);
    ending = writer->ending;
    pthread_mutex_unlock(&writer->lock);
    return !ending;
}

/* After a sync that failed, the log may hold a whole transaction whose owner is about to hear that
 * it failed, and a crash would bring it back: what was told as undecided would stand as decided. So
 * nothing is said until the log could be emptied; what comes meanwhile fails at once. */
static void writer_settle(struct writer *writer, const struct error *error)
{
    while (sqlite3_wal_checkpoint_v2(writer->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) !=
           SQLITE_OK)
        if (!writer_refuse(writer, error))
            return;
    writer->log_pages = 0;
}

/* A transaction that is alone needs no savepoint: with it falls the whole. */
static int writer_apply_all(struct writer *writer, struct txn_list *batch)
{
    struct journal_txn *txn = STAILQ_FIRST(batch);
    int rc = SQLITE_OK;

    if (!STAILQ_NEXT(txn, link))
        return txn_run(txn, &writer->statements);
    for (; txn && rc == SQLITE_OK; txn = STAILQ_NEXT(txn, link))
        rc = writer_apply(writer, txn);
    return rc;
}

/* One attempt at the whole batch. Returns SQLite's code, and whether a failure leaves doubt. */
static int writer_try(struct writer *writer, struct txn_list *batch, bool *ret_doubt)
{
    struct statement_set *set = &writer->statements;
    int rc = statement_run(set, STATEMENT_BEGIN);

    if (rc == SQLITE_OK)
        rc = writer_apply_all(writer, batch);
    if (rc == SQLITE_OK) {
        rc = statement_run(set, STATEMENT_COMMIT);
        *ret_doubt = rc != SQLITE_OK && db_leaves_doubt(rc);
    }
    return rc;
}

static void writer_rollback(struct writer *writer)
{
    if (!sqlite3_get_autocommit(writer->db))
        statement_run(&writer->statements, STATEMENT_ROLLBACK);
}

static int writer_copy_back(struct writer *writer)
{
    writer->log_pages = 0;
    return sqlite3_wal_checkpoint_v2(writer->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

static void writer_commit(struct writer *writer, struct txn_list *batch)
{
    struct error error = {0};
    bool doubt = false;
    int rc = writer_try(writer, batch, &doubt);

    /* On a full disk there is still the log's own room, once it may be written from its start. */
    if (rc == SQLITE_FULL) {
        writer_rollback(writer);
        writer_copy_back(writer);
        rc = writer_try(writer, batch, &doubt);
    }
    if (rc == SQLITE_OK)
        return;
    db_error(writer->db, &error);
    writer_rollback(writer);
    if (doubt)
        writer_settle(writer, &error);
    writer_fail(batch, &error);
    error_clear(&error);
}

/* With the lock held, which it gives up meanwhile. Failing is no harm: the log grows, and the next
 * commit tries again. */
static void writer_empty_log(struct writer *writer)
{
    if (writer->log_pages < LOG_PAGES ||
        (!STAILQ_EMPTY(&writer->waiting) && writer->log_pages < LOG_PAGES_MAX))
        return;
    pthread_mutex_unlock(&writer->lock);
    writer_copy_back(writer);
    pthread_mutex_lock(&writer->lock);
}

static void *writer_main(void *arg)
{
    struct writer *writer = arg;
    struct txn_list batch = STAILQ_HEAD_INITIALIZER(batch);

    pthread_mutex_lock(&writer->lock);
    for (;;) {
        writer_empty_log(writer);
        while (STAILQ_EMPTY(&writer->waiting) && !writer->ending)
            pthread_cond_wait(&writer->work, &writer->lock);
        if (STAILQ_EMPTY(&writer->waiting))
            break;
        STAILQ_CONCAT(&batch, &writer->waiting);
        pthread_mutex_unlock(&writer->lock);
        writer_commit(writer, &batch);
        writer_finish(writer, &batch);
        pthread_mutex_lock(&writer->lock);
    }
    pthread_mutex_unlock(&writer->lock);
    return NULL;
}

static void writer_woken(evutil_socket_t fd, short what _unused_, void *arg)
{
    struct writer *writer = arg;
    struct txn_list finished = STAILQ_HEAD_INITIALIZER(finished);
    struct journal_txn *txn;
    eventfd_t count;

    eventfd_read(fd, &count);
    pthread_mutex_lock(&writer->lock);
    STAILQ_CONCAT(&finished, &writer->finished);
    pthread_mutex_unlock(&writer->lock);
    while ((txn = STAILQ_FIRST(&finished))) {
        STAILQ_REMOVE_HEAD(&finished, link);
        writer->fn(writer->arg, txn);
    }
}

static int writer_start(struct writer *writer)
{
    sigset_t all, old;
    int r;

    /* Signals belong to the loop's thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    r = pthread_create(&writer->thread, NULL, writer_main, writer);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return r;
}

static struct writer *writer_destroy(struct writer *writer)
{
    if (writer->event)
        event_free(writer->event);
    if (writer->wake >= 0)
        close(writer->wake);
    statement_deinit(&writer->statements);
    pthread_mutex_destroy(&writer->lock);
    pthread_cond_destroy(&writer->work);
    free(writer);
    return NULL;
}

struct writer *writer_new(struct event_base *base, sqlite3 *db, writer_fn fn, void *arg,
                          struct error *err)
{
    struct writer *writer = xzalloc(sizeof(*writer));
    pthread_condattr_t attr;
    int r;

    *writer = (struct writer){.db = db, .fn = fn, .arg = arg};
    STAILQ_INIT(&writer->waiting);
    STAILQ_INIT(&writer->finished);
    pthread_mutex_init(&writer->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&writer->work, &attr);
    pthread_condattr_destroy(&attr);
    writer->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (writer->wake < 0) {
        error_set_errno(err, SNAPVM_ERROR_INTERNAL, errno, "The journal's thread cannot be woken");
        return writer_destroy(writer);
    }
    writer->event = event_new(base, writer->wake, EV_READ | EV_PERSIST, writer_woken, writer);
    event_add(writer->event, NULL);

    sqlite3_wal_hook(db, writer_committed, writer);
    if (statement_prepare(&writer->statements, db, STATEMENT_WRITES, STATEMENT_READS, err) < 0)
        return writer_destroy(writer);
    r = writer_start(writer);
    if (r != 0) {
        error_set_errno(err, SNAPVM_ERROR_INTERNAL, r, "The journal's thread cannot be started");
        return writer_destroy(writer);
    }
    return writer;
}

static void writer_drop(struct txn_list *list)
{
    struct journal_txn *txn;

    while ((txn = STAILQ_FIRST(list))) {
        STAILQ_REMOVE_HEAD(list, link);
        journal_txn_free(txn);
    }
}

struct writer *writer_free(struct writer *writer)
{
    if (!writer)
        return NULL;
    pthread_mutex_lock(&writer->lock);
    writer->ending = true;
    pthread_cond_signal(&writer->work);
    pthread_mutex_unlock(&writer->lock);
    pthread_join(writer->thread, NULL);
    writer_drop(&writer->finished);
    sqlite3_wal_hook(writer->db, NULL, NULL);
    return writer_destroy(writer);
}

void writer_add(struct writer *writer, struct journal_txn *txn)
{
    pthread_mutex_lock(&writer->lock);
    STAILQ_INSERT_TAIL(&writer->waiting, txn, link);
    pthread_mutex_unlock(&writer->lock);
    pthread_cond_signal(&writer->work); /* who is woken finds the lock free */
}
