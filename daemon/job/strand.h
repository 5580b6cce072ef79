/* A strand: layers of one chain that are merged down by image tools. Its top and the layers between
 * go into its base; whatever lies on the top is to lie on the base afterwards. In a job's record
 * its images stand one after another: "top", any "intermediate", "base", and then each "above"
 * whose header names the top. A job may have several, of different disks and branches. */
#ifndef SNAPVM_JOB_STRAND_H
#define SNAPVM_JOB_STRAND_H

#include <stdbool.h>

#include "job/job.h"

struct strand {
    struct record_image *top, *base; /* top NULL: no more strands */
    struct record_image *aboves;     /* n_aboves of them */
    unsigned n_aboves;
};

/* for (struct strand strand = strand_first(job); strand.top; strand = strand_next(job, &strand)) */
struct strand strand_first(const struct job *job);
struct strand strand_next(const struct job *job, const struct strand *strand);

/* Where the top stands in the disk's recorded chain; -1 when it is not in it, as on other branches
 * or once it was taken out. */
int strand_place(const struct job *job, const struct strand *strand);

/* Takes the merged layers out of the recorded chains, except an active one that QEMU failed to
 * leave, or puts them back; harmless to repeat. */
void strands_lower(struct job *job);
void strands_raise(struct job *job);

/* Whether one of them is of the chain that its disk is started from. */
bool strands_are_active(const struct job *job);

/* Whether a strand is merged for good: those that QEMU failed to merge after the decision are in
 * their chains again. */
bool strand_is_done(const struct job *job, const struct strand *strand);

/* What each image of the job is worth when it ends, and what the first disk is on. */
void strands_conclude(struct job *job);

#endif
