/* Merging layers that the guest does not write: an inner commit moves them down into a base, a pull
 * moves them up into the layer above. The active layer stays what it is. */
#ifndef SNAPVM_JOB_MERGE_H
#define SNAPVM_JOB_MERGE_H

#include <stdint.h>

struct domain;
struct engine;
struct job;
struct journal_txn;
struct record_disk;

/* The commit of the layers `top` to above `base` (indexes in the chain, 0 < top < base); not
 * started. The disk is live and free. */
struct job *merge_commit_new(struct engine *engine, struct domain *domain, struct record_disk *disk,
                             unsigned top, unsigned base, uint32_t flags, int64_t bandwidth);

/* The pull of all layers between `top` (0: the active one) and `base` (n_chain: all that is below)
 * into `top`; top + 1 < base. */
struct job *merge_pull_new(struct engine *engine, struct domain *domain, struct record_disk *disk,
                           unsigned top, unsigned base, int64_t bandwidth);

/* plan::note_end of merges below an overlay, live and shut off: what that means to the snapshots.
 */
void merge_note_end(struct job *job, struct journal_txn *txn);

#endif
