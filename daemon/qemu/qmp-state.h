/* The state of a whole guest inside its images: QEMU's jobs that save it under a name, and go back
 * to it. QEMU stops the vCPUs for that by itself, and does the work before it answers: nothing else
 * is answered meanwhile. How it ended query-jobs tells until the job is dismissed. */
#ifndef SNAPVM_QEMU_QMP_STATE_H
#define SNAPVM_QEMU_QMP_STATE_H

#include "qemu/qmp-command.h"

struct qmp_state {
    const char *job, *name;
    const char *memory; /* the node of the image that the memory is in, one of the nodes */
    const char *const *nodes;
    unsigned n;
};

/* Saves the memory and takes a snapshot inside each image: all or none. A guest that ran goes on
 * behind it. */
void qmp_state_save(struct qmp *qmp, const struct qmp_state *state, qmp_done_fn fn, void *arg);

#endif
