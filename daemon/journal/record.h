/* The rows of the journal as structs: the durable half of a domain, a disk, a job, a snapshot, a
 * freeze debt. The model in memory embeds them, so that what is stored and what is true are one
 * thing. All texts are owned by the record; NULL is SQL's NULL. */
#ifndef SNAPVM_JOURNAL_RECORD_H
#define SNAPVM_JOURNAL_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "qemu/process.h"

/* One image of a disk's chain. */
struct record_layer {
    char *file, *format;  /* file: absolute, as the guest's QEMU sees it */
    char *node;           /* the node's name if a person gave it; NULL for QEMU's random ones */
    int64_t virtual_size; /* bytes, -1 unknown */
};

struct record_disk {
    char *target;        /* unique in its domain; never changes */
    char *qdev, *device; /* how QEMU knows it: device id, drive id */
    char *node;          /* as defined, to find it the first time */
    char *format;        /* of the image, as defined; NULL: nobody said, or QEMU reads it so */
    bool defined;        /* a person named the target */
    bool read_only;
    bool firmware;              /* its variables, or its code */
    struct record_layer *chain; /* [0] is the active layer: the image to start from, now */
    unsigned n_chain;
    bool held; /* in memory alone: a job answers for the chain, a view does not change it */
};

struct record_domain {
    char *name, *uuid;
    bool found; /* in the guests folder, rather than defined */
    char *qmp, *agent;
    char *current_snapshot;
    char *document;      /* what it was defined by, in an empty <domainsnapshot>; NULL: no XML */
    struct process qemu; /* last seen; pid 0: never */
    struct record_disk *disks;
    unsigned n_disks;
};

/* An image that a job touches. */
struct record_image {
    char *disk; /* target */
    char *role; /* "source", "overlay", "top", "base", "intermediate", "target", "backing", … */
    char *file, *format;
    char *node; /* in QEMU; of role "internal" the snapshot inside the image that is meant */
    int64_t virtual_size;
    dev_t dev; /* identity of a file that the job made or will remove; ino 0: none */
    ino_t ino;
    bool made;   /* this job makes the file */
    char *state; /* what it is worth once the job ended: the contract's files[].state */
    bool was_at; /* of role "internal": it was what the snapshot holds before the job */
};

/* Options and facts of a job as bits, stored as an integer: never renumber. */
enum record_job_flag {
    JOB_AUTO_PIVOT = 1 << 0,
    JOB_DELETE = 1 << 1,      /* remove what the outcome makes worthless */
    JOB_PAUSE_NEVER = 1 << 2, /* do not hold the vCPUs for the switch */
    JOB_HELD = 1 << 3,        /* the vCPUs ran, and are ours to hold and to let go */
    JOB_QUIESCE_PREFERRED = 1 << 4,
    JOB_QUIESCE_REQUIRED = 1 << 5,
    JOB_NO_METADATA = 1 << 6,
    JOB_QUIESCED = 1 << 7,    /* proven: freeze counted, status frozen, thaw counted the same */
    JOB_PIVOT = 1 << 8,       /* the pivot was asked for */
    JOB_KEEP = 1 << 9,        /* the end without pivot was asked for */
    JOB_CANCEL = 1 << 10,     /* the forced end was asked for */
    JOB_DECIDED = 1 << 11,    /* the only way is forward */
    JOB_REVERSED = 1 << 12,   /* the switch failed after the decision: the source it is */
    JOB_UNDOING = 1 << 13,    /* steps are taken back */
    JOB_READY_SENT = 1 << 14, /* job.ready was announced */
    JOB_PAUSED_BY_USER = 1 << 15,
    JOB_CHILDREN = 1 << 16,      /* of a snapshot that is deleted: what descends from it too */
    JOB_CHILDREN_ONLY = 1 << 17, /* that alone */
    JOB_SHALLOW = 1 << 18,       /* a copy of the active layer, on the old one's backing file */
    JOB_STALLED = 1 << 20,       /* stopped at an I/O error or on a full disk, and announced */
    JOB_STALL_SPACE = 1 << 21,   /* the disk was full */
    JOB_STALL_READ = 1 << 22,    /* what failed was reading */
    JOB_FORCE = 1 << 23,         /* of a revert: what is in no snapshot may be lost */
    JOB_RUN = 1 << 24,           /* of a revert: the guest runs afterwards */
    JOB_HALT = 1 << 25,          /* of a snapshot: the guest ends afterwards */
};

