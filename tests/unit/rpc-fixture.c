#include "tests/unit/rpc-fixture.h"

#include <check.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "api/hub.h"
#include "api/metrics.h"
#include "api/request.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/worker.h"
#include "journal/journal.h"
#include "proto/frame.h"
#include "rpc/server.h"
#include "tests/unit/scratch.h"

#define CLIENT_LINE (16 * 1024 * 1024)

static int count_reload(void *arg, struct error *err _unused_)
{
    struct stub *stub = arg;

    stub->reloads++;
    return 0;
}

static void fixture_start(struct fixture *fixture)
{
    struct daemon_context *context = &fixture->context;
    struct journal_options options = {
        .dir = fixture->dir, .jobs_days = 30, .events = 1000, .request_ids_hours = 24};
    _cleanup_error_ struct error err = {0};
    struct journal_model model;

    *context = (struct daemon_context){.conf = &fixture->conf,
                                       .event_base = fixture->base,
                                       .engine = (struct engine *)&fixture->stub,
                                       .started = clock_now(),
                                       .reload = count_reload,
                                       .reload_arg = &fixture->stub};
    context->worker = worker_new(fixture->base);
    options.worker = context->worker;
    context->journal = journal_open(fixture->base, &options, &err);
    ck_assert_msg(context->journal != NULL, "%s", err.message);
    ck_assert_int_eq(journal_load(context->journal, &model, &err), 0);
    context->metrics = metrics_new();
    context->requests = requests_new(fixture->base, model.requests, model.n_requests);
    context->hub = hub_new(context->journal);
    journal_model_deinit(&model);
    fixture->server = server_new(context, -1, &err);
    ck_assert_msg(fixture->server != NULL, "%s", err.message);
    server_start(fixture->server);
}

struct fixture *fixture_new(void)
{
    struct fixture *fixture = xzalloc(sizeof(*fixture));

    log_set_level(LOG_WARNING);
    conf_init(&fixture->conf);
    fixture->dir = scratch_new();
    fixture->path = xasprintf("%s/run/sock", fixture->dir);
    xstrset(&fixture->conf.socket, fixture->path);
    fixture->base = event_base_new();
    fixture_start(fixture);
    return fixture;
}

static void fixture_stop(struct fixture *fixture)
{
    struct daemon_context *context = &fixture->context;

    fixture->server = server_free(fixture->server);
    /* What was called is answered, also with nobody there to hear it. */
    while (fixture->stub.n_pending > 0)
        fixture_answer(fixture, fixture->stub.n_pending - 1);
    context->requests = requests_free(context->requests);
    context->hub = hub_free(context->hub);
    context->journal = journal_free(context->journal);
    context->worker = worker_free(context->worker);
    context->metrics = metrics_free(context->metrics);
}

struct fixture *fixture_free(struct fixture *fixture)
{
    fixture_stop(fixture);
    event_base_free(fixture->base);
    conf_deinit(&fixture->conf);
    scratch_free(fixture->dir);
    free(fixture->path);
    free(fixture);
    return NULL;
}

void fixture_restart(struct fixture *fixture)
{
    fixture_stop(fixture);
    fixture_start(fixture);
}

void fixture_run(struct fixture *fixture)
{
    /* One round may make the work of the next: a line that was sent is read, then answered. */
    for (int i = 0; i < 20; i++)
        event_base_loop(fixture->base, EVLOOP_NONBLOCK);
}

void fixture_answer(struct fixture *fixture, unsigned n)
{
    struct stub *stub = &fixture->stub;
    json_object *result = json_object_new_object();
    struct call *call = stub->pending[n];

    ck_assert_uint_lt(n, stub->n_pending);
    stub->n_pending--;
    memmove(&stub->pending[n], &stub->pending[n + 1], (stub->n_pending - n) * sizeof(call));
    json_add_int(result, "n", n);
    call_result(call, result);
}

void fixture_events(struct fixture *fixture, const char *kind, const char *domain, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct journal_txn *txn = journal_begin(fixture->context.journal);

        journal_add_event(txn, kind, domain, "{\"state\":\"running\",\"filler\":\"0123456789\"}");
        journal_commit(txn, "event", NULL, NULL);
    }
}

void fixture_until_seq(struct fixture *fixture, int64_t seq)
{
    while (journal_last_seq(fixture->context.journal) < seq)
        event_base_loop(fixture->base, EVLOOP_ONCE);
}

static void client_readable(evutil_socket_t fd, short what _unused_, void *arg)
{
    struct client *client = arg;
    char buffer[64 * 1024];
    ssize_t n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);

    if (n > 0) {
        frame_feed(client->in, buffer, (size_t)n);
    } else if (n == 0) {
        client->eof = true;
        event_del(client->event);
    }
}

struct client *client_adopt(struct fixture *fixture, int fd)
{
    struct client *client = xzalloc(sizeof(*client));

    client->fixture = fixture;
    client->fd = fd;
    client->in = xzalloc(sizeof(*client->in));
    frame_init(client->in, CLIENT_LINE);
    client->event = event_new(fixture->base, fd, EV_READ | EV_PERSIST, client_readable, client);
    event_add(client->event, NULL);
    return client;
}

struct client *client_new(struct fixture *fixture)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", fixture->path);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return client_adopt(fixture, fd);
}

struct client *client_free(struct client *client)
{
    event_free(client->event);
    close(client->fd);
    frame_deinit(client->in);
    free(client->in);
    free(client);
    return NULL;
}

void client_set_reading(struct client *client, bool reading)
{
    if (reading)
        event_add(client->event, NULL);
    else
        event_del(client->event);
}

void client_send_bytes(struct client *client, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = send(client->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);

        /* The server must read before there is room, or has hung up. */
        if (n < 0 && errno != EAGAIN)
            return;
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        } else {
            event_base_loop(client->fixture->base, EVLOOP_NONBLOCK);
        }
    }
}

void client_send(struct client *client, const char *text)
{
    client_send_bytes(client, text, strlen(text));
}

json_object *client_peek(struct client *client)
{
    json_object *value = NULL;
    size_t size;
    char *line;

    if (frame_next(client->in, &line, &size) == FRAME_LINE)
        ck_assert_int_eq(json_read(line, size, 64, &value), JSON_OK);
    return value;
}

json_object *client_line(struct client *client)
{
    json_object *value;

    while (!(value = client_peek(client)) && !client->eof)
        event_base_loop(client->fixture->base, EVLOOP_ONCE);
    return value;
}

json_object *client_call(struct client *client, int id, const char *method, const char *params)
{
    _cleanup_free_ char *line =
        xasprintf("{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"%s\",\"params\":%s}\n", id, method,
                  params ? params : "{}");
    json_object *answer;

    client_send(client, line);
    answer = client_line(client);
    ck_assert_msg(answer && json_int(answer, "id", -1) == id, "%s: %s", method, json_text(answer));
    return answer;
}

json_object *answer_result(json_object *answer)
{
    return json_member(answer, "result");
}

json_object *answer_data(json_object *answer)
{
    return json_sub(json_sub(answer, "error"), "data");
}

const char *answer_kind(json_object *answer)
{
    const char *kind = json_string(answer_data(answer), "kind");

    return kind ? kind : "";
}

void client_expect(struct client *client, const char *kind)
{
    _cleanup_json_ json_object *answer = client_line(client);

    if (!kind)
        ck_assert_msg(!answer, "not the end: %s", json_text(answer));
    else
        ck_assert_str_eq(answer_kind(answer), kind);
}
