/* Which files are told to be a whole memory: the end of the stream, and whatever is not it. */
#include <check.h>
#include <endian.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "proto/snapvm-errors.h"
#include "qemu/vmstate.h"
#include "tests/unit/scratch.h"

#define HEAD "QEVM\0\0\0\3"
#define TEXT "{\"configuration\":{\"a\":[1,2]}}"

static char *folder, *path;

static void setup(void)
{
    folder = scratch_new();
    path = xasprintf("%s/memory", folder);
}

static void teardown(void)
{
    free(path);
    scratch_free(folder);
}

/* A stream with so many bytes of memory, and a description whose size is told as `told`. */
static size_t make(size_t memory, const char *text, uint32_t told)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    unsigned char section[6] = {0, 6};
    struct stat st;

    told = htobe32(told);
    memcpy(section + 2, &told, sizeof(told));
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, HEAD, 8), 8);
    ck_assert_int_eq(lseek(fd, (off_t)memory, SEEK_CUR), (off_t)memory + 8);
    ck_assert_int_eq(write(fd, section, sizeof(section)), sizeof(section));
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    ck_assert_int_eq(fstat(fd, &st), 0);
    close(fd);
    return (size_t)st.st_size;
}

static bool is_whole(void)
{
    _cleanup_error_ struct error err = {0};
    bool whole = false;

    ck_assert_msg(vmstate_is_whole(path, &whole, &err) == 0, "%s", err.message);
    return whole;
}

START_TEST(whole)
{
    static const size_t sizes[] = {0, 1, 4096, 20 << 20};

    make(sizes[_i], TEXT, sizeof(TEXT) - 1);
    ck_assert(is_whole());
}
END_TEST

/* What a description holds may look like one. */
START_TEST(braces_within)
{
    static const char text[] = "{\"a\":{\"b\":{}}}";

    make(100, text, sizeof(text) - 1);
    ck_assert(is_whole());
}
END_TEST

START_TEST(cut_off_anywhere)
{
    size_t size = make(300, TEXT, sizeof(TEXT) - 1);

    while (size-- > 0) {
        ck_assert_int_eq(truncate(path, (off_t)size), 0);
        ck_assert_msg(!is_whole(), "whole with %zu bytes", size);
    }
}
END_TEST

START_TEST(not_a_stream)
{
    make(10, TEXT, sizeof(TEXT));
    ck_assert(!is_whole());
    make(10, TEXT, sizeof(TEXT) - 2);
    ck_assert(!is_whole());
    make(10, TEXT "x", sizeof(TEXT));
    ck_assert(!is_whole());
    make(10, "", 0);
    ck_assert(!is_whole());
    make(10, TEXT, sizeof(TEXT) - 1);
    {
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        ck_assert_int_eq(pwrite(fd, "X", 1, 0), 1);
        close(fd);
    }
    ck_assert(!is_whole());
}
END_TEST

START_TEST(missing)
{
    _cleanup_error_ struct error err = {0};
    bool is;

    ck_assert_int_eq(vmstate_is_whole(path, &is, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_IMAGE);
    ck_assert_str_eq(error_get(&err, "file"), path);
}
END_TEST

/* Begun is what has something in it, under its own identity. */
START_TEST(begun)
{
    struct image_id id = {0}, other;

    ck_assert(!vmstate_is_begun(path, &id));
    make(0, TEXT, sizeof(TEXT) - 1);
    ck_assert_int_eq(image_identify(path, &id, NULL), 0);
    ck_assert(vmstate_is_begun(path, &id));
    other = (struct image_id){.dev = id.dev, .ino = id.ino + 1};
    ck_assert(!vmstate_is_begun(path, &other));
    ck_assert(!vmstate_lacks_room(path));
    ck_assert_int_eq(truncate(path, 0), 0);
    ck_assert(!vmstate_is_begun(path, &id));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vmstate");
    TCase *tcase = tcase_create("vmstate");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, whole, 0, 4);
    tcase_add_test(tcase, braces_within);
    tcase_add_test(tcase, cut_off_anywhere);
    tcase_add_test(tcase, not_a_stream);
    tcase_add_test(tcase, missing);
    tcase_add_test(tcase, begun);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
