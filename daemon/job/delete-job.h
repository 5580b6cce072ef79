/* Deleting snapshots with their data merged. A snapshot stands for the layer that it froze. When it
 * goes, that layer is merged with the one above it, unless something else needs it as it is: the
 * active layer, another snapshot, a second branch that lies on it, another disk, or another domain.
 * Then the layer stays and the record alone goes. Layers that lead to nothing which is left go with
 * their snapshot.
 *
 * A snapshot inside an image depends on no other one, and none on it. It is deleted there first, by
 * plan-delete-inside.c, before anything is merged. A layer with one inside that stays is not merged
 * down and removed, as that one reads through to what lies below.
 *
 * The file with the guest's memory is removed when all is done, if it is one, and nothing else
 * needs it.
 *
 * Layers that the guest's QEMU has open are merged by QEMU, by plan-delete.c, all others by image
 * tools, by plan-off-merge.c: it takes all there is to do of a guest that is shut off, and of one
 * that runs on another branch.
 *
 * From the first byte on that is written to it, what a snapshot froze is not what the disk was any
 * more. A deletion that ends before it is done leaves the snapshot in the tree, to be deleted
 * again, without the name of that layer: nobody goes back to it. */
#ifndef SNAPVM_JOB_DELETE_JOB_H
#define SNAPVM_JOB_DELETE_JOB_H

#include <stdbool.h>

#include "base/error.h"

struct domain;
struct engine;
struct job;
struct record_job;
struct snapshot;

/* A job for a snapshot and what `flags` (JOB_CHILDREN, JOB_CHILDREN_ONLY) say, without images yet;
 * not started. */
struct job *delete_job_new(struct engine *engine, struct domain *domain, const char *snapshot,
                           unsigned flags);

/* Whether a snapshot is one of those that the job deletes. */
bool delete_takes(const struct job *job, const struct snapshot *snapshot);

/* Whether one of these has anything of that disk. */
bool delete_touches(const struct job *job, const char *target);

/* Reads the images of the whole tree on the worker and gives the job its images, strands
 * (job/strand.h), and "branch" for each layer that leads to nothing, and its plan. The domain is
 * live, or shut off and its chains were read (domain/shutoff.h). Errors: ImageError; Mismatch
 * (expected, found) when the headers tell of other layers than QEMU has open; Unsupported. */
void delete_survey(struct job *job, void (*done)(void *arg, const struct error *err), void *arg);

/* Adds what is inside images and the files with the guest's memory, behind the images of the
 * survey, and chooses the first plan. */
void delete_prepare(struct job *job);

/* The plan by which the layers are merged. */
const struct plan *delete_merge_plan(struct job *job);

/* --- for the plans --- */

struct journal_txn;

/* What the record holds once all is merged: the deleted snapshots are gone, those that stay name
 * the images that have taken the place of others, the nearest one that stays is the current one;
 * and the events. Of a job that was not decided, or whose switch QEMU failed to make, they stay,
 * and no longer name what was written to. Memory follows by delete_apply, once it is durable. */
void delete_note(struct job *job, struct journal_txn *txn);
void delete_apply(struct job *job);

/* The same of a job that gives up, if it may have written to anything: plan::note_end. */
void delete_note_end(struct job *job, struct journal_txn *txn);

#endif
