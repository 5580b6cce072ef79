/* Errors on their way: what is filled, what moves, and the codes of the contract. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "proto/errors.h"

START_TEST(test_set)
{
    _cleanup_error_ struct error err = {0};

    ck_assert_int_eq(error_set(&err, SNAPVM_ERROR_BUSY, "disk %s, job %d", "vda", 7), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_BUSY);
    ck_assert_str_eq(err.message, "disk vda, job 7");
    ck_assert_uint_eq(err.n_fields, 0);
    ck_assert_int_eq(error_number(&err, "job", 7), -1);
    ck_assert_int_eq(error_text(&err, "why", "because"), -1);
    ck_assert_int_eq(error_text(&err, "empty", NULL), -1);
    ck_assert_uint_eq(err.n_fields, 3);
    ck_assert_ptr_null(err.field[0].text);
    ck_assert_int_eq(err.field[0].number, 7);
    ck_assert_str_eq(error_get(&err, "why"), "because");
    ck_assert_str_eq(error_get(&err, "empty"), "");
    ck_assert_ptr_null(error_get(&err, "job"));
    ck_assert_ptr_null(error_get(&err, "other"));
}
END_TEST

/* A new error takes nothing of the old one along; its arguments may be of the old one. */
START_TEST(test_set_again)
{
    _cleanup_error_ struct error err = {0};

    error_set(&err, SNAPVM_ERROR_NOT_FOUND, "no disk");
    error_text(&err, "object", "disk");
    error_set(&err, SNAPVM_ERROR_INTERNAL, "about %s: %s", error_get(&err, "object"), err.message);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_INTERNAL);
    ck_assert_str_eq(err.message, "about disk: no disk");
    ck_assert_uint_eq(err.n_fields, 0);
}
END_TEST

START_TEST(test_errno)
{
    _cleanup_error_ struct error err = {0};

    ck_assert_int_eq(error_set_errno(&err, SNAPVM_ERROR_INTERNAL, ENOENT, "%s%%", "/a"), -1);
    ck_assert_str_eq(err.message, "/a%: No such file or directory");
}
END_TEST

START_TEST(test_nobody_asked)
{
    struct error err = {0};

    ck_assert_int_eq(error_set(NULL, SNAPVM_ERROR_BUSY, "x"), -1);
    ck_assert_int_eq(error_set_errno(NULL, SNAPVM_ERROR_BUSY, EIO, "x"), -1);
    ck_assert_int_eq(error_text(NULL, "a", "b"), -1);
    ck_assert_int_eq(error_number(NULL, "a", 1), -1);
    error_set(&err, SNAPVM_ERROR_BUSY, "x");
    error_move(NULL, &err);
    ck_assert_int_eq(err.code, 0);
    ck_assert_ptr_null(err.message);
}
END_TEST

START_TEST(test_too_many_fields)
{
    _cleanup_error_ struct error err = {0};

    error_set(&err, SNAPVM_ERROR_BUSY, "x");
    for (int i = 0; i < ERROR_FIELDS + 3; i++)
        ck_assert_int_eq(error_text(&err, "k", "v"), -1);
    ck_assert_uint_eq(err.n_fields, ERROR_FIELDS);
}
END_TEST

START_TEST(test_move_and_copy)
{
    _cleanup_error_ struct error a = {0}, b = {0}, c = {0};

    error_set(&a, SNAPVM_ERROR_BUSY, "a");
    error_text(&a, "k", "v");
    error_number(&a, "n", 1);
    error_set(&b, SNAPVM_ERROR_TIMEOUT, "b");
    error_text(&b, "k", "old");
    error_copy(&b, &a);
    error_move(&c, &a);
    ck_assert_int_eq(a.code, 0);
    ck_assert_ptr_null(a.message);
    ck_assert_uint_eq(a.n_fields, 0);
    ck_assert_int_eq(b.code, SNAPVM_ERROR_BUSY);
    ck_assert_str_eq(b.message, "a");
    ck_assert_str_eq(error_get(&b, "k"), "v");
    ck_assert_int_eq(b.field[1].number, 1);
    ck_assert_ptr_ne(b.message, c.message);
    ck_assert_str_eq(error_get(&c, "k"), "v");
}
END_TEST

/* Into itself: an error that is handed up through a function that gets it back. */
START_TEST(test_copy_to_itself)
{
    _cleanup_error_ struct error a = {0};

    error_set(&a, SNAPVM_ERROR_BUSY, "a");
    error_text(&a, "k", "v");
    error_copy(&a, &a);
    ck_assert_str_eq(a.message, "a");
    ck_assert_str_eq(error_get(&a, "k"), "v");
}
END_TEST

START_TEST(test_kinds)
{
    static const int codes[] = {
#define CODE(name, code, kind) name,
        SNAPVM_ERROR_LIST(CODE)
#undef CODE
    };

    ck_assert_uint_eq(sizeof(codes) / sizeof(codes[0]), 24);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        ck_assert_int_eq(errors_code(errors_kind(codes[i])), codes[i]);
    ck_assert_str_eq(errors_kind(SNAPVM_ERROR_NOT_FOUND), "NotFound");
    ck_assert_int_eq(SNAPVM_ERROR_NOT_FOUND, 1);
    ck_assert_int_eq(SNAPVM_ERROR_SHUTTING_DOWN, 19);
    ck_assert_str_eq(errors_kind(4711), "InternalError");
    ck_assert_int_eq(errors_code("notfound"), SNAPVM_ERROR_NONE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("error");
    TCase *tcase = tcase_create("error");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, test_set);
    tcase_add_test(tcase, test_set_again);
    tcase_add_test(tcase, test_errno);
    tcase_add_test(tcase, test_nobody_asked);
    tcase_add_test(tcase, test_too_many_fields);
    tcase_add_test(tcase, test_move_and_copy);
    tcase_add_test(tcase, test_copy_to_itself);
    tcase_add_test(tcase, test_kinds);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
