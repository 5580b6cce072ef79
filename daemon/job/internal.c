#include "job/internal.h"

#include <string.h>

#include "domain/disk.h"
#include "domain/domains.h"
#include "job/evidence.h"
#include "job/image-tool.h"
#include "job/job.h"
#include "proto/snapvm-errors.h"
#include "qemu/qmp-command.h"
#include "qemu/view.h"

bool internal_is(const struct record_image *image)
{
    return strcmp(image->role, "internal") == 0;
}

bool internal_has(const struct job *job)
{
    return job_image(job, NULL, "internal") != NULL;
}

/* The disk whose active layer the image is, by the present view; NULL when QEMU has it in none. */
static const struct view_disk *internal_disk(const struct job *job,
                                             const struct record_image *image)
{
    const struct record_disk *disk = disk_find(job->domain, image->disk);

    if (!disk || disk->n_chain == 0 || strcmp(disk->chain[0].file, image->file) != 0)
        return NULL;
    return disk_in_view(job->domain, disk);
}

static struct view_node *internal_node(const struct job *job, const struct view *view,
                                       const struct record_image *image)
{
    const struct view_disk *disk = internal_disk(job, image);

    return disk ? view_layer(view, disk->root) : NULL;
}

/* Whether the guest's memory has to be with the snapshot in this image. */
static bool internal_has_memory(const struct job *job, const struct record_image *image)
{
    const struct record_image *memory = job_image(job, NULL, "memory");

    return memory && memory->node && strcmp(memory->file, image->file) == 0;
}

bool internal_all_in_view(const struct job *job, const struct view *view)
{
    for (unsigned i = 0; i < job->record.n_images; i++) {
        const struct record_image *image = &job->record.images[i];
        const struct view_snapshot *seen;

        if (!internal_is(image))
            continue;
        seen = view_node_snapshot(internal_node(job, view, image), image->node);
        if (!seen || (internal_has_memory(job, image) && !seen->memory))
            return false;
    }
    return true;
}

int internal_need_in_view(const struct job *job, const char **ret_memory, struct error *err)
{
    *ret_memory = NULL;
    for (unsigned i = 0; i < job->record.n_images; i++) {
        const struct record_image *image = &job->record.images[i];
        const struct view_snapshot *seen;

        if (!internal_is(image))
            continue;
        seen = view_node_snapshot(internal_node(job, job->domain->view, image), image->node);
        if (!seen)
            return internal_missing(image, err);
        if (seen->memory && !*ret_memory)
            *ret_memory = image->file;
    }
    return 0;
}

void internal_put_in_view(const struct job *job)
{
    for (unsigned i = 0; i < job->record.n_images; i++) {
        const struct record_image *image = &job->record.images[i];
        struct view_node *node = internal_is(image) ? internal_node(job, job->domain->view, image)
                                                    : NULL;

        if (node && !view_node_snapshot(node, image->node))
            view_node_add_snapshot(node, image->node)->memory = internal_has_memory(job, image);
    }
}

bool internal_all_inside(const struct job *job)
{
    for (unsigned i = 0; i < job->record.n_images; i++) {
        const struct record_image *image = &job->record.images[i];
        const struct image_inside *inside = &evidence_of(job, image)->inside;

        if (internal_is(image) &&
            (!inside->has || (internal_has_memory(job, image) && !inside->memory)))
            return false;
    }
    return true;
}

bool internal_none_inside(const struct job *job)
{
    for (unsigned i = 0; i < job->record.n_images; i++) {
        const struct evidence *seen = evidence_of(job, &job->record.images[i]);

        if (internal_is(&job->record.images[i]) &&
            (seen->inside.has || !(seen->there || seen->gone)))
            return false;
    }
    return true;
}

/* --- whether the names are free --- */

static int internal_taken(const struct record_image *image, struct error *err)
{
    error_set(err, SNAPVM_ERROR_ALREADY_EXISTS,
              "%s has a snapshot \"%s\" inside already: choose another name, or delete that one",
              image->file, image->node);
    error_text(err, "object", "snapshot");
    error_text(err, "file", image->file);
    return error_text(err, "name", image->node);
}

