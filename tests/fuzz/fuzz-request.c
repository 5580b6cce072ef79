/* What a client sends, from its bytes to the handlers: whatever comes, each line gets at most one
 * answer, which is JSON-RPC, and a handler sees nothing that its row of the table forbids. */
/* Sources: daemon/rpc/conn.c daemon/rpc/dispatch.c daemon/rpc/reply.c daemon/rpc/role.c */
/* Sources: daemon/api/call.c daemon/api/error-json.c daemon/api/hub.c daemon/api/method.c */
/* Sources: daemon/api/method-check.c */
#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>

#include "api/context.h"
#include "api/handlers.h"
#include "api/method.h"
#include "api/metrics.h"
#include "api/request.h"
#include "base/log.h"
#include "base/memory.h"
#include "conf/conf.h"
#include "journal/journal.h"
#include "proto/json.h"
#include "rpc/conn.h"

#define PENDING_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Calls that are answered after all is read; handlers reach it as the context's engine. */
struct pending {
    struct call *calls[PENDING_MAX];
    unsigned n;
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void handle(struct call *call)
{
    struct pending *pending = (struct pending *)call_context(call)->engine;

    require(method_check(call_method(call), call_params(call), NULL) == 0);
    require(call_role(call) >= call_method(call)->role);
    if (call_method(call)->waits && pending->n < PENDING_MAX)
        pending->calls[pending->n++] = call;
    else
        call_result(call, json_object_get(call_params(call)));
}

#define STUB(name)               \
    void name(struct call *call) \
    {                            \
        handle(call);            \
    }

STUB(rpc_discover_handle)
STUB(daemon_info_handle)
STUB(daemon_metrics_handle)
STUB(daemon_reload_handle)
STUB(domain_define_handle)
STUB(domain_undefine_handle)
STUB(domain_list_handle)
STUB(domain_get_handle)
STUB(domain_blockdev_handle)
STUB(domain_check_handle)
STUB(snapshot_create_handle)
STUB(snapshot_list_handle)
STUB(snapshot_get_handle)
STUB(snapshot_current_handle)
STUB(snapshot_xml_handle)
STUB(snapshot_redefine_handle)
STUB(snapshot_delete_handle)
STUB(snapshot_export_handle)
STUB(snapshot_import_handle)
STUB(snapshot_revert_handle)
STUB(block_commit_handle)
STUB(block_copy_handle)
STUB(block_pull_handle)
STUB(job_list_handle)
STUB(job_get_handle)
STUB(job_wait_handle)
STUB(job_pivot_handle)
STUB(job_cancel_handle)
STUB(job_set_speed_handle)
STUB(job_pause_handle)
STUB(job_resume_handle)
STUB(job_forget_handle)
STUB(guest_freeze_handle)
STUB(guest_thaw_handle)
STUB(guest_status_handle)
STUB(event_subscribe_handle)
STUB(event_unsubscribe_handle)

void metrics_count(struct metrics *metrics _unused_, const struct method *method _unused_,
                   bool failed _unused_)
{
}

void request_answered(struct request *request _unused_, int failed _unused_)
{
}

int64_t journal_last_seq(const struct journal *journal _unused_)
{
    return 0;
}

int64_t journal_first_seq(const struct journal *journal _unused_)
{
    return 1;
}

void journal_set_sink(struct journal *journal _unused_, journal_sink_fn sink _unused_,
                      void *arg _unused_)
{
}

void journal_query_events(struct journal *journal _unused_, int64_t since _unused_,
                          int64_t last _unused_, unsigned limit _unused_,
                          journal_events_fn fn _unused_, void *arg _unused_)
{
    abort();
}

static void require_answer(json_object *answer)
{
    require(strcmp(json_string(answer, "jsonrpc"), "2.0") == 0);
    require(json_object_object_get_ex(answer, "id", NULL));
    require(json_object_object_get_ex(answer, "result", NULL) ||
            json_string(json_sub(json_sub(answer, "error"), "data"), "kind"));
}

/* Reads what came back, and counts the lines. */
static unsigned drain(int fd, struct frame *frame)
{
    char buffer[64 * 1024];
    unsigned lines = 0;
    size_t size;
    ssize_t n;
    char *line;

    while ((n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0)
        frame_feed(frame, buffer, (size_t)n);
    while (frame_next(frame, &line, &size) == FRAME_LINE) {
        json_object *value = NULL;

        require(json_read(line, size, 64, &value) == JSON_OK);
        if (json_object_is_type(value, json_type_array))
            for (size_t i = 0; i < json_object_array_length(value); i++)
                require_answer(json_object_array_get_idx(value, i));
        else
            require_answer(value);
        json_object_put(value);
        lines++;
    }
    return lines;
}

static unsigned count_lines(const uint8_t *data, size_t size)
{
    unsigned lines = 0;

    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    return lines;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf conf = {.request_bytes = 4096,
                        .nesting = 32,
                        .in_flight = 4,
                        .output_bytes = 1024 * 1024,
                        .admin_group = CONF_NO_GROUP,
                        .operator_group = CONF_NO_GROUP,
                        .reader_group = CONF_NO_GROUP};
    struct metrics metrics = {0};
    struct pending pending = {0};
    struct daemon_context context = {
        .conf = &conf, .metrics = &metrics, .engine = (struct engine *)&pending};
    struct peer peer = {.uid = geteuid()};
    struct frame frame;
    struct conn *conn;
    unsigned lines = 0;
    int pair[2];

    log_set_level(LOG_ERR);
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    context.event_base = event_base_new();
    frame_init(&frame, 16 * 1024 * 1024);
    conn = conn_new(&context, pair[0], &peer, NULL, NULL);
    conn_feed(conn, (const char *)data, size / 2);
    conn_feed(conn, (const char *)data + size / 2, size - size / 2);
    /* Bound by bound: each answer lets the next request in. */
    do {
        for (int i = 0; i < 4; i++)
            event_base_loop(context.event_base, EVLOOP_NONBLOCK);
        lines += drain(pair[1], &frame);
        if (pending.n > 0)
            call_result(pending.calls[--pending.n], NULL);
    } while (pending.n > 0 || (conn->fd >= 0 && conn->more));
    lines += drain(pair[1], &frame);
    require(lines <= count_lines(data, size) + 1);
    conn_free(conn);
    frame_deinit(&frame);
    event_base_free(context.event_base);
    close(pair[1]);
    return 0;
}
