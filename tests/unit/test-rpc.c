/* The wire: framing, ids, batches, bounds, and connections that come and go. */
#include <check.h>
#include <event2/event.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "api/metrics.h"
#include "base/memory.h"
#include "rpc/listener.h"
#include "rpc/server.h"
#include "tests/unit/rpc-fixture.h"

#define REQUEST(id, method) "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"" method "\"}"
#define WAIT(id) \
    "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"job.wait\",\"params\":{\"job\":1}}"
#define NOTIFICATION "{\"jsonrpc\":\"2.0\",\"method\":\"domain.list\"}"

/* The answers' ids in the order in which they come. */
static void expect_id(struct client *client, const char *id)
{
    _cleanup_json_ json_object *answer = client_line(client);

    ck_assert_msg(answer != NULL, "the client was cut off before %s", id);
    ck_assert_str_eq(json_text(json_member(answer, "id")), id);
}

START_TEST(test_every_split)
{
    static const char text[] = REQUEST("1", "domain.list") "\r\n" REQUEST(
        "2", "domain.list") "\n[" REQUEST("3", "domain.list") "," NOTIFICATION
                                                              "]\n" REQUEST("4", "no.such") "\n";
    struct fixture *fixture = fixture_new();

    for (size_t split = 0; split < sizeof(text); split++) {
        struct client *client = client_new(fixture);
        _cleanup_json_ json_object *batch = NULL;

        fixture->stub.runs = 0;
        client_send_bytes(client, text, split);
        fixture_run(fixture);
        client_send(client, text + split);
        expect_id(client, "1");
        expect_id(client, "2");
        batch = client_line(client);
        ck_assert_uint_eq(json_object_array_length(batch), 1);
        client_expect(client, "MethodNotFound");
        ck_assert_uint_eq(fixture->stub.runs, 4);
        client_free(client);
    }
    fixture_free(fixture);
}
END_TEST

struct shape {
    const char *line, *id, *kind;
};

static const struct shape shapes[] = {
    {REQUEST("\"a\"", "domain.list"), "\"a\"", ""},
    {REQUEST("1.5", "domain.list"), "1.5", ""},
    {REQUEST("-3", "domain.list"), "-3", ""},
    {REQUEST("null", "domain.list"), "null", ""},
    {REQUEST("true", "domain.list"), "null", "InvalidRequest"},
    {REQUEST("[1]", "domain.list"), "null", "InvalidRequest"},
    {"{\"id\":1,\"method\":\"domain.list\"}", "1", "InvalidRequest"},
    {"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"domain.list\"}", "1", "InvalidRequest"},
    {"{\"jsonrpc\":\"2.0\",\"id\":1}", "1", "InvalidRequest"},
    {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":5}", "1", "InvalidRequest"},
    {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"domain.list\",\"params\":5}", "1",
     "InvalidRequest"},
    {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"domain.list\",\"params\":null}", "1",
     "InvalidRequest"},
    {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"domain.list\",\"params\":[]}", "1",
     "InvalidParams"},
    {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"domain.list\",\"params\":{\"x\":1}}", "1",
     "InvalidParams"},
    {"17", "null", "InvalidRequest"},
    {"[]", "null", "InvalidRequest"},
    {"", "null", "ParseError"},
    {"{\"jsonrpc\":\"2.0\"", "null", "ParseError"},
    {REQUEST("1", "domain.list") "x", "null", "ParseError"},
    {"\"\xff\"", "null", "ParseError"},
    {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"domain.\xc0\xaf\"}", "null", "ParseError"},
};

START_TEST(test_shapes)
{
    const struct shape *shape = &shapes[_i];
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);
    _cleanup_json_ json_object *answer = NULL;

    client_send(client, shape->line);
    client_send(client, "\n");
    answer = client_line(client);
    ck_assert_str_eq(json_string(answer, "jsonrpc"), "2.0");
    ck_assert_str_eq(json_text(json_member(answer, "id")), shape->id);
    ck_assert_str_eq(answer_kind(answer), shape->kind);
    client_send(client, REQUEST("9", "domain.list") "\n");
    expect_id(client, "9");
    client_free(client);
    fixture_free(fixture);
}
END_TEST

/* A notification runs, and is answered neither with a result nor with an error. */
START_TEST(test_notification)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);

    client_send(client, NOTIFICATION "\n{\"jsonrpc\":\"2.0\",\"method\":\"no.such\"}\n");
    client_send(client, "{\"jsonrpc\":\"2.0\",\"method\":\"domain.list\",\"params\":[]}\n");
    client_send(client, "[" NOTIFICATION "," NOTIFICATION "]\n" REQUEST("1", "domain.list") "\n");
    expect_id(client, "1");
    ck_assert_uint_eq(fixture->stub.runs, 4);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

