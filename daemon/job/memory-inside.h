/* The guest's memory inside an image, as part of a job: its image of role "memory" is the image
 * that it lies in, under the name of the snapshot there (record_image::node), and all its disks are
 * snapshots inside images. QEMU has one job for all of it, "snapvm-17-memory", which it keeps until
 * it is dismissed: so a lost answer is no doubt, as long as QEMU lives. */
#ifndef SNAPVM_JOB_MEMORY_INSIDE_H
#define SNAPVM_JOB_MEMORY_INSIDE_H

#include <stdbool.h>

#include "job/plan.h"
#include "qemu/qmp-state.h"

struct job;
struct record_image;

bool memory_is_inside(const struct record_image *image);

/* Of the images of a live guest that the job has: the one that QEMU looks for memory in when it is
 * started with -loadvm, which is that of its first disk. */
const char *memory_inside_file(const struct job *job);

/* How far QEMU's job is: LOST when it failed. A job that is not there may have been dismissed. */
enum seen memory_inside_seen(const struct job *job, const struct view *view);

/* Starts it. What it did is looked at behind the answer: an event does not tell a failure. */
typedef void (*memory_inside_start_fn)(struct qmp *qmp, const struct qmp_state *state,
                                       qmp_done_fn fn, void *arg);
void memory_inside_start(struct job *job, memory_inside_start_fn start);

void memory_inside_dismiss(struct job *job);

/* plan::observe: why it failed. */
void memory_inside_observe(struct job *job, const struct view *view);

#endif