static int internal_unreadable(const struct record_image *image, struct error *err)
{
    error_set(err, SNAPVM_ERROR_IMAGE, "the table of snapshots inside %s cannot be read",
              image->file);
    error_text(err, "file", image->file);
    return error_text(err, "reason", "unreadable");
}

static void internal_checked(struct job *job)
{
    _cleanup_error_ struct error err = {0};

    for (unsigned i = 0; i < job->record.n_images && !err.code; i++) {
        const struct record_image *image = &job->record.images[i];

        if (!internal_is(image))
            continue;
        if (evidence_of(job, image)->inside.has)
            internal_taken(image, &err);
        else if (!evidence_of(job, image)->there)
            internal_unreadable(image, &err);
    }
    job->internal_done(job, err.code ? &err : NULL);
}

void internal_check_free(struct job *job, internal_fn done)
{
    job->internal_done = done;
    evidence_fetch(job, internal_checked);
}

/* --- taking them --- */

static void internal_make_next(struct job *job, const struct error *err)
{
    while (!err && job->merged < job->record.n_images) {
        const struct record_image *image = &job->record.images[job->merged++];

        if (!internal_is(image) || evidence_of(job, image)->inside.has)
            continue;
        image_tool_snapshot(job, image, internal_make_next);
        return;
    }
    job->internal_done(job, err);
}

static void internal_make_seen(struct job *job)
{
    job->merged = 0;
    internal_make_next(job, NULL);
}

void internal_make(struct job *job, internal_fn done)
{
    job->internal_done = done;
    evidence_fetch(job, internal_make_seen);
}

/* --- deleting them --- */

static void internal_drop_next(struct job *job, const struct error *err);

static void internal_dropped(void *arg, const struct error *err)
{
    internal_drop_next(arg, err);
}

bool internal_can_drop(const struct job *job)
{
    return domain_is_shutoff(job->domain) || job->domain->connected;
}

static void internal_drop_one(struct job *job, const struct record_image *image)
{
    const struct image_holders *holders = &evidence_of(job, image)->holders;
    const struct view_disk *disk = internal_disk(job, image);
    _cleanup_error_ struct error err = {0};

    if (!domain_is_shutoff(job->domain) && job->domain->connected && disk) {
        qmp_snapshot_drop(job_qmp(job), disk->root, image->node, internal_dropped, job);
    } else if (internal_can_drop(job) && !holders->readers && !holders->writers) {
        image_tool_drop(job, image, internal_drop_next);
    } else if (internal_can_drop(job)) {
        image_in_use(&err, image->file);
        internal_drop_next(job, &err);
    } else {
        error_set(&err, SNAPVM_ERROR_QEMU_GONE,
                  "the guest runs, and its QEMU cannot be asked to delete \"%s\" inside %s",
                  image->node, image->file);
        internal_drop_next(job, &err);
    }
}

static void internal_drop_next(struct job *job, const struct error *err)
{
    while (!err && job->merged < job->record.n_images) {
        const struct record_image *image = &job->record.images[job->merged++];

        if (!internal_is(image) || !evidence_of(job, image)->inside.has)
            continue;
        internal_drop_one(job, image);
        return;
    }
    job->internal_done(job, err);
}

static void internal_drop_seen(struct job *job)
{
    _cleanup_error_ struct error err = {0};

    for (unsigned i = 0; i < job->record.n_images && !err.code; i++) {
        const struct evidence *seen = evidence_of(job, &job->record.images[i]);

        if (internal_is(&job->record.images[i]) && !seen->there && !seen->gone)
            internal_unreadable(&job->record.images[i], &err);
    }
    job->merged = 0;
    internal_drop_next(job, err.code ? &err : NULL);
}

void internal_drop(struct job *job, internal_fn done)
{
    job->internal_done = done;
    evidence_fetch(job, internal_drop_seen);
}
