/* Saving the memory of a running guest, as the steps of a snapshot's plan: QEMU migrates the guest
 * into a file of ours while its vCPUs are held, and at that same instant the disks are switched.
 *
 * A migration has no name, so nothing tells whose it is but the file: QEMU has it open for as long
 * as it writes our stream, and it stays empty until our stream begins. When the migration has
 * completed, QEMU has given up its rights to the images and dropped their locks; they come back
 * with `cont`. So nothing but the switch may come between the two. */
#ifndef SNAPVM_JOB_MEMORY_H
#define SNAPVM_JOB_MEMORY_H

#include <stdbool.h>

#include "job/plan.h"

struct job;

/* hand: the identity of the file and that the vCPUs are ours to hold are recorded, QEMU gets a
 * descriptor of the file and is asked whether it can migrate at all. */
void memory_hand_note(struct job *job, struct journal_txn *txn);
void memory_hand_act(struct job *job);
void memory_hand_undo(struct job *job);

/* hold: memory_calm, then stop. */
enum seen memory_hold_probe(const struct job *job, const struct view *view);
void memory_hold_act(struct job *job);
void memory_hold_undo(struct job *job);

/* Takes back a freeze that was sent and not answered well, if there is one, and goes on with
 * `then`: what is saved would hold it, and obey it when it is started. */
void memory_calm(struct job *job, void (*then)(struct job *));

/* save: the migration, to its end. */
enum seen memory_save_probe(const struct job *job, const struct view *view);
void memory_save_act(struct job *job);
void memory_save_undo(struct job *job);

/* release: cont, if the vCPUs are held by us. */
enum seen memory_release_probe(const struct job *job, const struct view *view);
void memory_release_act(struct job *job);

/* settle: the file is synced with its folder, then the job ends. A file that is not whole is
 * removed, and so is that of a snapshot that is void for another reason; the snapshot is taken
 * back. */
void memory_settle_act(struct job *job);

/* The same of the file alone, once QEMU has ended: only what it holds tells then. The job's error
 * says why it is not whole. */
void memory_check_offline(struct job *job, void (*done)(struct job *));

/* plan::conclude of both plans of its kind. */
void memory_conclude(struct job *job, const char *result);

/* plan::observe: progress; what became of the migration. */
void memory_observe(struct job *job, const struct view *view);

#endif
