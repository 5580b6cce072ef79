/* What systemd hears and hands over, with a socket of our own in systemd's place. */
#include <check.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "notify.h"

/* A datagram socket in the abstract namespace, told to the library as systemd's. */
static int systemd_socket(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), n;

    n = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "test-notify-%d", getpid());
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)),
                     0);
    address.sun_path[0] = '@';
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    return fd;
}

/* The next datagram, waiting for it. */
static const char *heard(int fd, char buffer[256])
{
    ssize_t n = recv(fd, buffer, 255, 0);

    ck_assert_int_gt(n, 0);
    buffer[n] = '\0';
    return buffer;
}

START_TEST(test_states)
{
    int fd = systemd_socket();
    char text[256];

    notify_status("%d guests", 3);
    ck_assert_str_eq(heard(fd, text), "STATUS=3 guests");
    notify_ready();
    ck_assert_str_eq(heard(fd, text), "READY=1");
    notify_reloading();
    ck_assert_int_eq(strncmp(heard(fd, text), "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
    notify_stopping();
    ck_assert_str_eq(heard(fd, text), "STOPPING=1");
    close(fd);
}
END_TEST

START_TEST(test_without_systemd)
{
    struct event_base *base = event_base_new();
    struct notify *notify;
    int fd = 7;

    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("LISTEN_FDS");
    notify_ready();
    notify = notify_new(base);
    /* No watchdog: nothing keeps the loop alive. */
    ck_assert_int_eq(event_base_dispatch(base), 1);
    ck_assert_int_eq(notify_listen_fd(&fd, NULL), 0);
    ck_assert_int_eq(fd, -1);
    ck_assert_ptr_null(notify_free(notify));
    ck_assert_ptr_null(notify_free(NULL));
    event_base_free(base);
}
END_TEST

static void on_datagram(evutil_socket_t fd, short what _unused_, void *arg)
{
    struct event_base *base = arg;
    char text[256];

    ck_assert_str_eq(heard(fd, text), "WATCHDOG=1");
    event_base_loopbreak(base);
}

/* The loop answers by itself, again and again; ended by the second answer, or by Check's limit. */
START_TEST(test_watchdog)
{
    struct event_base *base = event_base_new();
    int fd = systemd_socket();
    struct event *event = event_new(base, fd, EV_READ | EV_PERSIST, on_datagram, base);
    struct notify *notify;

    setenv("WATCHDOG_USEC", "2000", 1);
    unsetenv("WATCHDOG_PID");
    event_add(event, NULL);
    notify = notify_new(base);
    event_base_dispatch(base);
    event_base_dispatch(base);
    notify_free(notify);
    event_free(event);
    event_base_free(base);
    close(fd);
}
END_TEST

/* Puts a socket where systemd's first one stands. */
static void hand_over(int type, int listening, const char *count)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type, 0);
    char pid[16];

    /* With the family alone the kernel picks an abstract name. */
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
    if (listening)
        ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(dup2(fd, 3), 3);
    if (fd != 3)
        close(fd);
    snprintf(pid, sizeof(pid), "%d", getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", count, 1);
}

START_TEST(test_listen)
{
    int fd = -1;

    hand_over(SOCK_STREAM, 1, "1");
    ck_assert_int_eq(notify_listen_fd(&fd, NULL), 0);
    ck_assert_int_eq(fd, 3);
    ck_assert_ptr_null(getenv("LISTEN_FDS"));
    ck_assert_int_eq(notify_listen_fd(&fd, NULL), 0);
    ck_assert_int_eq(fd, -1);
}
END_TEST

static const struct {
    int type, listening;
    const char *count, *says;
} wrong[] = {
    {SOCK_STREAM, 0, "1", "something else than a listening Unix stream socket"},
    {SOCK_SEQPACKET, 1, "1", "something else than a listening Unix stream socket"},
    {SOCK_DGRAM, 0, "1", "something else than a listening Unix stream socket"},
    {SOCK_STREAM, 1, "2", "hands over 2 sockets"},
    {SOCK_STREAM, 1, "many", "the sockets of systemd"},
};

START_TEST(test_listen_wrong)
{
    _cleanup_error_ struct error err = {0};
    int fd = 7;

    hand_over(wrong[_i].type, wrong[_i].listening, wrong[_i].count);
    dup2(3, 4);
    ck_assert_int_eq(notify_listen_fd(&fd, &err), -1);
    ck_assert_int_eq(fd, 7);
    ck_assert_msg(strstr(err.message, wrong[_i].says) != NULL, "%s", err.message);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("notify");
    TCase *tcase = tcase_create("notify");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, test_states);
    tcase_add_test(tcase, test_without_systemd);
    tcase_add_test(tcase, test_watchdog);
    tcase_add_test(tcase, test_listen);
    tcase_add_loop_test(tcase, test_listen_wrong, 0, (int)(sizeof(wrong) / sizeof(wrong[0])));
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