struct record_job {
    int64_t id;
    char *domain, *disk; /* disk: NULL when the job has several or none */
    char *kind, *state;  /* words of the contract */
    char *step;          /* name in the plan */
    uint32_t flags;
    int64_t group;                   /* id of the job that leads the common pivot; 0: none */
    int64_t bandwidth;               /* bytes a second, 0 unlimited */
    int64_t created, updated, ended; /* microseconds since 1970; ended 0: not yet */
    int64_t current, total;          /* progress as last seen; total -1: none */
    char *request_id;
    struct process qemu;          /* the QEMU in which it runs */
    char *snapshot, *description; /* of snapshot jobs */
    char *guest_state;            /* state of the domain when it began */
    char *quiesce_error;
    char *left_out; /* of a snapshot: the disks that it does not have and why, as JSON; or NULL */
    /* The outcome, once ended. */
    char *result, *active, *evidence;
    struct error error;
    int64_t paused_us, frozen_us; /* -1: not measured, does not apply */
    struct record_image *images;
    unsigned n_images;
};

struct record_snapshot_disk {
    char *disk, *mode, *file, *format, *backing, *backing_format;
};

struct record_snapshot {
    char *domain, *name, *parent, *description;
    char *state;       /* of the domain then */
    char *memory;      /* "no", "internal", "external" */
    char *memory_file; /* of an external one; NULL: not known */
    bool quiesced;
    char *quiesce_error;
    int64_t created;
    struct record_snapshot_disk *disks;
    unsigned n_disks;
};

/* A freeze that may stand in a guest and that we owe a thaw. */
struct record_debt {
    char *domain;
    struct process qemu;
    int64_t since, deadline; /* microseconds since 1970 */
    int64_t job;             /* 0: a lease of a client */
    int64_t count; /* of a lease: file systems that it holds; 0: its freeze is not confirmed */
    bool listed;   /* these are some that the client listed, not all */
};

/* A remembered request: what was asked, and its answer once there is one. */
struct record_request {
    char *id, *method, *params; /* params: canonical text */
    int64_t job;                /* 0: the answer is `result` */
    char *result;               /* JSON text */
    int64_t time;
};

void record_layer_deinit(struct record_layer *layer);
void record_disk_deinit(struct record_disk *disk);
void record_domain_deinit(struct record_domain *domain);
void record_image_deinit(struct record_image *image);
void record_job_deinit(struct record_job *job);
void record_snapshot_deinit(struct record_snapshot *snapshot);
void record_debt_deinit(struct record_debt *debt);
void record_request_deinit(struct record_request *request);

/* Appends a zeroed element, or inserts it, and returns it; the pointers of the array move with the
 * next one. */
struct record_disk *record_domain_add_disk(struct record_domain *domain, const char *target);
struct record_layer *record_disk_add_layer(struct record_disk *disk, const char *file,
                                           const char *format);
struct record_layer *record_disk_insert_layer(struct record_disk *disk, unsigned at,
                                              const char *file, const char *format);
struct record_image *record_job_add_image(struct record_job *job, const char *disk,
                                          const char *role, const char *file);
struct record_snapshot_disk *record_snapshot_add_disk(struct record_snapshot *snapshot,
                                                      const char *disk);

void record_snapshot_copy(struct record_snapshot *to, const struct record_snapshot *from);

/* Where a file stands in the chain of a disk, -1 when it does not; the disk may be NULL. */
int record_disk_place(const struct record_disk *disk, const char *file);

/* Drops the layers of a disk above or below: the first n layers, or all from n on. */
void record_disk_drop_layers(struct record_disk *disk, unsigned first, unsigned n);

/* The body of a snapshot's events, as JSON text owned by the caller. */
char *record_snapshot_event(const char *name, bool quiesced);

/* The same with the name alone, which may be NULL: of what was deleted, or is current. */
char *record_name_event(const char *name);

/* An error as JSON text ({"code":…,"message":…,"data":{…}}), owned by the caller, and back. Members
 * of data that the contract does not know are dropped when read. */
char *record_error_text(const struct error *error);
int record_error_parse(const char *text, struct error *ret_error);

#endif
