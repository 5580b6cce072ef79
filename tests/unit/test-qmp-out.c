/* What goes out to a monitor: in order, and each descriptor with the first byte of its command. */
#include <check.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu/qmp-out.h"

static int pair[2];
static struct qmp_out out;

static void setup(void)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    qmp_out_init(&out);
}

static void teardown(void)
{
    qmp_out_deinit(&out);
    close(pair[0]);
    close(pair[1]);
}

/* Reads as QEMU may, by so many bytes; returns how many, and the descriptor that came, or -1. */
static ssize_t take(char *data, size_t size, int *ret_fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 4)];
    } control = {0};
    struct iovec piece = {.iov_base = data, .iov_len = size};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(pair[1], &message, 0);
    struct cmsghdr *header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;

    *ret_fd = -1;
    if (header) {
        ck_assert_uint_eq(header->cmsg_len, CMSG_LEN(sizeof(int)));
        memcpy(ret_fd, CMSG_DATA(header), sizeof(int));
    }
    return n;
}

/* A new file whose size tells it from others. */
static int sized(off_t size)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    ck_assert_int_eq(ftruncate(fd, size), 0);
    return fd;
}

static off_t size_of(int fd)
{
    struct stat st;

    ck_assert_int_eq(fstat(fd, &st), 0);
    return st.st_size;
}

/* The line that a descriptor is read with, whatever the other end reads at a time. */
START_TEST(descriptors_go_with_their_commands)
{
    static const size_t steps[] = {1, 3, 64};
    char all[64] = "";
    size_t size = 0;
    int n = 0;

    ck_assert_uint_eq(qmp_out_put(&out, "one", -1), 4);
    ck_assert_uint_eq(qmp_out_put(&out, "two", sized(2)), 8);
    ck_assert_uint_eq(qmp_out_put(&out, "three", sized(3)), 14);
    ck_assert_uint_eq(qmp_out_put(&out, "four", -1), 19);
    ck_assert_int_eq(qmp_out_send(&out, pair[0]), 0);
    ck_assert_uint_eq(out.left, 19);
    while (size < 19) {
        int fd;
        ssize_t got = take(all + size, steps[_i], &fd);

        ck_assert_int_gt(got, 0);
        if (fd >= 0) {
            /* The descriptor is there when its first byte is, and not before. */
            ck_assert_uint_le(size, n == 0 ? 4 : 8);
            ck_assert_uint_gt(size + (size_t)got, n == 0 ? 4 : 8);
            ck_assert_int_eq(size_of(fd), n == 0 ? 2 : 3);
            close(fd);
            n++;
        }
        size += (size_t)got;
    }
    ck_assert_str_eq(all, "one\ntwo\nthree\nfour\n");
    ck_assert_int_eq(n, 2);
}
END_TEST

/* A socket that takes no more: the rest leaves later, and so does the descriptor. */
START_TEST(full_socket)
{
    static char line[1 << 20];
    char *data = malloc(sizeof(line));
    size_t size = 0;
    int seen = 0, r;

    memset(line, 'x', sizeof(line) - 1);
    qmp_out_put(&out, line, -1);
    qmp_out_put(&out, "last", sized(7));
    ck_assert_int_eq(qmp_out_send(&out, pair[0]), 1);
    ck_assert_uint_lt(out.left, sizeof(line));
    do {
        int fd;
        ssize_t n;

        while ((n = take(data, sizeof(line), &fd)) > 0) {
            size += (size_t)n;
            seen += fd >= 0;
            if (fd >= 0)
                close(fd);
        }
        r = qmp_out_send(&out, pair[0]);
        ck_assert_int_ge(r, 0);
    } while (size < sizeof(line) + 5);
    ck_assert_int_eq(r, 0);
    ck_assert_int_eq(seen, 1);
    free(data);
}
END_TEST

