/* A snapshot of a guest that is shut off. Nobody writes, so there is nothing to freeze and no
 * instant to meet: the overlays are made, and one record makes them the disks. Writers are kept out
 * of the old layers meanwhile, so that a guest which is started just then is refused by QEMU
 * instead of writing below an overlay.
 *
 * An overlay is empty until the guest is started from it and reads through to the layer below, so
 * both are the right image for as long as the job runs.
 *
 * What is taken inside images is taken by qemu-img, which has them locked meanwhile, one after
 * another. That the names were free is known before the record that it relies on, as qemu-img would
 * take a second snapshot of a name; so what is found there after a crash is ours, and is not taken
 * again. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "domain/shutoff.h"
#include "job/debt.h"
#include "job/engine.h"
#include "job/evidence.h"
#include "job/files.h"
#include "job/hold.h"
#include "job/internal.h"
#include "job/memory-inside.h"
#include "job/revert-job.h"
#include "job/snapshot-job.h"
#include "job/walk.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"

static bool is_revert(const struct job *job)
{
    return strcmp(job->record.kind, "revert") == 0;
}

static bool is_overlay(const struct record_image *image)
{
    return strcmp(image->role, "overlay") == 0;
}

/* --- evidence --- */

/* Overlays that are half made are made anew. What an undo removed is gone for good. */
static enum seen off_overlays_probe(const struct job *job, const struct view *view _unused_)
{
    for (unsigned i = 0; i < job->record.n_images && !job_has(job, JOB_UNDOING); i++) {
        const struct record_image *image = &job->record.images[i];

        if (is_overlay(image) &&
            (!evidence_of(job, image)->there ||
             (image->made && !evidence_lies_on(job, image, job_image(job, image->disk, "source")))))
            return NOT_YET;
    }
    return job_has(job, JOB_UNDOING) ? NOT_YET : HOLDS;
}

static enum seen off_internal_probe(const struct job *job, const struct view *view _unused_)
{
    if (job_has(job, JOB_UNDOING))
        return internal_none_inside(job) ? NOT_YET : HOLDS;
    return internal_all_inside(job) ? HOLDS : NOT_YET;
}

static enum seen off_apply_probe(const struct job *job, const struct view *view _unused_)
{
    if (internal_all_at(job))
        return HOLDS;
    if (internal_is_lost(job))
        return LOST;
    return internal_is_busy(job) ? MOVING : NOT_YET;
}

/* --- acts --- */

static bool off_internal_skip(const struct job *job)
{
    return !internal_has(job);
}

static void off_names_act(struct job *job)
{
    xstrset(&job->record.state, "running");
    internal_check_free(job, job_filed);
}

static void off_internal_act(struct job *job)
{
    internal_make(job, job_acted);
}

static void off_internal_undo(struct job *job)
{
    internal_drop(job, job_acted);
}

static void off_revert_removed(struct job *job, const struct error *err _unused_)
{
    engine_end(job, "failed");
}

/* Some disks may be what the snapshot holds, and others what they were: it can be asked for again.
 */
static void off_revert_give_up(struct job *job, const struct error *err)
{
    engine_note_failure(job, err);
    files_remove_overlays(job, off_revert_removed);
}

static void off_applied(struct job *job, const struct error *err)
{
    if (err)
        off_revert_give_up(job, err);
    else
        job_acted(job, NULL);
}

static void off_apply_act(struct job *job)
{
    internal_apply(job, off_applied);
}

static void off_overlays_made(struct job *job, const struct error *err)
{
    if (err)
        job_failed(job, err);
    else
        files_sync_overlays(job, job_filed);
}

static void off_overlays_cleared(struct job *job, const struct error *err)
{
    if (err)
        job_failed(job, err);
    else
        files_create_overlays(job, off_overlays_made);
}

static void off_overlays_held(struct job *job, const struct error *err)
{
    if (err)
        job_failed(job, err);
    else if (job->recovered)
        files_remove_overlays(job, off_overlays_cleared); /* what was half made before the crash */
    else
        files_create_overlays(job, off_overlays_made);
}

static void off_overlays_act(struct job *job)
{
    xstrset(&job->record.state, "running");
    hold_images(job, is_revert(job) ? "left" : "source", off_overlays_held);
}

static void off_overlays_removed(struct job *job, const struct error *err)
{
    hold_release(job);
    job_acted(job, err);
}

static void off_overlays_undo(struct job *job)
{
    files_remove_overlays(job, off_overlays_removed);
}

