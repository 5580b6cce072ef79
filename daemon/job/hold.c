#include "job/hold.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/worker.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "job/job.h"
#include "proto/snapvm-errors.h"
#include "qemu/image-lock.h"

struct held {
    char *file;
    int fd;                  /* -1: not now */
    struct timespec written; /* as it was when it was held first */
};

struct holds {
    struct held *images;
    unsigned n;
};

struct hold_task {
    struct job *job;
    struct holds *holds;
    bool again; /* they have to be as they were */
    struct error err;
    hold_fn done;
};

static void holds_pause(struct holds *holds)
{
    for (unsigned i = 0; i < holds->n; i++) {
        if (holds->images[i].fd >= 0)
            close(holds->images[i].fd);
        holds->images[i].fd = -1;
    }
}

static void holds_free(struct holds *holds)
{
    if (!holds)
        return;
    holds_pause(holds);
    for (unsigned i = 0; i < holds->n; i++)
        free(holds->images[i].file);
    free(holds->images);
    free(holds);
}

static void hold_free(void *arg)
{
    struct hold_task *task = arg;

    holds_free(task->holds);
    error_clear(&task->err);
    free(task);
}

static int hold_changed(const struct held *image, struct error *err)
{
    error_set(err, SNAPVM_ERROR_IMAGE,
              "%s was written to while its layers were merged: the guest was started; the chain is "
              "what it was",
              image->file);
    error_text(err, "file", image->file);
    return error_text(err, "reason", "changed");
}

static int hold_one(struct held *image, bool again, struct error *err)
{
    struct stat st;

    if (image_keep_writers_out(image->file, image->file, &image->fd, err) < 0)
        return -1;
    if (fstat(image->fd, &st) < 0)
        return error_set_errno(err, SNAPVM_ERROR_IMAGE, errno, "cannot look at %s", image->file);
    if (again && (st.st_mtim.tv_sec != image->written.tv_sec ||
                  st.st_mtim.tv_nsec != image->written.tv_nsec))
        return hold_changed(image, err);
    image->written = st.st_mtim;
    return 0;
}

static void hold_run(void *arg)
{
    struct hold_task *task = arg;

    for (unsigned i = 0; i < task->holds->n && !task->err.code; i++)
        hold_one(&task->holds->images[i], task->again, &task->err);
}

static void hold_done(void *arg)
{
    struct hold_task *task = arg;
    struct job *job = task->job;

    hold_release(job);
    if (!task->err.code)
        job->holds = TAKE_PTR(task->holds);
    task->done(job, task->err.code ? &task->err : NULL);
    hold_free(task);
}

static void hold_start(struct job *job, struct holds *holds, bool again, hold_fn done)
{
    struct hold_task *task = xzalloc(sizeof(*task));

    *task = (struct hold_task){.job = job, .holds = holds, .again = again, .done = done};
    worker_run(job->engine->domains->worker, hold_run, hold_done, hold_free, task);
}

void hold_images(struct job *job, const char *role, hold_fn done)
{
    struct holds *holds = xzalloc(sizeof(*holds));

    for (unsigned i = 0; i < job->record.n_images; i++) {
        if (strcmp(job->record.images[i].role, role) != 0 || job->record.images[i].node)
            continue;
        holds->images = xrealloc(holds->images, holds->n + 1, sizeof(*holds->images));
        holds->images[holds->n++] =
            (struct held){.file = xstrdup(job->record.images[i].file), .fd = -1};
    }
    hold_start(job, holds, false, done);
}

void hold_pause(struct job *job)
{
    if (job->holds)
        holds_pause(job->holds);
}

void hold_again(struct job *job, hold_fn done)
{
    hold_start(job, TAKE_PTR(job->holds), true, done);
}

void hold_release(struct job *job)
{
    holds_free(job->holds);
    job->holds = NULL;
}
