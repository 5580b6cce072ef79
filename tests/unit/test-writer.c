/* The writer: commits together, each transaction for itself, failing disks, and what stands after
 * the process was killed. */
#include <check.h>
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/memory.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "tests/unit/journal-fault.h"
#include "tests/unit/journal-fixture.h"
#include "tests/unit/scratch.h"

#define MANY 200

static void fixture_start(struct fixture *f)
{
    fixture_init(f);
    fault_install();
    fixture_open(f);
}

/* A transaction of one job and so many events. */
static struct journal_txn *txn_of_job(struct fixture *f, int64_t id, unsigned n_events)
{
    struct journal_txn *txn = journal_begin(f->journal);
    struct record_job job = fixture_job(id);

    journal_put_job(txn, &job);
    for (unsigned i = 0; i < n_events; i++)
        journal_add_event(txn, "job.created", "web", NULL);
    record_job_deinit(&job);
    return txn;
}

/* One that the schema refuses: a snapshot of a domain that is not there. Its event and its job must
 * go with it. */
static struct journal_txn *txn_that_fails(struct fixture *f, int64_t id)
{
    struct journal_txn *txn = txn_of_job(f, id, 1);

    journal_put_snapshot(txn,
                         &(struct record_snapshot){.domain = (char *)"none", .name = (char *)"s"});
    return txn;
}

static void check_seqs(const struct fixture *f, unsigned n)
{
    ck_assert_uint_eq(f->n_seqs, n);
    for (unsigned i = 0; i < n; i++)
        ck_assert_int_eq(f->seqs[i], i + 1);
}

/* The first commit is held at its sync; all that come meanwhile share the second one. */
START_TEST(what_waits_is_committed_together)
{
    struct fixture_result result[MANY];
    struct fixture f;
    unsigned before;

    fixture_start(&f);
    before = fault_syncs();
    fault_hold(true);
    fixture_send(&f, txn_of_job(&f, 1, 2), &result[0]);
    fault_wait_syncs(before + 1);
    for (int i = 1; i < MANY; i++)
        fixture_send(&f, txn_of_job(&f, i + 1, 2), &result[i]);
    fault_hold(false);
    ck_assert_int_eq(fixture_wait(&result[MANY - 1]), 0);
    ck_assert_uint_eq(fault_syncs(), before + 2);
    check_seqs(&f, 2 * MANY);
    for (unsigned i = 0; i < MANY; i++) {
        ck_assert_int_eq(fixture_wait(&result[i]), 0);
        ck_assert_uint_eq(result[i].order, i + 1);
        /* All events of a transaction are out before it is told, and none of the next one. */
        ck_assert_uint_eq(result[i].seqs, 2 * (i + 1));
    }
    fixture_deinit(&f);
}
END_TEST

START_TEST(one_that_fails_fails_alone)
{
    struct fixture_result result[5];
    struct fixture f;
    unsigned before;

    fixture_start(&f);
    before = fault_syncs();
    fault_hold(true);
    fixture_send(&f, txn_of_job(&f, 1, 1), &result[0]);
    fault_wait_syncs(before + 1);
    fixture_send(&f, txn_that_fails(&f, 2), &result[1]);
    fixture_send(&f, txn_of_job(&f, 3, 1), &result[2]);
    fixture_send(&f, txn_that_fails(&f, 4), &result[3]);
    fixture_send(&f, txn_of_job(&f, 5, 1), &result[4]);
    fault_hold(false);
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_int_eq(fixture_wait(&result[i]), i % 2 ? SNAPVM_ERROR_INTERNAL : 0);
        ck_assert_uint_eq(result[i].order, i + 1);
        ck_assert_uint_eq(fixture_has_job(&f, i + 1), i % 2 ? 0 : 1);
    }
    ck_assert_uint_eq(fault_syncs(), before + 2);
    check_seqs(&f, 3);
    fixture_deinit(&f);
}
END_TEST

