/* Chains as the headers tell them, and who holds an image by QEMU's locks: here by locks as QEMU
 * takes them, in tests/live/test-offline by QEMU itself. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "proto/snapvm-errors.h"
#include "qemu/image-chain.h"
#include "qemu/qcow2.h"
#include "tests/unit/scratch.h"

#define MIB (INT64_C(1) << 20)

static char *folder;
static struct error err;

static void setup(void)
{
    folder = scratch_new();
}

static void teardown(void)
{
    error_clear(&err);
    scratch_free(folder);
}

/* A path in the folder; a few at a time. */
static const char *at(const char *name)
{
    static char path[4][256];
    static unsigned next;
    char *p = path[next++ % 4];

    snprintf(p, sizeof(path[0]), "%s/%s", folder, name);
    return p;
}

/* An overlay whose header holds exactly these words. */
static void make_overlay(const char *name, const char *backing, const char *format)
{
    _cleanup_free_ unsigned char *head = NULL;
    struct qcow2_layout layout;
    int fd = open(at(name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(qcow2_format(MIB, backing, format, &head, &layout, NULL), 0);
    ck_assert_int_eq(write(fd, head, layout.head_size), (ssize_t)layout.head_size);
    ck_assert_int_eq(ftruncate(fd, (off_t)layout.file_size), 0);
    close(fd);
}

static void make_raw(const char *name)
{
    int fd = open(at(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_eq(ftruncate(fd, MIB), 0);
    close(fd);
}

static int open_locked(const char *name, int byte)
{
    struct flock lock = {.l_type = F_RDLCK, .l_start = byte, .l_len = 1};
    int fd = open(at(name), O_RDONLY | O_CLOEXEC);

    ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &lock), 0);
    return fd;
}

START_TEST(names_are_absolute_relative_or_no_files)
{
    static const struct {
        const char *overlay, *backing, *path;
    } cases[] = {
        {"/a/b/top", "/c/base", "/c/base"},
        {"/a/b/top", "base", "/a/b/base"},
        {"/a/b/top", "../base", "/a/b/../base"},
        {"/top", "base", "/base"},
        {"/a/top", "file:base", "/a/base"},
        {"/a/top", "file:/b:c", "/b:c"},
        {"/a/top", "nbd://host/x", NULL},
        {"/a/top", "json:{\"driver\":\"raw\"}", NULL},
        {"/a/top", "with:colon", NULL},
        {"/a/top", "", NULL},
        {"/a/top", "./with:colon", "/a/./with:colon"},
    };
    _cleanup_free_ char *path = image_backing_path(cases[_i].overlay, cases[_i].backing);

    if (cases[_i].path)
        ck_assert_str_eq(path, cases[_i].path);
    else
        ck_assert_ptr_null(path);
}
END_TEST

START_TEST(a_chain_is_read_down_to_its_bottom)
{
    struct image_chain chain = {0};

    make_raw("base.img");
    make_overlay("mid.qcow2", "base.img", "raw");
    make_overlay("top.qcow2", at("mid.qcow2"), "qcow2");
    ck_assert_int_eq(image_chain_read(at("top.qcow2"), "qcow2", &chain, &err), 0);
    ck_assert_uint_eq(chain.n_layers, 3);
    ck_assert_str_eq(chain.layers[1].file, at("mid.qcow2"));
    ck_assert_str_eq(chain.layers[2].file, at("base.img"));
    ck_assert_str_eq(chain.layers[2].format, "raw");
    ck_assert_int_eq(chain.layers[2].virtual_size, MIB);
    ck_assert(!chain.layers[0].holders.readers && !chain.layers[0].holders.writers);
    image_chain_deinit(&chain);
}
END_TEST

static void expect_bad(const char *name, const char *reason)
{
    struct image_chain chain = {0};

    ck_assert_int_eq(image_chain_read(at(name), "qcow2", &chain, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_IMAGE);
    if (reason)
        ck_assert_str_eq(error_get(&err, "reason"), reason);
    ck_assert_ptr_nonnull(error_get(&err, "file"));
    ck_assert_uint_eq(chain.n_layers, 0);
}

START_TEST(what_cannot_be_followed_is_refused)
{
    make_overlay("loop-a.qcow2", "loop-b.qcow2", "qcow2");
    make_overlay("loop-b.qcow2", "loop-a.qcow2", "qcow2");
    make_overlay("self.qcow2", "self.qcow2", "qcow2");
    make_overlay("lost.qcow2", "not-there.qcow2", "qcow2");
    make_overlay("net.qcow2", "nbd://host/x", "raw");
    make_overlay("odd.qcow2", "lost.qcow2", "vmdk");
    expect_bad("loop-a.qcow2", "loop");
    expect_bad("self.qcow2", "loop");
    expect_bad("lost.qcow2", NULL);
    expect_bad("net.qcow2", "no local file");
    expect_bad("odd.qcow2", NULL);
    expect_bad("not-there.qcow2", NULL);
}
END_TEST

START_TEST(a_header_without_a_format_is_refused)
{
    _cleanup_free_ char *make = NULL;

    if (scratch_run("qemu-img --version") != 0)
        return;
    make = xasprintf("cd %s && qemu-img create -f raw b.img 1M && qemu-img create -f qcow2 -u -b "
                     "b.img -F raw t.qcow2 && qemu-img rebase -u -b '' t.qcow2 && "
                     "qemu-img amend -f qcow2 -o backing_file=b.img t.qcow2",
                     folder);
    if (scratch_run(make) != 0)
        return; /* this qemu-img cannot make one */
    expect_bad("t.qcow2", "no backing format");
}
END_TEST

START_TEST(locks_tell_who_holds_an_image)
{
    struct image_holders holders;
    int writer, reader;

    make_raw("disk.img");
    ck_assert_int_eq(image_holders(at("disk.img"), &holders, &err), 0);
    ck_assert(!holders.readers && !holders.writers);
    reader = open_locked("disk.img", 100);
    writer = open_locked("disk.img", 101);
    ck_assert_int_eq(image_holders(at("disk.img"), &holders, &err), 0);
    ck_assert(holders.readers && holders.writers);
    close(writer);
    ck_assert_int_eq(image_holders(at("disk.img"), &holders, &err), 0);
    ck_assert(holders.readers && !holders.writers);
    close(reader);
    ck_assert_int_eq(image_holders(at("missing.img"), &holders, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_IMAGE);
}
END_TEST

START_TEST(writers_are_kept_out)
{
    struct flock lock = {.l_type = F_WRLCK, .l_start = 201, .l_len = 1};
    int writer, ours = -1, other;

    make_raw("disk.img");
    writer = open_locked("disk.img", 101);
    ck_assert_int_eq(image_keep_writers_out(at("disk.img"), "disk", &ours, &err), -1);
    ck_assert_str_eq(error_get(&err, "reason"), "in use");
    ck_assert_str_eq(error_get(&err, "file"), "disk");
    close(writer);
    ck_assert_int_eq(image_keep_writers_out(at("disk.img"), "disk", &ours, NULL), 0);
    /* What QEMU asks before it writes: whether anybody does not share that right. */
    other = open(at("disk.img"), O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(fcntl(other, F_OFD_GETLK, &lock), 0);
    ck_assert_int_ne(lock.l_type, F_UNLCK);
    close(ours);
    lock = (struct flock){.l_type = F_WRLCK, .l_start = 201, .l_len = 1};
    ck_assert_int_eq(fcntl(other, F_OFD_GETLK, &lock), 0);
    ck_assert_int_eq(lock.l_type, F_UNLCK);
    close(other);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("image-chain");
    TCase *tc = tcase_create("image-chain");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, names_are_absolute_relative_or_no_files, 0, 11);
    tcase_add_test(tc, a_chain_is_read_down_to_its_bottom);
    tcase_add_test(tc, what_cannot_be_followed_is_refused);
    tcase_add_test(tc, a_header_without_a_format_is_refused);
    tcase_add_test(tc, locks_tell_who_holds_an_image);
    tcase_add_test(tc, writers_are_kept_out);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
