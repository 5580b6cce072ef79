/* The monitor speaks JSON: a greeting, then for each command one reply with the command's id, and
 * events in between at any time. A connection goes from connecting over greeting and negotiating to
 * up, and from each of these to down, for good.
 *
 * What QEMU managed to say is true even if it ended right after: where the connection is about to
 * be given up (process ended, write failed), what has arrived is read first.
 *
 * Callbacks may free the connection: every entry from the loop is bracketed by qmp_enter() and
 * qmp_leave(), and after each callback `fd` tells (-1) that it is down or freed. */
#include "qemu/qmp.h"

#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/memory.h"
#include "proto/frame.h"
#include "proto/json.h"
#include "proto/limits.h"
#include "proto/snapvm-errors.h"
#include "qemu/qmp-conn.h"

#define QMP_RETRY_MS 20           /* between two tries while QEMU's backlog is full */
#define QMP_READ_SIZE (64 * 1024) /* bytes of one read */
#define QMP_READ_TURNS 32         /* reads before the loop's other work has its turn */
#define QMP_KEEP (256 * 1024)     /* bytes of room kept after a long line */

static void qmp_destroy(struct qmp *qmp)
{
    frame_deinit(&qmp->frame);
    qmp_out_deinit(&qmp->out);
    error_clear(&qmp->why);
    free(qmp->version);
    free(qmp->path);
    free(qmp);
}

static void qmp_enter(struct qmp *qmp)
{
    qmp->depth++;
}

static void qmp_leave(struct qmp *qmp)
{
    if (--qmp->depth == 0 && qmp->freed)
        qmp_destroy(qmp);
}

static void qmp_event_drop(struct event **event)
{
    if (*event)
        event_free(*event);
    *event = NULL;
}

/* Lets go of the socket and of the process, and with them of everything that could call back. */
static void qmp_close(struct qmp *qmp)
{
    qmp_event_drop(&qmp->readable);
    qmp_event_drop(&qmp->writable);
    qmp_event_drop(&qmp->ended);
    qmp_event_drop(&qmp->retry);
    qmp_event_drop(&qmp->timer);
    cleanup_close(&qmp->fd);
    cleanup_close(&qmp->pidfd);
    qmp->fd = qmp->pidfd = -1;
}

struct qmp *qmp_free(struct qmp *qmp)
{
    if (!qmp || qmp->freed)
        return NULL;
    qmp->freed = true;
    qmp->state = QMP_DOWN;
    qmp_close(qmp);
    qmp_event_drop(&qmp->later);
    qmp_calls_drop(&qmp->calls);
    qmp_calls_drop(&qmp->refused);
    qmp_calls_drop(&qmp->dying);
    if (qmp->depth == 0)
        qmp_destroy(qmp);
    return NULL;
}

/* Answers what is in `dying`. The list is a member so that a callback that frees drops the rest. */
static void qmp_answer_dying(struct qmp *qmp, const char *reason)
{
    struct qmp_call *call;

    while ((call = TAILQ_FIRST(&qmp->dying))) {
        TAILQ_REMOVE(&qmp->dying, call, link);
        qmp_call_gone(call, reason);
    }
}

/* The end: everything outstanding is answered, then the owner is told. `why` is used up. */
static void qmp_down(struct qmp *qmp, struct error *why)
{
    _cleanup_error_ struct error err = {0};

    error_move(&err, why);
    if (qmp->state == QMP_DOWN)
        return;
    log_debug("qmp %s: down: %s", qmp->path, err.message);
    qmp->state = QMP_DOWN;
    qmp_close(qmp);
    TAILQ_CONCAT(&qmp->dying, &qmp->calls, link);
    do { /* who is answered may call again, and the owner frees what is not answered by then */
        TAILQ_CONCAT(&qmp->dying, &qmp->refused, link);
        qmp_answer_dying(qmp, err.message);
    } while (!qmp->freed && !TAILQ_EMPTY(&qmp->refused));
    if (!qmp->freed)
        qmp->handlers->down(qmp->arg, &err);
}

