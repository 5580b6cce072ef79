#include "rpc/conn.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "api/context.h"
#include "api/metrics.h"
#include "base/log.h"
#include "base/memory.h"
#include "conf/conf.h"
#include "proto/snapvm-errors.h"
#include "rpc/reply.h"

/* Requests that are taken on in one turn. */
#define TURN_REQUESTS 16
#define READ_BYTES (32 * 1024)
/* An input buffer that grew beyond this is given back when it is empty. */
#define KEEP_BYTES (64 * 1024)

static const struct timeval now = {0};

/* Closes when there is nothing more to be said. */
static void conn_settle(struct conn *conn)
{
    bool done = conn->ending || (conn->eof && !conn->more);

    if (conn->fd >= 0 && done && conn->in_flight == 0 && evbuffer_get_length(conn->out) == 0)
        conn_kill(conn, "done");
}

static void conn_set_reading(struct conn *conn, bool reading)
{
    if (conn->reading == reading)
        return;
    conn->reading = reading;
    if (reading)
        event_add(conn->readable, NULL);
    else
        event_del(conn->readable);
}

static bool conn_has_room(const struct conn *conn)
{
    return conn->fd >= 0 && !conn->ending &&
           conn->in_flight < (unsigned)conn->context->conf->in_flight;
}

/* Takes on a request. Returns whether there may be another one. */
static bool conn_take(struct conn *conn)
{
    int bound = conn->context->conf->request_bytes;
    _cleanup_error_ struct error err = {0};
    size_t size;
    char *line;

    if (conn->batch) {
        reply_next(conn);
        return true;
    }
    switch (frame_next(&conn->in, &line, &size)) {
    case FRAME_LINE:
        reply_line(conn, line, size);
        return true;
    case FRAME_TOO_LONG:
        error_set(&err, SNAPVM_ERROR_LIMIT_EXCEEDED, "a request may have %d bytes", bound);
        error_text(&err, "limit", "request_bytes");
        error_number(&err, "value", bound);
        reply_malformed(conn, &err);
        return true;
    case FRAME_NONE:
        break;
    }
    return false;
}

static void conn_work(struct conn *conn)
{
    conn->working = true;
    for (unsigned n = 0; conn->more && conn_has_room(conn) && n < TURN_REQUESTS; n++)
        conn->more = conn_take(conn);
    conn->working = false;
    if (conn->fd < 0)
        return;
    if (!conn->more && frame_pending(&conn->in) == 0 && !conn->in.skipping &&
        conn->in.room > KEEP_BYTES)
        frame_reset(&conn->in);
    conn_set_reading(conn, !conn->more && !conn->eof && !conn->ending);
    if (conn->more && conn_has_room(conn))
        event_add(conn->turn, &now);
    conn_settle(conn);
}

void conn_answered(struct conn *conn)
{
    if (conn->fd >= 0 && !conn->working && (conn->more || conn->eof || conn->ending))
        event_add(conn->turn, &now);
}

static void conn_turn(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    struct conn *conn = arg;

    if (conn->fd >= 0)
        conn_work(conn);
    else if (conn->gone)
        conn->gone(conn->gone_arg, conn);
}

void conn_feed(struct conn *conn, const char *data, size_t size)
{
    frame_feed(&conn->in, data, size);
    conn->more = true;
    conn_work(conn);
}

/* The client's end is closed for both directions: nobody waits for an answer. */
static bool conn_is_hung_up(const struct conn *conn)
{
    struct pollfd pollfd = {.fd = conn->fd};

    return poll(&pollfd, 1, 0) == 1 && pollfd.revents & (POLLHUP | POLLERR);
}

static void conn_readable(evutil_socket_t fd, short what _unused_, void *arg)
{
    struct conn *conn = arg;
    char buffer[READ_BYTES];
    ssize_t n = recv(fd, buffer, sizeof(buffer), 0);

    if (n > 0) {
        conn_feed(conn, buffer, (size_t)n);
    } else if (n == 0 && !conn_is_hung_up(conn)) {
        conn->eof = true;
        conn_work(conn);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        conn_kill(conn, n == 0 ? "closed" : strerror(errno));
    }
}