START_TEST(what_waits_is_committed_at_the_end)
{
    struct fixture_result result[MANY];
    struct fixture f;

    fixture_start(&f);
    for (int i = 0; i < MANY; i++)
        fixture_send(&f, txn_of_job(&f, i + 1, 1), &result[i]);
    fixture_close(&f);
    ck_assert(!result[0].told && !result[MANY - 1].told);
    fixture_open(&f);
    ck_assert_uint_eq(fixture_has_job(&f, MANY), 1);
    ck_assert_int_eq(journal_last_seq(f.journal), MANY);
    fixture_deinit(&f);
}
END_TEST

/* Past the bound the log is copied back into the database, and written from its start again. */
START_TEST(log_does_not_grow_for_ever)
{
    _cleanup_free_ char *log = NULL, *large = xzalloc(1 << 20);
    struct journal_txn *txn;
    struct fixture f;
    struct stat st;

    fixture_start(&f);
    for (int i = 0; i < 40; i++) {
        memset(large, 'a' + i % 26, (1 << 20) - 1);
        txn = journal_begin(f.journal);
        journal_put_request(
            txn, &(struct record_request){
                     .id = (char *)"r", .method = (char *)"m", .params = large, .time = i});
        ck_assert_int_eq(fixture_commit(&f, txn), 0);
    }
    log = fixture_path(&f, "snapvm.db-wal");
    ck_assert_int_eq(stat(log, &st), 0);
    ck_assert_int_lt(st.st_size, 20 << 20);
    fixture_deinit(&f);
}
END_TEST

/* Two are told the error, nothing of them is stored, and when the disk is well again so is the
 * journal. */
static void check_failing_disk(void (*set)(bool), int code)
{
    struct fixture_result result[2];
    struct fixture f;

    fixture_start(&f);
    ck_assert_int_eq(fixture_commit(&f, txn_of_job(&f, 1, 1)), 0);
    set(true);
    fixture_send(&f, txn_of_job(&f, 2, 1), &result[0]);
    fixture_send(&f, txn_of_job(&f, 3, 1), &result[1]);
    for (unsigned i = 0; i < 2; i++) {
        while (!result[i].told)
            event_base_loop(f.base, EVLOOP_ONCE);
        ck_assert_ptr_nonnull(strstr(result[i].error.message, f.dir));
        ck_assert_int_eq(fixture_wait(&result[i]), code);
    }
    ck_assert_uint_eq(fixture_has_job(&f, 2) + fixture_has_job(&f, 3), 0);
    set(false);
    ck_assert_int_eq(fixture_commit(&f, txn_of_job(&f, 4, 1)), 0);
    check_seqs(&f, 2);
    ck_assert_uint_eq(fixture_has_job(&f, 1) + fixture_has_job(&f, 4), 2);
    fixture_deinit(&f);
}

START_TEST(full_disk)
{
    check_failing_disk(fault_set_full, SNAPVM_ERROR_NO_SPACE);
}
END_TEST

/* A disk that is full does not stop the journal as long as the room that its log has will do. */
START_TEST(full_disk_beyond_the_log)
{
    struct fixture f;

    fixture_start(&f);
    fault_set_room(100 * 1024);
    for (int i = 1; i <= 100; i++)
        ck_assert_int_eq(fixture_commit(&f, txn_of_job(&f, i, 1)), 0);
    check_seqs(&f, 100);
    fault_set_room(-1);
    fixture_deinit(&f);
}
END_TEST

START_TEST(broken_disk)
{
    check_failing_disk(fault_set_broken, SNAPVM_ERROR_INTERNAL);
}
END_TEST

/* The journal as a crash at this moment would leave it: the files without their shared memory. */
static void crash_copy(const struct fixture *f, struct fixture *ret_copy)
{
    _cleanup_free_ char *command = NULL;

    fixture_init(ret_copy);
    command = xasprintf("cp %s/snapvm.db %s/snapvm.db-wal %s", f->dir, f->dir, ret_copy->dir);
    ck_assert_int_eq(scratch_run(command), 0);
    fixture_open(ret_copy);
}

/* Where the sync failed, all of the transaction may be in the log, and a restart would find it. So
 * nobody is told that it failed before it was taken out of there. */
