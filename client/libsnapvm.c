/* The connection: bytes out of a buffer into the socket, bytes from the socket through the framing
 * into answers and events. Everything is done without waiting; the blocking call is the
 * non-blocking one with poll() around it, so that there is one way through the library.
 *
 * A callback may end the connection that calls it. Therefore the functions that call back hold it
 * (`users`) and the last one that lets go frees it; until then it is merely lost. */
#include "client/snapvm.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

#include "base/memory.h"
#include "client/libsnapvm-call.h"
#include "client/libsnapvm-error.h"
#include "proto/frame.h"
#include "proto/json.h"

#define CONNECT_SECONDS 5
#define ANSWER_BYTES (256 * 1024 * 1024) /* the daemon's own bound is configurable */
#define ANSWER_NESTING 1024              /* domain.blockdev nests as deep as the chain */
#define READ_BYTES (64 * 1024)
#define READ_ROUNDS 16 /* a dispatch reads 1 MiB at most */

struct snapvm {
    int fd;
    unsigned users;           /* functions that are inside it */
    bool ended;               /* by snapvm_disconnect: freed when users is 0 */
    bool mute;                /* the peer does not read any more, but may have said why */
    struct snapvm_error lost; /* why it is lost; code 0: it is not */
    struct calls calls;
    snapvm_event_fn on_event;
    void *event_data;
    struct frame in;
    char *out; /* out_start..out_end is still to be written */
    size_t out_start, out_end, out_room;
};

struct snapvm *snapvm_adopt(int fd)
{
    struct snapvm *conn = xzalloc(sizeof(*conn));

    conn->fd = fd;
    calls_init(&conn->calls);
    frame_init(&conn->in, ANSWER_BYTES);
    return conn;
}

struct snapvm *snapvm_connect(const char *path, struct snapvm_error *err)
{
    struct timeval patience = {.tv_sec = CONNECT_SECONDS};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _cleanup_close_ int fd = -1;

    if (!path)
        path = secure_getenv("SNAPVM_SOCKET");
    if (!path || !*path)
        path = SNAPVM_SOCKET_DEFAULT;
    if (strlen(path) >= sizeof(address.sun_path)) {
        local_error(err, SNAPVM_LOCAL_NO_DAEMON,
                    "The socket's path %s is too long: a socket takes %zu bytes at most.", path,
                    sizeof(address.sun_path) - 1);
        return NULL;
    }
    memcpy(address.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* A connect() to a Unix socket waits for room in the queue as long as a write would. */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        local_error(err, SNAPVM_LOCAL_NO_DAEMON,
                    "No daemon answers at %s (%s); is snapvmd running?", path,
                    strerrordesc_np(errno));
        return NULL;
    }
    return snapvm_adopt(TAKE_FD(fd));
}

static void conn_free(struct snapvm *conn)
{
    close(conn->fd);
    snapvm_error_clear(&conn->lost);
    frame_deinit(&conn->in);
    free(conn->out);
    free(conn);
}

/* Lets go of the connection; true when it was freed. */
static bool conn_release(struct snapvm *conn)
{
    if (--conn->users || !conn->ended)
        return false;
    conn_free(conn);
    return true;
}

static void conn_lose(struct snapvm *conn, int code, const char *why)
{
    if (conn->lost.code)
        return;
    local_error(&conn->lost, code, "%s", why);
    conn->out_start = conn->out_end = 0;
    calls_fail(&conn->calls, &conn->lost);
}

struct snapvm *snapvm_disconnect(struct snapvm *conn)
{
    if (!conn || conn->ended)
        return NULL;
    conn->on_event = NULL;
    conn->users++;
    conn->ended = true;
    conn_lose(conn, SNAPVM_LOCAL_DISCONNECTED, "The connection to the daemon was ended here.");
    conn_release(conn);
    return NULL;
}

int snapvm_fd(const struct snapvm *conn)
{
    return conn->fd;
}

short snapvm_events(const struct snapvm *conn)
{
    if (conn->lost.code)
        return 0;
    return conn->out_start < conn->out_end ? POLLIN | POLLOUT : POLLIN;
}

void snapvm_on_event(struct snapvm *conn, snapvm_event_fn callback, void *data)
{
    conn->on_event = callback;
    conn->event_data = data;
}

void snapvm_forget(struct snapvm *conn, int64_t id)
{
    calls_forget(&conn->calls, id);
}

static void conn_append(struct snapvm *conn, const char *data, size_t size)
{
    if (conn->out_start) {
        memmove(conn->out, conn->out + conn->out_start, conn->out_end - conn->out_start);
        conn->out_end -= conn->out_start;
        conn->out_start = 0;
    }
    if (conn->out_end + size > conn->out_room) {
        conn->out_room = (conn->out_end + size) * 2;
        conn->out = xrealloc(conn->out, conn->out_room, 1);
    }
    memcpy(conn->out + conn->out_end, data, size);
    conn->out_end += size;
}

/* A peer that refuses says so and closes: a failed write is no reason to leave what it said unread,
 * so that losing the connection is left to the reading side. */
static void conn_write(struct snapvm *conn)
{
    ssize_t n;

    while (conn->out_start < conn->out_end) {
        n = send(conn->fd, conn->out + conn->out_start, conn->out_end - conn->out_start,
                 MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0) {
            conn->mute = true;
            conn->out_start = conn->out_end;
            return;
        }
        conn->out_start += (size_t)n;
    }
}

