/* Holding images of a guest that is shut off: while a job does, no QEMU can open them for writing,
 * so that what was found out about them stays true. */
#ifndef SNAPVM_JOB_HOLD_H
#define SNAPVM_JOB_HOLD_H

#include "base/error.h"

struct job;

/* Keeps writers out of all images of that role, until hold_release. All or none: the error is
 * ImageError (reason "in use") when somebody writes one. */
void hold_images(struct job *job, const char *role,
                 void (*done)(struct job *, const struct error *));

void hold_release(struct job *job);

#endif