START_TEST(failed_sync_is_no_success_after_a_crash)
{
    struct fixture_result doubtful, refused, good;
    struct fixture f, copy;
    unsigned before;

    fixture_start(&f);
    ck_assert_int_eq(fixture_commit(&f, txn_of_job(&f, 1, 1)), 0);
    before = fault_syncs();
    fault_set_unsynced(true);
    fixture_send(&f, txn_of_job(&f, 2, 1), &doubtful);
    /* Its own sync, and that of the first attempt to empty the log. */
    fault_wait_syncs(before + 2);
    fixture_send(&f, txn_of_job(&f, 3, 1), &refused);
    ck_assert_int_eq(fixture_wait(&refused), SNAPVM_ERROR_INTERNAL);
    ck_assert(!doubtful.told);
    /* The doubt is real. */
    crash_copy(&f, &copy);
    ck_assert_uint_eq(fixture_has_job(&copy, 2), 1);
    ck_assert_uint_eq(fixture_has_job(&copy, 3), 0);
    fixture_deinit(&copy);

    fault_set_unsynced(false);
    fixture_send(&f, txn_of_job(&f, 4, 1), &good);
    ck_assert_int_eq(fixture_wait(&doubtful), SNAPVM_ERROR_INTERNAL);
    crash_copy(&f, &copy);
    ck_assert_uint_eq(fixture_has_job(&copy, 1), 1);
    ck_assert_uint_eq(fixture_has_job(&copy, 2), 0);
    fixture_deinit(&copy);
    /* Its commit may have been refused as well, if the writer looked once more before the disk
     * was well; the next one is not. */
    fixture_wait(&good);
    ck_assert_int_eq(fixture_commit(&f, txn_of_job(&f, 5, 0)), 0);
    ck_assert_uint_eq(fixture_has_job(&f, 2) + fixture_has_job(&f, 3), 0);
    fixture_deinit(&f);
}
END_TEST

START_TEST(end_while_in_doubt)
{
    struct fixture_result result;
    struct fixture f;
    unsigned before;

    fixture_start(&f);
    before = fault_syncs();
    fault_set_unsynced(true);
    fixture_send(&f, txn_of_job(&f, 2, 1), &result);
    fault_wait_syncs(before + 2);
    fixture_close(&f);
    ck_assert(!result.told);
    fault_set_unsynced(false);
    fixture_open(&f);
    ck_assert_int_eq(fixture_commit(&f, txn_of_job(&f, 3, 1)), 0);
    fixture_deinit(&f);
}
END_TEST

/* The child's story: transactions of one event each, one after another; after each completion its
 * number goes down the pipe, as an answer to a client would. */
struct teller {
    struct fixture fixture;
    int pipe;
    int64_t next, last;
};

static void teller_done(void *arg, const struct error *err)
{
    struct teller *teller = arg;
    int64_t told = teller->next;

    if (err || write(teller->pipe, &told, sizeof(told)) != sizeof(told))
        _exit(1);
    if (teller->next == teller->last)
        _exit(0);
    teller->next++;
    journal_commit(txn_of_job(&teller->fixture, teller->next, 1), "step", teller_done, teller);
}

static pid_t teller_start(char *dir, const char *crash_at, int64_t last, int *ret_fd)
{
    struct teller teller = {.next = 1, .last = last};
    int ends[2];
    pid_t pid;

    ck_assert_int_eq(pipe(ends), 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid > 0) {
        close(ends[1]);
        *ret_fd = ends[0];
        return pid;
    }
    if (crash_at)
        setenv("SNAPVM_CRASH_AT", crash_at, 1);
    fixture_init_in(&teller.fixture, dir);
    teller.fixture.options.crash = crash_new();
    teller.pipe = ends[1];
    fixture_open(&teller.fixture);
    journal_commit(txn_of_job(&teller.fixture, 1, 1), "step", teller_done, &teller);
    event_base_dispatch(teller.fixture.base);
    _exit(2);
}

