/* Events to subscribers: none lost, none twice, in order, whatever comes in meanwhile. */
#include <check.h>
#include <event2/event.h>
#include <string.h>

#include "api/hub.h"
#include "api/metrics.h"
#include "base/memory.h"
#include "journal/journal.h"
#include "tests/unit/rpc-fixture.h"

/* More than a page of replay, by a part of one. */
#define HISTORY 700

static void expect_event(struct client *client, int64_t seq)
{
    _cleanup_json_ json_object *line = client_line(client);

    ck_assert_msg(line != NULL, "cut off before event %d", (int)seq);
    ck_assert_str_eq(json_string(line, "method"), "event");
    ck_assert_msg(json_int(json_sub(line, "params"), "seq", 0) == seq, "not %d but %s", (int)seq,
                  json_text(line));
}

static int64_t subscribe(struct client *client, const char *params)
{
    _cleanup_json_ json_object *answer = client_call(client, 1, "event.subscribe", params);

    ck_assert_str_eq(answer_kind(answer), "");
    return json_int(answer_result(answer), "seq", -1);
}

/* Whatever was sent to the client before the answer to this would have come before it. */
static void expect_quiet(struct client *client)
{
    json_object_put(client_call(client, 77, "domain.get", "{\"domain\":\"w\"}"));
}

START_TEST(test_live)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);
    _cleanup_json_ json_object *line = NULL;
    json_object *params;

    fixture_events(fixture, "domain.state", "web", 3);
    fixture_until_seq(fixture, 3);
    ck_assert_int_eq(subscribe(client, "{}"), 3);
    fixture_events(fixture, "domain.state", "web", 1);
    line = client_line(client);
    params = json_sub(line, "params");
    ck_assert_str_eq(json_string(line, "jsonrpc"), "2.0");
    ck_assert_int_eq(json_int(params, "seq", 0), 4);
    ck_assert_str_eq(json_string(params, "kind"), "domain.state");
    ck_assert_str_eq(json_string(params, "domain"), "web");
    ck_assert_str_eq(json_string(params, "state"), "running");
    ck_assert_uint_eq(strlen(json_string(params, "time")), strlen("2026-11-21T01:30:00.000000Z"));
    client_free(client);
    fixture_free(fixture);
}
END_TEST

/* An event without a domain or without further members is still one JSON text. */
START_TEST(test_bare)
{
    static const char *const bodies[] = {NULL, "{}", "{ }", "{ \"a\": 1 }"};
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);

    subscribe(client, "{}");
    for (int i = 0; i < 4; i++) {
        struct journal_txn *txn = journal_begin(fixture->context.journal);

        journal_add_event(txn, "domain.defined", i ? "w" : NULL, bodies[i]);
        journal_commit(txn, "event", NULL, NULL);
        expect_event(client, i + 1);
    }
    client_free(client);
    fixture_free(fixture);
}
END_TEST

START_TEST(test_filters)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture), *late = client_new(fixture);

    subscribe(client, "{\"domains\":[\"a\",\"b\"],\"kinds\":[\"job.ready\",\"job.ended\"]}");
    fixture_events(fixture, "job.ready", "a", 1);
    fixture_events(fixture, "job.created", "a", 1);
    fixture_events(fixture, "job.ended", "c", 1);
    fixture_events(fixture, "job.ended", "b", 1);
    fixture_until_seq(fixture, 4);
    expect_event(client, 1);
    expect_event(client, 4);
    expect_quiet(client);
    subscribe(late, "{\"since\":0,\"kinds\":[\"job.ended\"]}");
    expect_event(late, 3);
    expect_event(late, 4);
    client_free(client);
    client_free(late);
    fixture_free(fixture);
}
END_TEST

START_TEST(test_unsubscribe)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);

    subscribe(client, "{}");
    fixture_events(fixture, "domain.state", "w", 1);
    expect_event(client, 1);
    json_object_put(client_call(client, 2, "event.unsubscribe", NULL));
    fixture_events(fixture, "domain.state", "w", 1);
    fixture_until_seq(fixture, 2);
    expect_quiet(client);
    /* Again, in place of the one that is gone. */
    ck_assert_int_eq(subscribe(client, "{\"since\":1}"), 2);
    expect_event(client, 2);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

