/* request_id: sent again, a request does nothing twice. */
#include <check.h>
#include <string.h>

#include "api/request.h"
#include "base/clock.h"
#include "base/memory.h"
#include "journal/journal.h"
#include "tests/unit/rpc-fixture.h"

#define HOUR_US (INT64_C(3600) * 1000 * 1000)

#define CREATE(params) \
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"snapshot.create\",\"params\":{" params "}}\n"
#define AGAIN "\"domain\":\"w\",\"name\":\"s\",\"request_id\":\"r1\""

static int64_t expect_job(struct client *client)
{
    _cleanup_json_ json_object *answer = client_line(client);

    ck_assert_str_eq(answer_kind(answer), "");
    return json_int(answer_result(answer), "id", -1);
}

static void expect_taken(struct client *client, const char *line)
{
    _cleanup_json_ json_object *answer = NULL;

    client_send(client, line);
    answer = client_line(client);
    ck_assert_str_eq(answer_kind(answer), "AlreadyExists");
    ck_assert_str_eq(json_string(answer_data(answer), "object"), "request");
    ck_assert_str_eq(json_string(answer_data(answer), "name"), "r1");
}

/* How long to wait and the order of members are no part of what is asked for; the rest is. */
START_TEST(test_again)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);
    int64_t job;

    client_send(client, CREATE(AGAIN ",\"wait\":\"no\""));
    job = expect_job(client);
    ck_assert_int_gt(job, 0);
    client_send(client, CREATE(AGAIN ",\"wait\":\"ended\",\"timeout_ms\":5"));
    ck_assert_int_eq(expect_job(client), job);
    client_send(client, CREATE("\"request_id\":\"r1\",\"name\":\"s\",\"domain\":\"w\""));
    ck_assert_int_eq(expect_job(client), job);
    ck_assert_uint_eq(fixture->stub.runs, 1);
    expect_taken(client, CREATE(AGAIN ",\"description\":\"\""));
    expect_taken(client, CREATE("\"domain\":\"w\",\"request_id\":\"r1\""));
    expect_taken(client, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"domain.define\",\"params\":"
                         "{\"name\":\"w\",\"qmp\":\"/q\",\"request_id\":\"r1\"}}\n");
    ck_assert_uint_eq(fixture->stub.runs, 1);
    client_send(client, CREATE("\"domain\":\"w\",\"name\":\"s\",\"request_id\":\"r2\","
                               "\"wait\":\"no\""));
    ck_assert_int_ne(expect_job(client), job);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

START_TEST(test_without_id)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);

    for (int i = 0; i < 2; i++) {
        client_send(client, CREATE("\"domain\":\"w\",\"wait\":\"no\""));
        expect_job(client);
    }
    ck_assert_uint_eq(fixture->stub.runs, 2);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

/* A result is remembered as well as a job. */
START_TEST(test_result)
{
    static const char line[] =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"domain.define\",\"params\":"
        "{\"name\":\"w\",\"qmp\":\"/q\",\"request_id\":\"r1\"}}\n";
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);
    _cleanup_json_ json_object *answer = NULL;

    client_send(client, line);
    client_expect(client, "");
    client_send(client, line);
    answer = client_line(client);
    ck_assert(json_flag(answer_result(answer), "remembered", 0));
    ck_assert_uint_eq(fixture->stub.runs, 1);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

/* Sent again before the first one is recorded: it waits for that, and no longer. */
START_TEST(test_join)
{
    struct fixture *fixture = fixture_new();
    struct client *first = client_new(fixture), *second = client_new(fixture);

    client_send(first, CREATE(AGAIN) CREATE(AGAIN));
    client_send(second, CREATE(AGAIN) CREATE(AGAIN ",\"description\":\"x\""));
    client_expect(second, "AlreadyExists");
    ck_assert_int_gt(expect_job(second), 0);
    ck_assert_int_gt(expect_job(first), 0);
    ck_assert_uint_eq(fixture->stub.runs, 1);
    ck_assert_uint_eq(fixture->stub.n_pending, 1);
    fixture_answer(fixture, 0);
    client_expect(first, "");
    client_free(first);
    client_free(second);
    fixture_free(fixture);
}
END_TEST

/* The first client is gone before it has an answer; its job is there all the same. */
START_TEST(test_lost_connection)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);

    client_send(client, CREATE(AGAIN));
    client_free(client);
    client = client_new(fixture);
    client_send(client, CREATE(AGAIN ",\"wait\":\"no\""));
    ck_assert_int_gt(expect_job(client), 0);
    ck_assert_uint_eq(fixture->stub.runs, 1);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

/* What failed before it did anything is tried again. */
START_TEST(test_failed)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);

    fixture->stub.fail_start = true;
    client_send(client, CREATE(AGAIN));
    client_expect(client, "Busy");
    fixture->stub.fail_start = false;
    client_send(client, CREATE(AGAIN ",\"wait\":\"no\""));
    ck_assert_int_gt(expect_job(client), 0);
    ck_assert_uint_eq(fixture->stub.runs, 2);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

START_TEST(test_restart)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);
    int64_t job;

    client_send(client, CREATE(AGAIN ",\"wait\":\"no\""));
    job = expect_job(client);
    client_free(client);
    fixture_restart(fixture);
    client = client_new(fixture);
    client_send(client, CREATE(AGAIN));
    ck_assert_int_eq(expect_job(client), job);
    expect_taken(client, CREATE(AGAIN ",\"description\":\"\""));
    ck_assert_uint_eq(fixture->stub.runs, 1);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

/* Remembered for the hours of the configuration: the one that is older is done anew. */
START_TEST(test_hours)
{
    static const char params[] = "{\"domain\":\"w\",\"name\":\"s\"}";
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);
    struct record_request records[] = {
        {.id = (char *)"young", .method = (char *)"snapshot.create", .params = (char *)params},
        {.id = (char *)"r1", .method = (char *)"snapshot.create", .params = (char *)params}};

    records[0].job = 41;
    records[0].time = clock_now() - 23 * HOUR_US;
    records[1].job = 42;
    records[1].time = clock_now() - 25 * HOUR_US;
    requests_free(fixture->context.requests);
    fixture->context.requests = requests_new(fixture->base, records, 2);
    client_send(client, CREATE("\"domain\":\"w\",\"name\":\"s\",\"request_id\":\"young\""));
    ck_assert_int_eq(expect_job(client), 41);
    client_send(client, CREATE(AGAIN ",\"wait\":\"no\""));
    ck_assert_int_ne(expect_job(client), 42);
    ck_assert_uint_eq(fixture->stub.runs, 1);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("request");
    TCase *tcase = tcase_create("request");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_again);
    tcase_add_test(tcase, test_without_id);
    tcase_add_test(tcase, test_result);
    tcase_add_test(tcase, test_join);
    tcase_add_test(tcase, test_lost_connection);
    tcase_add_test(tcase, test_failed);
    tcase_add_test(tcase, test_restart);
    tcase_add_test(tcase, test_hours);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
