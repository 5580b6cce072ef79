/* Merging layers of a guest that is shut off, by image tools: what block.commit asks for while no
 * QEMU runs. */
#ifndef SNAPVM_JOB_OFF_MERGE_H
#define SNAPVM_JOB_OFF_MERGE_H

#include <stdint.h>

struct domain;
struct engine;
struct job;
struct record_disk;

/* The commit of the layers `top` (0: the active one) to above `base` (indexes in the chain); not
 * started. The chain was read (domain/shutoff.h), the disk is free. */
struct job *off_merge_new(struct engine *engine, struct domain *domain, struct record_disk *disk,
                          unsigned top, unsigned base, uint32_t flags, int64_t bandwidth);

#endif