/* While a page is read and sent, events come in, some of them in the same turn of the loop. */
START_TEST(test_replay_and_live)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture), *live = client_new(fixture);
    int64_t last = HISTORY, seen = 0;

    fixture_events(fixture, "domain.state", "w", HISTORY);
    fixture_until_seq(fixture, HISTORY);
    subscribe(live, "{}");
    ck_assert_int_eq(subscribe(client, "{\"since\":5}"), HISTORY);
    for (seen = 5; seen < last; seen++) {
        if (seen % 3 == 0 && last < HISTORY + 300)
            fixture_events(fixture, "domain.state", "w", 2), last += 2;
        expect_event(client, seen + 1);
    }
    ck_assert_int_gt(last, HISTORY + 290);
    for (seen = HISTORY; seen < last; seen++)
        expect_event(live, seen + 1);
    expect_quiet(client);
    expect_quiet(live);
    client_free(client);
    client_free(live);
    fixture_free(fixture);
}
END_TEST

/* A replay waits for a reader who is late, also when its bound is less than the history. */
START_TEST(test_replay_waits)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);
    _cleanup_free_ char *body = xrealloc(NULL, 4096, 1);
    unsigned n = 300;

    fixture->conf.output_bytes = 64 * 1024;
    memset(body, 'x', 4096);
    memcpy(body, "{\"x\":\"", 6);
    strcpy(body + 4000, "\"}");
    for (unsigned i = 0; i < n; i++) {
        struct journal_txn *txn = journal_begin(fixture->context.journal);

        journal_add_event(txn, "job.ended", "w", body);
        journal_commit(txn, "event", NULL, NULL);
    }
    fixture_until_seq(fixture, n);
    subscribe(client, "{\"since\":0}");
    client_set_reading(client, false);
    for (int i = 0; i < 50; i++) {
        fixture_run(fixture);
        fixture_events(fixture, "job.ended", "w", 1);
        fixture_until_seq(fixture, ++n);
    }
    client_set_reading(client, true);
    for (unsigned i = 0; i < n; i++)
        expect_event(client, i + 1);
    ck_assert_uint_eq(fixture->context.metrics->cut_off, 0);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

/* A subscriber that does not read is cut off, and the others go on. */
START_TEST(test_slow_subscriber)
{
    struct fixture *fixture = fixture_new();
    struct client *slow = client_new(fixture), *other = client_new(fixture);
    unsigned n = 0;

    fixture->conf.output_bytes = 64 * 1024;
    subscribe(slow, "{}");
    subscribe(other, "{}");
    client_set_reading(slow, false);
    while (fixture->context.metrics->cut_off == 0 && n < 100000) {
        fixture_events(fixture, "domain.state", "w", 100);
        for (unsigned i = 0; i < 100; i++)
            expect_event(other, ++n);
    }
    ck_assert_uint_eq(fixture->context.metrics->cut_off, 1);
    client_free(slow);
    client_free(other);
    fixture_free(fixture);
}
END_TEST

/* The answer comes before the events, also when a batch holds it back. */
START_TEST(test_batch)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);
    _cleanup_json_ json_object *batch = NULL;

    client_send(client, "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"event.subscribe\"},"
                        "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"job.wait\","
                        "\"params\":{\"job\":1}}]\n");
    fixture_run(fixture);
    fixture_events(fixture, "domain.state", "w", HISTORY);
    fixture_until_seq(fixture, HISTORY);
    expect_quiet(client);
    fixture_answer(fixture, 0);
    batch = client_line(client);
    ck_assert_uint_eq(json_object_array_length(batch), 2);
    for (int i = 0; i < HISTORY; i++)
        expect_event(client, i + 1);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

