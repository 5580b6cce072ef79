/* What the handlers of block.* share. */
#ifndef SNAPVM_API_BLOCK_H
#define SNAPVM_API_BLOCK_H

#include "base/error.h"

struct domain;
struct job;
struct record_disk;

/* ImageError with `file` and `reason`; returns -1. */
int block_image_error(struct error *err, const char *file, const char *reason,
                      const char *sentence);

/* Whether a job can begin on a disk of a live guest. Errors: Busy, ImageError. */
int block_check_disk(const struct domain *domain, const struct record_disk *disk,
                     struct error *err);

/* Answers the call as its `wait` says, once the job's intent is durable: an engine_started_fn. */
void block_started(void *call, struct job *job, const struct error *err);

#endif
