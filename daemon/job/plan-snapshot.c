/* A snapshot of a running guest. All that takes time is done before the freeze: the overlays are
 * made, synced and opened. Between freeze and thaw there is one transaction and nothing else: no
 * write to a disk, no query, no wait of ours.
 *
 * An overlay whose header names the layer below is the right image whether or not QEMU executed the
 * transaction before it died: an empty one reads through. So the crash of QEMU is settled by
 * looking whether the overlays hold data, and the crash of the daemon by looking at the graph. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "domain/description.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "domain/snapshot.h"
#include "job/debt.h"
#include "job/engine.h"
#include "job/files.h"
#include "job/quiesce.h"
#include "job/snapshot-job.h"
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

/* Some without the others are what an act left that failed on its way. */
static enum seen overlays_probe(const struct job *job, const struct view *view)
{
    unsigned open = 0, all = 0;

    for (unsigned i = 0; i < job->record.n_images; i++) {
        if (!is_overlay(&job->record.images[i]))
            continue;
        all++;
        open += view_node(view, job->record.images[i].node) != NULL;
    }
    return open == 0 ? NOT_YET : open == all ? HOLDS : LOST;
}

/* All disks were switched by one transaction: one tells for all. */
static enum seen switch_probe(const struct job *job, const struct view *view)
{
    for (unsigned i = 0; i < view->n_disks; i++)
        for (unsigned k = 0; k < job->record.n_images; k++)
            if (is_overlay(&job->record.images[k]) &&
                view_in_chain(view, view->disks[i].root, job->record.images[k].node))
                return HOLDS;
    return NOT_YET;
}

/* A freeze leaves no evidence in QEMU. Once the disks are switched it is over for this job, and is
 * never asked for a second time; its thaw is the debt's. */
static enum seen freeze_probe(const struct job *job, const struct view *view)
{
    return switch_probe(job, view);
}

/* --- acts --- */

static bool freeze_skip(const struct job *job)
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

static void overlays_open(struct job *job)
{
    qmp_cork(job_qmp(job));
    for (unsigned i = 0; i < job->record.n_images; i++) {
        const struct record_image *image = &job->record.images[i];
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

        if (!is_overlay(image))
            continue;
        job->outstanding++;
        qmp_blockdev_add(job_qmp(job), &open, overlays_part, job);
    }
    qmp_uncork(job_qmp(job));
}

static void overlays_made(struct job *job, const struct error *err)
{
    if (!err && job->domain->connected) {
        overlays_open(job);
        job->outstanding++;
        files_sync_overlays(job, overlays_synced);
    }
    overlays_part(job, err); /* away: the next step finds it so */
}

/* The debt stands from the first record on, so that the freeze needs no record of its own. Where
 * one stands already, a client's lease holds the guest, or a thaw is owed: the job does not freeze.
 */
static void overlays_note(struct job *job, struct journal_txn *txn)
{
    const struct engine_options *options = &job->engine->options;
    int64_t ms = (int64_t)options->freeze_timeout_ms + options->agent_timeout_ms;

    if (!freeze_skip(job) && !job->domain->debt)
        debt_incur(job->domain, job->record.id, clock_now() + ms * 1000, txn);
}

static void overlays_act(struct job *job)
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

static void overlays_undo(struct job *job)
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

static void switch_act(struct job *job)
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
    }
    job_expect(job, 1);
    qmp_snapshot(job_qmp(job), pairs, n, job_reply, job);
}

static bool thaw_skip(const struct job *job)
{
    const struct record_debt *debt = job->domain->debt;

    return freeze_skip(job) || (!job->lease && (!debt || debt->job != job->record.id));
}

void snapshot_hold_chains(struct job *job)
{
    for (unsigned i = 0; i < job->record.n_images; i++) {
        const struct record_image *image = &job->record.images[i];
        struct record_disk *disk = disk_find(job->domain, image->disk);
        struct record_layer below;

        if (!is_overlay(image) || !disk)
            continue;
        disk->held = true;
        if (disk->n_chain && strcmp(disk->chain[0].file, image->file) == 0)
            continue;
        record_disk_add_layer(disk, image->file, image->format);
        below = disk->chain[disk->n_chain - 1];
        memmove(disk->chain + 1, disk->chain, (disk->n_chain - 1) * sizeof(*disk->chain));
        disk->chain[0] = below;
        xstrset(&disk->chain[0].node, image->node);
        disk->chain[0].virtual_size = image->virtual_size;
    }
}

static void snapshot_lower_chains(struct job *job)
{
    for (unsigned i = 0; i < job->record.n_images; i++) {
        const struct record_image *image = &job->record.images[i];
        struct record_disk *disk = disk_find(job->domain, image->disk);

        if (!is_overlay(image) || !disk)
            continue;
        disk->held = false;
        if (disk->n_chain > 1 && strcmp(disk->chain[0].file, image->file) == 0)
            record_disk_drop_layers(disk, 0, 1);
    }
}

/* The view follows, so that neither this job nor the next operation on the disk needs a new one:
 * QEMU takes the longer for it the longer the chain is. */
