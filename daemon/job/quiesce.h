/* The freeze of a snapshot job: checks before it, the freeze itself with the status right behind
 * it, and what its numbers prove. Within a client's lease the job does not freeze and does not
 * thaw: the agent must say frozen right before the switch and right behind it, and the lease must
 * have stood all that time. */
#ifndef SNAPVM_JOB_QUIESCE_H
#define SNAPVM_JOB_QUIESCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "job/debt.h"

struct agent_reply;
struct domain;
struct engine;
struct job;

/* Asks the guest's agent beforehand, while the overlays are made: whether it answers, and whether
 * somebody else holds the guest frozen. Calls fn in any case; a no is kept in job->no_freeze. */
typedef void (*quiesce_fn)(struct job *job);
void quiesce_ask(struct job *job, quiesce_fn fn);

/* Freezes the guest of a job and ends its step: job_acted when it is frozen, or when quiescing is
 * only preferred and fails; job_failed when it is required. A freeze that was sent and did not
 * succeed is followed by a thaw. */
void quiesce_freeze(struct job *job);

/* Thaws, and notes whether the job's snapshot is proven quiesced: the freeze counted n > 0, the
 * status said frozen, and the thaw counted n. Ends the step in any case: a debt that could not be
 * collected stays one. */
void quiesce_thaw(struct job *job);

/* The same for the way back. */
void quiesce_undo(struct job *job);

/* --- the rules of any freeze --- */

/* What memory knows already: AgentUnavailable where there is no agent, or the guest does not run. A
 * paused guest gets no command of the agent: it would swallow a freeze and obey it later. */
int quiesce_possible(const struct domain *domain, struct error *err);

/* Whether an answer of the agent, by the monotonic clock, says nothing of now any more. */
bool quiesce_answer_is_old(int64_t when);

/* Reads the answer of the status before a freeze: -1 with its error, or QuiesceFailed
 * already-frozen where somebody else holds the guest frozen. */
int quiesce_read_status(const struct agent_reply *reply, const struct error *err,
                        struct error *ret_err);

/* Reads the answer of a freeze: -1 with QuiesceFailed unless it counted something. */
int quiesce_read_freeze(struct domain *domain, const struct agent_reply *reply,
                        const struct error *err, struct error *ret_err);

/* Whether a freeze, a client's or a snapshot's, is unanswered, or a snapshot has not thawed yet.
 * The vCPUs are not held meanwhile: QEMU would take the freeze to a guest that obeys when it goes
 * on. */
bool quiesce_is_going_on(const struct engine *engine, const struct domain *domain);

/* A freeze that did not succeed may still come: thaw goes behind it, now. As debt_collect. */
void quiesce_take_back(struct engine *engine, struct domain *domain, debt_fn fn, void *arg);

#endif
