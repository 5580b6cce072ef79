#include "job/hold.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/worker.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "job/job.h"
#include "qemu/image-lock.h"

struct holds {
    int *fds;
    unsigned n;
};

struct hold_task {
    struct job *job;
    char **files;
    unsigned n_files;
    struct holds *holds;
    struct error err;
    void (*done)(struct job *, const struct error *);
};

static void holds_free(struct holds *holds)
{
    for (unsigned i = 0; holds && i < holds->n; i++)
        close(holds->fds[i]);
    if (holds)
        free(holds->fds);
    free(holds);
}

static void hold_free(void *arg)
{
    struct hold_task *task = arg;

    for (unsigned i = 0; i < task->n_files; i++)
        free(task->files[i]);
    free(task->files);
    holds_free(task->holds);
    error_clear(&task->err);
    free(task);
}

static void hold_run(void *arg)
{
    struct hold_task *task = arg;

    for (unsigned i = 0; i < task->n_files && !task->err.code; i++) {
        struct holds *holds = task->holds;

        holds->fds = xrealloc(holds->fds, holds->n + 1, sizeof(*holds->fds));
        if (image_keep_writers_out(task->files[i], task->files[i], &holds->fds[holds->n],
                                   &task->err) == 0)
            holds->n++;
    }
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

void hold_images(struct job *job, const char *role,
                 void (*done)(struct job *, const struct error *))
{
    struct hold_task *task = xzalloc(sizeof(*task));

    task->job = job;
    task->done = done;
    task->holds = xzalloc(sizeof(*task->holds));
    for (unsigned i = 0; i < job->record.n_images; i++) {
        if (strcmp(job->record.images[i].role, role) != 0)
            continue;
        task->files = xrealloc(task->files, task->n_files + 1, sizeof(*task->files));
        task->files[task->n_files++] = xstrdup(job->record.images[i].file);
    }
    worker_run(job->engine->domains->worker, hold_run, hold_done, hold_free, task);
}

void hold_release(struct job *job)
{
    holds_free(job->holds);
    job->holds = NULL;
}