static void snapshot_raise_view(struct job *job)
{
    for (unsigned i = 0; i < job->record.n_images; i++) {
        const struct record_image *image = &job->record.images[i];
        const struct record_disk *disk = disk_find(job->domain, image->disk);
        struct view_disk *seen = is_overlay(image) && disk ? disk_in_view(job->domain, disk) : NULL;
        struct view_node *node, *below = seen ? view_layer(job->domain->view, seen->root) : NULL;

        if (!below || strcmp(below->name, image->node) == 0)
            continue;
        node = view_node(job->domain->view, image->node);
        if (!node)
            node = view_add_node(job->domain->view, image->node);
        xstrset(&node->driver, image->format);
        xstrset(&node->file, image->file);
        xstrset(&node->backing, below->name);
        node->virtual_size = image->virtual_size;
        node->actual_size = -1;
        below->read_only = true;
        below->actual_size = -1; /* it has grown since it was seen */
        xstrset(&seen->root, image->node);
    }
}

static void snapshot_note_metadata(struct job *job, struct journal_txn *txn)
{
    struct domain *domain = job->domain;
    struct record_snapshot record = {
        .domain = xstrdup(domain->record.name),
        .name = xstrdup(job->record.snapshot),
        .parent = xstrdup(domain->record.current_snapshot),
        .description = xstrdup(job->record.description),
        .state = xstrdup(job->record.guest_state),
        .memory = xstrdup("no"),
        .quiesced = job_has(job, JOB_QUIESCED),
        .quiesce_error = xstrdup(job->record.quiesce_error),
        .created = clock_now(),
    };
    _cleanup_free_ char *description = NULL;
    struct snapshot *snapshot;

    for (unsigned i = 0; i < job->record.n_images; i++) {
        const struct record_image *image = &job->record.images[i];
        struct record_snapshot_disk *disk;

        if (!is_overlay(image))
            continue;
        disk = record_snapshot_add_disk(&record, image->disk);
        xstrset(&disk->mode, "external");
        xstrset(&disk->file, image->file);
        xstrset(&disk->format, image->format);
        xstrset(&disk->backing, job_image(job, image->disk, "source")->file);
    }
    snapshot = snapshot_add(domain, &record);
    xstrset(&domain->record.current_snapshot, snapshot->record.name);
    journal_put_snapshot(txn, &snapshot->record);
    description = description_make(domain, &snapshot->record);
    journal_put_document(txn, domain->record.name, snapshot->record.name, description);
}

static void snapshot_tell(struct job *job, struct journal_txn *txn)
{
    const char *domain = job->domain->record.name;
    _cleanup_free_ char *body =
        record_snapshot_event(job->record.snapshot, job_has(job, JOB_QUIESCED));

    if (job->froze > 0)
        journal_add_event(txn, "guest.frozen", domain, NULL);
    if (job->froze > 0 && job->domain->freeze == FREEZE_THAWED)
        journal_add_event(txn, "guest.thawed", domain, NULL);
    if (job_has(job, JOB_NO_METADATA))
        return;
    journal_add_event(txn, "snapshot.created", domain, body);
    journal_add_event(txn, "snapshot.current", domain, body);
}

/* Quiesced was required and is not proven: nothing is called a quiesced snapshot. */
static bool snapshot_is_void(const struct job *job)
{
    return job_has(job, JOB_QUIESCE_REQUIRED) && !job_has(job, JOB_QUIESCED);
}

static bool snapshot_debt_is_paid(const struct job *job)
{
    return job->domain->debt && job->domain->debt->job == job->record.id &&
           job->domain->freeze == FREEZE_THAWED;
}

void snapshot_settle_note(struct job *job, struct journal_txn *txn)
{
    if (!job_has(job, JOB_NO_METADATA) && !snapshot_find(job->domain, job->record.snapshot))
        snapshot_note_metadata(job, txn);
    snapshot_tell(job, txn);
    if (snapshot_debt_is_paid(job))
        debt_strike(job->domain, txn);
}

static void snapshot_give_back(struct job *job)
{
    const char *why = job->record.quiesce_error;
    _cleanup_error_ struct error err = {0};

    error_set(&err, SNAPVM_ERROR_QUIESCE_FAILED,
              "the snapshot is not proven quiesced, and was taken back: %s", why);
    error_text(&err, "reason", why);
    if (!job->record.error.code)
        error_move(&job->record.error, &err);
    if (snapshot_debt_is_paid(job))
        debt_strike(job->domain, NULL);
    job->record.flags |= JOB_DELETE | JOB_AUTO_PIVOT;
    snapshot_hold_chains(job);
    job_go(job, &plan_back, "back-start");
}

static void settle_act(struct job *job)
{
    if (!freeze_skip(job) && !job_has(job, JOB_QUIESCED) && !job->record.quiesce_error)
        xstrset(&job->record.quiesce_error, "the daemon was restarted while the guest was frozen");
    if (snapshot_is_void(job))
        snapshot_give_back(job);
    else
        engine_end(job, "completed");
}