/* The chain that was read from the headers. */
static void off_overlays_note(struct job *job, struct journal_txn *txn)
{
    journal_put_domain(txn, &job->domain->record);
}

static void off_revert_note(struct job *job, struct journal_txn *txn)
{
    _cleanup_free_ char *body = record_name_event(job->record.snapshot);

    if (job_image(job, NULL, "memory") && job_has(job, JOB_QUIESCED))
        debt_incur_next(job->domain, job->record.id, txn);
    journal_add_event(txn, "snapshot.current", job->record.domain, body);
}

static void off_settle_act(struct job *job)
{
    engine_end(job, "completed");
}

static const struct step off_snapshot_steps[] = {
    {.name = "off-names",
     .act = off_names_act,
     .flags = STEP_RECORD,
     .skip = off_internal_skip,
     .does = "only for snapshots inside images: see by the tables of the images that the name is "
             "free in all of them",
     .image = "the old layer",
     .lives = "tables of snapshots inside the images"},
    {.name = "off-internal",
     .probe = off_internal_probe,
     .act = off_internal_act,
     .undo = off_internal_undo,
     .flags = STEP_RECORD,
     .skip = off_internal_skip,
     .does = "qemu-img snapshot -c in each image that has it not, synced",
     .image = "the old layer",
     .lives = "tables of snapshots inside the images"},
    {.name = "off-overlays",
     .probe = off_overlays_probe,
     .act = off_overlays_act,
     .undo = off_overlays_undo,
     .flags = STEP_RECORD,
     .note = off_overlays_note,
     .does =
         "keep writers out of the active layers by QEMU's image locks; make the overlays (never "
         "over a file that is there), sync them and their folder",
     .image = "the old layer; an overlay is empty and reads through",
     .lives = "the overlays' headers, image locks"},
    {.name = "off-settle",
     .act = off_settle_act,
     .flags = STEP_END,
     .note = snapshot_settle_note,
     .does = "the overlays as the disks, metadata, current snapshot, outcome and events in one "
             "commit",
     .image = "the overlay"},
};

static const struct step off_revert_steps[] = {
    {.name = "off-overlays",
     .probe = off_overlays_probe,
     .act = off_overlays_act,
     .undo = off_overlays_undo,
     .flags = STEP_RECORD,
     .note = off_overlays_note,
     .does = "keep writers out of the layers that are left; make the overlays on those that the "
             "snapshot froze, sync them and their folder",
     .image = "the old layer",
     .lives = "the overlays' headers, image locks"},
    {.name = "off-apply",
     .probe = off_apply_probe,
     .act = off_apply_act,
     .flags = STEP_RECORD | STEP_DECIDE | STEP_VERIFY,
     .skip = off_internal_skip,
     .does = "only for snapshots inside images: qemu-img snapshot -a in each image whose disk is "
             "not what it holds yet, synced",
     .image = "the same; what the disk was is gone",
     .lives = "tables of the images, and of the snapshots inside them"},
    {.name = "off-settle",
     .act = off_settle_act,
     .flags = STEP_END,
     .note = off_revert_note,
     .does = "the overlays as the disks, current snapshot, outcome and events in one commit; a "
             "freeze debt to the next QEMU, if memory goes with it that was saved frozen",
     .image = "the overlay; where the snapshot is inside, the same"},
};

/* --- hooks --- */

/* After a restart: nobody kept a guest from being started in between. */
static int off_snapshot_forward(const struct job *job, const struct view *view _unused_,
                                struct error *err)
{
    if (shutoff_need(job->domain,
                     "it was started before its snapshot was complete; everything is as it was, "
                     "ask again",
                     err) < 0)
        return -1;
    for (unsigned i = 0; i < job->record.n_images; i++) {
        const struct record_image *image = &job->record.images[i];

        if (evidence_of(job, image)->holders.writers)
            return image_in_use(err, image->file);
    }
    return 0;
}

static void off_snapshot_conclude(struct job *job, const char *result)
{
    if (job->recovered)
        xstrset(&job->record.evidence, "recovered-offline");
    snapshot_conclude(job, result);
}

/* --- going back --- */

