/* A snapshot of a running guest. All that takes time is done before the freeze: the overlays are
 * made, synced and opened. Between freeze and thaw there is one transaction and nothing else: no
 * write to a disk, no query, no wait of ours.
 *
 * An overlay whose header names the layer below is the right image whether or not QEMU executed the
 * transaction before it died: an empty one reads through. So the crash of QEMU is settled by
 * looking whether the overlays hold data, and the crash of the daemon by looking at the graph.
 *
 * A disk may get its snapshot inside its image instead, by the same transaction; it then stays on
 * that image, whatever dies. Such a snapshot bears no number of a job: that the name was free is
 * known before the record that the transaction relies on, so that what is there behind it is ours.
 * A QEMU that died in the middle may have left it in some of the images: then no overlay was
 * written to yet, and all of it is taken back. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "job/debt.h"
#include "job/engine.h"
#include "job/evidence.h"
#include "job/files.h"
#include "job/internal.h"
#include "job/memory.h"
#include "job/quiesce.h"
#include "job/snapshot-job.h"
#include "job/walk.h"
#include "journal/journal.h"
#include "proto/limits.h"
#include "proto/snapvm-errors.h"
#include "qemu/qmp-command.h"
#include "qemu/qmp.h"
#include "qemu/view.h"

static bool is_overlay(const struct record_image *image)
{
    return strcmp(image->role, "overlay") == 0;
}

/* --- evidence --- */

/* Some without the others are what an act left that failed on its way. Where there is none nothing
 * can be seen, and nothing is missing. */
enum seen overlays_probe(const struct job *job, const struct view *view)
{
    unsigned open = 0, all = 0;

    for (unsigned i = 0; i < job->record.n_images; i++) {
        if (!is_overlay(&job->record.images[i]))
            continue;
        all++;
        open += view_node(view, job->record.images[i].node) != NULL;
    }
    if (all == 0)
        return job_has(job, JOB_UNDOING) ? NOT_YET : HOLDS;
    return open == 0 ? NOT_YET : open == all ? HOLDS : LOST;
}

/* QEMU has said no: what is inside the images now is a stranger's. */
static bool switch_is_refused(const struct job *job)
{
    return job->failure.code == SNAPVM_ERROR_QEMU;
}

/* All disks were switched by one transaction: one tells for all. */
enum seen switch_probe(const struct job *job, const struct view *view)
{
    for (unsigned i = 0; i < view->n_disks; i++)
        for (unsigned k = 0; k < job->record.n_images; k++)
            if (is_overlay(&job->record.images[k]) &&
                view_in_chain(view, view->disks[i].root, job->record.images[k].node))
                return HOLDS;
    if (job_image(job, NULL, "overlay") || switch_is_refused(job))
        return NOT_YET;
    return internal_all_in_view(job, view) ? HOLDS : NOT_YET;
}

/* A freeze leaves no evidence in QEMU. Once the disks are switched it is over for this job, and is
 * never asked for a second time; its thaw is the debt's. */
enum seen freeze_probe(const struct job *job, const struct view *view)
{
    return switch_probe(job, view);
}

/* --- acts --- */

static bool names_skip(const struct job *job)
{
    return !internal_has(job);
}

void names_act(struct job *job)
{
    xstrset(&job->record.state, "running");
    internal_check_free(job, job_filed);
}

bool freeze_skip(const struct job *job)
{
    return !job_has(job, JOB_QUIESCE_REQUIRED) && !job_has(job, JOB_QUIESCE_PREFERRED);
}

/* What the overlays need is done side by side: the files are synced while QEMU opens them and the
 * agent is asked. The step is over when all of it is. */
static void overlays_part(void *arg, const struct error *err)
{
    struct job *job = arg;

    if (err && !job->reply_error.code)
        error_copy(&job->reply_error, err);
    if (--job->outstanding > 0)
        return;
    if (job->reply_error.code && job->reply_error.code != SNAPVM_ERROR_QEMU_GONE)
        job_failed(job, &job->reply_error);
    else
        job_acted(job, job->reply_error.code ? &job->reply_error : NULL);
}

static void overlays_synced(struct job *job, const struct error *err)
{
    overlays_part(job, err);
}

static void overlays_asked(struct job *job)
{
    overlays_part(job, NULL);
}