static const struct step snapshot_steps[] = {
    {.name = "overlays",
     .probe = overlays_probe,
     .act = overlays_act,
     .undo = overlays_undo,
     .flags = STEP_RECORD,
     .note = overlays_note,
     .does = "make the overlays (never over a file that is there), sync them and their folder, "
             "open them as nodes without backing, ask the agent; the freeze debt is recorded "
             "with it",
     .image = "the old layer; the files are known by name, and removed"},
    {.name = "freeze",
     .probe = freeze_probe,
     .act = quiesce_freeze,
     .undo = quiesce_undo,
     .skip = freeze_skip,
     .does = "if the guest runs and its agent has just answered: freeze",
     .image = "the old layer"},
    {.name = "switch",
     .probe = switch_probe,
     .act = switch_act,
     .flags = STEP_COMMITS,
     .does = "one transaction puts every overlay on its disk",
     .image = "the overlay: while it is empty it reads through"},
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

/* A snapshot is of the moment at which it was asked for: after a restart it is not taken late. */
static int snapshot_forward(const struct job *job, const struct view *view, struct error *err)
{
    if (switch_probe(job, view) == HOLDS)
        return 0;
    return error_set(
        err, SNAPVM_ERROR_QEMU_GONE,
        "snapvmd was restarted, or its connection to QEMU was lost, before the snapshot "
        "was taken: everything is as it was, ask again");
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
    job_offline_done(job, job->plan->undone, &gone);
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

static void snapshot_offline_looked(struct job *job, bool empty)
{
    if (empty) {
        snapshot_offline_back(job);
        return;
    }
    if (!job->record.quiesce_error && !freeze_skip(job))
        xstrset(&job->record.quiesce_error, "QEMU ended while the guest was frozen");
    for (job->step = 0; !(job_step(job)->flags & STEP_END); job->step++)
        ;
    xstrset(&job->record.evidence, "recovered-offline");
    settle_act(job);
}

static void snapshot_offline(struct job *job)
{
    if (!snapshot_may_have_switched(job)) {
        snapshot_offline_back(job);
        return;
    }
    snapshot_hold_chains(job); /* right in any case, until it is known better */
    files_look_at_overlays(job, snapshot_offline_looked);
}

static void snapshot_resume(struct job *job)
{
    /* Overlays that are there whole are right in any case: empty ones read through. */
    if (snapshot_may_have_switched(job) && files_have_overlays(job))
        snapshot_hold_chains(job);
}

/* An overlay that is no longer on its disk: made and removed, or the caller's own. After a way back
 * it holds data that only its layer below can be read with, as it was then. */
static const char *snapshot_overlay_worth(const struct job *job, const struct record_image *image)
{
    if (job->plan == &plan_back)
        return "invalid";
    return image->made ? "removed" : "valid";
}

void snapshot_conclude(struct job *job, const char *result)
{
    bool switched = strcmp(result, "completed") == 0 || strcmp(result, "failed") == 0;
    bool one = false;

    if (switched) {
        snapshot_hold_chains(job);
        if (job->domain->connected)
            snapshot_raise_view(job);
        job->shown = job->plan == &plan_snapshot;
    } else {
        snapshot_lower_chains(job);
    }
    for (unsigned i = 0; i < job->record.n_images; i++) {
        struct record_image *image = &job->record.images[i];
        struct record_disk *disk = disk_find(job->domain, image->disk);
        bool active = is_overlay(image) == switched;

        if (disk)
            disk->held = false;
        if (!is_overlay(image) || switched)
            xstrset(&image->state, active ? "active" : "backing");
        else if (!image->state)
            xstrset(&image->state, snapshot_overlay_worth(job, image));
        if (active && !one)
            xstrset(&job->record.active, image->file);
        one |= active;
    }
}

struct job *snapshot_job_new(struct engine *engine, struct domain *domain, const char *name,
                             const char *description, uint32_t flags)
{
    struct job *job = job_new(engine, domain, "snapshot");

    job->record.id = journal_next_job(domain->owner->journal);
    job->record.snapshot = xstrdup(name);
    job->record.description = xstrdup(description);
    job->record.flags = flags;
    job->plan = domain_is_shutoff(domain) ? &plan_off_snapshot : &plan_snapshot;
    if (domain_is_shutoff(domain))
        job->record.flags |= JOB_QUIESCED; /* nobody writes */
    return job;
}

void snapshot_job_add_disk(struct job *job, struct record_disk *disk, const char *file, bool reuse)
{
    const struct view_node *top = disk_top(job->domain, disk);
    struct record_image *image;
    char name[JOB_NAME_SIZE];

    image = record_job_add_image(&job->record, disk->target, "source", disk->chain[0].file);
    xstrset(&image->format, top->driver);
    xstrset(&image->node, top->name);
    image->virtual_size = top->virtual_size;
    image = record_job_add_image(&job->record, disk->target, "overlay", file);
    xstrset(&image->format, "qcow2");
    xstrset(&image->node, job_qemu_name(job, disk->target, name));
    image->virtual_size = top->virtual_size;
    image->made = !reuse;
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
