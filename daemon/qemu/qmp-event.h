/* QEMU's events that matter here, typed. An event is a hint to look, never evidence. */
#ifndef SNAPVM_QEMU_QMP_EVENT_H
#define SNAPVM_QEMU_QMP_EVENT_H

#include "proto/json.h"
#include <stdbool.h>
#include <stdint.h>

#include "qemu/view.h"

enum qmp_event_kind {
    QMP_EVENT_OTHER,
    QMP_EVENT_STOP,
    QMP_EVENT_RESUME,
    QMP_EVENT_SHUTDOWN,
    QMP_EVENT_RESET,
    QMP_EVENT_JOB_STATUS,    /* JOB_STATUS_CHANGE: id, status */
    QMP_EVENT_JOB_READY,     /* BLOCK_JOB_READY: id */
    QMP_EVENT_JOB_PENDING,   /* BLOCK_JOB_PENDING: id */
    QMP_EVENT_JOB_COMPLETED, /* BLOCK_JOB_COMPLETED: id; the same for a pivot and a soft cancel */
    QMP_EVENT_JOB_CANCELLED,
    QMP_EVENT_JOB_ERROR, /* BLOCK_JOB_ERROR: id; comes once per request in flight */
    QMP_EVENT_IO_ERROR,  /* BLOCK_IO_ERROR of the guest's own I/O */
    QMP_EVENT_MIGRATION, /* MIGRATION: comes if the capability "events" is on */
    QMP_EVENT_PORT,      /* VSERPORT_CHANGE: a guest program opened or closed a port */
};

struct qmp_event {
    enum qmp_event_kind kind;
    const char *id; /* of a job, or of the port; "" without one; lives as long as the call */
    enum view_job_status status;
    bool open;              /* of a port */
    bool read;              /* of QMP_EVENT_JOB_ERROR: what failed was reading */
    int64_t current, total; /* bytes, of QMP_EVENT_JOB_READY */
};

/* Reads an event object {"event":…,"data":…}; the texts belong to the object. */
struct qmp_event qmp_event_read(json_object *object);

#endif
