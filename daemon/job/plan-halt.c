/* The end of a snapshot that leaves the guest stopped. The snapshot is whole, and thawed was the
 * guest before, since only the thaw's count proves that it had been frozen. Its record is durable
 * before QEMU is told to quit, and is the decision: from there on the guest is to end, whoever dies
 * meanwhile. QEMU that ends by itself has done what was asked for. */
#include "base/memory.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "job/memory-inside.h"
#include "job/memory.h"
#include "job/snapshot-job.h"
#include "journal/journal.h"
#include "qemu/qmp-state.h"

static enum seen halt_probe(const struct job *job, const struct view *view _unused_)
{
    return job->acted ? MOVING : NOT_YET; /* its end is no view */
}

static void halt_act(struct job *job)
{
    job_expect(job, 1);
    qmp_quit(job_qmp(job), job_reply, job);
}

static void halt_note(struct job *job, struct journal_txn *txn)
{
    snapshot_hold_chains(job);
    snapshot_settle_note(job, txn);
    journal_put_domain(txn, &job->domain->record);
}

static bool halt_known(const struct job *job)
{
    return job_has(job, JOB_DECIDED);
}

static void halt_settle_act(struct job *job)
{
    engine_end(job, "completed");
}

static const struct step halt_steps[] = {
    {.name = "halt",
     .probe = halt_probe,
     .act = halt_act,
     .flags = STEP_RECORD | STEP_DECIDE | STEP_WAIT,
     .known = halt_known,
     .note = halt_note,
     .does =
         "metadata, current snapshot and their events in one commit; quit, until QEMU has ended",
     .image = "the overlay; where the snapshot is inside, the same",
     .lives = "record",
     .gone = "record: completed"},
    {.name = "halt-settle",
     .act = halt_settle_act,
     .flags = STEP_END,
     .does = "outcome and event in one commit",
     .image = "the same"},
};

static void halt_offline(struct job *job)
{
    if (!job->record.evidence)
        xstrset(&job->record.evidence, "query");
    job_go(job, job->plan, "halt-settle");
}

static void halt_memory_conclude(struct job *job, const char *result)
{
    if (memory_is_inside(job_image(job, NULL, "memory")))
        memory_inside_conclude(job, result);
    else
        memory_conclude(job, result);
}

bool snapshot_halts(const struct job *job)
{
    return job_has(job, JOB_HALT);
}

void snapshot_halt(struct job *job)
{
    job->committed = true;
    job_go(job, job_image(job, NULL, "memory") ? &plan_memory_halt : &plan_halt, "halt");
}

const struct plan plan_halt = {
    .name = "snapshot",
    .title = "End of a snapshot that leaves the guest stopped",
    .steps = halt_steps,
    .n_steps = sizeof(halt_steps) / sizeof(halt_steps[0]),
    .undone = "failed",
    .resume = snapshot_hold_chains,
    .offline = halt_offline,
    .conclude = snapshot_conclude,
};

const struct plan plan_memory_halt = {
    .name = "memory-snapshot",
    .steps = halt_steps,
    .n_steps = sizeof(halt_steps) / sizeof(halt_steps[0]),
    .undone = "failed",
    .resume = snapshot_hold_chains,
    .offline = halt_offline,
    .conclude = halt_memory_conclude,
};