/* The disk goes on from its overlay, which lies on what the snapshot froze. */
static void revert_disk(const struct job *job, const struct record_image *overlay)
{
    struct record_disk *disk = disk_find(job->domain, overlay->disk);

    if (!disk)
        return;
    record_disk_drop_layers(disk, 0, disk->n_chain);
    for (unsigned i = 0; i < job->record.n_images; i++) {
        const struct record_image *image = &job->record.images[i];

        if (strcmp(image->disk, overlay->disk) != 0 || strcmp(image->role, "left") == 0)
            continue;
        record_disk_add_layer(disk, image->file, image->format);
        xstrset(&disk->chain[disk->n_chain - 1].node, image->node);
        disk->chain[disk->n_chain - 1].virtual_size = image->virtual_size;
    }
}

static const char *revert_worth(bool done, const struct record_image *image)
{
    bool left = strcmp(image->role, "left") == 0;

    if (internal_is(image) || memory_is_inside(image))
        return "active";
    if (strcmp(image->role, "memory") == 0)
        return "valid";
    if (is_overlay(image))
        return done ? "active" : "removed";
    if (left)
        return done ? "valid" : "active";
    return done ? "backing" : "valid";
}

static void off_revert_conclude(struct job *job, const char *result)
{
    bool done = strcmp(result, "completed") == 0;

    hold_release(job);
    for (unsigned i = 0; i < job->record.n_images; i++) {
        struct record_image *image = &job->record.images[i];

        if (done && is_overlay(image))
            revert_disk(job, image);
        if (!image->state)
            xstrset(&image->state, revert_worth(done, image));
        if (!job->record.active && strcmp(image->state, "active") == 0)
            xstrset(&job->record.active, image->file);
    }
    if (done)
        xstrset(&job->domain->record.current_snapshot, job->record.snapshot);
    if (job->recovered)
        xstrset(&job->record.evidence, "recovered-offline");
}

static void off_revert_lost(struct job *job)
{
    _cleanup_error_ struct error err = {0};

    error_set(
        &err, SNAPVM_ERROR_INVALID_STATE,
        "the guest was started, or its images were changed, before all of its disks were what "
        "snapshot \"%s\" holds: shut it down, see to the images by qemu-img check, and go back "
        "again",
        job->record.snapshot);
    error_text(&err, "state", domain_state(job->domain));
    off_revert_give_up(job, &err);
}

struct job *revert_job_new(struct engine *engine, struct domain *domain, const char *snapshot,
                           bool force)
{
    struct job *job = job_new(engine, domain, "revert");

    job->plan = plan_of_step("revert", "off-overlays", &job->step);
    job->record.id = journal_next_job(domain->owner->journal);
    job->record.snapshot = xstrdup(snapshot);
    if (force)
        job->record.flags |= JOB_FORCE;
    return job;
}

void revert_job_add_internal(struct job *job, const char *target, const char *file)
{
    struct record_image *image = record_job_add_image(&job->record, target, "internal", file);

    xstrset(&image->format, "qcow2");
    xstrset(&image->node, job->record.snapshot);
}

void revert_job_add_memory(struct job *job, const char *file, bool frozen, bool run)
{
    const char *inside = file ? NULL : job_image(job, NULL, "internal")->file;
    struct record_image *image =
        record_job_add_image(&job->record, "", "memory", file ? file : inside);

    xstrset(&image->format, file ? "raw" : "qcow2");
    xstrset(&image->node, file ? NULL : job->record.snapshot);
    if (frozen)
        job->record.flags |= JOB_QUIESCED;
    if (run)
        job->record.flags |= JOB_RUN;
}

void revert_job_add_disk(struct job *job, const char *target, const char *file)
{
    struct record_image *image = record_job_add_image(&job->record, target, "overlay", file);
    char name[JOB_NAME_SIZE];

    xstrset(&image->format, "qcow2");
    xstrset(&image->node, job_qemu_name(job, target, name));
    image->made = true;
}

const struct plan plan_off_revert = {
    .name = "revert",
    .title = "Revert of a guest that is shut off",
    .steps = off_revert_steps,
    .n_steps = sizeof(off_revert_steps) / sizeof(off_revert_steps[0]),
    .undone = "rolled-back",
    .look = evidence_look,
    .forward = off_snapshot_forward,
    .lost = off_revert_lost,
    .conclude = off_revert_conclude,
};

const struct plan plan_off_snapshot = {
    .name = "snapshot",
    .title = "Snapshot of a guest that is shut off",
    .steps = off_snapshot_steps,
    .n_steps = sizeof(off_snapshot_steps) / sizeof(off_snapshot_steps[0]),
    .undone = "rolled-back",
    .look = evidence_look,
    .forward = off_snapshot_forward,
    .conclude = off_snapshot_conclude,
};
