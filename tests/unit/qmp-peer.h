/* The other end of a monitor, played by the test itself: it listens, and says and reads lines while
 * the loop stands still. What is waited for is always a flag that a callback sets. */
#ifndef SNAPVM_TESTS_UNIT_QMP_PEER_H
#define SNAPVM_TESTS_UNIT_QMP_PEER_H

#include <check.h>
#include <event2/event.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "qemu/qmp.h"
#include "scratch.h"

#define PEER_GREETING                                                         \
    "{\"QMP\":{\"version\":{\"qemu\":{\"micro\":22,\"minor\":2,\"major\":7}," \
    "\"package\":\"\"},\"capabilities\":[\"oob\"]}}\r\n"

#define PEER_NEGOTIATION \
    "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]},\"id\":1}"

struct peer {
    struct event_base *base;
    char *dir, *path;
    int listening, fd;
    struct qmp *qmp;
    bool up, down, event; /* said by the connection */
    unsigned n_events, n_down;
    struct error why;
    struct qmp_event last;
    char last_id[64];
    bool free_in_up, free_in_down, free_in_event;
};

static inline struct sockaddr_un peer_address(const struct peer *peer)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    ck_assert_uint_lt(strlen(peer->path), sizeof(address.sun_path));
    memcpy(address.sun_path, peer->path, strlen(peer->path));
    return address;
}

static inline void peer_on_up(void *arg)
{
    struct peer *peer = arg;

    peer->up = true;
    if (peer->free_in_up)
        peer->qmp = qmp_free(peer->qmp);
}

static inline void peer_on_down(void *arg, const struct error *why)
{
    struct peer *peer = arg;

    peer->down = true;
    peer->n_down++;
    error_copy(&peer->why, why);
    if (peer->free_in_down)
        peer->qmp = qmp_free(peer->qmp);
}

static inline void peer_on_event(void *arg, const struct qmp_event *event)
{
    struct peer *peer = arg;

    peer->event = true;
    peer->n_events++;
    peer->last = *event;
    snprintf(peer->last_id, sizeof(peer->last_id), "%s", event->id);
    if (peer->free_in_event)
        peer->qmp = qmp_free(peer->qmp);
}

static const struct qmp_handlers peer_handlers = {
    .up = peer_on_up, .down = peer_on_down, .event = peer_on_event};

/* A socket that is bound and listens with that backlog. */
static inline _unused_ void peer_init(struct peer *peer, int backlog)
{
    struct sockaddr_un address;

    *peer = (struct peer){.base = event_base_new(), .dir = scratch_new(), .fd = -1};
    peer->path = xasprintf("%s/qmp.sock", peer->dir);
    peer->listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address = peer_address(peer);
    ck_assert_int_eq(bind(peer->listening, (struct sockaddr *)&address, sizeof(address)), 0);
    if (backlog >= 0)
        ck_assert_int_eq(listen(peer->listening, backlog), 0);
}

static inline _unused_ void peer_deinit(struct peer *peer)
{
    qmp_free(peer->qmp);
    cleanup_close(&peer->fd);
    close(peer->listening);
    error_clear(&peer->why);
    event_base_free(peer->base);
    free(peer->path);
    scratch_free(peer->dir);
}

static inline _unused_ void peer_connect(struct peer *peer, unsigned greeting_ms,
                                         unsigned command_ms, struct crash *crash)
{
    const struct qmp_options options = {.path = peer->path,
                                        .greeting_timeout_ms = greeting_ms,
                                        .command_timeout_ms = command_ms,
                                        .crash = crash};

    peer->qmp = qmp_new(peer->base, &options, &peer_handlers, peer);
}

static inline _unused_ void peer_accept(struct peer *peer)
{
    peer->fd = accept4(peer->listening, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(peer->fd, 0);
}

static inline _unused_ void peer_say(struct peer *peer, const char *text)
{
    ck_assert_int_eq(write(peer->fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* The next line that the connection has sent; valid until the next call. */
static inline _unused_ const char *peer_line(struct peer *peer)
{
    static char line[64 * 1024];
    size_t n = 0;

    while (n < sizeof(line) - 1 && read(peer->fd, line + n, 1) == 1 && line[n] != '\n')
        n++;
    line[n] = '\0';
    return line;
}

static inline _unused_ bool peer_has_input(const struct peer *peer)
{
    char byte;

    return recv(peer->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static inline _unused_ void peer_turn(struct peer *peer)
{
    ck_assert_int_eq(event_base_loop(peer->base, EVLOOP_ONCE), 0);
}

static inline _unused_ void peer_until(struct peer *peer, const bool *flag)
{
    while (!*flag)
        peer_turn(peer);
}

/* What is due, without waiting for more. */
static inline _unused_ void peer_settle(struct peer *peer)
{
    ck_assert_int_ge(event_base_loop(peer->base, EVLOOP_NONBLOCK), 0);
}

/* A connection that is up and has sent nothing yet but its negotiation. */
static inline _unused_ void peer_up(struct peer *peer, unsigned command_ms, struct crash *crash)
{
    peer_init(peer, 8);
    peer_connect(peer, 10000, command_ms, crash);
    peer_accept(peer);
    peer_say(peer, PEER_GREETING);
    while (!peer_has_input(peer))
        peer_turn(peer);
    ck_assert_str_eq(peer_line(peer), PEER_NEGOTIATION);
    peer_say(peer, "{\"return\": {}, \"id\": 1}\r\n");
    peer_until(peer, &peer->up);
}

/* One command and what became of it. */
struct asked {
    bool done, dropped;
    unsigned n;
    char *result; /* as text */
    struct error err;
    struct peer *peer;
    bool free_in_reply; /* the connection, from within the callback */
};

static inline _unused_ void asked_fn(void *arg, json_object *result, const struct error *err)
{
    struct asked *asked = arg;

    asked->done = true;
    asked->n++;
    if (err)
        error_copy(&asked->err, err);
    else
        xstrset(&asked->result, json_object_to_json_string_ext(result, JSON_C_TO_STRING_PLAIN));
    if (asked->free_in_reply)
        asked->peer->qmp = qmp_free(asked->peer->qmp);
}

static inline _unused_ void asked_drop(void *arg)
{
    ((struct asked *)arg)->dropped = true;
}

static inline _unused_ void asked_deinit(struct asked *asked)
{
    free(asked->result);
    error_clear(&asked->err);
}

static inline _unused_ void ask(struct peer *peer, const char *command, bool effect,
                                struct asked *asked)
{
    asked->peer = peer;
    qmp_send(peer->qmp, &(struct qmp_request){.command = command,
                                              .effect = effect,
                                              .fn = asked_fn,
                                              .drop = asked_drop,
                                              .arg = asked});
}

#endif
