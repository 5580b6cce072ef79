/* Going back to a snapshot while the guest is shut off: each of its disks gets a new overlay on the
 * layer that the snapshot froze, and goes on from there. Nothing that is there is written to, so
 * every branch stays what it was; the layers that the disks were on until now are left behind.
 * Where the snapshot is inside the image, the disk becomes what it holds; if the guest's memory is
 * with it, a live guest can go back as well. */
#ifndef SNAPVM_JOB_REVERT_JOB_H
#define SNAPVM_JOB_REVERT_JOB_H

#include <stdbool.h>

#include "base/error.h"

struct domain;
struct engine;
struct job;

/* A job for a snapshot of a domain that is shut off, without disks yet; not started. `force`: what
 * no snapshot holds may be lost. */
struct job *revert_job_new(struct engine *engine, struct domain *domain, const char *snapshot,
                           bool force);

/* A disk of the snapshot, with the name of the overlay to be made. */
void revert_job_add_disk(struct job *job, const char *target, const char *file);

/* A disk whose snapshot is inside its image, which is its active layer. */
void revert_job_add_internal(struct job *job, const char *target, const char *file);

/* The memory that the guest may be started with then: a file, or, if that is NULL, inside the image
 * of a disk of the job. `frozen`: it was saved with the file systems frozen; `run`: the guest is to
 * run with it. */
void revert_job_add_memory(struct job *job, const char *file, bool frozen, bool run);

/* Makes it a job for a guest that is live, in its QEMU: its disks are all inside, with the memory
 * in that image. */
void revert_job_go_live(struct job *job, const char *memory);

/* Reads the images of the tree on the worker and adds to each disk of the job the layers that its
 * overlay will lie on ("source", and "below" down to the bottom) and the one that it is on now
 * ("left"). Errors: ImageError; InvalidState when a layer that is left holds what no snapshot does,
 * unless it may be lost. Of what is inside images as internal_survey; ImageError when the file with
 * the memory is not whole. */
void revert_survey(struct job *job, void (*done)(void *arg, const struct error *err), void *arg);

#endif
