/* A plan's work on image files, done on the worker's thread: the loop waits for no disk. */
#ifndef SNAPVM_JOB_FILES_H
#define SNAPVM_JOB_FILES_H

#include <stdbool.h>

#include "base/error.h"

struct job;

/* Makes all overlays of a job (images of role "overlay" that it makes), each on the layer named by
 * the image of role "source" of its disk, and an empty file for the guest's memory (role "memory"),
 * not synced yet; calls `done` with the first error. What was made before an error stays, and is
 * the undo's. */
void files_create_overlays(struct job *job, void (*done)(struct job *, const struct error *));

/* Syncs what files_create_overlays made, and the folders. */
void files_sync_overlays(struct job *job, void (*done)(struct job *, const struct error *));

/* Syncs one image, by its place in the record. */
void files_sync_image(struct job *job, unsigned image,
                      void (*done)(struct job *, const struct error *));

/* Syncs every image of role "above" whose header QEMU or a tool has written; those that are gone
 * are passed over. */
void files_sync_headers(struct job *job, void (*done)(struct job *, const struct error *));

/* Whether every overlay of a job is there whole, with the layer below in its header. Blocks: for
 * the time before the loop runs. */
bool files_have_overlays(const struct job *job);

/* Removes what files_create_overlays made, if it is ours: known by identity, or still empty. */
void files_remove_overlays(struct job *job, void (*done)(struct job *, const struct error *));

/* Makes the target of a copy, synced with its folder, on the image of role "backing" if it is a
 * shallow one; one that the caller prepared is synced alone. */
void files_create_target(struct job *job, void (*done)(struct job *, const struct error *));

/* Syncs the target of a copy and its folder. */
void files_sync_target(struct job *job, void (*done)(struct job *, const struct error *));

/* Removes the target of a copy if the job made it and nothing uses it. What is removed gets that
 * state. */
void files_remove_made(struct job *job, void (*done)(struct job *, const struct error *));

/* Removes the layers that a pivot made worthless (see leg_merges), and the saved memory of deleted
 * snapshots, after it is proven that no node, chain or snapshot of any domain uses the same file.
 * What is removed gets that state. */
void files_remove_worthless(struct job *job, void (*done)(struct job *, const struct error *));

/* Tells whether the header of the image of role "above" names the image of role "base" as its
 * backing file, or, without one, none. It is synced first: what is told stays true. */
void files_look_at_header(struct job *job, void (*done)(struct job *, bool names));

/* Tells whether all overlays of a job are without data of their own; an overlay that is missing
 * counts as one. */
void files_look_at_overlays(struct job *job, void (*done)(struct job *, bool empty));

#endif