/* What never left is closed with the rest. */
START_TEST(unsent_descriptors_are_closed)
{
    int fd = sized(1);

    qmp_out_put(&out, "one", fd);
    qmp_out_deinit(&out);
    ck_assert_int_lt(fcntl(fd, F_GETFD), 0);
    qmp_out_init(&out);
}
END_TEST

/* All but the end goes at once, and the end when the same line is put; another line needs what was
 * laid out taken back. */
START_TEST(laid_out)
{
    char all[64] = "";
    int fd;

    qmp_out_lay(&out, pair[0], "{\"one\"}");
    qmp_out_lay(&out, pair[0], "{\"two\"}"); /* there is one already */
    ck_assert_int_eq(take(all, sizeof(all), &fd), 6);
    ck_assert_str_eq(all, "{\"one\"");
    ck_assert(!qmp_out_differs(&out, "{\"one\"}", -1));
    ck_assert(qmp_out_differs(&out, "{\"one\"}", 7));
    ck_assert(qmp_out_differs(&out, "{\"on\"}", -1));
    ck_assert_uint_eq(qmp_out_put(&out, "{\"one\"}", -1), 2);
    ck_assert_uint_eq(qmp_out_put(&out, "{}", -1), 5);
    ck_assert_int_eq(qmp_out_send(&out, pair[0]), 0);
    memset(all, 0, sizeof(all));
    ck_assert_int_eq(take(all, sizeof(all), &fd), 5);
    ck_assert_str_eq(all, "}\n{}\n");
    ck_assert(!qmp_out_differs(&out, "{\"two\"}", -1));
}
END_TEST

START_TEST(taken_back)
{
    char all[64] = "";
    int fd;

    qmp_out_lay(&out, pair[0], "{\"one\"}");
    ck_assert_uint_eq(qmp_out_take_back(&out), 1);
    qmp_out_lay(&out, pair[0], "{\"two\"}"); /* nothing overtakes what waits to be sent */
    ck_assert_uint_eq(qmp_out_put(&out, "{\"two\"}", -1), 9);
    ck_assert_int_eq(qmp_out_send(&out, pair[0]), 0);
    ck_assert_int_eq(take(all, sizeof(all), &fd), 6 + 9);
    ck_assert_str_eq(all, "{\"one\"\xff{\"two\"}\n");
}
END_TEST

/* The kernel takes a part: that part is what was laid out. */
START_TEST(laid_out_in_part)
{
    static char line[1 << 20];
    char *all = calloc(1, 2 * sizeof(line));
    size_t size = 0;
    int fd;

    memset(line, 'x', sizeof(line) - 1);
    qmp_out_lay(&out, pair[0], line);
    ck_assert(!qmp_out_differs(&out, line, -1));
    ck_assert_uint_gt(qmp_out_put(&out, line, -1), 2);
    do {
        ssize_t n = take(all + size, 2 * sizeof(line) - size, &fd);

        size += n > 0 ? (size_t)n : 0;
        ck_assert_int_ge(qmp_out_send(&out, pair[0]), 0);
    } while (size < sizeof(line));
    ck_assert_uint_eq(size, sizeof(line));
    ck_assert_int_eq(memcmp(all, line, sizeof(line) - 1), 0);
    free(all);
}
END_TEST

START_TEST(peer_has_gone)
{
    close(pair[1]);
    qmp_out_put(&out, "one", sized(1));
    ck_assert_int_eq(qmp_out_send(&out, pair[0]), -1);
    pair[1] = dup(pair[0]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("qmp-out");
    TCase *tcase = tcase_create("out");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, descriptors_go_with_their_commands, 0, 3);
    tcase_add_test(tcase, full_socket);
    tcase_add_test(tcase, unsent_descriptors_are_closed);
    tcase_add_test(tcase, laid_out);
    tcase_add_test(tcase, taken_back);
    tcase_add_test(tcase, laid_out_in_part);
    tcase_add_test(tcase, peer_has_gone);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