static void overlay_open(struct job *job, const struct record_image *image)
{
    const struct record_disk *disk = disk_find(job->domain, image->disk);
    const struct view_disk *seen = disk ? disk_in_view(job->domain, disk) : NULL;
    struct qmp_open open = {
        .node = image->node,
        .format = image->format,
        .file = image->file,
        .direct = seen && seen->direct,
        .no_flush = seen && seen->no_flush,
        .detect_zeroes = seen ? seen->detect_zeroes : NULL,
    };

    qmp_blockdev_add(job_qmp(job), &open, overlays_part, job);
}

static void overlays_open(struct job *job)
{
    qmp_cork(job_qmp(job));
    for (unsigned i = 0; i < job->record.n_images; i++) {
        if (!is_overlay(&job->record.images[i]))
            continue;
        job->outstanding++;
        overlay_open(job, &job->record.images[i]);
    }
    qmp_uncork(job_qmp(job));
}

void overlays_lay(struct job *job)
{
    const struct record_image *first = job_image(job, NULL, "overlay");

    if (first)
        overlay_open(job, first);
}

/* The root of a disk may be a filter, which passes it on: QEMU wants the root. */
static const char *switch_root(const struct job *job, const struct record_image *image)
{
    const struct record_disk *disk = disk_find(job->domain, image->disk);
    const struct view_disk *seen = disk ? disk_in_view(job->domain, disk) : NULL;

    return seen ? seen->root : image->disk;
}

static void switch_send(struct job *job)
{
    struct qmp_snapshot pairs[LIMIT_SNAPSHOT_DISKS];
    unsigned n = 0;

    for (unsigned i = 0; i < job->record.n_images; i++) {
        const struct record_image *image = &job->record.images[i];

        if (is_overlay(image))
            pairs[n++] = (struct qmp_snapshot){
                .node = job_image(job, image->disk, "source")->node,
                .overlay = image->node,
            };
        else if (internal_is(image))
            pairs[n++] = (struct qmp_snapshot){
                .node = switch_root(job, image),
                .name = image->node,
            };
    }
    qmp_snapshot(job_qmp(job), pairs, n, job_reply, job);
}

/* The sync first: it goes on while QEMU opens them. The switch is laid out before the freeze: for
 * as long as QEMU reads it, the guest would stand still. */
static void overlays_made(struct job *job, const struct error *err)
{
    if (!err && job->domain->connected) {
        job->outstanding++;
        files_sync_overlays(job, overlays_synced);
        overlays_open(job);
        job_lay(job, job_image(job, NULL, "memory") ? NULL : switch_send);
    }
    overlays_part(job, err); /* away: the next step finds it so */
}

/* The debt stands from the first record on, so that the freeze needs no record of its own. Where
 * one stands already, a client's lease holds the guest, or a thaw is owed: the job does not freeze.
 */
void overlays_note(struct job *job, struct journal_txn *txn)
{
    const struct engine_options *options = &job->engine->options;
    int64_t ms = (int64_t)options->freeze_timeout_ms + options->agent_timeout_ms;

    if (!freeze_skip(job) && !job->domain->debt)
        debt_incur(job->domain, job->record.id, clock_now() + ms * 1000, txn);
}

void overlays_act(struct job *job)
{
    xstrset(&job->record.state, "running");
    error_clear(&job->reply_error);
    job->outstanding = 1;
    files_create_overlays(job, overlays_made);
    if (freeze_skip(job))
        return;
    job->outstanding++;
    quiesce_ask(job, overlays_asked);
}

static bool owes_nothing(const struct job *job)
{
    return job->domain->debt && job->domain->debt->job == job->record.id && job->froze < 0 &&
           !job->recovered;
}

static void overlays_removed(struct job *job, const struct error *err)
{
    if (!err && owes_nothing(job))
        debt_strike(job->domain, NULL); /* no freeze was sent */
    job_acted(job, err);
}

static void overlays_closed(void *arg, const struct error *err)
{
    struct job *job = arg;

    if (err && err->code == SNAPVM_ERROR_QEMU_GONE && !job->reply_error.code)
        error_copy(&job->reply_error, err);
    if (--job->outstanding > 0)
        return;
    if (job->reply_error.code)
        job_acted(job, &job->reply_error);
    else
        files_remove_overlays(job, overlays_removed);
}