void qmp_down_later(struct qmp *qmp, struct error *why)
{
    if (qmp->why.code)
        error_clear(why);
    else
        error_move(&qmp->why, why);
    event_active(qmp->later, 0, 0);
}

static void qmp_broken_protocol(struct qmp *qmp, const char *what)
{
    struct error err = {0};

    error_set(&err, SNAPVM_ERROR_QEMU_GONE,
              "the monitor %s does not speak as QEMU does (%s): the connection was closed",
              qmp->path, what);
    qmp_down(qmp, &err);
}

static void qmp_negotiated(void *arg, json_object *result _unused_, const struct error *err)
{
    struct qmp *qmp = arg;

    if (qmp->state != QMP_NEGOTIATING)
        return;
    if (err) {
        qmp_broken_protocol(qmp, err->message);
        return;
    }
    qmp->state = QMP_UP;
    event_del(qmp->timer);
    qmp->handlers->up(qmp->arg);
}

static void qmp_greeted(struct qmp *qmp, json_object *greeting)
{
    json_object *version = json_sub(json_sub(greeting, "version"), "qemu");

    if (qmp->state != QMP_GREETING) {
        qmp_broken_protocol(qmp, "a second greeting");
        return;
    }
    qmp->version = xasprintf("%lld.%lld.%lld", json_int(version, "major", 0),
                             json_int(version, "minor", 0), json_int(version, "micro", 0));
    qmp->state = QMP_NEGOTIATING;
    qmp_queue(qmp, &(struct qmp_request){.command = "qmp_capabilities",
                                         .arguments = qmp_call_capabilities(greeting),
                                         .fn = qmp_negotiated,
                                         .arg = qmp});
    qmp_write(qmp);
}

/* QEMU answers without an id only what it could not read as JSON. Where that is not what was taken
 * back, it and we are out of step, and which of the outstanding commands was lost cannot be told.
 */
static void qmp_replied(struct qmp *qmp, json_object *reply)
{
    json_object *error = json_member(reply, "error");
    struct qmp_call *call;

    if (!error && !json_member(reply, "return")) {
        qmp_broken_protocol(qmp, "an answer that is neither result nor error");
        return;
    }
    call = qmp_calls_take(&qmp->calls, reply);
    if (!call) {
        qmp_broken_protocol(qmp, error ? json_text(error) : "an answer that nobody waits for");
        return;
    }
    if (call->effect)
        crash_point(qmp->crash, "effect.done", call->command);
    qmp_call_answer(call, reply);
}

static void qmp_line(struct qmp *qmp, const char *line, size_t size)
{
    _cleanup_json_ json_object *object = NULL;
    json_object *greeting;
    struct qmp_event event;

    log_debug("qmp %s: < %s", qmp->path, line);
    if (json_read(line, size, LIMIT_QMP_NESTING, &object) != JSON_OK ||
        !json_object_is_type(object, json_type_object)) {
        qmp_broken_protocol(qmp, "a line that is no JSON object");
        return;
    }
    greeting = json_sub(object, "QMP");
    if (greeting) {
        qmp_greeted(qmp, greeting);
    } else if (json_member(object, "event")) {
        event = qmp_event_read(object);
        if (qmp->state == QMP_UP)
            qmp->handlers->event(qmp->arg, &event);
    } else {
        qmp_replied(qmp, object);
    }
}

static void qmp_take_lines(struct qmp *qmp)
{
    enum frame_result result;
    char *line;
    size_t size;

    while (qmp->fd >= 0) {
        if ((result = frame_next(&qmp->frame, &line, &size)) == FRAME_NONE)
            break;
        if (result == FRAME_TOO_LONG)
            qmp_broken_protocol(qmp, "a line of more than 16 MiB");
        else if (size > 0)
            qmp_line(qmp, line, size);
    }
    if (frame_pending(&qmp->frame) == 0 && qmp->frame.room > QMP_KEEP)
        frame_reset(&qmp->frame);
}

