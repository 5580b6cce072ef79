/* What the two plans of an active commit share. */
#ifndef SNAPVM_JOB_COMMIT_H
#define SNAPVM_JOB_COMMIT_H

#include <stdint.h>

#include "base/error.h"

struct domain;
struct engine;
struct job;
struct leg;
struct record_disk;

/* Asks for the commit of one leg; ends by the leader's job_reply. */
void commit_start_leg(struct job *leader, const struct leg *leg);

/* The record of a disk's chain without the layers that were committed into the base. */
void commit_take_chain(struct record_disk *disk, const struct leg *leg);

/* Fills outcome and files of one job: plan::conclude of both plans. */
void commit_conclude(struct job *job, const char *result);

/* An active commit of a disk down to the layer with that index in its chain (1: shallow), with its
 * images recorded; not started. The disk is live and free. */
struct job *commit_new(struct engine *engine, struct domain *domain, struct record_disk *disk,
                       unsigned base, uint32_t flags, int64_t bandwidth);

#endif
