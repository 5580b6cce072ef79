#include "job/memory-inside.h"

#include <string.h>

#include "base/clock.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "job/internal.h"
#include "job/job.h"
#include "proto/limits.h"
#include "proto/snapvm-errors.h"
#include "qemu/qmp.h"

bool memory_is_inside(const struct record_image *image)
{
    return strcmp(image->role, "memory") == 0 && image->node;
}

static const char *memory_job_name(const struct job *job, char buffer[JOB_NAME_SIZE])
{
    return job_qemu_name(job, "memory", buffer);
}

/* The image of a disk of the job, NULL when the job does not have it. */
static const struct record_image *memory_image_of(const struct job *job,
                                                  const struct view_disk *seen)
{
    for (unsigned i = 0; i < job->record.n_images; i++) {
        const struct record_image *image = &job->record.images[i];
        const struct record_disk *disk = internal_is(image) ? disk_find(job->domain, image->disk)
                                                            : NULL;

        if (disk && disk_in_view(job->domain, disk) == seen)
            return image;
    }
    return NULL;
}

/* The order of query-block is that in which QEMU goes over its disks. */
const char *memory_inside_file(const struct job *job)
{
    const struct view *view = job->domain->view;

    for (unsigned i = 0; i < view->n_disks; i++) {
        const struct record_image *image = memory_image_of(job, &view->disks[i]);

        if (image)
            return image->file;
    }
    return job_image(job, NULL, "internal")->file;
}

enum seen memory_inside_seen(const struct job *job, const struct view *view)
{
    char name[JOB_NAME_SIZE];
    const struct view_job *seen = view_job(view, memory_job_name(job, name));

    if (!seen || seen->status == VIEW_JOB_NONE)
        return NOT_YET;
    if (seen->status != VIEW_JOB_CONCLUDED)
        return MOVING;
    return seen->error ? LOST : HOLDS;
}

static void memory_inside_answered(void *arg, const struct error *err)
{
    struct job *job = arg;

    if (job->held_since)
        job->record.paused_us = clock_monotonic() - job->held_since;
    job->held_since = 0;
    job->memory.accepted |= !err;
    job_reply(job, err);
}

void memory_inside_start(struct job *job, memory_inside_start_fn start)
{
    const char *nodes[LIMIT_SNAPSHOT_DISKS], *memory = NULL;
    const char *file = job_image(job, NULL, "memory")->file;
    struct view *view = job->domain->view;
    struct qmp_state state = {.nodes = nodes};
    char name[JOB_NAME_SIZE];

    for (unsigned i = 0; i < view->n_disks; i++) {
        const struct record_image *image = memory_image_of(job, &view->disks[i]);
        const struct view_node *node = image ? view_layer(view, view->disks[i].root) : NULL;

        if (!node)
            continue;
        nodes[state.n++] = node->name;
        state.name = image->node;
        if (!memory || strcmp(image->file, file) == 0)
            memory = node->name;
    }
    state.memory = memory;
    state.job = memory_job_name(job, name);
    job->held_since = domain_is_running(job->domain) ? clock_monotonic() : 0;
    job_expect(job, 1);
    qmp_cork(job_qmp(job));
    start(job_qmp(job), &state, memory_inside_answered, job);
    job->asked = domain_look_jobs(job->domain);
    qmp_uncork(job_qmp(job));
}

void memory_inside_dismiss(struct job *job)
{
    char name[JOB_NAME_SIZE];

    job_expect(job, 1);
    qmp_job_dismiss(job_qmp(job), memory_job_name(job, name), job_reply_lenient, job);
}

void memory_inside_observe(struct job *job, const struct view *view)
{
    struct error *err = &job->record.error;
    char name[JOB_NAME_SIZE];
    const struct view_job *seen = view_job(view, memory_job_name(job, name));

    if (!seen || !seen->error || err->code)
        return;
    error_set(err, SNAPVM_ERROR_QEMU, "QEMU refused '%s': %s", seen->type, seen->error);
    error_text(err, "class", "GenericError");
    error_text(err, "desc", seen->error);
    error_text(err, "command", seen->type);
}