/* The answers of a batch come as one, after the last of them; other requests do not wait for it. */
START_TEST(test_batch)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);
    _cleanup_json_ json_object *batch = NULL;

    client_send(client, "[" REQUEST("1", "domain.list") "," WAIT("2") ",7," NOTIFICATION "]\n");
    client_send(client, REQUEST("3", "domain.list") "\n");
    expect_id(client, "3");
    fixture_answer(fixture, 0);
    batch = client_line(client);
    ck_assert_uint_eq(json_object_array_length(batch), 3);
    ck_assert_int_eq(json_int(json_object_array_get_idx(batch, 0), "id", 0), 1);
    ck_assert_str_eq(answer_kind(json_object_array_get_idx(batch, 1)), "InvalidRequest");
    ck_assert_int_eq(json_int(json_object_array_get_idx(batch, 2), "id", 0), 2);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

/* A batch that is larger than the bound of requests in flight is taken on bit by bit. */
START_TEST(test_batch_over_bound)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);
    _cleanup_json_ json_object *batch = NULL;
    unsigned answered = 0;

    fixture->conf.in_flight = 3;
    client_send(client, "[");
    for (int i = 0; i < 50; i++)
        client_send(client, WAIT("1") "," REQUEST("2", "domain.list") ",");
    client_send(client, REQUEST("3", "domain.list") "]\n" REQUEST("4", "domain.list") "\n");
    fixture_run(fixture);
    for (; fixture->stub.n_pending > 0; answered++) {
        ck_assert_uint_le(fixture->stub.n_pending, 3);
        fixture_answer(fixture, 0);
        fixture_run(fixture);
    }
    ck_assert_uint_eq(answered, 50);
    batch = client_line(client);
    if (!json_object_is_type(batch, json_type_array)) {
        json_object_put(batch);
        batch = client_line(client);
    }
    ck_assert_uint_eq(json_object_array_length(batch), 101);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

START_TEST(test_bounds)
{
    static const char head[] =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"domain.get\",\"params\":";
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);
    size_t size = 2 * 1024 * 1024;
    _cleanup_free_ char *text = xrealloc(NULL, size, 1);
    _cleanup_json_ json_object *answer = NULL;

    memset(text, 'x', size);
    client_send_bytes(client, text, size);
    client_send(client, "\n");
    answer = client_line(client);
    ck_assert_str_eq(answer_kind(answer), "LimitExceeded");
    ck_assert_str_eq(json_string(answer_data(answer), "limit"), "request_bytes");
    ck_assert_int_eq(json_int(answer_data(answer), "value", 0), 1024 * 1024);
    json_object_put(answer);

    memset(text, '[', 1000);
    client_send(client, head);
    client_send_bytes(client, text, 1000);
    client_send(client, "\n");
    answer = client_line(client);
    ck_assert_str_eq(answer_kind(answer), "LimitExceeded");
    ck_assert_str_eq(json_string(answer_data(answer), "limit"), "nesting");
    ck_assert_int_eq(json_int(answer_data(answer), "value", 0), 32);

    client_send_bytes(client, "{\"a\0b\":1}\n", 10);
    client_expect(client, "ParseError");
    client_send(client, REQUEST("5", "domain.list") "\n");
    expect_id(client, "5");
    client_free(client);
    fixture_free(fixture);
}
END_TEST

/* Past the bound of requests in flight the daemon reads on as soon as one is answered. */
START_TEST(test_in_flight)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);
    int answers = 0;

    fixture->conf.in_flight = 4;
    for (int i = 0; i < 20; i++)
        client_send(client, WAIT("1") "\n");
    client_send(client, REQUEST("2", "domain.list") "\n");
    fixture_run(fixture);
    ck_assert_uint_eq(fixture->stub.n_pending, 4);
    for (; fixture->stub.n_pending > 0; answers++) {
        ck_assert_uint_eq(fixture->stub.runs, answers > 16);
        fixture_answer(fixture, 0);
        fixture_run(fixture);
        expect_id(client, "1");
        ck_assert_uint_le(fixture->stub.n_pending, 4);
        if (answers == 16)
            expect_id(client, "2");
    }
    ck_assert_int_eq(answers, 20);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

/* One who asks for much at once does not keep others waiting for all of it. */
START_TEST(test_fairness)
{
    struct fixture *fixture = fixture_new();
    struct client *greedy = client_new(fixture), *modest = client_new(fixture);
    unsigned before = 0;

    for (int i = 0; i < 200; i++)
        client_send(greedy, REQUEST("1", "domain.list") "\n");
    client_send(modest, REQUEST("2", "domain.list") "\n");
    expect_id(modest, "2");
    for (json_object *answer; (answer = client_peek(greedy)); before++)
        json_object_put(answer);
    ck_assert_uint_lt(before, 100);
    for (; before < 200; before++)
        expect_id(greedy, "1");
    client_free(greedy);
    client_free(modest);
    fixture_free(fixture);
}
END_TEST

