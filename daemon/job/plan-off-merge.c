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
#include "job/image-tool.h"
#include "job/off-merge.h"
#include "job/pivot.h"
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

/* A header whose image is gone is needed by nobody; one that somebody has open cannot be written.
 */
static enum seen off_headers_probe(const struct job *job, const struct view *view _unused_)
{
    enum seen seen = HOLDS;

    for (struct strand s = strand_first(job); s.top; s = strand_next(job, &s))
        for (unsigned i = 0; i < s.n_aboves; i++) {
            const struct evidence *above = evidence_of(job, &s.aboves[i]);

            if (!above->there || evidence_lies_on(job, &s.aboves[i], s.base))
                continue;
            if (above->holders.readers)
                return MOVING;
            seen = NOT_YET;
        }
    return seen;
}

/* --- acts --- */

static void off_merge_held(struct job *job, const struct error *err)
{
    if (err)
        job_failed(job, err);
    else
        job_acted(job, NULL);
}

/* Merges one strand after another; behind the last one writers are kept out for the decision. */
static void off_merge_next(struct job *job, const struct error *err)
{
    struct strand strand = strand_first(job);

    if (err || job_has(job, JOB_CANCEL)) {
        job_failed(job, job_has(job, JOB_CANCEL) ? NULL : err);
        return;
    }
    for (unsigned i = 0; i < job->merged && strand.top; i++)
        strand = strand_next(job, &strand);
    if (!strand.top) {
        hold_again(job, off_merge_held);
        return;
    }
    job->merged++;
    image_tool_commit(job, strand.top, strand.base, off_merge_next);
}

/* qemu-img needs the locks for itself. */
static void off_merge_begin(struct job *job, const struct error *err)
{
    hold_pause(job);
    off_merge_next(job, err);
}

static void off_merge_act(struct job *job)
{
    xstrset(&job->record.state, "running");
    job->merged = 0;
    hold_images(job, "top", off_merge_begin);
}

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

static bool off_headers_skip(const struct job *job)
{
    for (struct strand s = strand_first(job); s.top; s = strand_next(job, &s))
        if (s.n_aboves > 0)
            return false;
    return true;
}

/* The header of the n-th image that lies on a merged one; top NULL behind the last. */
static struct strand off_find_above(const struct job *job, unsigned n, struct record_image **ret)
{
    struct strand s = strand_first(job);

    for (; s.top && n >= s.n_aboves; s = strand_next(job, &s))
        n -= s.n_aboves;
    *ret = s.top ? &s.aboves[n] : NULL;
    return s;
}

static void off_headers_next(struct job *job, const struct error *err)
{
    struct record_image *above;
    struct strand strand = off_find_above(job, job->merged, &above);

    if (err || !above) {
        job_acted(job, err);
        return;
    }
    job->merged++;
    image_tool_rebase(job, above, strand.base, off_headers_next);
}

static void off_headers_act(struct job *job)
{
    hold_release(job);
    job->merged = 0;
    off_headers_next(job, NULL);
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
    engine_end(job, strcmp(job->record.kind, "active-commit") == 0 ? "pivoted" : "completed");
}

static const struct step off_merge_steps[] = {
    {.name = "off-merge",
     .probe = off_decided_probe,
     .act = off_merge_act,
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
     .probe = off_headers_probe,
     .act = off_headers_act,
     .skip = off_headers_skip,
     .does = "write the base as backing file into each header that names a merged layer; one that "
             "somebody has open is waited for",
     .image = "the new chain; the old headers read right too"},
    {.name = "off-remove",
     .act = pivot_remove_act,
     .flags = STEP_RECORD,
     .skip = pivot_remove_skip,
     .note = off_remove_note,
     .does = "remove the merged layers if asked, after proof that nothing uses them",
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

static const char *off_merge_worth(const struct job *job, const struct record_image *image)
{
    bool live = strcmp(job->record.kind, "active-commit") == 0;

    if (strcmp(image->role, "top") == 0)
        return live ? "invalid" : "valid";
    if (strcmp(image->role, "intermediate") == 0 || strcmp(image->role, "branch") == 0)
        return "invalid";
    return "backing";
}

/* The active layer, which need not be one that the job touches; NULL without such a disk. */
static const char *off_active(const struct job *job, const char *target)
{
    const struct record_disk *disk = target ? disk_find(job->domain, target) : NULL;

    return disk && disk->n_chain ? disk->chain[0].file : NULL;
}

static bool off_is_active(const struct job *job, const struct record_image *image)
{
    const char *active = off_active(job, image->disk);

    return active && strcmp(active, image->file) == 0;
}

static void off_merge_conclude(struct job *job, const char *result _unused_)
{
    bool merged = job_has(job, JOB_DECIDED);

    hold_release(job);
    xstrset(&job->record.active, off_active(job, job->record.disk));
    if (merged)
        error_clear(&job->record.error);
    else
        strands_raise(job);
    for (unsigned i = 0; i < job->record.n_images; i++) {
        struct record_image *image = &job->record.images[i];
        bool active = off_is_active(job, image);

        if (active && !job->record.active)
            xstrset(&job->record.active, image->file);
        if (image->state && strcmp(image->state, "removed") == 0)
            continue;
        xstrset(&image->state, active   ? "active"
                               : merged ? off_merge_worth(job, image)
                                        : "backing");
    }
    if (job->recovered)
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
};

const struct plan plan_off_delete = {
    .name = "snapshot-delete",
    .title = "Deletion of snapshots, the guest is shut off",
    .steps = off_merge_steps,
    .n_steps = sizeof(off_merge_steps) / sizeof(off_merge_steps[0]),
    .undone = "failed",
    .look = evidence_look,
    .forward = off_merge_forward,
    .conclude = off_merge_conclude,
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
