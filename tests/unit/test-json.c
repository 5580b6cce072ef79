/* JSON of a peer: what is taken, what is refused, and the bound of nesting to the level. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "proto/json.h"
#include "proto/limits.h"

#define NESTING 32

static const struct {
    const char *text, *again; /* as it is written out again */
} taken[] = {
    {"{}", "{}"},
    {" \t\r\n{ \"a\" : [ 1 , 2 ] }\r\n ", "{\"a\":[1,2]}"},
    {"1", "1"},
    {"-1", "-1"},
    {"0", "0"},
    {"1.5", "1.5"},
    {"[1e5,1E-5,1.25e+2]", "[1e5,1E-5,1.25e+2]"},
    {"null", "null"},
    {"true", "true"},
    {"\"a\"", "\"a\""},
    {"[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]", "[\"\\\"\\\\/\\b\\f\\n\\r\\t\"]"},
    {"[\"\\\\u0000\"]", "[\"\\\\u0000\"]"},
    {"[\"\\u00e4\\ud83d\\ude00\"]", "[\"\xc3\xa4\xf0\x9f\x98\x80\"]"},
    {"[\"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf\"]",
     "[\"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf\"]"},
    /* Half a pair in an escape becomes U+FFFD, so that what goes out is UTF-8. */
    {"[\"\\ud800\"]", "[\"\xef\xbf\xbd\"]"},
    {"[9223372036854775807,-9223372036854775808]", "[9223372036854775807,-9223372036854775808]"},
    {"{\"a\":1,\"a\":2}", "{\"a\":2}"},
    {"[\"{[\"]", "[\"{[\"]"},
};

START_TEST(test_taken)
{
    json_object *value _cleanup_json_ = NULL;

    ck_assert_int_eq(json_read(taken[_i].text, strlen(taken[_i].text), NESTING, &value), JSON_OK);
    ck_assert_str_eq(json_text(value), taken[_i].again);
}
END_TEST

static const char *const refused[] = {
    /* nothing, half of it, or more than one */
    "",
    " ",
    "[",
    "[1",
    "[1,",
    "{",
    "{\"a\"",
    "{\"a\":",
    "{\"a\":1",
    "\"a",
    "\"a\\",
    "-",
    "tru",
    "1.",
    "{}{}",
    "{} x",
    "1 2",
    "[]]",
    "1,",
    "\"a\"b",
    "nullx",
    "[1]//x",
    "[1]\f",
    /* nearly JSON */
    "{'a':1}",
    "['a']",
    "{a:1}",
    "[1,]",
    "[,1]",
    "[1 2]",
    "{\"a\":1,}",
    "{\"a\":1 \"b\":2}",
    "{\"a\"}",
    "{1:2}",
    "[1}",
    "/*x*/1",
    "# x\n1",
    "\xef\xbb\xbf{}",
    "[\f1]",
    "[1\v]",
    /* words and numbers */
    "NaN",
    "[NaN]",
    "[Infinity]",
    "[-Infinity]",
    "[True]",
    "[NULL]",
    "[01]",

    "[1.]",
    "[.5]",
    "[1e]",
    "[1.e5]",
    "[+1]",
    "[--1]",
    "[1-2]",
    "[1.2.3]",
    "[0x10]",
    "[1e+-2]",
    "123abc",
    /* strings */
    "[\"\t\"]",
    "[\"\n\"]",
    "[\"\x01\"]",
    "[\"\\x\"]",
    "[\"\\u12\"]",
    "[\"\\u123g\"]",
    "[\"\\U0041\"]",
    "[\"a\\u0000b\"]",
    "{\"a\\u0000\":1}",
    "[\"\\",
    "[\"\\\"]",
    /* bytes that are no UTF-8: alone, cut off, overlong, surrogates, above U+10FFFF */
    "[\"\xff\"]",
    "[\"\x80\"]",
    "[\"\xc3\"]",
    "[\"\xe2\x82\"]",
    "[\"\xf0\x9f\x98\"]",
    "\"\xc3",
    "[\"\xc0\xaf\"]",
    "[\"\xc1\xbf\"]",
    "[\"\xe0\x9f\xbf\"]",
    "[\"\xf0\x8f\xbf\xbf\"]",
    "[\"\xed\xa0\x80\"]",
    "[\"\xf4\x90\x80\x80\"]",
    "[\"\xf5\x80\x80\x80\"]",
    "[\xc3\xa4]",
    "{\"\xff\":1}",
};

