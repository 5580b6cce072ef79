/* The client library against a peer that the test plays itself: the other end of a socketpair. What
 * the peer says is written before the library looks, so that nothing here depends on time. */
#include <check.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/snapvm.h"

static struct snapvm *conn;
static int peer;

static void setup(void)
{
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    conn = snapvm_adopt(fds[0]);
    peer = fds[1];
}

static void teardown(void)
{
    conn = snapvm_disconnect(conn);
    close(peer);
}

static void say(const char *text)
{
    ck_assert_int_eq(write(peer, text, strlen(text)), (ssize_t)strlen(text));
}

/* All that the library has written so far. */
static size_t hear(char *to, size_t room)
{
    ssize_t n = recv(peer, to, room - 1, MSG_DONTWAIT);

    to[n < 0 ? 0 : n] = '\0';
    return n < 0 ? 0 : (size_t)n;
}

/* Answers and events written down in the order of their coming: "1=VALUE ", "2!KIND ", "event(N) ".
 */
struct diary {
    char text[2048];
};

struct entry {
    struct diary *diary;
    int number;
};

static void write_answer(struct json_object *result, const struct snapvm_error *err, void *data)
{
    struct entry *entry = data;
    char *end = entry->diary->text + strlen(entry->diary->text);

    if (err)
        sprintf(end, "%d!%s ", entry->number, err->kind);
    else
        sprintf(end, "%d=%s ", entry->number, json_object_to_json_string(result));
}

static void write_event(struct json_object *event, void *data)
{
    struct diary *diary = data;
    struct json_object *seq;

    ck_assert(json_object_object_get_ex(event, "seq", &seq));
    sprintf(diary->text + strlen(diary->text), "event(%d) ", json_object_get_int(seq));
}

START_TEST(request_on_the_wire)
{
    struct json_object *params = json_tokener_parse("{\"domain\":\"a/b\\n\"}");
    char text[512];

    ck_assert_int_eq(snapvm_send(conn, "domain.get", params, NULL, NULL, NULL), 1);
    ck_assert_int_eq(snapvm_send(conn, "domain.list", NULL, NULL, NULL, NULL), 2);
    hear(text, sizeof(text));
    ck_assert_str_eq(text, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"domain.get\","
                           "\"params\":{\"domain\":\"a/b\\n\"}}\n"
                           "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"domain.list\"}\n");
    json_object_put(params);
}
END_TEST

START_TEST(answers_in_any_order_and_in_pieces)
{
    static const char said[] =
        "{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":\"c\"}\r\n"
        "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"seq\":7}}\n"
        "{\"jsonrpc\":\"2.0\",\"method\":\"other\",\"params\":{\"seq\":8}}\n"
        "\n"
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":null}\n"
        "{\"jsonrpc\":\"2.0\",\"id\":9,\"result\":\"for nobody\"}\n"
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{\"code\":1,\"message\":\"m\"}}\n"
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":\"again\"}\n";
    struct diary diary = {""};
    struct entry entries[] = {{&diary, 1}, {&diary, 2}, {&diary, 3}};

    snapvm_on_event(conn, write_event, &diary);
    for (size_t i = 0; i < 3; i++)
        snapvm_send(conn, "x", NULL, write_answer, &entries[i], NULL);
    ck_assert_int_eq(snapvm_dispatch(conn, NULL), 0);
    ck_assert_str_eq(diary.text, "");
    for (size_t i = 0; i < strlen(said); i += (size_t)_i + 1) {
        char piece[sizeof(said)];

        snprintf(piece, sizeof(piece), "%.*s", _i + 1, said + i);
        say(piece);
        ck_assert_int_eq(snapvm_dispatch(conn, NULL), 0);
    }
    ck_assert_str_eq(diary.text, "3=\"c\" event(7) 1=null 2!NotFound ");
}
END_TEST

START_TEST(blocking_call)
{
    struct diary diary = {""};
    struct entry entry = {&diary, 1};
    struct json_object *result = NULL;

    snapvm_on_event(conn, write_event, &diary);
    snapvm_send(conn, "earlier", NULL, write_answer, &entry, NULL);
    say("{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"seq\":7}}\n"
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1}\n"
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"a\":[]}}\n"
        "{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":null}\n");
    ck_assert_int_eq(snapvm_call(conn, "x", NULL, -1, &result, NULL), 0);
    ck_assert_str_eq(json_object_to_json_string_ext(result, 0), "{\"a\":[]}");
    json_object_put(result);
    ck_assert_str_eq(diary.text, "event(7) 1=1 ");
}
END_TEST