/* Reads up to n numbers; returns the last one that came. */
static int64_t teller_read(int fd, int64_t n)
{
    int64_t told = 0, last = 0;

    while (n-- > 0 && read(fd, &told, sizeof(told)) == sizeof(told))
        last = told;
    return last;
}

/* Opens what a killed process left: everything told is there, at most the one under way on top, and
 * jobs and events agree. */
static void check_left(struct fixture *f, int64_t told, int64_t last)
{
    struct journal_model model;
    struct error err = {0};

    fixture_open(f);
    ck_assert_int_eq(journal_last_seq(f->journal), last);
    ck_assert(last == told || last == told + 1);
    ck_assert_int_eq(journal_load(f->journal, &model, &err), 0);
    ck_assert_int_eq(model.n_jobs, last);
    for (unsigned i = 0; i < model.n_jobs; i++)
        ck_assert_int_eq(model.jobs[i].id, i + 1);
    journal_model_deinit(&model);
    /* And the journal goes on. */
    f->n_seqs = 0;
    ck_assert_int_eq(fixture_commit(f, txn_of_job(f, last + 1, 1)), 0);
    ck_assert_int_eq(f->seqs[0], last + 1);
    fixture_close(f);
}

/* Every boundary of five transactions: odd ones lie before a commit, even ones after it. */
START_TEST(killed_at_every_boundary)
{
    for (int at = 1; at <= 11; at++) {
        _cleanup_free_ char *crash_at = xasprintf("%d", at);
        _cleanup_close_ int fd = -1;
        char *dir = scratch_new();
        pid_t pid = teller_start(dir, crash_at, 5, &fd);
        struct fixture f;
        int64_t told;
        int status;

        fixture_init_in(&f, dir);
        told = teller_read(fd, 100);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        if (at == 11) {
            ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
            ck_assert_int_eq(told, 5);
        } else {
            ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
            ck_assert_int_eq(told, (at - 1) / 2);
        }
        check_left(&f, told, at / 2);
        fixture_deinit(&f);
    }
}
END_TEST

START_TEST(killed_at_a_named_boundary)
{
    _cleanup_close_ int fd = -1;
    char *dir = scratch_new();
    pid_t pid = teller_start(dir, "journal.done:step:3", 5, &fd);
    struct fixture f;
    int status;

    fixture_init_in(&f, dir);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    check_left(&f, 2, 3);
    fixture_deinit(&f);
}
END_TEST

/* Killed from outside, wherever the writer is. */
START_TEST(killed_anywhere)
{
    for (int64_t n = 1; n <= 20; n++) {
        _cleanup_close_ int fd = -1;
        char *dir = scratch_new();
        pid_t pid = teller_start(dir, NULL, INT64_MAX, &fd);
        struct fixture f;
        int64_t told, more;

        fixture_init_in(&f, dir);
        told = teller_read(fd, n);
        ck_assert_int_eq(told, n);
        kill(pid, SIGKILL);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        more = teller_read(fd, INT64_MAX);
        told = more ? more : told;
        fixture_open(&f);
        more = journal_last_seq(f.journal);
        fixture_close(&f);
        check_left(&f, told, more);
        fixture_deinit(&f);
    }
}
END_TEST

static TCase *cases(void)
{
    TCase *tcase = tcase_create("writer");

    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, what_waits_is_committed_together);
    tcase_add_test(tcase, one_that_fails_fails_alone);
    tcase_add_test(tcase, what_waits_is_committed_at_the_end);
    tcase_add_test(tcase, log_does_not_grow_for_ever);
    tcase_add_test(tcase, full_disk);
    tcase_add_test(tcase, full_disk_beyond_the_log);
    tcase_add_test(tcase, broken_disk);
    tcase_add_test(tcase, failed_sync_is_no_success_after_a_crash);
    tcase_add_test(tcase, end_while_in_doubt);
    tcase_add_test(tcase, killed_at_every_boundary);
    tcase_add_test(tcase, killed_at_a_named_boundary);
    tcase_add_test(tcase, killed_anywhere);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("writer");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, cases());
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