static void qmp_lost(struct qmp *qmp, int errnum)
{
    const char *when = qmp->state == QMP_GREETING ? " without a greeting" : "";
    struct error err = {0};

    if (errnum)
        error_set_errno(&err, SNAPVM_ERROR_QEMU_GONE, errnum,
                        "the connection to the monitor %s was lost", qmp->path);
    else
        error_set(&err, SNAPVM_ERROR_QEMU_GONE, "the monitor %s closed the connection%s", qmp->path,
                  when);
    qmp_down(qmp, &err);
}

/* Reads and handles what is there, up to a bound that no honest socket buffer reaches: the rest
 * has its turn when the loop comes around. */
static void qmp_read(struct qmp *qmp)
{
    char buffer[QMP_READ_SIZE];
    ssize_t n;

    for (unsigned turn = 0; qmp->fd >= 0 && turn < QMP_READ_TURNS; turn++) {
        n = recv(qmp->fd, buffer, sizeof(buffer), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            qmp_lost(qmp, n < 0 ? errno : 0);
            return;
        }
        frame_feed(&qmp->frame, buffer, (size_t)n);
        qmp_take_lines(qmp);
        if ((size_t)n < sizeof(buffer))
            return;
    }
}

static void qmp_on_readable(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    struct qmp *qmp = arg;

    qmp_enter(qmp);
    qmp_read(qmp);
    qmp_leave(qmp);
}

static void qmp_on_writable(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    qmp_write(arg);
}

static void qmp_on_ended(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    struct qmp *qmp = arg;
    struct error err = {0};

    qmp_enter(qmp);
    qmp_read(qmp);
    error_set(&err, SNAPVM_ERROR_QEMU_GONE, "the QEMU process %ld has ended",
              (long)qmp->process.pid);
    qmp_down(qmp, &err);
    qmp_leave(qmp);
}

static void qmp_on_greeting_timeout(struct qmp *qmp)
{
    struct error err = {0};

    error_set(&err, SNAPVM_ERROR_TIMEOUT,
              "the monitor %s did not answer within %u ms: another program holds it, or QEMU hangs;"
              " give the guest a second QMP socket for snapvm",
              qmp->path, qmp->greeting_timeout_ms);
    qmp_down(qmp, &err);
}

/* The timer was set for a call that may long be answered: the oldest one that waits now counts. */
static void qmp_on_command_timeout(struct qmp *qmp)
{
    const struct qmp_call *oldest = TAILQ_FIRST(&qmp->calls);
    int64_t rest = oldest ? oldest->deadline - clock_monotonic() : 0;
    struct timeval timeout = {.tv_sec = rest / 1000000, .tv_usec = rest % 1000000};
    struct error err = {0};

    if (!oldest)
        return;
    if (rest > 0) {
        event_add(qmp->timer, &timeout);
        return;
    }
    error_set(&err, SNAPVM_ERROR_TIMEOUT, "QEMU did not answer '%s' within %u ms", oldest->command,
              qmp->command_timeout_ms);
    qmp_down(qmp, &err);
}

/* What lies in the socket by now was read before: the loop looks at descriptors before timers. */
static void qmp_on_timer(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    struct qmp *qmp = arg;

    qmp_enter(qmp);
    if (qmp->state < QMP_UP)
        qmp_on_greeting_timeout(qmp);
    else if (qmp->state == QMP_UP)
        qmp_on_command_timeout(qmp);
    qmp_leave(qmp);
}

static void qmp_on_later(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    struct qmp *qmp = arg;

    qmp_enter(qmp);
    if (qmp->why.code && qmp->state != QMP_DOWN) {
        qmp_read(qmp);
        qmp_down(qmp, &qmp->why);
    }
    TAILQ_CONCAT(&qmp->dying, &qmp->refused, link);
    qmp_answer_dying(qmp, "the monitor is not connected");
    qmp_leave(qmp);
}

