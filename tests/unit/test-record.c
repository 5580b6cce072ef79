/* Records: lists that grow and shrink, and errors as text. */
#include <check.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "journal/record.h"
#include "proto/json.h"
#include "proto/snapvm-errors.h"

static struct record_disk disk_of(unsigned n)
{
    struct record_disk disk = {.target = xstrdup("vda")};

    for (unsigned i = 0; i < n; i++) {
        char file[2] = {(char)('a' + i), '\0'};

        record_disk_add_layer(&disk, file, "qcow2");
    }
    return disk;
}

/* Drops n layers from `first` on of a chain of five, and compares what is left. */
static void check_drop(unsigned first, unsigned n, const char *left)
{
    struct record_disk disk = disk_of(5);

    record_disk_drop_layers(&disk, first, n);
    ck_assert_uint_eq(disk.n_chain, strlen(left));
    for (unsigned i = 0; i < disk.n_chain; i++) {
        ck_assert_int_eq(disk.chain[i].file[0], left[i]);
        ck_assert_str_eq(disk.chain[i].format, "qcow2");
    }
    record_disk_add_layer(&disk, "x", NULL);
    ck_assert_str_eq(disk.chain[disk.n_chain - 1].file, "x");
    record_disk_deinit(&disk);
}

START_TEST(layers_are_dropped)
{
    check_drop(0, 1, "bcde");
    check_drop(0, 3, "de");
    check_drop(2, UINT_MAX, "ab");
    check_drop(1, 2, "ade");
    check_drop(0, 5, "");
    check_drop(4, 1, "abcd");
    check_drop(5, 1, "abcde");
    check_drop(2, 0, "abcde");
}
END_TEST

START_TEST(records_are_emptied)
{
    struct record_domain domain = {.name = xstrdup("web")};
    struct record_job job = {.domain = xstrdup("web")};
    struct record_snapshot snapshot = {.name = xstrdup("s")};

    ck_assert_str_eq(record_domain_add_disk(&domain, "vda")->target, "vda");
    record_disk_add_layer(&domain.disks[0], "/a", "raw");
    record_job_add_image(&job, "vda", "overlay", "/b");
    ck_assert_str_eq(job.images[0].role, "overlay");
    ck_assert_str_eq(job.images[0].file, "/b");
    record_snapshot_add_disk(&snapshot, "vda")->mode = xstrdup("external");
    error_set(&job.error, SNAPVM_ERROR_BUSY, "busy");

    record_domain_deinit(&domain);
    record_job_deinit(&job);
    record_snapshot_deinit(&snapshot);
    ck_assert_ptr_null(domain.disks);
    ck_assert_uint_eq(domain.n_disks, 0);
    ck_assert_ptr_null(job.images);
    ck_assert_int_eq(job.error.code, 0);
    /* What is empty can be emptied again. */
    record_domain_deinit(&domain);
    record_job_deinit(&job);
    record_snapshot_deinit(&snapshot);
}
END_TEST

START_TEST(error_has_the_shape_of_the_wire)
{
    struct error err = {0};
    _cleanup_free_ char *text = NULL;

    error_set(&err, SNAPVM_ERROR_IMAGE, "wrong");
    error_text(&err, "file", "/a \"b\"");
    error_number(&err, "count", -3);
    text = record_error_text(&err);
    ck_assert_str_eq(text, "{\"code\":13,\"message\":\"wrong\",\"data\":{\"kind\":\"ImageError\","
                           "\"file\":\"/a \\\"b\\\"\",\"count\":-3}}");
    error_clear(&err);
}
END_TEST

START_TEST(error_comes_back)
{
    struct error err = {0}, back = {0};
    _cleanup_free_ char *text = NULL, *again = NULL;

    error_set(&err, SNAPVM_ERROR_QEMU, "line\none\t\x01 é");
    error_text(&err, "class", "GenericError");
    error_text(&err, "desc", "");
    error_number(&err, "first", INT64_MAX);
    error_text(&err, "command", "job-finalize");
    text = record_error_text(&err);
    ck_assert_int_eq(record_error_parse(text, &back), 0);
    ck_assert_int_eq(back.code, err.code);
    ck_assert_str_eq(back.message, err.message);
    ck_assert_uint_eq(back.n_fields, 4);
    ck_assert_str_eq(error_get(&back, "class"), "GenericError");
    ck_assert_str_eq(error_get(&back, "desc"), "");
    ck_assert_int_eq(back.field[2].number, INT64_MAX);
    again = record_error_text(&back);
    ck_assert_str_eq(again, text);
    error_clear(&err);
    error_clear(&back);
}
END_TEST

/* What a peer or a file name put into an error is made UTF-8: a text that cannot be read again
 * would lose the whole error. */
START_TEST(error_is_always_utf8)
{
    static const struct {
        const char *in, *out;
    } texts[] = {
        {"\xff", "?"},
        {"a\xc3", "a?"},
        {"\xc0\xaf", "??"},
        {"\xe0\x80\x80", "???"},
        {"\xed\xa0\x80", "???"},
        {"\xf0\x9f\x92\xbe", "\xf0\x9f\x92\xbe"},
        {"\xf4\x90\x80\x80", "????"},
        {"\xe2\x82", "??"},
        {"é\x80é", "é?é"},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct error err = {0}, back = {0};
        _cleanup_free_ char *text = NULL;

        error_set(&err, SNAPVM_ERROR_IMAGE, "%s", texts[i].in);
        error_text(&err, "file", texts[i].in);
        text = record_error_text(&err);
        ck_assert_int_eq(record_error_parse(text, &back), 0);
        ck_assert_str_eq(back.message, texts[i].out);
        ck_assert_str_eq(error_get(&back, "file"), texts[i].out);
        error_clear(&err);
        error_clear(&back);
    }
}
END_TEST

START_TEST(error_text_of_strangers)
{
    static const char *const bad[] = {
        "",
        "null",
        "{}",
        "[]",
        "{\"code\":3}",
        "{\"message\":\"m\"}",
        "{\"code\":0,\"message\":\"m\"}",
        "{\"code\":99999999999,\"message\":\"m\"}",
        "{\"code\":\"3\",\"message\":\"m\"}",
        "{\"code\":3,\"message\":\"m\"} x",
    };
    struct error err = {0};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(record_error_parse(bad[i], &err), -1);
        ck_assert_int_eq(err.code, 0);
    }
    ck_assert_int_eq(record_error_parse("{\"code\":3,\"message\":\"m\",\"data\":{\"kind\":\"Busy\","
                                        "\"stranger\":1,\"job\":17,\"file\":[1],\"limit\":null}}",
                                        &err),
                     0);
    ck_assert_uint_eq(err.n_fields, 1);
    ck_assert_str_eq(err.field[0].key, "job");
    ck_assert_int_eq(err.field[0].number, 17);
    error_clear(&err);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("record");
    TCase *tcase = tcase_create("record");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, layers_are_dropped);
    tcase_add_test(tcase, records_are_emptied);
    tcase_add_test(tcase, error_has_the_shape_of_the_wire);
    tcase_add_test(tcase, error_comes_back);
    tcase_add_test(tcase, error_is_always_utf8);
    tcase_add_test(tcase, error_text_of_strangers);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
