/* Work on strands by image tools: on layers of guests that are shut off, and of branches that a
 * running guest is not on. What a QEMU has open as a node (record_image::node) is that QEMU's to
 * write, and left alone while the job's plan has QEMU work. */
#ifndef SNAPVM_JOB_STRAND_TOOL_H
#define SNAPVM_JOB_STRAND_TOOL_H

#include "job/plan.h"

/* Whether no strand is for tools to merge. */
bool strands_merge_skip(const struct job *job);

/* Merges one strand after another, synced: an act. Behind the last one writers are kept out of the
 * tops until hold_release, and nobody wrote to them since it began. */
void strands_merge(struct job *job);

/* Whether no header has to be written, by what the record says. */
bool strands_rebase_skip(const struct job *job);

/* What the images of the job show, see job/evidence.h. */
enum seen strands_rebase_probe(const struct job *job, const struct view *view);

/* Writes the base as backing file into each header that names a merged layer: an act. */
void strands_rebase(struct job *job);

#endif
