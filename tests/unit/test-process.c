/* Which process it is, told apart over its end, and what its file names mean. Children stand in for
 * QEMU: each says by a pipe when it is where it should be. */
#include "qemu/process.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "scratch.h"

static int no_preparation(const char *dir _unused_)
{
    return 0;
}

/* A child that has prepared itself and waits to be killed; its identity, as a socket's peer has
 * it. Returns false where the system refuses the preparation. */
static bool child_start(int (*prepare)(const char *dir), const char *dir,
                        struct process *ret_process)
{
    int pair[2];
    char ok = 'y';
    pid_t pid;

    ck_assert_int_eq(pipe(pair), 0);
    pid = fork();
    if (pid == 0) {
        if (prepare(dir) < 0)
            ok = 'n';
        if (write(pair[1], &ok, 1) == 1)
            pause();
        _exit(0);
    }
    ck_assert_int_eq(read(pair[0], &ok, 1), 1);
    close(pair[0]);
    close(pair[1]);
    *ret_process = (struct process){.pid = pid};
    return ok == 'y';
}

static void child_end(const struct process *process)
{
    kill(process->pid, SIGKILL);
    ck_assert_int_eq(waitpid(process->pid, NULL, 0), process->pid);
}

/* This process, by a socket whose both ends it holds. */
static struct process myself(void)
{
    struct process process;
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(process_of_socket(pair[0], &process, NULL), 0);
    close(pair[0]);
    close(pair[1]);
    return process;
}

/* A child's pid with the start time that /proc has for it, and this boot. */
static void complete(struct process *process)
{
    char path[64], text[1024], *p;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", process->pid);
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(fgets(text, sizeof(text), file));
    fclose(file);
    p = strrchr(text, ')');
    for (int field = 2; field < 22; field++)
        p = strchr(p + 1, ' ');
    process->start = strtoull(p, NULL, 10);
    memcpy(process->boot_id, myself().boot_id, PROCESS_BOOT_ID);
}

START_TEST(of_socket)
{
    struct process process = myself();
    _cleanup_error_ struct error err = {0};

    ck_assert_int_eq(process.pid, getpid());
    ck_assert_uint_gt(process.start, 0);
    ck_assert_uint_eq(strlen(process.boot_id), PROCESS_BOOT_ID - 1);
    ck_assert(process_alive(&process));
    ck_assert_int_eq(process_of_socket(-1, &process, &err), -1);
    ck_assert_ptr_nonnull(err.message);
}
END_TEST

START_TEST(same)
{
    const struct process a = {.pid = 10, .start = 7, .boot_id = "one"};
    struct process b = a;

    ck_assert(process_same(&a, &b));
    b.start++;
    ck_assert(!process_same(&a, &b));
    b = a;
    b.pid++;
    ck_assert(!process_same(&a, &b));
    b = a;
    strcpy(b.boot_id, "two");
    ck_assert(!process_same(&a, &b));
    b = (struct process){0};
    ck_assert(!process_same(&b, &b)); /* nobody is not the same as nobody */
}
END_TEST

