/* The end of a ready job without pivot, as its two plans walk it: the overlay is kept, the copy is
 * whole. */
#ifndef SNAPVM_JOB_KEEP_H
#define SNAPVM_JOB_KEEP_H

#include "job/plan.h"
#include "qemu/view.h"

struct job;

/* The status of the job in QEMU. */
enum view_job_status keep_status(const struct job *job, const struct view *view);

enum seen keep_probe(const struct job *job, const struct view *view);
void keep_act(struct job *job);

enum seen let_go_probe(const struct job *job, const struct view *view);
void let_go_act(struct job *job);

#endif
