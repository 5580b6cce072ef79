/* The state of a whole guest inside its images: QEMU's jobs that save it under a name, and go back
 * to it. QEMU stops the vCPUs for that by itself, and does the work before it answers: nothing else
 * is answered meanwhile, and with much memory the answer comes later than we wait for one. How it
 * ended query-jobs tells until the job is dismissed. */
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

/* Makes the disks what their snapshots hold, one after another, and then the guest what it was. One
 * that ran before goes on behind it, one that stood stands. It fails, with some of it done or none,
 * where an image has no such snapshot, or has dirty bitmaps; the vCPUs of a guest that ran are held
 * then. */
void qmp_state_load(struct qmp *qmp, const struct qmp_state *state, qmp_done_fn fn, void *arg);

#endif
