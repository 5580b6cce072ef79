/* The QMP commands that snapvm sends, typed. Every one reports once by its callback: err NULL is
 * QEMU's success, which for job-complete and job-cancel means only that it will try. */
#ifndef SNAPVM_QEMU_QMP_COMMAND_H
#define SNAPVM_QEMU_QMP_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct qmp;
struct view;

typedef void (*qmp_done_fn)(void *arg, const struct error *err);
typedef void (*qmp_view_fn)(void *arg, struct view *view, const struct error *err);
typedef void (*qmp_root_fn)(void *arg, const char *qom, const char *node, const struct error *err);

/* Parts of a view, as bits: what a look asks for. */
enum look {
    LOOK_JOBS = 1 << 0,      /* jobs and run state: query-jobs, query-block-jobs, query-status */
    LOOK_ROOTS = 1 << 1,     /* the disks and their roots, by query-block: what a switch did */
    LOOK_PORTS = 1 << 3,     /* query-chardev */
    LOOK_MIGRATION = 1 << 4, /* query-migrate, together with one of the others */
    LOOK_ALL = 1 << 2,       /* the first three, and query-blockstats, query-named-block-nodes */
};

/* Asks for these parts in one burst. A command that this QEMU lacks leaves its part empty. The view
 * is handed over to the callback. */
void qmp_query_view(struct qmp *qmp, unsigned looks, qmp_view_fn fn, void *arg);

/* The node at the root of the device with that name in QEMU, one that was attached without a
 * -drive (qom-get of its "drive"): unlike query-block it costs the same with any chain. */
void qmp_query_root(struct qmp *qmp, const char *qom, qmp_root_fn fn, void *arg);

/* Opens an image as a node of that name, over a backing node that is there already, or none; what
 * its header names is never opened. */
struct qmp_open {
    const char *node, *format, *file;
    const char *backing; /* a node's name; NULL: none */
    bool read_only, direct, no_flush;
    bool discard;              /* what is zeroed or discarded takes no room in the file */
    const char *detect_zeroes; /* NULL: off */
};
void qmp_blockdev_add(struct qmp *qmp, const struct qmp_open *open, qmp_done_fn fn, void *arg);
void qmp_blockdev_del(struct qmp *qmp, const char *node, qmp_done_fn fn, void *arg);

/* One transaction that puts each overlay on top of its node, or takes a snapshot of that name
 * inside the image of a disk's root: all or none. QEMU checks neither header nor size of an overlay
 * here; a name that the image has already is refused. For a single overlay it is blockdev-snapshot,
 * which is that transaction in fewer words: the guest waits while they are read. */
struct qmp_snapshot {
    const char *node, *overlay;
    const char *name; /* overlay NULL: of the snapshot inside */
};
void qmp_snapshot(struct qmp *qmp, const struct qmp_snapshot *pairs, unsigned n, qmp_done_fn fn,
                  void *arg);

/* Deletes a snapshot inside the image of a disk's root. QEMU refuses a name that is not there. */
void qmp_snapshot_drop(struct qmp *qmp, const char *node, const char *name, qmp_done_fn fn,
                       void *arg);

/* Jobs are always started with auto-finalize and auto-dismiss off, on-error stop. */
struct qmp_commit {
    const char *job, *device, *base, *filter;
    const char *top; /* NULL: the device's own, for an active commit */
    const char
        *backing_file; /* inner commits: written into the header above top, unchecked; or NULL */
    int64_t speed;     /* bytes a second, 0 unlimited */
};
void qmp_block_commit(struct qmp *qmp, const struct qmp_commit *commit, qmp_done_fn fn, void *arg);

/* Copies what lies between a node and its base (NULL: all that is below) into the node. This job
 * alone is dismissed by QEMU: a concluded stream that waits for its dismissal leaves a filter
 * without a child behind, on which query-named-block-nodes of QEMU 7.2 crashes. */
struct qmp_stream {
    const char *job, *device, *base;
    const char *backing_file; /* written into the node's header; NULL with base NULL */
    int64_t speed;
};
void qmp_block_stream(struct qmp *qmp, const struct qmp_stream *stream, qmp_done_fn fn, void *arg);

/* Copies a disk, or of it (top_only) the active layer alone, to a node of its size. QEMU never
 * gives the target a backing node: it has its own from the start. */
struct qmp_mirror {
    const char *job, *device, *target, *filter;
    bool top_only;
    bool write_blocking;           /* a write of the guest waits until both have it */
    int64_t granularity, buf_size; /* bytes; 0: QEMU's choice */
    int64_t speed;                 /* bytes a second, 0 unlimited */
};
void qmp_blockdev_mirror(struct qmp *qmp, const struct qmp_mirror *mirror, qmp_done_fn fn,
                         void *arg);

void qmp_job_complete(struct qmp *qmp, const char *job, qmp_done_fn fn, void *arg);
void qmp_job_finalize(struct qmp *qmp, const char *job, qmp_done_fn fn, void *arg);
void qmp_job_dismiss(struct qmp *qmp, const char *job, qmp_done_fn fn, void *arg);
void qmp_job_cancel(struct qmp *qmp, const char *job, qmp_done_fn fn, void *arg); /* forced */
void qmp_job_pause(struct qmp *qmp, const char *job, qmp_done_fn fn, void *arg);
void qmp_job_resume(struct qmp *qmp, const char *job, qmp_done_fn fn, void *arg);

/* block-job-cancel without force: the only way to end a ready job and keep the overlay, or the
 * copy. It acts like a forced one on a job that is not ready, or pending. */
void qmp_job_keep(struct qmp *qmp, const char *job, qmp_done_fn fn, void *arg);
void qmp_job_set_speed(struct qmp *qmp, const char *job, int64_t speed, qmp_done_fn fn, void *arg);

/* QEMU ends in order; the answer comes before that. */
void qmp_quit(struct qmp *qmp, qmp_done_fn fn, void *arg);

void qmp_stop(struct qmp *qmp, qmp_done_fn fn, void *arg);
void qmp_cont(struct qmp *qmp, qmp_done_fn fn, void *arg);

/* Flushes one node (HMP qemu-io flush), without pausing the guest. QEMU reports a node that is not
 * there, but not a flush that failed. */
void qmp_flush(struct qmp *qmp, const char *node, qmp_done_fn fn, void *arg);

#endif
