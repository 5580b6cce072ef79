/* A copy of a disk to a file, while the guest writes on. Its pivot is that of pivot.h; ended
 * without one, the target is a whole copy as of that moment. */
#ifndef SNAPVM_JOB_COPY_H
#define SNAPVM_JOB_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "job/plan.h"

struct domain;
struct engine;
struct job;
struct leg;
struct record_disk;

struct copy_request {
    const char *file, *format; /* absolute; "qcow2" or "raw" */
    bool shallow;              /* on the backing file of the active layer, if that has one */
    bool reuse;                /* the file is there already, and was checked */
    bool sync_writes, auto_pivot;
    int64_t granularity, buf_size; /* bytes; 0: QEMU's choice */
    int64_t bandwidth;
};

/* The copy of a disk that is live and free; not started. */
struct job *copy_new(struct engine *engine, struct domain *domain, struct record_disk *disk,
                     const struct copy_request *request);

/* Whether the copy needs layers below the target. */
bool copy_is_shallow(const struct copy_request *request, const struct record_disk *disk);

/* --- for the plans --- */

/* No member of the pivot is a copy. */
bool copy_skip(const struct job *job);

void copy_target_act(struct job *job);
void copy_target_undo(struct job *job);

enum seen copy_open_probe(const struct job *job, const struct view *view);
void copy_open_act(struct job *job);
void copy_open_undo(struct job *job);

/* After a restart a copy that QEMU has not begun goes back: plan::forward. */
int copy_forward(const struct job *job, const struct view *view, struct error *err);

/* Asks for the mirror of one leg; ends by the leader's job_reply. */
void copy_start_leg(struct job *leader, const struct leg *leg);

/* The record of a disk that goes on from the target: alone, or on what was below the source. */
void copy_take_chain(struct record_disk *disk, const struct leg *leg);

/* The outcome and files of a job that copies. */
void copy_conclude(struct job *job, const char *result);

#endif
