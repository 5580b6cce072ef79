/* Between the files of the engine: the walk (engine.c), jobs coming and going (roster.c) and the
 * commands of users (control.c). */
#ifndef SNAPVM_JOB_WALK_H
#define SNAPVM_JOB_WALK_H

#include "job/job.h"
#include "qemu/qmp-event.h"

struct journal_txn;

/* Fetches a fresh view and judges the present step by it. */
void engine_look(struct job *job);

/* Judges the present step by the view that events keep current; looks if that says LOST. */
void engine_glance(struct job *job);

/* Judges the present step by the domain's view, and goes on. */
void engine_judge(struct job *job);

/* The record of the present step is durable: acts. */
void job_begin(struct job *job);

/* The monitor is away: waits for it, or, when the job's QEMU has ended, settles the job offline. */
void engine_away(struct job *job);

/* Enters a state of the contract that an observation showed. The first "ready" and every "stalled"
 * are announced, and those who wait for ready are answered once it is durable. */
void engine_set_state(struct job *job, const char *state);

/* Puts the job, and all members of its pivot, at its present step. */
void engine_put(struct job *job, struct journal_txn *txn);

/* Wakes the job after a while, for what its phase waits for. */
void engine_alarm(struct job *job, unsigned ms);

/* Tells every member without an error of its own why it fails. */
void engine_note_failure(struct job *job, const struct error *err);

/* The end is durable: answers those who wait, and frees the job and its members. */
void engine_release(struct job *job);

/* Answers those who wait for a job to be in QEMU, or to be ready. */
void engine_answer_begun(struct job *job);
void engine_answer_ready(struct job *job);

/* Makes `job` the leader of a common pivot; members excludes itself. */
void engine_lead(struct job *job, struct job **members, unsigned n);

/* Takes the lead back: each member walks by itself again, from where it was. */
void engine_disband(struct job *leader);

/* Handlers of the domains. */
void engine_viewed(void *engine, struct domain *domain);
void engine_domain_away(void *engine, struct domain *domain);
void engine_event(void *engine, struct domain *domain, const struct qmp_event *event);

#endif