void overlays_undo(struct job *job)
{
    unsigned n = 1;

    for (unsigned i = 0; i < job->record.n_images; i++)
        n += is_overlay(&job->record.images[i]);
    job->outstanding = n;
    error_clear(&job->reply_error);
    qmp_cork(job_qmp(job));
    for (unsigned i = 0; i < job->record.n_images; i++)
        if (is_overlay(&job->record.images[i]))
            qmp_blockdev_del(job_qmp(job), job->record.images[i].node, overlays_closed, job);
    qmp_uncork(job_qmp(job));
    overlays_closed(job, NULL);
}

void switch_act(struct job *job)
{
    job_expect(job, 1);
    switch_send(job);
}

bool thaw_skip(const struct job *job)
{
    const struct record_debt *debt = job->domain->debt;

    return freeze_skip(job) || (!job->lease && (!debt || debt->job != job->record.id));
}

/* Quiesced was required and is not proven: nothing is called a quiesced snapshot. Or the memory was
 * lost. */
bool snapshot_is_void(const struct job *job)
{
    if (job_image(job, NULL, "memory") && job->record.error.code)
        return true;
    return job_has(job, JOB_QUIESCE_REQUIRED) && !job_has(job, JOB_QUIESCED);
}

static void snapshot_give_back(struct job *job)
{
    const char *why = job->record.quiesce_error;

    if (!job->record.error.code) {
        error_set(&job->record.error, SNAPVM_ERROR_QUIESCE_FAILED,
                  "the snapshot is not proven quiesced, and was taken back: %s", why);
        error_text(&job->record.error, "reason", why);
    }
    if (snapshot_debt_is_paid(job))
        debt_strike(job->domain, NULL);
    if (!job_image(job, NULL, "overlay")) {
        snapshot_drop(job);
        return;
    }
    job->record.flags |= JOB_DELETE | JOB_AUTO_PIVOT;
    snapshot_hold_chains(job);
    job_go(job, job_image(job, NULL, "memory") ? &plan_memory_back : &plan_back, "back-start");
}

void settle_act(struct job *job)
{
    if (!freeze_skip(job) && !job_has(job, JOB_QUIESCED) && !job->record.quiesce_error)
        xstrset(&job->record.quiesce_error, "the daemon was restarted while the guest was frozen");
    if (snapshot_is_void(job))
        snapshot_give_back(job);
    else if (snapshot_halts(job))
        snapshot_halt(job);
    else
        engine_end(job, "completed");
}

static const struct step snapshot_steps[] = {
    {.name = "names",
     .act = names_act,
     .flags = STEP_RECORD,
     .skip = names_skip,
     .does = "only for snapshots inside images: see by the tables of the images that the name is "
             "free in all of them",
     .image = "the old layer",
     .lives = "record: a snapshot that was not begun is given up",
     .gone = "record: rolled-back"},
    {.name = "overlays",
     .probe = overlays_probe,
     .act = overlays_act,
     .undo = overlays_undo,
     .lay = overlays_lay,
     .flags = STEP_RECORD,
     .note = overlays_note,
     .does = "make the overlays (never over a file that is there), sync them and their folder, "
             "open them as nodes without backing, ask the agent; the freeze debt is recorded "
             "with it",
     .image = "the old layer; the files are known by name, and removed",
     .lives = "roots of the disks",
     .gone = "data in the overlays: rolled-back, completed, failed"},
    {.name = "freeze",
     .probe = freeze_probe,
     .act = quiesce_freeze,
     .undo = quiesce_undo,
     .skip = freeze_skip,
     .does = "if the guest runs and its agent has just answered: freeze",
     .image = "the old layer",
     .lives = "roots of the disks",
     .gone = "data in the overlays: rolled-back"},
    {.name = "switch",
     .probe = switch_probe,
     .act = switch_act,
     .flags = STEP_COMMITS,
     .does =
         "one transaction puts every overlay on its disk, and takes the snapshots inside images; "
         "of a single disk it is blockdev-snapshot",
     .image = "the overlay: while it is empty it reads through",
     .lives = "roots of the disks, snapshots inside images",
     .gone = "data in the overlays, snapshots inside images: rolled-back, completed"},
    {.name = "thaw",
     .act = quiesce_thaw,
     .skip = thaw_skip,
     .does = "thaw; its count and the status behind it tell whether the snapshot is quiesced",
     .image = "the overlay"},
    {.name = "settle",
     .act = settle_act,
     .flags = STEP_END,
     .note = snapshot_settle_note,
     .does = "metadata, current snapshot, outcome and events in one commit",
     .image = "the overlay"},
};

