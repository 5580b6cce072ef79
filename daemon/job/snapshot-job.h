/* A snapshot of a guest's disks, as a job. */
#ifndef SNAPVM_JOB_SNAPSHOT_JOB_H
#define SNAPVM_JOB_SNAPSHOT_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "job/plan.h"

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

/* Makes it a snapshot with the guest's memory, in a new file: an absolute path. The guest runs. */
void snapshot_job_add_memory(struct job *job, const char *file);

/* The same inside the images of a live guest: all its disks are such snapshots. */
void snapshot_job_add_memory_inside(struct job *job);

/* --- shared by the plans of a snapshot job --- */

void names_act(struct job *job);

enum seen overlays_probe(const struct job *job, const struct view *view);
void overlays_note(struct job *job, struct journal_txn *txn);
void overlays_lay(struct job *job);
void overlays_act(struct job *job);
void overlays_undo(struct job *job);
enum seen freeze_probe(const struct job *job, const struct view *view);
bool freeze_skip(const struct job *job);
enum seen switch_probe(const struct job *job, const struct view *view);
void switch_act(struct job *job);
bool thaw_skip(const struct job *job);

/* Whether it is not known yet that the names are free: what is inside the images is a stranger's.
 */
bool snapshot_is_unbegun(const struct job *job);

/* The error of a snapshot that would be taken late, after a restart. */
int snapshot_refuse_late(struct error *err);

/* Whether what was taken is not what was asked for: not quiesced, or without its memory. */
bool snapshot_is_void(const struct job *job);

/* The end, which takes a void snapshot back. */
void settle_act(struct job *job);

/* A whole snapshot after which the guest is to end: goes on with that. */
bool snapshot_halts(const struct job *job);
void snapshot_halt(struct job *job);

/* Hooks of their plans. */
int snapshot_forward(const struct job *job, const struct view *view, struct error *err);
void snapshot_resume(struct job *job);
void snapshot_offline(struct job *job);

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

/* plan::conclude of all of them, and of those with memory inside. */
void snapshot_conclude(struct job *job, const char *result);
void memory_inside_conclude(struct job *job, const char *result);

#endif
