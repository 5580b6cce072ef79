/* A stall: QEMU has stopped a job at an I/O error or on a full disk, and the guest goes on. Nothing
 * tries again by itself: after room was made, or the fault mended, a user resumes the job.
 *
 * QEMU pauses a job also for a user and, for an instant, whenever it drains; the job's io-status
 * alone tells a stall. `cont` sets that back to "ok" and leaves the job stopped, so what is
 * recorded as stalled stays so until it is seen to run, or a user resumes it. */
#ifndef SNAPVM_JOB_STALL_H
#define SNAPVM_JOB_STALL_H

#include <stdbool.h>

struct job;
struct record_job;
struct view_job;

/* Whether a job of QEMU is stopped at an error, as seen or as recorded. */
bool stall_is_seen(const struct job *job, const struct view_job *seen);

/* Records why: a full disk, or an I/O error; what was read or written, if an event told. */
void stall_note(struct job *job, const struct view_job *seen);

/* Nothing is known to be stopped any more. */
void stall_forget(struct job *job);

/* "no-space" or "io-error"; NULL when the job is not stalled. */
const char *stall_reason(const struct record_job *job);

/* The image at fault, NULL when it cannot be told which. Owned by the record. */
const char *stall_file(const struct record_job *job);

/* What a person is to do, as a sentence owned by the caller. */
char *stall_advice(const struct record_job *job);

#endif
