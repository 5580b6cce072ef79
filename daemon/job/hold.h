/* Holding images of a guest that is shut off: while a job does, no QEMU can open them for writing,
 * so that what was found out about them stays true. Tools of QEMU's need the same locks: the job
 * lets go for them, and finds out behind them whether anybody else has written. */
#ifndef SNAPVM_JOB_HOLD_H
#define SNAPVM_JOB_HOLD_H

#include "base/error.h"

struct job;

typedef void (*hold_fn)(struct job *job, const struct error *err);

/* Keeps writers out of all images of that role that are no nodes of a QEMU, until hold_release. All
 * or none: the error is ImageError (reason "in use") when somebody writes one. */
void hold_images(struct job *job, const char *role, hold_fn done);

/* Lets writers in, and remembers when each image was last written. */
void hold_pause(struct job *job);

/* Keeps writers out again of the same images. ImageError, reason "changed", when one was written
 * since hold_images. */
void hold_again(struct job *job, hold_fn done);

void hold_release(struct job *job);

#endif