/* Who does not read is cut off; the answers that were kept for it are gone with it. */
START_TEST(test_slow_reader)
{
    struct fixture *fixture = fixture_new();
    struct client *slow = client_new(fixture), *other = client_new(fixture);

    fixture->conf.output_bytes = 256 * 1024;
    client_set_reading(slow, false);
    for (int i = 0; i < 20; i++)
        client_send(slow, REQUEST("1", "rpc.discover") "\n");
    fixture_run(fixture);
    ck_assert_uint_eq(fixture->context.metrics->cut_off, 1);
    ck_assert_uint_eq(fixture->context.metrics->connections, 1);
    client_send(other, REQUEST("2", "domain.list") "\n");
    expect_id(other, "2");
    client_free(slow);
    client_free(other);
    fixture_free(fixture);
}
END_TEST

/* One who reads late but reads gets all of it, in order. */
START_TEST(test_late_reader)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);
    char id[16];

    client_set_reading(client, false);
    for (int i = 0; i < 40; i++) {
        _cleanup_free_ char *line =
            xasprintf("{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"rpc.discover\"}\n", i);

        client_send(client, line);
    }
    fixture_run(fixture);
    client_set_reading(client, true);
    for (int i = 0; i < 40; i++) {
        snprintf(id, sizeof(id), "%d", i);
        expect_id(client, id);
    }
    client_free(client);
    fixture_free(fixture);
}
END_TEST

/* An answer that no connection may hold is an error, alone and in a batch. */
START_TEST(test_long_answer)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);

    fixture->conf.output_bytes = 32 * 1024;
    client_send(client, REQUEST("1", "rpc.discover") "\n");
    client_expect(client, "LimitExceeded");
    fixture->conf.output_bytes = 64 * 1024;
    client_send(client, "[" REQUEST("1", "rpc.discover") "," REQUEST("2", "rpc.discover") "]\n");
    client_expect(client, "LimitExceeded");
    client_send(client, "[" REQUEST("1", "rpc.discover") "]\n");
    client_expect(client, "");
    client_free(client);
    fixture_free(fixture);
}
END_TEST

START_TEST(test_connection_limit)
{
    struct fixture *fixture = fixture_new();
    struct client *first = client_new(fixture), *second, *third;

    fixture->conf.connections = 2;
    second = client_new(fixture);
    third = client_new(fixture);
    client_expect(third, "LimitExceeded");
    client_expect(third, NULL);
    client_free(third);
    client_free(second);
    fixture_run(fixture);
    third = client_new(fixture);
    client_send(third, REQUEST("1", "domain.list") "\n");
    expect_id(third, "1");
    ck_assert_uint_eq(fixture->context.metrics->refused, 1);
    client_free(third);
    client_free(first);
    fixture_free(fixture);
}
END_TEST

/* Out of descriptors: who waits is turned away instead of keeping the loop awake. */
START_TEST(test_no_descriptors)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture), *waiting;
    struct rlimit old, limit;
    int next;

    fixture_run(fixture);
    waiting = client_new(fixture);
    next = dup(0);
    close(next);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    limit = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = old.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    client_expect(waiting, NULL);
    ck_assert_uint_eq(fixture->context.metrics->refused, 1);
    json_object_put(client_call(client, 1, "domain.list", NULL));
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    client_free(waiting);
    waiting = client_new(fixture);
    json_object_put(client_call(waiting, 1, "domain.list", NULL));
    client_free(client);
    client_free(waiting);
    fixture_free(fixture);
}
END_TEST

/* A listening socket that was handed over is served, and its file is left alone. */
START_TEST(test_inherited)
{
    struct fixture *fixture = fixture_new();
    struct listener listener;
    struct client *client;

    fixture->server = server_free(fixture->server);
    ck_assert_int_eq(listener_open(&listener, fixture->path, NULL), 0);
    fixture->server = server_new(&fixture->context, listener.fd, NULL);
    client = client_new(fixture);
    client_send(client, REQUEST("1", "domain.list") "\n");
    fixture_run(fixture);
    ck_assert_uint_eq(fixture->stub.runs, 0);
    server_start(fixture->server);
    expect_id(client, "1");
    client_free(client);
    server_stop(fixture->server);
    ck_assert_int_eq(access(fixture->path, F_OK), 0);
    free(listener.path);
    fixture_free(fixture);
}
END_TEST

/* A client that goes away takes nothing back, and its place is free at once. */
START_TEST(test_gone_while_pending)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);

    client_send(client, WAIT("1") "\n[" WAIT("2") "," REQUEST("3", "domain.list") "]\n");
    fixture_run(fixture);
    ck_assert_uint_eq(fixture->stub.n_pending, 2);
    client_free(client);
    fixture_run(fixture);
    ck_assert_uint_eq(fixture->context.metrics->connections, 0);
    ck_assert_uint_eq(fixture->stub.n_pending, 2);
    fixture_answer(fixture, 1);
    fixture_answer(fixture, 0);
    fixture_free(fixture);
}
END_TEST