START_TEST(alive)
{
    struct process child, other;

    ck_assert(child_start(no_preparation, NULL, &child));
    complete(&child);
    ck_assert(process_alive(&child));
    other = child;
    other.start--;
    ck_assert(!process_alive(&other));
    other = child;
    other.boot_id[0] = other.boot_id[0] == '0' ? '1' : '0';
    ck_assert(!process_alive(&other));
    kill(child.pid, SIGKILL);
    ck_assert_int_eq(waitid(P_PID, (id_t)child.pid, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
    ck_assert(!process_alive(&child)); /* a zombie */
    child_end(&child);
    ck_assert(!process_alive(&child));
    ck_assert(!process_alive(&(struct process){0}));
}
END_TEST

static void *wait_for_ever(void *arg _unused_)
{
    pause();
    return NULL;
}

static char state_of(pid_t pid)
{
    char path[64], text[1024];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(fgets(text, sizeof(text), file));
    fclose(file);
    return strrchr(text, ')')[2];
}

/* A QEMU that was killed while one of its threads sits in a sync. */
START_TEST(alive_in_part)
{
    struct pollfd p = {.events = POLLIN};
    struct process child = {.pid = fork()};
    pthread_t thread;

    if (child.pid == 0) {
        pthread_create(&thread, NULL, wait_for_ever, NULL);
        syscall(SYS_exit, 0); /* of this thread alone */
    }
    while (state_of(child.pid) != 'Z')
        sched_yield(); /* nothing tells of a thread's end */
    complete(&child);
    ck_assert(process_alive(&child));
    p.fd = process_pidfd(&child);
    ck_assert_int_ge(p.fd, 0);
    ck_assert_int_eq(poll(&p, 1, 0), 0);
    kill(child.pid, SIGKILL);
    ck_assert_int_eq(poll(&p, 1, 10000), 1);
    ck_assert(!process_alive(&child)); /* a zombie */
    child_end(&child);
    close(p.fd);
}
END_TEST

START_TEST(pidfd)
{
    struct process child, other;
    struct pollfd p = {.events = POLLIN};

    ck_assert(child_start(no_preparation, NULL, &child));
    complete(&child);
    other = child;
    other.start--;
    ck_assert_int_eq(process_pidfd(&other), -1);
    p.fd = process_pidfd(&child);
    ck_assert_int_ge(p.fd, 0);
    ck_assert_int_eq(poll(&p, 1, 0), 0);
    kill(child.pid, SIGKILL);
    ck_assert_int_eq(poll(&p, 1, 10000), 1);
    child_end(&child);
    close(p.fd);
    ck_assert_int_eq(process_pidfd(&child), -1);
    ck_assert_int_eq(process_pidfd(&(struct process){0}), -1);
    ck_assert_int_eq(errno, EPERM);
}
END_TEST

static int go_to(const char *dir)
{
    return chdir(dir);
}

static const struct name_row {
    const char *name, *absolute; /* "@" stands for the child's directory */
} name_rows[] = {
    {"/i/a.qcow2", "/i/a.qcow2"},
    {"a.qcow2", "@/a.qcow2"},
    {"../x/a.qcow2", "@/../x/a.qcow2"},
    {"dir/a:b", "@/dir/a:b"},
    {"file:a.qcow2", "@/a.qcow2"},
    {"file:/i/a:b.qcow2", "/i/a:b.qcow2"},
    {"file:a:b.qcow2", "@/a:b.qcow2"},
    {"/i/with:colon", "/i/with:colon"},
    {"json:{\"driver\":\"qcow2\"}", NULL},
    {"nbd:localhost:10809", NULL},
    {"nbd://localhost/x", NULL},
    {"blkdebug::/i/a.qcow2", NULL},
    {"", NULL},
    {"file:", NULL},
    {NULL, NULL},
};

START_TEST(absolute)
{
    const struct name_row *row = &name_rows[_i];
    char *dir = scratch_new();
    _cleanup_free_ char *real = realpath(dir, NULL), *expected = NULL, *got = NULL;
    struct process child;

    ck_assert(child_start(go_to, dir, &child));
    complete(&child);
    got = process_absolute(&child, row->name);
    if (row->absolute && row->absolute[0] == '@')
        expected = xasprintf("%s%s", real, row->absolute + 1);
    else
        expected = xstrdup(row->absolute);
    if (expected)
        ck_assert_str_eq(got, expected);
    else
        ck_assert_ptr_null(got);
    child_end(&child);
    scratch_free(dir);
}
END_TEST

/* Nobody's directory is known once it is gone, or once the process is. */
START_TEST(absolute_without_directory)
{
    char *dir = scratch_new();
    _cleanup_free_ char *text = NULL;
    struct process child;

    ck_assert(child_start(go_to, dir, &child));
    complete(&child);
    scratch_free(dir);
    ck_assert_ptr_null(process_absolute(&child, "a.qcow2"));
    child_end(&child);
    ck_assert_ptr_null(process_absolute(&child, "a.qcow2"));
    text = process_absolute(&child, "/a.qcow2");
    ck_assert_str_eq(text, "/a.qcow2");
}
END_TEST

static int go_into(const char *dir)
{
    return chroot(dir) < 0 || mkdir("/images", 0700) < 0 ? -1 : chdir("/images");
}

static int split_mounts(const char *dir)
{
    return unshare(CLONE_NEWNS) < 0 ? -1 : chdir(dir);
}

START_TEST(other_root)
{
    char *dir = scratch_new();
    _cleanup_free_ char *path = NULL, *reach = NULL, *expected = NULL;
    struct process child;
    struct stat a, b;

    if (!child_start(go_into, dir, &child)) {
        printf("SKIP: what needs chroot, which is not allowed here\n");
    } else {
        complete(&child);
        path = process_absolute(&child, "a.qcow2");
        ck_assert_str_eq(path, "/images/a.qcow2");
        reach = process_reach(&child, "/images");
        expected = xasprintf("%s/images", dir);
        ck_assert_int_eq(stat(reach, &a), 0);
        ck_assert_int_eq(stat(expected, &b), 0);
        ck_assert(a.st_ino == b.st_ino && a.st_dev == b.st_dev);
    }
    child_end(&child);
    scratch_free(dir);
}
END_TEST

/* Another mount namespace with the same root directory may have other file systems below it. */
START_TEST(other_mounts)
{
    char *dir = scratch_new();
    _cleanup_free_ char *reach = NULL, *expected = NULL, *name = NULL, *real = NULL;
    struct process child;

    if (!child_start(split_mounts, dir, &child)) {
        printf("SKIP: what needs a mount namespace, which is not allowed here\n");
    } else {
        complete(&child);
        real = realpath(dir, NULL);
        name = process_absolute(&child, "a");
        expected = xasprintf("%s/a", real);
        ck_assert_str_eq(name, expected);
        free(expected);
        reach = process_reach(&child, name);
        expected = xasprintf("/proc/%d/root%s", child.pid, name);
        ck_assert_str_eq(reach, expected);
    }
    child_end(&child);
    scratch_free(dir);
}
END_TEST

START_TEST(same_root)
{
    struct process child;
    _cleanup_free_ char *with = NULL, *without = NULL, *nobody = NULL;

    ck_assert(child_start(no_preparation, NULL, &child));
    complete(&child);
    with = process_reach(&child, "/i/a");
    ck_assert_str_eq(with, "/i/a");
    child_end(&child);
    without = process_reach(&child, "/i/a");
    ck_assert_str_eq(without, "/i/a");
    nobody = process_reach(&(struct process){0}, "/i/a");
    ck_assert_str_eq(nobody, "/i/a");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("process");
    TCase *tcase = tcase_create("process");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, of_socket);
    tcase_add_test(tcase, same);
    tcase_add_test(tcase, alive);
    tcase_add_test(tcase, alive_in_part);
    tcase_add_test(tcase, pidfd);
    tcase_add_loop_test(tcase, absolute, 0, sizeof(name_rows) / sizeof(name_rows[0]));
    tcase_add_test(tcase, absolute_without_directory);
    tcase_add_test(tcase, other_root);
    tcase_add_test(tcase, other_mounts);
    tcase_add_test(tcase, same_root);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
