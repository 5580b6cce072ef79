/* Merging layers while the guest is shut off. qemu-img copies into the base what the layers above
 * it hold; the chain from the top reads the same at every instant of that, and when it is done so
 * does the base. Only then the decision is recorded: the base it is. What cannot be seen from the
 * files is whether all was copied, so after a crash before the decision it is copied again.
 *
 * While qemu-img works it has the images locked, and a guest that is started is refused by QEMU.
 * Around that nobody is kept out, so the time of the last write to each top is looked at before,
 * and again once writers are kept out behind it: the same, and nobody wrote what the base lacks. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "domain/shutoff.h"
#include "job/delete-job.h"
#include "job/engine.h"
#include "job/evidence.h"
#include "job/files.h"
#include "job/hold.h"
#include "job/merge.h"
#include "job/off-merge.h"
#include "job/pivot.h"
#include "job/strand-tool.h"
#include "job/strand.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"

static bool is_delete(const struct job *job)
{
    return strcmp(job->record.kind, "snapshot-delete") == 0;
}

/* --- evidence --- */

static enum seen off_decided_probe(const struct job *job, const struct view *view _unused_)
{
    return job_has(job, JOB_DECIDED) ? HOLDS : NOT_YET;
}

/* --- acts --- */

/* The chain that was read from the headers: the records to come rely on it. */
static void off_merge_note(struct job *job, struct journal_txn *txn)
{
    journal_put_domain(txn, &job->domain->record);
}

static void off_decide_note(struct job *job, struct journal_txn *txn)
{
    xstrset(&job->record.state, "finishing");
    strands_lower(job);
    journal_put_domain(txn, &job->domain->record);
    if (is_delete(job))
        delete_note(job, txn);
}

/* It is durable. */
static void off_decide_act(struct job *job)
{
    if (is_delete(job))
        delete_apply(job);
    job_acted(job, NULL);
}

/* Who started the guest by the old headers meanwhile has put the old chain into the record. */
static void off_remove_note(struct job *job, struct journal_txn *txn)
{
    if (job->domain->gone)
        strands_lower(job);
    journal_put_domain(txn, &job->domain->record);
}

static void off_settle_act(struct job *job)
{
    bool active = strcmp(job->record.kind, "active-commit") == 0;

    engine_end(job, job_has(job, JOB_REVERSED) ? "failed" : active ? "pivoted" : "completed");
}

static const struct step off_merge_steps[] = {
    {.name = "off-merge",
     .probe = off_decided_probe,
     .act = strands_merge,
     .flags = STEP_RECORD,
     .note = off_merge_note,
     .does =
         "qemu-img commit of each top into its base, synced; then keep writers out of the tops, "
         "and see that nobody wrote to them since",
     .image = "the old chain; the base holds a part",
     .lives = "image locks: started meanwhile, or merged again"},
    {.name = "off-decide",
     .probe = off_decided_probe,
     .act = off_decide_act,
     .flags = STEP_RECORD | STEP_DECIDE,
     .note = off_decide_note,
     .does = "record that the merged layers are no longer part of the chain, and that a snapshot "
             "which is deleted is gone",
     .image = "both chains, hence the new one",
     .lives = "record"},
    {.name = "off-headers",
     .probe = strands_rebase_probe,
     .act = strands_rebase,
     .skip = strands_rebase_skip,
     .does = "write the base as backing file into each header that names a merged layer; one that "
             "somebody has open is waited for",
     .image = "the new chain; the old headers read right too"},
    {.name = "off-store",
     .act = pivot_store_act,
     .skip = pivot_store_skip,
     .does = "sync those headers: QEMU, or a tool, may have written them before it died",
     .image = "the new chain; the old headers read right too"},
    {.name = "off-remove",
     .act = pivot_remove_act,
     .flags = STEP_RECORD,
     .skip = pivot_remove_skip,
     .note = off_remove_note,
     .does =
         "remove the merged layers if asked, and the memory that a deleted snapshot saved, after "
         "proof that nothing uses them",
     .image = "the new chain",
     .lives = "record, the files"},
    {.name = "off-end",
     .act = off_settle_act,
     .flags = STEP_END,
     .does = "outcome and event in one commit",
     .image = "the new chain"},
};

/* --- hooks --- */

/* After a restart: what was not decided needs a guest that is still shut off. */
static int off_merge_forward(const struct job *job, const struct view *view _unused_,
                             struct error *err)
{
    if (!strands_are_active(job))
        return 0;
    return shutoff_need(job->domain,
                        "it was started before its layers were merged; the chain is what it was, "
                        "ask again",
                        err);
}

static void off_merge_conclude(struct job *job, const char *result _unused_)
{
    hold_release(job);
    if (!job_has(job, JOB_DECIDED))
        strands_raise(job);
    else if (!job_has(job, JOB_REVERSED))
        error_clear(&job->record.error);
    strands_conclude(job);
    if (job->recovered && job->domain->gone)
        xstrset(&job->record.evidence, "recovered-offline");
}

static void off_add(struct job *job, const struct record_disk *disk, const char *role, unsigned i)
{
    struct record_image *image =
        record_job_add_image(&job->record, disk->target, role, disk->chain[i].file);

    xstrset(&image->format, disk->chain[i].format);
    image->virtual_size = disk->chain[i].virtual_size;
}

struct job *off_merge_new(struct engine *engine, struct domain *domain, struct record_disk *disk,
                          unsigned top, unsigned base, uint32_t flags, int64_t bandwidth)
{
    const struct plan *plan = top == 0 ? &plan_off_active : &plan_off_commit;
    struct job *job = job_new(engine, domain, plan->name);

    job->plan = plan;
    job->record.id = journal_next_job(domain->owner->journal);
    job->record.disk = xstrdup(disk->target);
    job->record.flags = flags;
    job->record.bandwidth = bandwidth;
    off_add(job, disk, "top", top);
    for (unsigned i = top + 1; i < base; i++)
        off_add(job, disk, "intermediate", i);
    off_add(job, disk, "base", base);
    if (top > 0)
        off_add(job, disk, "above", top - 1);
    return job;
}

const struct plan plan_off_commit = {
    .name = "commit",
    .title = "Commit of inner layers, the guest is shut off",
    .steps = off_merge_steps,
    .n_steps = sizeof(off_merge_steps) / sizeof(off_merge_steps[0]),
    .undone = "failed",
    .look = evidence_look,
    .forward = off_merge_forward,
    .conclude = off_merge_conclude,
    .note_end = merge_note_end,
};

const struct plan plan_off_delete = {
    .name = "snapshot-delete",
    .title = "Deletion of snapshots, the guest is shut off or on another branch",
    .steps = off_merge_steps,
    .n_steps = sizeof(off_merge_steps) / sizeof(off_merge_steps[0]),
    .undone = "failed",
    .look = evidence_look,
    .forward = off_merge_forward,
    .conclude = off_merge_conclude,
    .note_end = delete_note_end,
};

const struct plan plan_off_active = {
    .name = "active-commit",
    .title = "Commit of the active layer, the guest is shut off",
    .steps = off_merge_steps,
    .n_steps = sizeof(off_merge_steps) / sizeof(off_merge_steps[0]),
    .undone = "failed",
    .look = evidence_look,
    .forward = off_merge_forward,
    .conclude = off_merge_conclude,
};
