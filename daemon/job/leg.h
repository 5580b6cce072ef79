/* A leg: one disk's part in a pivot, with the layer that is left ("top" of a commit, "overlay" of a
 * snapshot that is given back, "source" of a copy) and the one that becomes the disk ("base",
 * "source", "target"). A pivot has the legs of all jobs that walk it together.
 *
 * The leg of a deletion may be an inner one: the disk stays on its active layer, and it is a layer
 * above that comes to lie on the base. QEMU holds no I/O of the guest for it. */
#ifndef SNAPVM_JOB_LEG_H
#define SNAPVM_JOB_LEG_H

#include <stdbool.h>

#include "job/job.h"
#include "qemu/view.h"

struct leg {
    struct job *job; /* NULL: no more legs */
    const struct record_image *from, *to;
    const struct record_image *above; /* of an inner leg: what lies on `from` in QEMU; else NULL */
    unsigned member, image;           /* where it was found */
    char name[JOB_NAME_SIZE];         /* of its job in QEMU */
};

/* for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg)) */
struct leg leg_first(const struct job *leader);
struct leg leg_next(const struct job *leader, const struct leg *leg);
unsigned leg_count(const struct job *leader);

enum view_job_status leg_status(const struct leg *leg, const struct view *view);

/* Whether it is the leg of a copy, rather than of a commit. */
bool leg_copies(const struct leg *leg);

/* Whether the disk's active layer is the one that was to become it; of an inner leg, whether the
 * layer that is left is out of the disk's chain. */
bool leg_pivoted(const struct leg *leg);

/* Whether there is a leg that is an inner one, or one that is none. */
bool legs_have(const struct job *leader, bool inner);

/* The record of the disk, NULL when the domain no longer has it. */
struct record_disk *leg_disk(const struct leg *leg);

/* The disk as the view has it, NULL when it is not there. */
const struct view_disk *leg_view_disk(const struct leg *leg);

/* Whether the layer belongs to the part of the chain that the pivot makes worthless. */
bool leg_merges(const struct record_image *image);

/* Whether a layer is a node that the disk has no use for once its job's pivot is over, and that is
 * closed. After a pivot that was taken back that is a copy's target, and what other disks left. */
bool leg_leaves(const struct job *job, const struct record_image *image);

#endif
