/* A snapshot's job: how it is made, and what is true when it has ended, whichever plan it walked:
 * the chains of the disks, the metadata with its events, what each image is worth. */
#include "job/snapshot-job.h"

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
#include "job/internal.h"
#include "journal/journal.h"
#include "qemu/view.h"

static bool is_overlay(const struct record_image *image)
{
    return strcmp(image->role, "overlay") == 0;
}

/* --- making one --- */

struct job *snapshot_job_new(struct engine *engine, struct domain *domain, const char *name,
                             const char *description, uint32_t flags)
{
    struct job *job = job_new(engine, domain, "snapshot");

    job->record.id = journal_next_job(domain->owner->journal);
    job->record.snapshot = xstrdup(name);
    job->record.description = xstrdup(description);
    job->record.flags = flags;
    job->plan = plan_of_step("snapshot", domain_is_shutoff(domain) ? "off-overlays" : "overlays",
                             &job->step);
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

void snapshot_job_add_layer(struct job *job, struct record_disk *disk, const char *file, bool reuse)
{
    const struct record_layer *active = &disk->chain[0];
    struct record_image *image;
    char name[JOB_NAME_SIZE];

    image = record_job_add_image(&job->record, disk->target, "source", active->file);
    xstrset(&image->format, active->format);
    image->virtual_size = active->virtual_size;
    image = record_job_add_image(&job->record, disk->target, "overlay", file);
    xstrset(&image->format, "qcow2");
    xstrset(&image->node, job_qemu_name(job, disk->target, name));
    image->virtual_size = active->virtual_size;
    image->made = !reuse;
}

void snapshot_job_add_internal(struct job *job, struct record_disk *disk)
{
    struct record_image *image =
        record_job_add_image(&job->record, disk->target, "internal", disk->chain[0].file);

    xstrset(&image->format, "qcow2");
    xstrset(&image->node, job->record.snapshot);
    image->virtual_size = disk->chain[0].virtual_size;
    job->step = 0; /* the names come first */
}

/* --- the chains --- */

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

void snapshot_lower_chains(struct job *job)
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
    internal_put_in_view(job);
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

/* --- the end --- */

static void snapshot_note_disk(struct job *job, const struct record_image *image,
                               struct record_snapshot *record)
{
    struct record_snapshot_disk *disk = record_snapshot_add_disk(record, image->disk);

    xstrset(&disk->mode, is_overlay(image) ? "external" : "internal");
    xstrset(&disk->file, image->file);
    xstrset(&disk->format, image->format);
    if (!is_overlay(image))
        return;
    xstrset(&disk->backing, job_image(job, image->disk, "source")->file);
    xstrset(&disk->backing_format, job_image(job, image->disk, "source")->format);
}

static void snapshot_note_left_out(const struct job *job, struct record_snapshot *record)
{
    for (unsigned i = 0; i < job->domain->record.n_disks; i++) {
        const char *target = job->domain->record.disks[i].target;
        unsigned k = 0;

        while (k < record->n_disks && strcmp(record->disks[k].disk, target) != 0)
            k++;
        if (k == record->n_disks)
            xstrset(&record_snapshot_add_disk(record, target)->mode, "no");
    }
}

static void snapshot_note_metadata(struct job *job, struct journal_txn *txn)
{
    const struct record_image *memory = job_image(job, NULL, "memory");
    struct domain *domain = job->domain;
    struct record_snapshot record = {
        .domain = xstrdup(domain->record.name),
        .name = xstrdup(job->record.snapshot),
        .parent = xstrdup(domain->record.current_snapshot),
        .description = xstrdup(job->record.description),
        .state = xstrdup(job->record.guest_state),
        .memory = xstrdup(!memory        ? "no"
                          : memory->node ? "internal"
                                         : "external"),
        .memory_file = memory && !memory->node ? xstrdup(memory->file) : NULL,
        .quiesced = job_has(job, JOB_QUIESCED),
        .quiesce_error = xstrdup(job->record.quiesce_error),
        .created = clock_now(),
    };
    _cleanup_free_ char *description = NULL;
    struct snapshot *snapshot;

    for (unsigned i = 0; i < job->record.n_images; i++) {
        const struct record_image *image = &job->record.images[i];

        if (is_overlay(image) || internal_is(image))
            snapshot_note_disk(job, image, &record);
    }
    snapshot_note_left_out(job, &record);
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

bool snapshot_debt_is_paid(const struct job *job)
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

/* An overlay that is no longer on its disk: made and removed, or the caller's own. After a way back
 * it holds data that only its layer below can be read with, as it was then. */
static const char *snapshot_overlay_worth(const struct job *job, const struct record_image *image)
{
    if (job_has(job, JOB_AUTO_PIVOT))
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
        bool active = internal_is(image) || is_overlay(image) == switched;

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
