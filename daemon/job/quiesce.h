/* The freeze of a snapshot job: checks before it, the freeze itself with the status right behind
 * it, and what its numbers prove. */
#ifndef SNAPVM_JOB_QUIESCE_H
#define SNAPVM_JOB_QUIESCE_H

#include <stdbool.h>

#include "base/error.h"

struct job;

/* Asks the guest's agent beforehand, while the overlays are made: whether it answers, and whether
 * somebody else holds the guest frozen. Calls fn in any case; a no is kept in job->no_freeze. */
typedef void (*quiesce_fn)(struct job *job);
void quiesce_ask(struct job *job, quiesce_fn fn);

/* Freezes the guest of a job and ends its step: job_acted when it is frozen, or when quiescing is
 * only preferred and fails; job_failed when it is required. A freeze that was sent and did not
 * succeed is followed by a thaw. */
void quiesce_freeze(struct job *job);

/* Thaws, and notes whether the job's snapshot is proven quiesced: the freeze counted n > 0, the
 * status said frozen, and the thaw counted n. Ends the step in any case: a debt that could not be
 * collected stays one. */
void quiesce_thaw(struct job *job);

/* The same for the way back. */
void quiesce_undo(struct job *job);

#endif