START_TEST(test_refused)
{
    json_object *value = (json_object *)&value;

    ck_assert_msg(json_read(refused[_i], strlen(refused[_i]), NESTING, &value) == JSON_BAD,
                  "this was not refused: %s", refused[_i]);
    ck_assert_ptr_eq(value, (json_object *)&value);
}
END_TEST

/* A raw NUL ends nothing: what is behind it is part of the text, and wrong. */
START_TEST(test_nul)
{
    static const char text[] = "{}\0{}";
    json_object *value _cleanup_json_ = NULL;

    ck_assert_int_eq(json_read(text, sizeof(text) - 1, NESTING, &value), JSON_BAD);
    ck_assert_int_eq(json_read("[\"a\0b\"]", 7, NESTING, &value), JSON_BAD);
    ck_assert_int_eq(json_read("{}\0", 3, NESTING, &value), JSON_BAD);
    ck_assert_int_eq(json_read(text, 2, NESTING, &value), JSON_OK);
}
END_TEST

/* `depth` containers inside each other around the kernel. */
static enum json_result read_nested(int depth, int object, const char *kernel, int nesting)
{
    static const char *const open[] = {"[", "{\"a\":"}, *const close[] = {"]", "}"};
    _cleanup_free_ char *text = xzalloc((size_t)depth * 6 + strlen(kernel) + 1);
    json_object *value _cleanup_json_ = NULL;
    char *end = text;

    for (int i = 0; i < depth; i++)
        end = stpcpy(end, open[object]);
    end = stpcpy(end, kernel);
    for (int i = 0; i < depth; i++)
        end = stpcpy(end, close[object]);
    return json_read(text, (size_t)(end - text), nesting, &value);
}

START_TEST(test_nesting)
{
    static const int bounds[] = {1, LIMIT_AGENT_NESTING, LIMIT_NESTING, LIMIT_QMP_NESTING};
    int bound = bounds[_i];

    for (int object = 0; object < 2; object++) {
        ck_assert_int_eq(read_nested(bound, object, "1", bound), JSON_OK);
        ck_assert_int_eq(read_nested(bound, object, "\"x\"", bound), JSON_OK);
        ck_assert_int_eq(read_nested(bound + 1, object, "1", bound), JSON_TOO_DEEP);
        ck_assert_int_eq(read_nested(bound - 1, object, "[]", bound), JSON_OK);
        ck_assert_int_eq(read_nested(bound - 1, object, "{}", bound), JSON_OK);
        ck_assert_int_eq(read_nested(bound, object, "[]", bound), JSON_TOO_DEEP);
        ck_assert_int_eq(read_nested(bound, object, "{}", bound), JSON_TOO_DEEP);
        ck_assert_int_eq(read_nested(100000, object, "1", bound), JSON_TOO_DEEP);
        /* Side by side is not inside each other. */
        ck_assert_int_eq(read_nested(bound - 1, object, "[1,2,3]", bound), JSON_OK);
    }
}
END_TEST

START_TEST(test_nesting_side_by_side)
{
    json_object *value _cleanup_json_ = NULL, *bare _cleanup_json_ = NULL;
    const char *text = "[[1],{\"a\":2},[],[{}]]";

    ck_assert_int_eq(json_read(text, strlen(text), 3, &value), JSON_OK);
    ck_assert_int_eq(json_read("1", 1, 0, &bare), JSON_OK);
    ck_assert_int_eq(json_read("[]", 2, 0, &value), JSON_TOO_DEEP);
}
END_TEST