static void qmp_connected(struct qmp *qmp, int fd)
{
    struct error err = {0};

    if (process_of_socket(fd, &qmp->process, &err) < 0) {
        close(fd);
        qmp_down_later(qmp, &err);
        return;
    }
    qmp->fd = fd;
    qmp->state = QMP_GREETING;
    qmp->readable = event_new(qmp->base, fd, EV_READ | EV_PERSIST, qmp_on_readable, qmp);
    qmp->writable = event_new(qmp->base, fd, EV_WRITE, qmp_on_writable, qmp);
    event_add(qmp->readable, NULL);
    /* Another process may have inherited the socket and hold it open: it must not hide the end. */
    qmp->pidfd = process_pidfd(&qmp->process);
    if (qmp->pidfd < 0)
        return;
    qmp->ended = event_new(qmp->base, qmp->pidfd, EV_READ, qmp_on_ended, qmp);
    event_add(qmp->ended, NULL);
}

/* QEMU listens with a backlog of one: where somebody holds the monitor and two more wait already,
 * connecting fails with EAGAIN, and nothing tells when there is room. */
static void qmp_connect(struct qmp *qmp)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval pause = clock_timeval_ms(QMP_RETRY_MS);
    size_t length = strlen(qmp->path);
    struct error err = {0};
    int fd = -1;

    errno = ENAMETOOLONG;
    if (length < sizeof(address.sun_path)) {
        memcpy(address.sun_path, qmp->path, length);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    }
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0) {
        qmp_connected(qmp, fd);
        return;
    }
    if (fd >= 0 && errno == EAGAIN) {
        event_add(qmp->retry, &pause);
    } else {
        bool nobody = errno == ENOENT || errno == ECONNREFUSED;

        error_set_errno(&err, nobody ? SNAPVM_ERROR_NOT_FOUND : SNAPVM_ERROR_QEMU_GONE, errno,
                        "the monitor %s cannot be reached", qmp->path);
        qmp_down_later(qmp, &err);
    }
    cleanup_close(&fd);
}

static void qmp_on_retry(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    qmp_connect(arg);
}

struct qmp *qmp_new(struct event_base *base, const struct qmp_options *options,
                    const struct qmp_handlers *handlers, void *arg)
{
    struct timeval timeout = clock_timeval_ms(options->greeting_timeout_ms);
    struct qmp *qmp = xzalloc(sizeof(*qmp));

    *qmp = (struct qmp){
        .base = base,
        .handlers = handlers,
        .arg = arg,
        .path = xstrdup(options->path),
        .greeting_timeout_ms = options->greeting_timeout_ms,
        .command_timeout_ms = options->command_timeout_ms,
        .crash = options->crash,
        .fd = -1,
        .pidfd = -1,
        .calls = TAILQ_HEAD_INITIALIZER(qmp->calls),
        .refused = TAILQ_HEAD_INITIALIZER(qmp->refused),
        .dying = TAILQ_HEAD_INITIALIZER(qmp->dying),
    };
    frame_init(&qmp->frame, LIMIT_QMP_LINE);
    qmp_out_init(&qmp->out);
    qmp->retry = evtimer_new(base, qmp_on_retry, qmp);
    qmp->timer = evtimer_new(base, qmp_on_timer, qmp);
    qmp->later = event_new(base, -1, 0, qmp_on_later, qmp);
    event_add(qmp->timer, &timeout);
    qmp_connect(qmp);
    return qmp;
}

bool qmp_is_up(const struct qmp *qmp)
{
    return qmp->state == QMP_UP;
}

const struct process *qmp_process(const struct qmp *qmp)
{
    return &qmp->process;
}

const char *qmp_version(const struct qmp *qmp)
{
    return qmp->version;
}