START_TEST(error_of_the_daemon)
{
    struct snapvm_error err = SNAPVM_ERROR_INIT;
    struct json_object *result = NULL, *job;

    say("{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":3,\"message\":\"Wait.\","
        "\"data\":{\"kind\":\"Busy\",\"job\":17}}}\n");
    ck_assert_int_eq(snapvm_call(conn, "x", NULL, -1, &result, &err), -1);
    ck_assert_ptr_null(result);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_BUSY);
    ck_assert_str_eq(err.kind, "Busy");
    ck_assert_str_eq(err.message, "Wait.");
    ck_assert(json_object_object_get_ex(err.data, "job", &job));
    ck_assert_int_eq(json_object_get_int(job), 17);
    snapvm_error_clear(&err);
    ck_assert_int_eq(err.code, 0);
}
END_TEST

static const struct {
    const char *error;
    int code;
    const char *kind;
} odd_errors[] = {
    {"{}", SNAPVM_ERROR_INTERNAL, "InternalError"},
    {"{\"code\":16,\"message\":5,\"data\":[1]}", SNAPVM_ERROR_TIMEOUT, "Timeout"},
    {"{\"code\":77,\"data\":{\"kind\":\"Newer\"}}", 77, "Newer"},
    {"{\"code\":77}", 77, "InternalError"},
    {"{\"code\":-1,\"message\":\"m\"}", SNAPVM_ERROR_INTERNAL, "InternalError"},
    {"{\"code\":99999999999,\"message\":\"m\"}", SNAPVM_ERROR_INTERNAL, "InternalError"},
};

START_TEST(error_of_another_shape)
{
    struct snapvm_error err = SNAPVM_ERROR_INIT;
    char text[256];

    sprintf(text, "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":%s}\n", odd_errors[_i].error);
    say(text);
    ck_assert_int_eq(snapvm_call(conn, "x", NULL, -1, NULL, &err), -1);
    ck_assert_int_eq(err.code, odd_errors[_i].code);
    ck_assert_str_eq(err.kind, odd_errors[_i].kind);
    ck_assert_ptr_nonnull(err.message);
    snapvm_error_clear(&err);
}
END_TEST

START_TEST(error_without_id_is_about_the_longest)
{
    struct diary diary = {""};
    struct entry entries[] = {{&diary, 1}, {&diary, 2}, {&diary, 3}};

    snapvm_send(conn, "x", NULL, write_answer, &entries[0], NULL);
    snapvm_send(conn, "a longer one", NULL, write_answer, &entries[1], NULL);
    snapvm_send(conn, "y", NULL, write_answer, &entries[2], NULL);
    say("{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":17,\"message\":\"m\"}}\n");
    ck_assert_int_eq(snapvm_dispatch(conn, NULL), 0);
    ck_assert_str_eq(diary.text, "2!LimitExceeded ");
    conn = snapvm_disconnect(conn);
}
END_TEST

static const char *const nonsense[] = {
    "HTTP/1.1 400 Bad Request\r\n",
    "[]\n",
    "{\"jsonrpc\":\"2.0\",\"id\":1}\n",
    "{\"jsonrpc\":\"2.0\",\"result\":1}\n",
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"\xff\"}\n",
};