int64_t snapvm_send(struct snapvm *conn, const char *method, struct json_object *params,
                    snapvm_answer_fn callback, void *data, struct snapvm_error *err)
{
    _cleanup_json_ struct json_object *request = NULL;
    struct call *call;
    const char *text;

    if (conn->lost.code) {
        copy_error(err, &conn->lost);
        return -1;
    }
    call = calls_add(&conn->calls, callback, data);
    request = json_object_new_object();
    json_add_string(request, "jsonrpc", "2.0");
    json_add_int(request, "id", call->id);
    json_add_string(request, "method", method);
    if (params)
        json_object_object_add(request, "params", json_object_get(params));
    text = json_text(request);
    call->size = strlen(text);
    if (!conn->mute) {
        conn_append(conn, text, call->size);
        conn_append(conn, "\n", 1);
        conn_write(conn);
    }
    return call->id;
}

static void conn_take_line(struct snapvm *conn, const char *line, size_t size)
{
    _cleanup_json_ struct json_object *message = NULL;
    const char *method;

    if (size == 0)
        return;
    if (json_read(line, size, ANSWER_NESTING, &message) != JSON_OK ||
        !json_object_is_type(message, json_type_object)) {
        conn_lose(conn, SNAPVM_LOCAL_BAD_ANSWER, "The daemon sent a line that is no JSON object.");
        return;
    }
    method = json_string(message, "method");
    if (!method) {
        if (calls_answer(&conn->calls, message) < 0)
            conn_lose(conn, SNAPVM_LOCAL_BAD_ANSWER,
                      "The daemon sent no answer but something else.");
    } else if (strcmp(method, "event") == 0 && json_sub(message, "params") && conn->on_event) {
        conn->on_event(json_sub(message, "params"), conn->event_data);
    }
}

static void conn_take_lines(struct snapvm *conn)
{
    enum frame_result result;
    size_t size;
    char *line;

    while (!conn->lost.code && (result = frame_next(&conn->in, &line, &size)) != FRAME_NONE) {
        if (result == FRAME_LINE)
            conn_take_line(conn, line, size);
        else
            conn_lose(conn, SNAPVM_LOCAL_BAD_ANSWER, "The daemon sent a line without an end.");
    }
}

static void conn_read(struct snapvm *conn)
{
    char buffer[READ_BYTES];
    ssize_t n;

    for (int round = 0; round < READ_ROUNDS && !conn->lost.code; round++) {
        n = recv(conn->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n <= 0) {
            conn_lose(conn, SNAPVM_LOCAL_DISCONNECTED,
                      "The daemon closed the connection; what it was asked to do may go on.");
            return;
        }
        frame_feed(&conn->in, buffer, (size_t)n);
        conn_take_lines(conn);
    }
}

int snapvm_dispatch(struct snapvm *conn, struct snapvm_error *err)
{
    int r = 0;

    conn->users++;
    if (!conn->lost.code) {
        conn_write(conn);
        conn_read(conn);
    }
    if (conn->lost.code) {
        copy_error(err, &conn->lost);
        r = -1;
    }
    conn_release(conn);
    return r;
}

struct waiter {
    bool done;
    bool failed;
    struct json_object *result;
    struct snapvm_error err;
};

static void waiter_done(struct json_object *result, const struct snapvm_error *err, void *data)
{
    struct waiter *waiter = data;

    waiter->done = true;
    waiter->failed = err;
    waiter->result = json_object_get(result);
    if (err)
        copy_error(&waiter->err, err);
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until the waiter has its answer, which it also gets when the connection is lost; -1 when the
 * time is over. A callback that calls leaves lines behind it which no poll() tells of. */
static int conn_wait(struct snapvm *conn, const struct waiter *waiter, int timeout_ms)
{
    int64_t deadline = now_ms() + timeout_ms, left = -1;
    struct pollfd pollfd;

    conn_take_lines(conn);
    while (!waiter->done) {
        if (timeout_ms >= 0)
            left = deadline - now_ms();
        if (timeout_ms >= 0 && left < 0)
            return -1;
        pollfd = (struct pollfd){.fd = conn->fd, .events = snapvm_events(conn)};
        if (poll(&pollfd, 1, (int)left) > 0)
            snapvm_dispatch(conn, NULL);
    }
    return 0;
}

int snapvm_call(struct snapvm *conn, const char *method, struct json_object *params, int timeout_ms,
                struct json_object **ret_result, struct snapvm_error *err)
{
    struct waiter waiter = {.err = SNAPVM_ERROR_INIT};
    int64_t id;
    int r = 0;

    id = snapvm_send(conn, method, params, waiter_done, &waiter, err);
    if (id < 0)
        return -1;
    conn->users++;
    if (conn_wait(conn, &waiter, timeout_ms) < 0) {
        snapvm_forget(conn, id);
        waiter.failed = true;
        local_error(&waiter.err, SNAPVM_ERROR_TIMEOUT,
                    "The daemon did not answer %s within %d ms; the work goes on.", method,
                    timeout_ms);
    }
    conn_release(conn);
    if (waiter.failed) {
        copy_error(err, &waiter.err);
        r = -1;
    } else if (ret_result) {
        *ret_result = TAKE_PTR(waiter.result);
    }
    json_object_put(waiter.result);
    snapvm_error_clear(&waiter.err);
    return r;
}

int snapvm_subscribe(struct snapvm *conn, struct json_object *params, snapvm_event_fn callback,
                     void *data, int timeout_ms, int64_t *ret_seq, struct snapvm_error *err)
{
    _cleanup_json_ struct json_object *result = NULL;

    snapvm_on_event(conn, callback, data);
    if (snapvm_call(conn, "event.subscribe", params, timeout_ms, &result, err) < 0)
        return -1;
    if (ret_seq)
        *ret_seq = json_int(result, "seq", 0);
    return 0;
}
