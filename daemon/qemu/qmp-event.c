/* One table from QEMU's event names to kinds, and the member that names the job or the port. */
#include "qemu/qmp-event.h"

#include <string.h>

#include "proto/json.h"

static const struct event_row {
    const char *name;
    enum qmp_event_kind kind;
    const char *id; /* the member of `data` with the id; NULL: it has none */
} event_rows[] = {
    {"JOB_STATUS_CHANGE", QMP_EVENT_JOB_STATUS, "id"},
    {"BLOCK_JOB_READY", QMP_EVENT_JOB_READY, "device"},
    {"BLOCK_JOB_PENDING", QMP_EVENT_JOB_PENDING, "id"},
    {"BLOCK_JOB_COMPLETED", QMP_EVENT_JOB_COMPLETED, "device"},
    {"BLOCK_JOB_CANCELLED", QMP_EVENT_JOB_CANCELLED, "device"},
    {"BLOCK_JOB_ERROR", QMP_EVENT_JOB_ERROR, "device"},
    {"BLOCK_IO_ERROR", QMP_EVENT_IO_ERROR, NULL},
    {"VSERPORT_CHANGE", QMP_EVENT_PORT, "id"},
    {"MIGRATION", QMP_EVENT_MIGRATION, NULL},
    {"STOP", QMP_EVENT_STOP, NULL},
    {"RESUME", QMP_EVENT_RESUME, NULL},
    {"SHUTDOWN", QMP_EVENT_SHUTDOWN, NULL},
    {"RESET", QMP_EVENT_RESET, NULL},
};

struct qmp_event qmp_event_read(json_object *object)
{
    struct qmp_event event = {.kind = QMP_EVENT_OTHER, .id = ""};
    const char *name = json_string(object, "event"), *id;
    json_object *data = json_sub(object, "data");

    for (size_t i = 0; name && i < sizeof(event_rows) / sizeof(event_rows[0]); i++) {
        if (strcmp(event_rows[i].name, name) != 0)
            continue;
        event.kind = event_rows[i].kind;
        id = event_rows[i].id ? json_string(data, event_rows[i].id) : NULL;
        if (id)
            event.id = id;
        break;
    }
    if (event.kind == QMP_EVENT_JOB_STATUS)
        event.status = view_job_status_of(json_string(data, "status"));
    if (event.kind == QMP_EVENT_JOB_READY) {
        event.current = json_int(data, "offset", 0);
        event.total = json_int(data, "len", 0);
    }
    if (event.kind == QMP_EVENT_JOB_ERROR) {
        const char *operation = json_string(data, "operation");

        event.read = operation && strcmp(operation, "read") == 0;
    }
    if (event.kind == QMP_EVENT_PORT)
        event.open = json_flag(data, "open", false);
    return event;
}
