/* The steps of a pivot to a base or to a copy, shared by the plans that walk them: two-phase commit
 * with QEMU as the participant. QEMU can neither switch nor forget without us, since its jobs run
 * with auto-finalize and auto-dismiss off.
 *
 * READY proves nothing about the base or the copy. PENDING does: the guest's I/O to the disk is
 * held, both images are equal and flushed. There, and only there, the decision is recorded; from
 * then on the base, or the copy, is the right image whatever dies. Only a finalize that fails while
 * QEMU lives could let the guest write to the old layer afterwards, so the vCPUs are held until the
 * graph was seen. */
#ifndef SNAPVM_JOB_PIVOT_H
#define SNAPVM_JOB_PIVOT_H

#include <stdbool.h>

#include "job/plan.h"

/* Retries (see job::retry_ms) after which nodes that cannot be closed are left open. */
#define PIVOT_PATIENCE_MS 400

enum seen pivot_start_probe(const struct job *job, const struct view *view);
void pivot_start_lay(struct job *job);
void pivot_start_act(struct job *job);
void pivot_start_undo(struct job *job);

enum seen pivot_converge_probe(const struct job *job, const struct view *view);

enum seen pivot_prepare_probe(const struct job *job, const struct view *view);
void pivot_prepare_lay(struct job *job);
void pivot_prepare_act(struct job *job);
void pivot_prepare_note(struct job *job, struct journal_txn *txn);
bool pivot_prepare_known(const struct job *job);

enum seen pivot_decide_probe(const struct job *job, const struct view *view);
void pivot_decide_note(struct job *job, struct journal_txn *txn);

enum seen pivot_switch_probe(const struct job *job, const struct view *view);
void pivot_switch_lay(struct job *job);
void pivot_switch_act(struct job *job);

/* Whether QEMU failed to switch a leg, so that the layer to be left is the disk after all. */
bool pivot_is_reversed(const struct job *job);
bool pivot_reverse_skip(const struct job *job);
enum seen pivot_reverse_probe(const struct job *job, const struct view *view);
void pivot_reverse_note(struct job *job, struct journal_txn *txn);

enum seen pivot_tidy_probe(const struct job *job, const struct view *view);
void pivot_tidy_act(struct job *job);

/* Syncs the headers above merged layers (role "above"): until then the host's end could bring back
 * the old ones, which name those layers. If it fails these are kept. */
bool pivot_store_skip(const struct job *job);
void pivot_store_act(struct job *job);

/* Removes what the pivot made worthless, for the jobs that ask for it, and copies to which QEMU
 * failed to switch. */
bool pivot_remove_skip(const struct job *job);
void pivot_remove_act(struct job *job);

/* Notes which legs QEMU failed to switch: the guest is on the layer that it was to leave. Returns
 * whether there is one. */
bool pivot_reverse(struct job *job);

/* Whether the pivot was asked for, now or beforehand. */
bool pivot_is_asked(const struct job *job);

/* Whether the guest would have to wait until somebody makes room: with the vCPUs held, or with
 * another disk pending, whose I/O is held. */
bool pivot_is_pressing(const struct job *job);

/* Progress, readiness and stalls of a job of one disk: plan::observe. */
void pivot_observe(struct job *job, const struct view *view);

/* The same of a job that has a leg for each disk, and is never ready. */
void pivot_observe_legs(struct job *job, const struct view *view);

/* Until the job is settled no view overrules the decision: plan::resume. */
void pivot_resume(struct job *job);

#endif
