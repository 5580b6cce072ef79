/* The way of a command out: it becomes a call and a line, and leaves with those that were sent
 * together with it. */
#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/memory.h"
#include "proto/json.h"
#include "proto/snapvm-errors.h"
#include "qemu/qmp-conn.h"

static void qmp_note_sent(struct qmp *qmp)
{
    struct qmp_call *call;

    TAILQ_FOREACH (call, &qmp->calls, link) {
        if (call->sent || call->end > qmp->out.left)
            continue;
        call->sent = true;
        if (call->effect)
            crash_point(qmp->crash, "effect.sent", call->command);
    }
}

void qmp_write(struct qmp *qmp)
{
    struct error err = {0};
    int r;

    if (qmp->why.code)
        return;
    r = qmp_out_send(&qmp->out, qmp->fd);
    if (r < 0) {
        error_set_errno(&err, SNAPVM_ERROR_QEMU_GONE, errno,
                        "the monitor %s takes no more commands", qmp->path);
        qmp_down_later(qmp, &err);
    } else if (r > 0) {
        event_add(qmp->writable, NULL);
    }
    qmp_note_sent(qmp);
}

static int64_t qmp_deadline(const struct qmp *qmp)
{
    return clock_monotonic() + (int64_t)qmp->command_timeout_ms * 1000;
}

static struct qmp_call *qmp_new_call(struct qmp *qmp, const struct qmp_request *request)
{
    return qmp_call_new(request, &qmp->last_id, qmp_deadline(qmp));
}

static void qmp_take_back(struct qmp *qmp)
{
    struct qmp_call *call = qmp_call_new_forgotten(qmp_deadline(qmp));

    log_debug("qmp %s: takes back what was laid out", qmp->path);
    call->end = qmp_out_take_back(&qmp->out);
    TAILQ_INSERT_TAIL(&qmp->calls, call, link);
}

void qmp_queue(struct qmp *qmp, const struct qmp_request *request)
{
    struct qmp_call *call = qmp_new_call(qmp, request);
    _cleanup_json_ json_object *object = qmp_call_object(call, request->arguments);
    const char *text = json_text(object);
    int fd = request->has_fd ? request->fd : -1;

    if (qmp_out_differs(&qmp->out, text, fd))
        qmp_take_back(qmp);
    log_debug("qmp %s: > %s", qmp->path, text);
    call->end = qmp_out_put(&qmp->out, text, fd);
    TAILQ_INSERT_TAIL(&qmp->calls, call, link);
}

/* A command for a connection that is not up: it is answered all the same, from the loop. */
static void qmp_refuse(struct qmp *qmp, const struct qmp_request *request)
{
    struct qmp_call *call = qmp_new_call(qmp, request);

    json_object_put(request->arguments);
    if (request->has_fd)
        close(request->fd);
    TAILQ_INSERT_TAIL(&qmp->refused, call, link);
    event_active(qmp->later, 0, 0);
}

/* The call that will be made takes the same id. */
static void qmp_lay_out(struct qmp *qmp, const struct qmp_request *request)
{
    int64_t last_id = qmp->last_id;
    struct qmp_call *call = qmp_new_call(qmp, request);
    _cleanup_json_ json_object *object = qmp_call_object(call, request->arguments);

    qmp->last_id = last_id;
    if (request->has_fd)
        close(request->fd);
    else if (qmp->state == QMP_UP && !qmp->why.code)
        qmp_out_lay(&qmp->out, qmp->fd, json_text(object));
    qmp_call_drop(call);
}

void qmp_lay(struct qmp *qmp)
{
    qmp->laying = true;
}

void qmp_laid(struct qmp *qmp)
{
    qmp->laying = false;
}

void qmp_send(struct qmp *qmp, const struct qmp_request *request)
{
    struct timeval timeout = clock_timeval_ms(qmp->command_timeout_ms);

    if (qmp->laying) {
        qmp_lay_out(qmp, request);
        return;
    }
    if (qmp->state != QMP_UP) {
        qmp_refuse(qmp, request);
        return;
    }
    if (request->effect)
        crash_point(qmp->crash, "effect.before", request->command);
    qmp_queue(qmp, request);
    if (!event_pending(qmp->timer, EV_TIMEOUT, NULL))
        event_add(qmp->timer, &timeout);
    if (qmp->corked == 0)
        qmp_write(qmp);
}

void qmp_execute(struct qmp *qmp, const char *command, json_object *arguments, qmp_result_fn fn,
                 void *arg)
{
    qmp_send(qmp, &(struct qmp_request){
                      .command = command, .arguments = arguments, .fn = fn, .arg = arg});
}

void qmp_cork(struct qmp *qmp)
{
    qmp->corked++;
}

void qmp_uncork(struct qmp *qmp)
{
    if (--qmp->corked == 0 && qmp->state == QMP_UP)
        qmp_write(qmp);
}