/* One that only closes its own direction still gets its answers, then the end. */
START_TEST(test_half_closed)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);

    client_send(client, WAIT("1") "\n");
    for (int i = 0; i < 40; i++)
        client_send(client, REQUEST("2", "domain.list") "\n");
    shutdown(client->fd, SHUT_WR);
    for (int i = 0; i < 40; i++)
        expect_id(client, "2");
    fixture_run(fixture);
    ck_assert(!client->eof);
    fixture_answer(fixture, 0);
    expect_id(client, "1");
    client_expect(client, NULL);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

/* A stop answers what is open, sends it, and removes the socket. */
START_TEST(test_stop)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture), *idle = client_new(fixture);

    client_send(client, WAIT("1") "\n[" WAIT("2") "," REQUEST("3", "domain.list") "]\n");
    fixture_run(fixture);
    server_stop(fixture->server);
    client_expect(client, "ShuttingDown");
    json_object_put(client_line(client));
    client_expect(client, NULL);
    client_expect(idle, NULL);
    ck_assert_int_ne(access(fixture->path, F_OK), 0);
    client_free(client);
    client_free(idle);
    fixture_free(fixture);
}
END_TEST

/* While the daemon is stopping, what reads still works, and what changes something does not. */
START_TEST(test_stopping)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);

    fixture->context.stopping = true;
    json_object_put(client_call(client, 1, "snapshot.current", "{\"domain\":\"w\"}"));
    client_send(client, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"snapshot.current\","
                        "\"params\":{\"domain\":\"w\",\"name\":\"s\"}}\n");
    client_expect(client, "ShuttingDown");
    client_send(client, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"daemon.reload\"}\n");
    client_expect(client, "ShuttingDown");
    ck_assert_uint_eq(fixture->stub.reloads, 0);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

START_TEST(test_daemon_methods)
{
    struct fixture *fixture = fixture_new();
    struct client *client = client_new(fixture);
    _cleanup_json_ json_object *info = client_call(client, 1, "daemon.info", NULL), *other = NULL;
    const char *text;

    ck_assert_str_eq(json_string(answer_result(info), "name"), "snapvmd");
    ck_assert_int_eq(json_int(answer_result(info), "pid", 0), getpid());
    ck_assert_int_eq(json_int(answer_result(info), "domains", 0), 3);
    ck_assert_int_eq(json_int(json_sub(answer_result(info), "jobs"), "total", 0), 2);
    ck_assert_str_ne(json_string(answer_result(info), "instance"), "");
    other = client_call(client, 2, "daemon.metrics", NULL);
    text = json_string(answer_result(other), "text");
    ck_assert_ptr_nonnull(strstr(text, "\nsnapvm_connections 1\n"));
    ck_assert_ptr_nonnull(
        strstr(text, "\nsnapvm_requests_total{method=\"daemon.info\",result=\"ok\"} 1\n"));
    json_object_put(other);
    other = client_call(client, 3, "rpc.discover", NULL);
    ck_assert_str_eq(json_string(answer_result(other), "openrpc"), "1.2.6");
    json_object_put(other);
    other = client_call(client, 4, "daemon.reload", "{\"request_id\":\"r\"}");
    json_object_put(other);
    other = client_call(client, 5, "daemon.reload", "{\"request_id\":\"r\"}");
    ck_assert_str_eq(answer_kind(other), "");
    ck_assert_uint_eq(fixture->stub.reloads, 1);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rpc");
    TCase *tcase = tcase_create("rpc");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_every_split);
    tcase_add_loop_test(tcase, test_shapes, 0, sizeof(shapes) / sizeof(shapes[0]));
    tcase_add_test(tcase, test_notification);
    tcase_add_test(tcase, test_batch);
    tcase_add_test(tcase, test_batch_over_bound);
    tcase_add_test(tcase, test_bounds);
    tcase_add_test(tcase, test_in_flight);
    tcase_add_test(tcase, test_fairness);
    tcase_add_test(tcase, test_slow_reader);
    tcase_add_test(tcase, test_late_reader);
    tcase_add_test(tcase, test_long_answer);
    tcase_add_test(tcase, test_connection_limit);
    tcase_add_test(tcase, test_no_descriptors);
    tcase_add_test(tcase, test_inherited);
    tcase_add_test(tcase, test_gone_while_pending);
    tcase_add_test(tcase, test_half_closed);
    tcase_add_test(tcase, test_stop);
    tcase_add_test(tcase, test_stopping);
    tcase_add_test(tcase, test_daemon_methods);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