START_TEST(test_members)
{
    const char *text = "{\"s\":\"x\",\"i\":7,\"b\":true,\"n\":null,\"a\":[1],\"o\":{\"s\":\"y\"},"
                       "\"d\":1.5,\"h\":99999999999999999999}";
    json_object *object _cleanup_json_ = NULL;

    ck_assert_int_eq(json_read(text, strlen(text), NESTING, &object), JSON_OK);
    ck_assert_str_eq(json_string(object, "s"), "x");
    ck_assert_int_eq(json_int(object, "i", -1), 7);
    ck_assert_int_eq(json_flag(object, "b", -1), 1);
    ck_assert_ptr_nonnull(json_array(object, "a"));
    ck_assert_str_eq(json_string(json_sub(object, "o"), "s"), "y");
    ck_assert(json_int(object, "h", -1) == INT64_MAX);
    /* another type, null, absent, and no object at all */
    ck_assert_ptr_null(json_string(object, "i"));
    ck_assert_ptr_null(json_string(object, "n"));
    ck_assert_ptr_null(json_string(object, "x"));
    ck_assert_int_eq(json_int(object, "s", -1), -1);
    ck_assert_int_eq(json_int(object, "d", -1), -1);
    ck_assert_int_eq(json_int(object, "b", -1), -1);
    ck_assert_int_eq(json_flag(object, "i", -1), -1);
    ck_assert_ptr_null(json_array(object, "o"));
    ck_assert_ptr_null(json_sub(object, "a"));
    ck_assert_ptr_null(json_string(NULL, "s"));
    ck_assert_ptr_null(json_member(json_array(object, "a"), "s"));
}
END_TEST

static const char *const written_texts[] = {
    "",           "plain",
    "\"quoted\"", "back\\slash",
    "a/b",        "\001\b\t\n\r\033\037",
    "\177",       "\303\234ber \346\227\245 \360\237\220\247",
    "\\\"",       "ends in \\",
};

/* What is written is read as the same, and is one line. */
START_TEST(test_write_text)
{
    const char *text = written_texts[_i];
    json_object *value = NULL;
    char *json;
    size_t size;
    FILE *out = open_memstream(&json, &size);

    json_write_text(out, text);
    ck_assert_int_eq(fclose(out), 0);
    ck_assert_ptr_null(strchr(json, '\n'));
    ck_assert_int_eq(json_read(json, size, 1, &value), JSON_OK);
    ck_assert_str_eq(json_object_get_string(value), text);
    json_object_put(value);
    free(json);
}
END_TEST

START_TEST(test_raw)
{
    json_object *object = json_object_new_object();

    json_object_object_add(object, "list", json_raw(strdup("[1,2]")));
    json_add_string(object, "name", NULL);
    ck_assert_str_eq(json_text(object), "{\"list\":[1,2],\"name\":null}");
    json_object_put(object);
}
END_TEST

START_TEST(test_written)
{
    json_object *object _cleanup_json_ = json_object_new_object();

    json_add_string(object, "s", "a/b\n\x7f");
    json_add_string(object, "n", NULL);
    json_add_int(object, "i", INT64_MIN);
    json_add_bool(object, "b", 0);
    ck_assert_str_eq(json_text(object),
                     "{\"s\":\"a/b\\n\x7f\",\"n\":null,\"i\":-9223372036854775808,\"b\":false}");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("json");
    TCase *tcase = tcase_create("json");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tcase, test_taken, 0, (int)(sizeof(taken) / sizeof(taken[0])));
    tcase_add_loop_test(tcase, test_refused, 0, (int)(sizeof(refused) / sizeof(refused[0])));
    tcase_add_test(tcase, test_nul);
    tcase_add_loop_test(tcase, test_nesting, 0, 4);
    tcase_add_test(tcase, test_nesting_side_by_side);
    tcase_add_test(tcase, test_members);
    tcase_add_test(tcase, test_written);
    tcase_add_loop_test(tcase, test_write_text, 0,
                        (int)(sizeof(written_texts) / sizeof(written_texts[0])));
    tcase_add_test(tcase, test_raw);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
