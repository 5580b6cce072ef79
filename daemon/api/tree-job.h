#ifndef SNAPVM_API_TREE_JOB_H
#define SNAPVM_API_TREE_JOB_H

struct call;
struct error;
struct job;
struct tree_job;

/* A call that has its turn at the tree and waits for a survey of the files: what tree_job_surveyed
 * takes as `arg`. */
struct tree_job *tree_job_new(struct call *call, struct job *job);

/* The end of the survey: starts the job, or answers the call with the error and frees the job. */
void tree_job_surveyed(void *arg, const struct error *err);

/* The call ends with the error, and so does its turn. The job may be NULL. */
void tree_job_fail(struct call *call, struct job *job, const struct error *err);

/* Whether the guest still runs, or is still shut off, as when the job was made, no other job
 * changes the tree, and none is on a disk of which this one has images. Errors: InvalidState,
 * QemuGone, Busy. */
int tree_job_check(const struct job *job, struct error *err);

#endif