static void conn_writable(evutil_socket_t fd, short what _unused_, void *arg)
{
    struct conn *conn = arg;
    size_t size;
    ssize_t n;

    while ((size = evbuffer_get_contiguous_space(conn->out)) > 0) {
        n = send(fd, evbuffer_pullup(conn->out, (ev_ssize_t)size), size, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0) {
            conn_kill(conn, strerror(errno));
            return;
        }
        evbuffer_drain(conn->out, (size_t)n);
    }
    event_del(conn->writable);
    hub_drained(&conn->subscriber);
    conn_settle(conn);
}

void conn_send(struct conn *conn, const char *line, size_t size)
{
    size_t waiting = evbuffer_get_length(conn->out);
    ssize_t n = 0;

    if (conn->fd < 0)
        return;
    if (waiting == 0)
        n = send(conn->fd, line, size, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        conn_kill(conn, strerror(errno));
        return;
    }
    if (n > 0) {
        line += n;
        size -= (size_t)n;
    }
    if (size == 0)
        return;
    if (waiting + size > (size_t)conn->context->conf->output_bytes) {
        conn->context->metrics->cut_off++;
        log_info("a client (pid %d, uid %u) does not read what it asked for: cut off",
                 (int)conn->peer.pid, conn->peer.uid);
        conn_kill(conn, "too slow");
        return;
    }
    evbuffer_add(conn->out, line, size);
    if (waiting == 0)
        event_add(conn->writable, NULL);
}

void conn_kill(struct conn *conn, const char *why)
{
    if (conn->fd < 0)
        return;
    log_debug("connection of pid %d, uid %u: %s", (int)conn->peer.pid, conn->peer.uid, why);
    hub_unsubscribe(&conn->subscriber);
    reply_drop(conn);
    event_del(conn->readable);
    event_del(conn->writable);
    close(conn->fd);
    conn->fd = -1;
    event_add(conn->turn, &now);
}

void conn_stop(struct conn *conn)
{
    _cleanup_error_ struct error err = {0};

    error_set(&err, SNAPVM_ERROR_SHUTTING_DOWN,
              "snapvmd is stopping; what it has begun goes on, ask again when it is back");
    conn->ending = true;
    hub_unsubscribe(&conn->subscriber);
    reply_stop(conn, &err);
    conn_settle(conn);
}

static void send_event(void *arg, const char *line, size_t size)
{
    conn_send(arg, line, size);
}

static size_t unsent(void *arg)
{
    const struct conn *conn = arg;

    return evbuffer_get_length(conn->out);
}

static void fail_events(void *arg, const char *why)
{
    conn_kill(arg, why);
}

static const struct subscriber_ops subscriber_ops = {
    .send = send_event, .unsent = unsent, .fail = fail_events};

struct conn *conn_new(struct daemon_context *context, int fd, struct peer *peer, conn_gone_fn gone,
                      void *arg)
{
    struct conn *conn = xzalloc(sizeof(*conn));

    *conn =
        (struct conn){.context = context, .fd = fd, .peer = *peer, .gone = gone, .gone_arg = arg};
    *peer = (struct peer){0};
    frame_init(&conn->in, (size_t)context->conf->request_bytes);
    conn->out = evbuffer_new();
    conn->readable = event_new(context->event_base, fd, EV_READ | EV_PERSIST, conn_readable, conn);
    conn->writable = event_new(context->event_base, fd, EV_WRITE | EV_PERSIST, conn_writable, conn);
    conn->turn = event_new(context->event_base, -1, 0, conn_turn, conn);
    TAILQ_INIT(&conn->replies);
    TAILQ_INIT(&conn->batches);
    subscriber_init(&conn->subscriber, &subscriber_ops, conn);
    conn_set_reading(conn, true);
    return conn;
}

struct conn *conn_free(struct conn *conn)
{
    if (!conn)
        return NULL;
    conn_kill(conn, "dropped");
    subscriber_deinit(&conn->subscriber);
    event_free(conn->readable);
    event_free(conn->writable);
    event_free(conn->turn);
    evbuffer_free(conn->out);
    frame_deinit(&conn->in);
    peer_deinit(&conn->peer);
    free(conn);
    return NULL;
}