START_TEST(nonsense_ends_the_connection)
{
    struct snapvm_error err = SNAPVM_ERROR_INIT;
    struct diary diary = {""};
    struct entry entry = {&diary, 1};

    snapvm_send(conn, "x", NULL, write_answer, &entry, NULL);
    say(nonsense[_i]);
    say("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"too late\"}\n");
    ck_assert_int_eq(snapvm_dispatch(conn, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_LOCAL_BAD_ANSWER);
    ck_assert_str_eq(diary.text, "1!BadAnswer ");
    snapvm_error_clear(&err);
}
END_TEST

START_TEST(deep_result)
{
    struct json_object *result = NULL;
    char text[2048] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":";

    for (int i = 0; i < 500; i++)
        strcat(text, "[");
    for (int i = 0; i < 500; i++)
        strcat(text, "]");
    strcat(text, "}\n");
    say(text);
    ck_assert_int_eq(snapvm_call(conn, "x", NULL, -1, &result, NULL), 0);
    json_object_put(result);
}
END_TEST

START_TEST(lost_connection_answers_everything_once)
{
    struct snapvm_error err = SNAPVM_ERROR_INIT;
    struct diary diary = {""};
    struct entry entries[] = {{&diary, 1}, {&diary, 2}};

    snapvm_send(conn, "x", NULL, write_answer, &entries[0], NULL);
    snapvm_send(conn, "x", NULL, write_answer, &entries[1], NULL);
    say("{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":2}\n{\"half\":");
    close(peer);
    ck_assert_int_eq(snapvm_dispatch(conn, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_LOCAL_DISCONNECTED);
    ck_assert_str_eq(diary.text, "2=2 1!Disconnected ");
    ck_assert_int_eq(snapvm_events(conn), 0);
    ck_assert_int_eq(snapvm_dispatch(conn, &err), -1);
    ck_assert_int_eq(snapvm_send(conn, "x", NULL, write_answer, &entries[0], &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_LOCAL_DISCONNECTED);
    ck_assert_int_eq(snapvm_call(conn, "x", NULL, -1, NULL, &err), -1);
    ck_assert_str_eq(diary.text, "2=2 1!Disconnected ");
    snapvm_error_clear(&err);
}
END_TEST

START_TEST(disconnect_answers_everything_once)
{
    struct diary diary = {""};
    struct entry entry = {&diary, 1};

    snapvm_send(conn, "x", NULL, write_answer, &entry, NULL);
    conn = snapvm_disconnect(conn);
    ck_assert_str_eq(diary.text, "1!Disconnected ");
    ck_assert_ptr_null(snapvm_disconnect(NULL));
}
END_TEST

/* A daemon that refuses a stranger answers and closes without reading on. */
START_TEST(reason_is_heard_although_writing_failed)
{
    struct snapvm_error err = SNAPVM_ERROR_INIT;

    say("{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":5,\"message\":\"m\"}}\n");
    close(peer);
    ck_assert_int_eq(snapvm_call(conn, "x", NULL, -1, NULL, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_ACCESS_DENIED);
    snapvm_error_clear(&err);
}
END_TEST

#define BIG 100000
#define N_BIG 20

/* What the socket does not take stays in the library, which asks for POLLOUT and never waits. */
START_TEST(sending_never_waits)
{
    struct json_object *params = json_object_new_object();
    struct diary diary = {""};
    struct entry entry = {&diary, N_BIG};
    char *big = malloc(BIG + 1), *text = malloc(2 * BIG);
    size_t lines = 0, n;

    memset(big, 'x', BIG);
    big[BIG] = '\0';
    json_object_object_add(params, "big", json_object_new_string(big));
    for (int i = 1; i <= N_BIG; i++)
        ck_assert_int_eq(snapvm_send(conn, "x", params, write_answer, &entry, NULL), i);
    ck_assert_int_eq(fcntl(snapvm_fd(conn), F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_eq(snapvm_events(conn), POLLIN | POLLOUT);
    ck_assert_int_eq(snapvm_dispatch(conn, NULL), 0);
    ck_assert_int_eq(snapvm_events(conn), POLLIN | POLLOUT);
    while ((n = hear(text, 2 * BIG)) > 0) {
        for (size_t i = 0; i < n; i++)
            lines += text[i] == '\n';
        ck_assert_int_eq(snapvm_dispatch(conn, NULL), 0);
    }
    ck_assert_uint_eq(lines, N_BIG);
    ck_assert_int_eq(snapvm_events(conn), POLLIN);
    say("{\"jsonrpc\":\"2.0\",\"id\":20,\"result\":\"done\"}\n");
    ck_assert_int_eq(snapvm_dispatch(conn, NULL), 0);
    ck_assert_str_eq(diary.text, "20=\"done\" ");
    conn = snapvm_disconnect(conn);
    json_object_put(params);
    free(text);
    free(big);
}
END_TEST

START_TEST(time_runs_out)
{
    struct snapvm_error err = SNAPVM_ERROR_INIT;
    struct json_object *result = NULL;

    ck_assert_int_eq(snapvm_call(conn, "x", NULL, 1, NULL, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_TIMEOUT);
    ck_assert_str_eq(err.kind, "Timeout");
    say("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"late\"}\n"
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":\"in time\"}\n");
    ck_assert_int_eq(snapvm_call(conn, "x", NULL, -1, &result, NULL), 0);
    ck_assert_str_eq(json_object_get_string(result), "in time");
    json_object_put(result);
    snapvm_error_clear(&err);
}
END_TEST

START_TEST(forgotten_calls_are_not_answered)
{
    struct diary diary = {""};
    struct entry entry = {&diary, 1};
    int64_t id = snapvm_send(conn, "x", NULL, write_answer, &entry, NULL);

    snapvm_forget(conn, id);
    snapvm_forget(conn, id);
    snapvm_forget(conn, 99);
    say("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1}\n");
    ck_assert_int_eq(snapvm_dispatch(conn, NULL), 0);
    conn = snapvm_disconnect(conn);
    ck_assert_str_eq(diary.text, "");
}
END_TEST

static void call_again(struct json_object *event, void *data)
{
    struct diary *diary = data;
    struct json_object *result = NULL;

    write_event(event, data);
    ck_assert_int_eq(snapvm_call(conn, "inner", NULL, -1, &result, NULL), 0);
    sprintf(diary->text + strlen(diary->text), "inner=%s ", json_object_get_string(result));
    json_object_put(result);
}

START_TEST(callbacks_may_call)
{
    struct diary diary = {""};
    struct json_object *result = NULL;

    snapvm_on_event(conn, call_again, &diary);
    say("{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"seq\":7}}\n"
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"outer\"}\n"
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":\"i\"}\n");
    ck_assert_int_eq(snapvm_call(conn, "outer", NULL, -1, &result, NULL), 0);
    ck_assert_str_eq(json_object_get_string(result), "outer");
    ck_assert_str_eq(diary.text, "event(7) inner=i ");
    json_object_put(result);
}
END_TEST

static void disconnect_on_event(struct json_object *event, void *data)
{
    write_event(event, data);
    conn = snapvm_disconnect(conn);
}

START_TEST(callbacks_may_disconnect)
{
    struct snapvm_error err = SNAPVM_ERROR_INIT;
    struct diary diary = {""};
    struct entry entry = {&diary, 1};

    snapvm_on_event(conn, disconnect_on_event, &diary);
    snapvm_send(conn, "x", NULL, write_answer, &entry, NULL);
    say("{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"seq\":7}}\n"
        "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"seq\":8}}\n");
    if (_i)
        ck_assert_int_eq(snapvm_call(conn, "x", NULL, -1, NULL, &err), -1);
    else
        ck_assert_int_eq(snapvm_dispatch(conn, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_LOCAL_DISCONNECTED);
    ck_assert_str_eq(diary.text, "event(7) 1!Disconnected ");
    snapvm_error_clear(&err);
}
END_TEST

START_TEST(subscription)
{
    struct snapvm_error err = SNAPVM_ERROR_INIT;
    struct json_object *params = json_tokener_parse("{\"since\":5}");
    struct diary diary = {""};
    int64_t seq = 0;
    char text[512];

    say("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"seq\":6}}\n"
        "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"seq\":6}}\n");
    ck_assert_int_eq(snapvm_subscribe(conn, params, write_event, &diary, -1, &seq, &err), 0);
    ck_assert_int_eq(seq, 6);
    hear(text, sizeof(text));
    ck_assert_str_eq(text, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"event.subscribe\","
                           "\"params\":{\"since\":5}}\n");
    say("{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{\"code\":1,\"message\":\"m\"}}\n");
    ck_assert_int_eq(snapvm_subscribe(conn, NULL, write_event, &diary, -1, &seq, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_NOT_FOUND);
    ck_assert_str_eq(diary.text, "event(6) ");
    snapvm_error_clear(&err);
    json_object_put(params);
}
END_TEST

START_TEST(connecting)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct snapvm_error err = SNAPVM_ERROR_INIT;
    char folder[] = "/tmp/test-client-XXXXXX", path[64], text[8], too_long[200];
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), accepted;
    struct snapvm *other;

    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/sock", folder);
    ck_assert_ptr_null(snapvm_connect(path, &err));
    ck_assert_int_eq(err.code, SNAPVM_LOCAL_NO_DAEMON);
    ck_assert_ptr_nonnull(strstr(err.message, path));
    memset(too_long, 'x', sizeof(too_long) - 1);
    too_long[sizeof(too_long) - 1] = '\0';
    ck_assert_ptr_null(snapvm_connect(too_long, &err));
    ck_assert_int_eq(err.code, SNAPVM_LOCAL_NO_DAEMON);
    snapvm_error_clear(&err);

    strcpy(address.sun_path, path);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(listener, 4), 0);
    for (int by_environment = 0; by_environment < 2; by_environment++) {
        setenv("SNAPVM_SOCKET", by_environment ? path : "/nonexistent", 1);
        other = snapvm_connect(by_environment ? NULL : path, &err);
        ck_assert_ptr_nonnull(other);
        accepted = accept(listener, NULL, NULL);
        snapvm_send(other, "x", NULL, NULL, NULL, NULL);
        ck_assert_int_eq(recv(accepted, text, sizeof(text), MSG_WAITALL), sizeof(text));
        snapvm_disconnect(other);
        close(accepted);
    }
    close(listener);
    unlink(path);
    rmdir(folder);
}
END_TEST

#define N_THREADS 4
#define N_CALLS 500

/* Answers each request with its own id, two at a time and in reverse. */
static void *echo(void *data)
{
    FILE *stream = fdopen(*(int *)data, "r+");
    char line[256];
    int ids[2];

    for (int n = 0; n < N_CALLS; n += 2) {
        for (int i = 0; i < 2; i++) {
            if (!fgets(line, sizeof(line), stream))
                abort();
            if (sscanf(line, "{\"jsonrpc\":\"2.0\",\"id\":%d,", &ids[i]) != 1)
                abort();
        }
        fseek(stream, 0, SEEK_CUR);
        fprintf(stream, "{\"id\":%d,\"result\":%d}\n{\"id\":%d,\"result\":%d}\n", ids[1], ids[1],
                ids[0], ids[0]);
        fflush(stream);
    }
    fclose(stream);
    return NULL;
}

static void take_number(struct json_object *result, const struct snapvm_error *err, void *data)
{
    *(int *)data = err ? -1 : json_object_get_int(result);
}

static void *call_often(void *data)
{
    struct snapvm *own = snapvm_adopt(*(int *)data);
    struct json_object *result;
    long wrong = 0;
    int first;

    for (int n = 1; n <= N_CALLS; n += 2) {
        snapvm_send(own, "x", NULL, take_number, &first, NULL);
        if (snapvm_call(own, "x", NULL, -1, &result, NULL) < 0)
            return (void *)-1L;
        wrong += json_object_get_int(result) != n + 1;
        json_object_put(result);
        while (first != n && snapvm_dispatch(own, NULL) == 0)
            poll(&(struct pollfd){.fd = snapvm_fd(own), .events = POLLIN}, 1, -1);
        wrong += first != n;
    }
    snapvm_disconnect(own);
    return (void *)wrong;
}

START_TEST(several_threads_on_several_connections)
{
    pthread_t servers[N_THREADS], clients[N_THREADS];
    int fds[N_THREADS][2];
    void *wrong;

    for (size_t i = 0; i < N_THREADS; i++) {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds[i]), 0);
        ck_assert_int_eq(pthread_create(&servers[i], NULL, echo, &fds[i][0]), 0);
        ck_assert_int_eq(pthread_create(&clients[i], NULL, call_often, &fds[i][1]), 0);
    }
    for (size_t i = 0; i < N_THREADS; i++) {
        ck_assert_int_eq(pthread_join(clients[i], &wrong), 0);
        ck_assert_ptr_null(wrong);
        ck_assert_int_eq(pthread_join(servers[i], NULL), 0);
    }
}
END_TEST

static TCase *client_case(void)
{
    TCase *tcase = tcase_create("client");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, request_on_the_wire);
    tcase_add_loop_test(tcase, answers_in_any_order_and_in_pieces, 0, 50);
    tcase_add_test(tcase, blocking_call);
    tcase_add_test(tcase, error_of_the_daemon);
    tcase_add_loop_test(tcase, error_of_another_shape, 0,
                        sizeof(odd_errors) / sizeof(odd_errors[0]));
    tcase_add_test(tcase, error_without_id_is_about_the_longest);
    tcase_add_loop_test(tcase, nonsense_ends_the_connection, 0,
                        sizeof(nonsense) / sizeof(nonsense[0]));
    tcase_add_test(tcase, deep_result);
    tcase_add_test(tcase, lost_connection_answers_everything_once);
    tcase_add_test(tcase, disconnect_answers_everything_once);
    tcase_add_test(tcase, reason_is_heard_although_writing_failed);
    tcase_add_test(tcase, sending_never_waits);
    tcase_add_test(tcase, time_runs_out);
    tcase_add_test(tcase, forgotten_calls_are_not_answered);
    tcase_add_test(tcase, callbacks_may_call);
    tcase_add_loop_test(tcase, callbacks_may_disconnect, 0, 2);
    tcase_add_test(tcase, subscription);
    tcase_add_test(tcase, connecting);
    tcase_add_test(tcase, several_threads_on_several_connections);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("client");
    SRunner *runner;
    int failed;

    suite_add_tcase(suite, client_case());
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
