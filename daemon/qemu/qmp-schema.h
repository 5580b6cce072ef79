/* What this QEMU can do, by its own schema and never by its version. */
#ifndef SNAPVM_QEMU_QMP_SCHEMA_H
#define SNAPVM_QEMU_QMP_SCHEMA_H

#include "proto/json.h"
#include <stdbool.h>

#include "base/error.h"

struct qmp;

enum qmp_feature {
    QMP_FEATURE_TWO_PHASE,   /* block-commit with auto-finalize, and job-finalize */
    QMP_FEATURE_TRANSACTION, /* transaction, blockdev-snapshot */
    QMP_FEATURE_STOP,        /* stop and cont (a storage daemon has none) */
    QMP_FEATURE_HMP,         /* human-monitor-command, for flushes */
    QMP_FEATURE_SET_ACTION,
    QMP_FEATURE_SNAPSHOT_JOBS, /* snapshot-save, -load */
    QMP_FEATURE_STREAM_BOTTOM, /* block-stream bottom */
    QMP_FEATURE_MIRROR,        /* blockdev-mirror with auto-finalize */
    QMP_FEATURE_SYNC_WRITES,   /* blockdev-mirror copy-mode */
    QMP_FEATURE_BACKING_MASK,  /* backing-mask-protocol of block-commit */
    QMP_FEATURE_ACTIVELY_SYNCED,
    QMP_N_FEATURES,
};

struct qmp_schema {
    bool has[QMP_N_FEATURES];
};

/* The name told in Unsupported's `feature`. */
const char *qmp_feature_name(enum qmp_feature feature);

/* What the two replies (arrays of any shape, or NULL) say together. */
void qmp_schema_read(json_object *commands, json_object *schema, struct qmp_schema *ret_schema);

/* Asks query-commands and query-qmp-schema (some 20 ms of QEMU's time and 240 KB: once a process).
 */
typedef void (*qmp_schema_fn)(void *arg, const struct qmp_schema *schema, const struct error *err);
void qmp_query_schema(struct qmp *qmp, qmp_schema_fn fn, void *arg);

#endif
