/* What a QEMU is at one moment, as plain data: run state, block nodes and their edges, disks, jobs,
 * character devices. It is filled by qmp-view.c from one burst of queries, and by tests from
 * tables; plans' probes read it and do no I/O. */
#ifndef SNAPVM_QEMU_VIEW_H
#define SNAPVM_QEMU_VIEW_H

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "base/cleanup.h"

/* A snapshot inside an image. */
struct view_snapshot {
    char *name;
    bool memory; /* it has the guest's memory as well */
};

struct view_node {
    char *name;
    char *driver;
    char *file; /* as QEMU has it: may be relative to its directory, or "json:{…}" */
    char
        *backing; /* the node below: backing, or the filtered one of a filter; NULL at the bottom */
    bool read_only;
    int64_t virtual_size, actual_size; /* bytes; -1 unknown */
    struct view_snapshot *snapshots;   /* inside the image */
    unsigned n_snapshots;
    UT_hash_handle hh;
};

struct view_disk {
    char *device; /* the drive's id ("virtio0"), NULL when attached by -blockdev */
    char *qdev;   /* the device's id as a person gave it ("vd0"), NULL without one */
    char *qom;    /* QEMU's own name of the device ("/machine/peripheral/vd0/virtio-backend") */
    char *root;   /* the node that the device reads, which is a filter during jobs; NULL: empty */
    bool read_only, removable;
    bool firmware;         /* a flash chip of the board's */
    bool direct, no_flush; /* the cache mode of its images */
    char *detect_zeroes;   /* NULL: off */
    char *io_status;       /* "ok", "failed", "nospace"; NULL unknown */
};

enum view_job_status {
    VIEW_JOB_NONE, /* no such job */
    VIEW_JOB_CREATED,
    VIEW_JOB_RUNNING,
    VIEW_JOB_PAUSED, /* by a user, by an I/O error (see io_status), or for a moment by a drain */
    VIEW_JOB_READY,
    VIEW_JOB_STANDBY, /* ready and paused */
    VIEW_JOB_WAITING,
    VIEW_JOB_PENDING, /* for mirrors and active commits: the guest's I/O is held, both are equal */
    VIEW_JOB_ABORTING,
    VIEW_JOB_CONCLUDED,
    VIEW_JOB_UNKNOWN,
};

struct view_job {
    char *id, *type;
    enum view_job_status status;
    char *error;     /* why it failed; NULL also for a soft cancel: only the graph tells a pivot */
    char *io_status; /* of block jobs: "ok", "failed", "nospace"; NULL otherwise */
    bool paused;     /* of block jobs: by a user or an error; that of a drain does not show */
    int64_t current, total, speed;
};

struct view_chardev {
    char *label,
        *file; /* file as in query-chardev: "unix:PATH,server=on" or "disconnected:unix:…" */
    bool frontend_open; /* the guest has the port open */
};

enum view_migration_status {
    VIEW_MIGRATION_NONE,
    VIEW_MIGRATION_ACTIVE,    /* under way, from its set-up on, also while it is being cancelled */
    VIEW_MIGRATION_COMPLETED, /* the last one was; the run state tells whether it still counts */
    VIEW_MIGRATION_FAILED,    /* or was cancelled */
};

/* The present or the last migration of the guest. It has no name: whose it is cannot be seen. */
struct view_migration {
    enum view_migration_status status;
    char *error;              /* of a failed one; NULL: none was given */
    int64_t total, remaining; /* bytes of memory; total -1: not known (yet) */
};

struct view {
    char *status; /* "running", "paused", "shutdown", "postmigrate", … */
    bool running;
    struct view_node *nodes; /* uthash by name */
    struct view_disk *disks;
    struct view_job *jobs;
    struct view_chardev *chardevs;
    unsigned n_disks, n_jobs, n_chardevs;
    struct view_migration migration; /* only in views that were asked for it: domain::saving */
};

struct view *view_new(void);
struct view *view_free(struct view *view);

/* Adding, for the reader of replies and for tests: each returns the new zeroed element with its
 * name set; the view owns it. The pointers of the arrays move with the next addition. A node of a
 * name that is there already takes the other's place. */
struct view_node *view_add_node(struct view *view, const char *name);
struct view_disk *view_add_disk(struct view *view, const char *root);
struct view_job *view_add_job(struct view *view, const char *id);
struct view_chardev *view_add_chardev(struct view *view, const char *label);
struct view_snapshot *view_node_add_snapshot(struct view_node *node, const char *name);
void view_remove_node(struct view *view, const char *name);

/* Finding; NULL where there is none, also for a NULL name. */
struct view_node *view_node(const struct view *view, const char *name);
struct view_job *view_job(const struct view *view, const char *id);
struct view_snapshot *view_node_snapshot(const struct view_node *node /* or NULL */,
                                         const char *name);

/* The status of a job, VIEW_JOB_NONE where there is no such job. */
enum view_job_status view_job_status(const struct view *view, const char *id);
enum view_job_status view_job_status_of(const char *word);
const char *view_job_status_name(enum view_job_status status);

/* The disk whose device id, drive id, QOM path, or active layer's node name it is. */
struct view_disk *view_disk(const struct view *view, const char *name);

/* Whether a driver is a filter that passes data through (commit_top, mirror_top, throttle,
 * copy-on-read, copy-before-write, blkdebug, preallocate, compress, …). */
bool view_is_filter(const char *driver);

/* The first image layer at or below the named node, filters skipped: the active layer when the name
 * is a disk's root. NULL when the name is NULL or unknown. */
struct view_node *view_layer(const struct view *view, const char *name);

/* The image layer below a layer, NULL at the bottom. */
struct view_node *view_below(const struct view *view, const struct view_node *layer);

/* Whether `node` is a layer of the chain that begins at `root`. */
bool view_in_chain(const struct view *view, const char *root, const char *node);

/* The nodes of layers whose file name is the given one, in no order: how many, the first in *ret.
 */
unsigned view_nodes_of_file(const struct view *view, const char *file, struct view_node **ret);

DEFINE_CLEANUP(struct view, view_free)

#endif