/* Numbers and events outlive the daemon. */
START_TEST(test_restart)
{
    struct fixture *fixture = fixture_new();
    struct client *client;

    fixture_events(fixture, "domain.state", "w", 10);
    fixture_until_seq(fixture, 10);
    fixture_restart(fixture);
    client = client_new(fixture);
    ck_assert_int_eq(subscribe(client, "{\"since\":4}"), 10);
    fixture_events(fixture, "domain.state", "w", 1);
    for (int i = 5; i <= 11; i++)
        expect_event(client, i);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

static void expect_not_found(struct client *client, const char *params, int64_t first)
{
    _cleanup_json_ json_object *answer = client_call(client, 1, "event.subscribe", params);

    ck_assert_str_eq(answer_kind(answer), "NotFound");
    ck_assert_int_eq(json_int(answer_data(answer), "first", -1), first);
}

/* What is no longer kept, and what never was, is NotFound; the borders are exact. */
START_TEST(test_not_kept)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);
    struct journal_txn *txn;
    int64_t first;

    ck_assert_int_eq(subscribe(client, "{\"since\":0}"), 0);
    json_object_put(client_call(client, 2, "event.unsubscribe", NULL));
    expect_not_found(client, "{\"since\":1}", 1);
    fixture_events(fixture, "domain.state", "w", 1100);
    fixture_until_seq(fixture, 1100);
    txn = journal_begin(fixture->context.journal);
    journal_prune(txn);
    journal_add_event(txn, "domain.state", "w", NULL);
    journal_commit(txn, "prune", NULL, NULL);
    fixture_until_seq(fixture, 1101);
    first = journal_first_seq(fixture->context.journal);
    ck_assert_int_gt(first, 2);
    for (int i = 2; i > 0; i--) {
        _cleanup_free_ char *params = xasprintf("{\"since\":%d}", (int)first - i);

        if (i == 2)
            expect_not_found(client, params, first);
        else
            ck_assert_int_eq(subscribe(client, params), 1101);
    }
    for (int64_t seq = first; seq <= 1101; seq++)
        expect_event(client, seq);
    expect_not_found(client, "{\"since\":1102}", first);
    ck_assert_int_eq(subscribe(client, "{\"since\":1101}"), 1101);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

/* Progress goes to who listens now, has no number, and moves none. */
START_TEST(test_progress)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture), *other = client_new(fixture);
    _cleanup_json_ json_object *line = NULL;
    json_object *params;

    subscribe(client, "{}");
    subscribe(other, "{\"domains\":[\"x\"]}");
    hub_progress(fixture->context.hub, "w", "{\"job\":{\"id\":7}}");
    line = client_line(client);
    params = json_sub(line, "params");
    ck_assert_str_eq(json_string(params, "kind"), "job.progress");
    ck_assert(!json_object_object_get_ex(params, "seq", NULL));
    ck_assert_int_eq(json_int(json_sub(params, "job"), "id", 0), 7);
    expect_quiet(other);
    fixture_events(fixture, "domain.state", "w", 1);
    expect_event(client, 1);
    client_free(client);
    client_free(other);
    fixture_free(fixture);
}
END_TEST

/* A subscriber that goes away in the middle of its replay. */
START_TEST(test_gone_while_replayed)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);

    fixture_events(fixture, "domain.state", "w", HISTORY);
    fixture_until_seq(fixture, HISTORY);
    client_send(client, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"event.subscribe\","
                        "\"params\":{\"since\":0}}\n");
    event_base_loop(fixture->base, EVLOOP_NONBLOCK);
    client_free(client);
    client = client_new(fixture);
    subscribe(client, "{\"since\":0}");
    for (int i = 0; i < HISTORY; i++)
        expect_event(client, i + 1);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hub");
    TCase *tcase = tcase_create("hub");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_live);
    tcase_add_test(tcase, test_bare);
    tcase_add_test(tcase, test_filters);
    tcase_add_test(tcase, test_unsubscribe);
    tcase_add_test(tcase, test_replay_and_live);
    tcase_add_test(tcase, test_replay_waits);
    tcase_add_test(tcase, test_slow_subscriber);
    tcase_add_test(tcase, test_batch);
    tcase_add_test(tcase, test_restart);
    tcase_add_test(tcase, test_not_kept);
    tcase_add_test(tcase, test_progress);
    tcase_add_test(tcase, test_gone_while_replayed);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
