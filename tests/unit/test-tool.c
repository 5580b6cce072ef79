/* Image tools as child processes: how they end is told, what they print is bounded, and they do not
 * outlive who started them. */
#include <check.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "proto/snapvm-errors.h"
#include "qemu/tool.h"
#include "tests/unit/scratch.h"

static struct event_base *base;
static struct error end;
static bool ended;

static void setup(void)
{
    base = event_base_new();
    ended = false;
}

static void teardown(void)
{
    error_clear(&end);
    event_base_free(base);
}

static void done(void *arg _unused_, const struct error *err)
{
    ck_assert(!ended);
    ended = true;
    if (err)
        error_copy(&end, err);
    event_base_loopbreak(base);
}

/* Runs a shell script as a tool to its end. */
static void run(const char *script, unsigned timeout_ms)
{
    const char *words[] = {"/bin/sh", "-c", script, NULL};

    tool_run(base, -1, words, timeout_ms, done, NULL);
    ck_assert(!ended); /* never from within the call */
    event_base_dispatch(base);
    ck_assert(ended);
}

START_TEST(a_good_end)
{
    run("read line; echo \"$line\"; exit 0", 0); /* its input is empty */
    ck_assert_int_eq(end.code, 0);
}
END_TEST

START_TEST(a_bad_end_tells_what_was_printed)
{
    run("echo first; printf 'last\\a line\\303\\n' >&2; exit 3", 0);
    ck_assert_int_eq(end.code, SNAPVM_ERROR_QEMU);
    ck_assert_str_eq(error_get(&end, "desc"), "first last  line?");
    ck_assert_str_eq(error_get(&end, "command"), "sh -c");
    ck_assert_str_eq(error_get(&end, "class"), "exit");
}
END_TEST

START_TEST(a_signal_is_a_bad_end)
{
    run("kill -TERM $$", 0); /* signals that the daemon blocks or ignores are as usual */
    ck_assert_int_eq(end.code, SNAPVM_ERROR_QEMU);
    ck_assert_str_eq(error_get(&end, "class"), "signal");
}
END_TEST

START_TEST(a_tool_that_is_missing)
{
    const char *words[] = {"/nowhere/qemu-img", "commit", NULL};

    tool_run(base, -1, words, 0, done, NULL);
    ck_assert(!ended);
    event_base_dispatch(base);
    ck_assert_int_eq(end.code, SNAPVM_ERROR_QEMU);
    ck_assert_str_eq(error_get(&end, "command"), "qemu-img commit");
    ck_assert_str_eq(error_get(&end, "desc"), "No such file or directory");
}
END_TEST

START_TEST(output_is_bounded_and_its_end_is_kept)
{
    run("i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i + 1)); done; echo end; exit 1", 0);
    ck_assert_uint_le(strlen(error_get(&end, "desc")), 2048);
    ck_assert_ptr_nonnull(strstr(error_get(&end, "desc"), "6789 end"));
}
END_TEST

START_TEST(time_runs_out)
{
    run("exec sleep 1000", 50);
    ck_assert_int_eq(end.code, SNAPVM_ERROR_TIMEOUT);
}
END_TEST

START_TEST(stopped_is_told_and_freed_is_not)
{
    const char *words[] = {"sleep", "1000", NULL};
    struct tool *tool = tool_run(base, -1, words, 0, done, NULL);

    tool_stop(tool);
    event_base_dispatch(base);
    ck_assert_int_eq(end.code, SNAPVM_ERROR_QEMU);
    ended = false;
    tool_free(tool_run(base, -1, words, 0, done, NULL));
    tool_free(NULL);
    event_base_loop(base, EVLOOP_NONBLOCK);
    ck_assert(!ended);
}
END_TEST

/* Who started it is killed: the tool goes with it, whatever it does. */
START_TEST(it_dies_with_its_parent)
{
    int told[2];
    char line[32] = "";
    pid_t parent, tool;
    struct pollfd gone = {.events = POLLIN};

    ck_assert_int_eq(pipe(told), 0);
    parent = fork();
    if (parent == 0) {
        char script[128];
        const char *words[] = {"/bin/sh", "-c", script, NULL};

        /* No file of its parent's is open in the tool. */
        snprintf(script, sizeof(script),
                 "test -e /proc/self/fd/%d || echo $$ >/proc/%d/fd/%d; exec sleep 1000", told[1],
                 (int)getppid(), told[1]);
        tool_run(base, -1, words, 0, done, NULL);
        pause();
        _exit(0);
    }
    ck_assert_int_gt(read(told[0], line, sizeof(line) - 1), 0);
    tool = (pid_t)strtol(line, NULL, 10);
    gone.fd = (int)syscall(SYS_pidfd_open, tool, 0);
    ck_assert_int_ge(gone.fd, 0);
    kill(parent, SIGKILL);
    ck_assert_int_eq(poll(&gone, 1, 10000), 1);
    waitpid(parent, NULL, 0);
    close(gone.fd);
    close(told[0]);
    close(told[1]);
}
END_TEST

/* A script that is killed with its daemon leaves behind what it started: the next one waits. */
START_TEST(the_next_one_waits)
{
    char *folder = scratch_new();
    _cleanup_free_ char *fifo = xasprintf("%s/fifo", folder);
    int told[2], leash = -1;
    pid_t parent;
    char byte;

    ck_assert_int_eq(pipe(told), 0);
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    parent = fork();
    if (parent == 0) {
        _cleanup_free_ char *script = xasprintf("(echo >/proc/%d/fd/%d; read line <%s) & wait",
                                                (int)getppid(), told[1], fifo);
        const char *words[] = {"/bin/sh", "-c", script, NULL};

        ck_assert_int_eq(tool_leash_open(folder, &leash, NULL), 0);
        tool_leash_take(leash);
        tool_run(base, leash, words, 0, done, NULL);
        pause();
        _exit(0);
    }
    ck_assert_int_eq(read(told[0], &byte, 1), 1);
    kill(parent, SIGKILL);
    waitpid(parent, NULL, 0);
    ck_assert_int_eq(tool_leash_open(folder, &leash, NULL), 0);
    ck_assert(flock(leash, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK);
    close(open(fifo, O_WRONLY)); /* it reads the end, and ends */
    tool_leash_take(leash);
    close(leash);
    close(told[0]);
    close(told[1]);
    scratch_free(folder);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tool");
    TCase *tcase = tcase_create("tool");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_good_end);
    tcase_add_test(tcase, a_bad_end_tells_what_was_printed);
    tcase_add_test(tcase, a_signal_is_a_bad_end);
    tcase_add_test(tcase, a_tool_that_is_missing);
    tcase_add_test(tcase, output_is_bounded_and_its_end_is_kept);
    tcase_add_test(tcase, time_runs_out);
    tcase_add_test(tcase, stopped_is_told_and_freed_is_not);
    tcase_add_test(tcase, it_dies_with_its_parent);
    tcase_add_test(tcase, the_next_one_waits);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
