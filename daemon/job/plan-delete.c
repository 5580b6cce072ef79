/* Deleting snapshots of a guest that runs. Each disk has a strand (job/strand.h) of layers that its
 * QEMU has open: they are merged down by a block-commit, the leg of that disk. Everything is made
 * ready on all disks, then one record decides for all of them, then QEMU makes the change:
 *
 *  - A leg of inner layers waits in pending, where the guest's I/O goes on. QEMU would write the
 * new backing name before the data's metadata is flushed; so the base is flushed while it waits.
 *  - A leg that begins at the active layer is a pivot, and is brought to pending only then: the
 *    guest's I/O is held from there to the switch, with the base equal and flushed (job/pivot.h).
 *  - Strands that QEMU does not have open, of other branches, are merged by image tools, and so are
 *    the headers written of what lies on a merged layer beside the active chain.
 *
 * At the decision the bases hold all that the tops do, and both chains read the same. Before it the
 * old chains are right, and a failure takes everything back; what a deleted snapshot froze is
 * spoilt by then, which the record of the end tells. After it the new ones are: should QEMU die
 * before it has made the change, the steps for guests that are shut off carry it through, from
 * their decision on (plan-off-merge.c). Only if QEMU fails to make the change of one disk while it
 * lives, that disk stays on the layers that it has, and the snapshot in the tree, to be deleted
 * again. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "job/delete-job.h"
#include "job/engine.h"
#include "job/hold.h"
#include "job/leg.h"
#include "job/pivot.h"
#include "job/strand-tool.h"
#include "job/strand.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "qemu/qmp-command.h"
#include "qemu/qmp.h"

/* The bases are written to as soon as QEMU has a job. */
static void delete_note_touched(struct job *job, const struct view *view)
{
    for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg))
        job->touched |= leg_status(&leg, view) != VIEW_JOB_NONE;
}

static void delete_release_chains(struct job *job)
{
    for (unsigned i = 0; i < job->record.n_images; i++) {
        struct record_disk *disk = disk_find(job->domain, job->record.images[i].disk);

        if (disk)
            disk->held = false;
    }
}

/* --- steps --- */

static void delete_start_act(struct job *job)
{
    xstrset(&job->record.state, "running");
    pivot_start_act(job);
}

static void delete_start_undo(struct job *job)
{
    delete_note_touched(job, job->domain->view);
    pivot_start_undo(job);
}

static bool delete_flush_skip(const struct job *job)
{
    return !legs_have(job, true);
}

static void delete_flush_act(struct job *job)
{
    unsigned n = 0;

    for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg))
        n += leg.above != NULL;
    job_expect(job, n);
    qmp_cork(job_qmp(job));
    for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg))
        if (leg.above)
            qmp_flush(job_qmp(job), leg.to->node, job_reply, job);
    qmp_uncork(job_qmp(job));
}

static bool delete_prepare_skip(const struct job *job)
{
    return !legs_have(job, false);
}

static void delete_tree_note(struct job *job, struct journal_txn *txn)
{
    xstrset(&job->record.state, "finishing");
    delete_note(job, txn);
}

/* It is durable. */
static void delete_tree_act(struct job *job)
{
    delete_apply(job);
    delete_release_chains(job);
    job_acted(job, NULL);
}

static void delete_end_act(struct job *job)
{
    engine_end(job, pivot_is_reversed(job) ? "failed" : "completed");
}

