/* From QEMU's replies to a view. Pure: no connection and no I/O, so that recorded replies and a
 * fuzzer can feed it. Members that are absent or of another type count as unknown, elements of
 * lists without their name are left out. */
#ifndef SNAPVM_QEMU_QMP_VIEW_H
#define SNAPVM_QEMU_QMP_VIEW_H

#include "proto/json.h"
#include "qemu/view.h"

/* The values of "return"; NULL where a command was not asked or is lacking. Not taken over. */
struct qmp_view_replies {
    json_object *status;     /* query-status */
    json_object *block;      /* query-block */
    json_object *blockstats; /* query-blockstats, of devices: it alone tells a chain's edges */
    json_object *nodes;      /* query-named-block-nodes, flat */
    json_object *jobs;       /* query-jobs */
    json_object *block_jobs; /* query-block-jobs */
    json_object *chardevs;   /* query-chardev */
    json_object *migrate;    /* query-migrate */
};

/* What a status of query-migrate means; NULL: there was none. A word that is not known is taken for
 * a migration that is under way. */
enum view_migration_status qmp_migration_of(const char *word);

/* The view that they make together, owned by the caller. */
struct view *qmp_view_read(const struct qmp_view_replies *replies);

#endif
