#include "journal/record.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

void record_layer_deinit(struct record_layer *layer)
{
    free(layer->file);
    free(layer->format);
    free(layer->node);
    memset(layer, 0, sizeof(*layer));
}

void record_disk_deinit(struct record_disk *disk)
{
    free(disk->target);
    free(disk->qdev);
    free(disk->device);
    free(disk->node);
    free(disk->format);
    for (unsigned i = 0; i < disk->n_chain; i++)
        record_layer_deinit(&disk->chain[i]);
    free(disk->chain);
    memset(disk, 0, sizeof(*disk));
}

void record_domain_deinit(struct record_domain *domain)
{
    free(domain->name);
    free(domain->uuid);
    free(domain->qmp);
    free(domain->agent);
    free(domain->current_snapshot);
    free(domain->document);
    for (unsigned i = 0; i < domain->n_disks; i++)
        record_disk_deinit(&domain->disks[i]);
    free(domain->disks);
    memset(domain, 0, sizeof(*domain));
}

void record_image_deinit(struct record_image *image)
{
    free(image->disk);
    free(image->role);
    free(image->file);
    free(image->format);
    free(image->node);
    free(image->state);
    memset(image, 0, sizeof(*image));
}

void record_job_deinit(struct record_job *job)
{
    free(job->domain);
    free(job->disk);
    free(job->kind);
    free(job->state);
    free(job->step);
    free(job->request_id);
    free(job->snapshot);
    free(job->description);
    free(job->guest_state);
    free(job->quiesce_error);
    free(job->left_out);
    free(job->result);
    free(job->active);
    free(job->evidence);
    error_clear(&job->error);
    for (unsigned i = 0; i < job->n_images; i++)
        record_image_deinit(&job->images[i]);
    free(job->images);
    memset(job, 0, sizeof(*job));
}

void record_snapshot_deinit(struct record_snapshot *snapshot)
{
    free(snapshot->domain);
    free(snapshot->name);
    free(snapshot->parent);
    free(snapshot->description);
    free(snapshot->state);
    free(snapshot->memory);
    free(snapshot->memory_file);
    free(snapshot->quiesce_error);
    for (unsigned i = 0; i < snapshot->n_disks; i++) {
        free(snapshot->disks[i].disk);
        free(snapshot->disks[i].mode);
        free(snapshot->disks[i].file);
        free(snapshot->disks[i].format);
        free(snapshot->disks[i].backing);
        free(snapshot->disks[i].backing_format);
    }
    free(snapshot->disks);
    memset(snapshot, 0, sizeof(*snapshot));
}

void record_debt_deinit(struct record_debt *debt)
{
    free(debt->domain);
    memset(debt, 0, sizeof(*debt));
}

void record_request_deinit(struct record_request *request)
{
    free(request->id);
    free(request->method);
    free(request->params);
    free(request->result);
    memset(request, 0, sizeof(*request));
}

struct record_disk *record_domain_add_disk(struct record_domain *domain, const char *target)
{
    struct record_disk *disk;

    domain->disks = xrealloc(domain->disks, domain->n_disks + 1, sizeof(*disk));
    disk = &domain->disks[domain->n_disks++];
    *disk = (struct record_disk){.target = xstrdup(target)};
    return disk;
}

struct record_layer *record_disk_add_layer(struct record_disk *disk, const char *file,
                                           const char *format)
{
    struct record_layer *layer;

    disk->chain = xrealloc(disk->chain, disk->n_chain + 1, sizeof(*layer));
    layer = &disk->chain[disk->n_chain++];
    *layer = (struct record_layer){.file = xstrdup(file), .format = xstrdup(format)};
    return layer;
}

struct record_layer *record_disk_insert_layer(struct record_disk *disk, unsigned at,
                                              const char *file, const char *format)
{
    struct record_layer layer = *record_disk_add_layer(disk, file, format);

    memmove(&disk->chain[at + 1], &disk->chain[at],
            (disk->n_chain - 1 - at) * sizeof(*disk->chain));
    disk->chain[at] = layer;
    return &disk->chain[at];
}

struct record_image *record_job_add_image(struct record_job *job, const char *disk,
                                          const char *role, const char *file)
{
    struct record_image *image;

    job->images = xrealloc(job->images, job->n_images + 1, sizeof(*image));
    image = &job->images[job->n_images++];
    *image = (struct record_image){
        .disk = xstrdup(disk),
        .role = xstrdup(role),
        .file = xstrdup(file),
    };
    return image;
}

struct record_snapshot_disk *record_snapshot_add_disk(struct record_snapshot *snapshot,
                                                      const char *disk)
{
    struct record_snapshot_disk *added;

    snapshot->disks = xrealloc(snapshot->disks, snapshot->n_disks + 1, sizeof(*added));
    added = &snapshot->disks[snapshot->n_disks++];
    *added = (struct record_snapshot_disk){.disk = xstrdup(disk)};
    return added;
}

void record_snapshot_copy(struct record_snapshot *to, const struct record_snapshot *from)
{
    *to = *from;
    to->domain = xstrdup(from->domain);
    to->name = xstrdup(from->name);
    to->parent = xstrdup(from->parent);
    to->description = xstrdup(from->description);
    to->state = xstrdup(from->state);
    to->memory = xstrdup(from->memory);
    to->memory_file = xstrdup(from->memory_file);
    to->quiesce_error = xstrdup(from->quiesce_error);
    to->disks = NULL;
    to->n_disks = 0;
    for (unsigned i = 0; i < from->n_disks; i++) {
        struct record_snapshot_disk *disk = record_snapshot_add_disk(to, from->disks[i].disk);

        disk->mode = xstrdup(from->disks[i].mode);
        disk->file = xstrdup(from->disks[i].file);
        disk->format = xstrdup(from->disks[i].format);
        disk->backing = xstrdup(from->disks[i].backing);
        disk->backing_format = xstrdup(from->disks[i].backing_format);
    }
}

int record_disk_place(const struct record_disk *disk, const char *file)
{
    for (unsigned i = 0; disk && i < disk->n_chain; i++)
        if (strcmp(disk->chain[i].file, file) == 0)
            return (int)i;
    return -1;
}

void record_disk_drop_layers(struct record_disk *disk, unsigned first, unsigned n)
{
    if (first >= disk->n_chain)
        return;
    if (n > disk->n_chain - first)
        n = disk->n_chain - first;
    for (unsigned i = first; i < first + n; i++)
        record_layer_deinit(&disk->chain[i]);
    disk->n_chain -= n;
    memmove(&disk->chain[first], &disk->chain[first + n],
            (disk->n_chain - first) * sizeof(*disk->chain));
}
