/* A snapshot of a guest's disks, as a job. */
#ifndef SNAPVM_JOB_SNAPSHOT_JOB_H
#define SNAPVM_JOB_SNAPSHOT_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct domain;
struct engine;
struct job;
struct journal_txn;
struct record_disk;

/* A job without disks yet, for a checked and free name; not started. Its plan is that of the
 * domain's state: running, or shut off. */
struct job *snapshot_job_new(struct engine *engine, struct domain *domain, const char *name,
                             const char *description, uint32_t flags);

/* Adds a disk with its overlay: an absolute path, made by the job unless `reuse`. The disk is live.
 */
void snapshot_job_add_disk(struct job *job, struct record_disk *disk, const char *file, bool reuse);

/* The same for a disk of a guest that is shut off, whose chain was read (domain/shutoff.h). */
void snapshot_job_add_layer(struct job *job, struct record_disk *disk, const char *file,
                            bool reuse);

/* Adds a disk, live or shut off, whose snapshot is taken inside its active layer, a qcow2 image. */
void snapshot_job_add_internal(struct job *job, struct record_disk *disk);

/* --- shared by the plans of a snapshot job --- */

/* In memory the overlays are the active layers, and no view changes that until the job ends. */
void snapshot_hold_chains(struct job *job);

/* The overlays are none after all. */
void snapshot_lower_chains(struct job *job);

/* Whether the freeze that the job owes for is over, with the thaw confirmed. */
bool snapshot_debt_is_paid(const struct job *job);

/* Goes on with deleting what of the snapshot is inside images: it is given up. */
void snapshot_drop(struct job *job);

/* What the end's record holds: metadata, the current snapshot, events. */
void snapshot_settle_note(struct job *job, struct journal_txn *txn);

/* plan::conclude of all of them. */
void snapshot_conclude(struct job *job, const char *result);

#endif