/* --- hooks --- */

bool snapshot_is_unbegun(const struct job *job)
{
    return job_step(job)->act == names_act;
}

int snapshot_refuse_late(struct error *err)
{
    return error_set(
        err, SNAPVM_ERROR_QEMU_GONE,
        "snapvmd was restarted, or its connection to QEMU was lost, before the snapshot "
        "was taken: everything is as it was, ask again");
}

/* A snapshot is of the moment at which it was asked for: after a restart it is not taken late. */
int snapshot_forward(const struct job *job, const struct view *view, struct error *err)
{
    if (!snapshot_is_unbegun(job) && switch_probe(job, view) == HOLDS)
        return 0;
    return snapshot_refuse_late(err);
}

/* The first record is the only one before the end: the transaction may have gone out. */
static bool snapshot_may_have_switched(const struct job *job)
{
    return !job_has(job, JOB_UNDOING);
}

static void snapshot_offline_removed(struct job *job, const struct error *err _unused_)
{
    _cleanup_error_ struct error gone = {0};

    error_set(&gone, SNAPVM_ERROR_QEMU_GONE, "QEMU ended before the snapshot was taken");
    if (!internal_has(job) || snapshot_is_unbegun(job)) {
        job_offline_done(job, job->plan->undone, &gone);
        return;
    }
    engine_note_failure(job, &gone);
    xstrset(&job->record.evidence, "recovered-offline");
    snapshot_drop(job);
}

/* The record that makes the overlays worthless is durable: remove them. */
static void snapshot_offline_recorded(void *arg, const struct error *err _unused_)
{
    files_remove_overlays(arg, snapshot_offline_removed);
}

static void snapshot_offline_back(struct job *job)
{
    struct journal_txn *txn = journal_begin(job->engine->domains->journal);

    job->record.flags |= JOB_UNDOING;
    snapshot_lower_chains(job);
    journal_put_domain(txn, &job->domain->record);
    journal_put_job(txn, &job->record);
    journal_commit(txn, "undo", snapshot_offline_recorded, job);
}

static void snapshot_offline_on(struct job *job)
{
    if (!job->record.quiesce_error && !freeze_skip(job))
        xstrset(&job->record.quiesce_error, "QEMU ended while the guest was frozen");
    for (job->step = 0; !(job_step(job)->flags & STEP_END); job->step++)
        ;
    xstrset(&job->record.evidence, "recovered-offline");
    settle_act(job);
}

/* What is not proven quiesced and had to be can still be taken back. */
static void snapshot_offline_seen(struct job *job)
{
    if (internal_all_inside(job) && !snapshot_is_void(job))
        snapshot_offline_on(job);
    else
        snapshot_offline_back(job);
}

static void snapshot_offline_looked(struct job *job, bool empty)
{
    if (!empty && job_image(job, NULL, "memory"))
        memory_check_offline(job, snapshot_offline_on);
    else if (!empty)
        snapshot_offline_on(job);
    else if (internal_has(job) && !snapshot_is_unbegun(job))
        evidence_fetch(job, snapshot_offline_seen);
    else
        snapshot_offline_back(job);
}

void snapshot_offline(struct job *job)
{
    if (!snapshot_may_have_switched(job)) {
        snapshot_offline_back(job);
        return;
    }
    snapshot_hold_chains(job); /* right in any case, until it is known better */
    files_look_at_overlays(job, snapshot_offline_looked);
}

void snapshot_resume(struct job *job)
{
    /* Overlays that are there whole are right in any case: empty ones read through. */
    if (snapshot_may_have_switched(job) && files_have_overlays(job))
        snapshot_hold_chains(job);
}

const struct plan plan_snapshot = {
    .name = "snapshot",
    .title = "Snapshot of a running guest",
    .steps = snapshot_steps,
    .n_steps = sizeof(snapshot_steps) / sizeof(snapshot_steps[0]),
    .undone = "rolled-back",
    .resume = snapshot_resume,
    .forward = snapshot_forward,
    .offline = snapshot_offline,
    .conclude = snapshot_conclude,
};
