/* Deleting snapshots with their data merged, of a guest that is shut off. A snapshot stands for the
 * layer that it froze. When it goes, that layer is merged with the one above it, unless something
 * else needs it as it is: the active layer, another snapshot, a second branch that lies on it, or
 * another domain. Then the layer stays and the record alone goes. Layers that lead to nothing which
 * is left go with their snapshot. */
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

/* Reads the images of the whole tree on the worker and gives the job its images: strands
 * (job/strand.h), and "branch" for each layer that leads to nothing. The domain is shut off, its
 * chains were read (domain/shutoff.h). Errors: ImageError. */
void delete_survey(struct job *job, void (*done)(void *arg, const struct error *err), void *arg);

/* --- for the plan --- */

struct journal_txn;

/* What the decision's record holds: the deleted snapshots are gone, those that stay name the images
 * that have taken the place of others, the nearest one that stays is the current one; and the
 * events. Memory follows by delete_apply, once it is durable. */
void delete_note(struct job *job, struct journal_txn *txn);
void delete_apply(struct job *job);

#endif