static const struct step delete_steps[] = {
    {.name = "delete-start",
     .probe = pivot_start_probe,
     .act = delete_start_act,
     .undo = delete_start_undo,
     .flags = STEP_RECORD,
     .does = "block-commit on each disk, with job ids of our own",
     .image = "the old chain; the base holds a part",
     .lives = "the jobs in QEMU",
     .gone = "record: failed, cancelled"},
    {.name = "delete-converge",
     .probe = pivot_converge_probe,
     .flags = STEP_WAIT,
     .does = "copy until pending, or ready where the active layer is merged: the guest's I/O goes "
             "on",
     .image = "the old chain; the base holds a part",
     .lives = "the jobs in QEMU",
     .gone = "record: failed, cancelled"},
    {.name = "delete-tools",
     .probe = pivot_decide_probe,
     .act = strands_merge,
     .flags = STEP_RECORD,
     .skip = strands_merge_skip,
     .does =
         "only if layers of other branches are merged too: qemu-img commit, as for a guest that "
         "is shut off",
     .image = "the old chain; the base holds a part",
     .lives = "the jobs in QEMU, image locks: given up, or merged again",
     .gone = "record: failed"},
    {.name = "delete-flush",
     .probe = pivot_decide_probe,
     .act = delete_flush_act,
     .skip = delete_flush_skip,
     .does = "flush the bases of the jobs that are pending",
     .image = "the old chain",
     .lives = "the jobs in QEMU",
     .gone = "record: failed"},
    {.name = "delete-prepare",
     .probe = pivot_prepare_probe,
     .act = pivot_prepare_act,
     .flags = STEP_RECORD | STEP_WAIT,
     .skip = delete_prepare_skip,
     .note = pivot_prepare_note,
     .known = pivot_prepare_known,
     .does =
         "job-complete where the active layer is merged, until pending: the disk's I/O is held, "
         "both images are equal and flushed",
     .image = "the old chain",
     .lives = "the jobs in QEMU",
     .gone = "record: failed"},
    {.name = "delete-decide",
     .probe = pivot_decide_probe,
     .flags = STEP_RECORD | STEP_DECIDE,
     .note = pivot_decide_note,
     .does = "record that the merged layers are no longer part of the chains",
     .image = "both chains, hence the new one",
     .lives = "record, the jobs in QEMU",
     .gone = "record: completed"},
    {.name = "delete-switch",
     .probe = pivot_switch_probe,
     .act = pivot_switch_act,
     .flags = STEP_VERIFY,
     .does = "hold the vCPUs if they run and the active layer is merged, job-finalize, look at the "
             "graph",
     .image = "the new chain",
     .lives = "the jobs in QEMU, the disks' chains",
     .gone = "record: completed"},
    {.name = "delete-reverse",
     .probe = pivot_reverse_probe,
     .flags = STEP_RECORD,
     .skip = pivot_reverse_skip,
     .note = pivot_reverse_note,
     .does = "only if QEMU failed to switch: record which disks have their old chains after all",
     .image = "what the record says of each disk",
     .lives = "record",
     .gone = "record: completed, failed"},
    {.name = "delete-tidy",
     .probe = pivot_tidy_probe,
     .act = pivot_tidy_act,
     .flags = STEP_VERIFY,
     .does = "let the vCPUs go that we held, job-dismiss, close the nodes of the merged layers",
     .image = "the new chain",
     .lives = "the vCPUs, jobs and nodes in QEMU",
     .gone = "record: completed, failed"},
    {.name = "delete-store",
     .act = pivot_store_act,
     .skip = pivot_store_skip,
     .does = "sync the headers that QEMU wrote",
     .image = "the new chain; the old headers read right too"},
    {.name = "delete-tree",
     .act = delete_tree_act,
     .flags = STEP_RECORD,
     .note = delete_tree_note,
     .does = "record that the snapshots are gone, and which images the others froze now",
     .image = "the new chain",
     .lives = "record",
     .gone = "record: completed, failed"},
    {.name = "delete-headers",
     .act = strands_rebase,
     .flags = STEP_RECORD,
     .skip = strands_rebase_skip,
     .does =
         "write the base as backing file into each header of another branch that names a merged "
         "layer; one that somebody has open is waited for",
     .image = "the new chain; the old headers read right too",
     .lives = "the files",
     .gone = "record: completed, failed"},
    {.name = "delete-remove",
     .act = pivot_remove_act,
     .skip = pivot_remove_skip,
     .does = "remove the merged layers and the saved memory, after proof that nothing uses them",
     .image = "the new chain"},
    {.name = "delete-end",
     .act = delete_end_act,
     .flags = STEP_END,
     .does = "outcome and event in one commit",
     .image = "the new chain"},
};

/* --- hooks --- */

static void delete_observe(struct job *job, const struct view *view)
{
    delete_note_touched(job, view);
    pivot_observe_legs(job, view);
}

/* Whether the guest's I/O of a disk is held. */
static bool delete_holds(const struct job *job, const struct view *view)
{
    for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg))
        if (!leg.above && leg_status(&leg, view) == VIEW_JOB_PENDING)
            return true;
    return false;
}

/* What tools have merged is watched until the decision; who did that died with the daemon. They are
 * not run again while a disk of the guest hangs. */
static int delete_forward(const struct job *job, const struct view *view, struct error *err)
{
    if (strands_merge_skip(job) || job->holds ||
        (!delete_holds(job, view) && job_is_before(job, "delete-flush")))
        return 0;
    error_set(err, SNAPVM_ERROR_IMAGE,
              "nobody watched the layers of other branches while snapvmd was away, so they are not "
              "relied on: ask again");
    return error_text(err, "reason", "changed");
}

/* A finalize that failed: what each disk is then is recorded before the guest may write on. */
static void delete_lost(struct job *job)
{
    job_go(job, job->plan, pivot_reverse(job) ? "delete-reverse" : "delete-switch");
}

/* What QEMU failed to take out of a chain is in the base all the same: nobody wrote to the layers
 * above since. Only an active layer that was not left is ahead of its base. */
static void delete_forgive(struct job *job)
{
    for (struct strand s = strand_first(job); s.top; s = strand_next(job, &s))
        if (strand_place(job, &s) == 0 && job_has(job, JOB_REVERSED))
            return;
    job->record.flags &= ~(unsigned)JOB_REVERSED;
}

static void delete_offline(struct job *job)
{
    _cleanup_error_ struct error gone = {0};

    delete_release_chains(job);
    if (job_has(job, JOB_DECIDED)) {
        delete_forgive(job);
        job_go(job, &plan_off_delete, "off-decide");
        return;
    }
    error_set(&gone, SNAPVM_ERROR_QEMU_GONE,
              "QEMU ended before the layers were merged: the chain is what it was, delete the "
              "snapshot again");
    job_offline_done(job, job_has(job, JOB_CANCEL) ? "cancelled" : "failed", &gone);
}

static void delete_conclude(struct job *job, const char *result _unused_)
{
    hold_release(job);
    delete_release_chains(job);
    if (strcmp(job->record.result, "completed") == 0)
        error_clear(&job->record.error);
    strands_conclude(job);
}

const struct plan plan_delete = {
    .name = "snapshot-delete",
    .title = "Deletion of snapshots, the guest runs",
    .steps = delete_steps,
    .n_steps = sizeof(delete_steps) / sizeof(delete_steps[0]),
    .undone = "failed",
    .observe = delete_observe,
    .resume = pivot_resume,
    .forward = delete_forward,
    .lost = delete_lost,
    .offline = delete_offline,
    .conclude = delete_conclude,
    .note_end = delete_note_end,
};
