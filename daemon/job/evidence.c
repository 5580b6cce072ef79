#include "job/evidence.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/worker.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "job/walk.h"
#include "qemu/image-chain.h"

/* Copies, so that the thread shares nothing with the loop: the job may be gone by then. */
struct look {
    struct engine *engine;
    int64_t job;
    char **files, **formats;
    struct evidence *seen;
    unsigned n;
};

static void evidence_free(struct evidence *seen, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        free(seen[i].backing);
    free(seen);
}

static void look_free(void *arg)
{
    struct look *look = arg;

    for (unsigned i = 0; i < look->n; i++) {
        free(look->files[i]);
        free(look->formats[i]);
    }
    free(look->files);
    free(look->formats);
    evidence_free(look->seen, look->n);
    free(look);
}

static void look_at(const char *file, const char *format, struct evidence *seen)
{
    struct image_info info = {0};

    if (image_identify(file, &seen->id, NULL) < 0 || image_read(file, format, &info, NULL) < 0)
        return;
    seen->there = image_holders(file, &seen->holders, NULL) == 0;
    if (info.backing)
        seen->backing = image_backing_path(file, info.backing);
    if (strcmp(format, "qcow2") != 0 || image_is_empty(file, &seen->empty, NULL) < 0)
        seen->empty = false;
    image_info_deinit(&info);
}

static void look_run(void *arg)
{
    struct look *look = arg;

    for (unsigned i = 0; i < look->n; i++)
        look_at(look->files[i], look->formats[i], &look->seen[i]);
}

static void look_done(void *arg)
{
    struct look *look = arg;
    struct job *job = engine_find(look->engine, look->job);

    if (job && job->phase == PHASE_LOOKING && job->record.n_images == look->n) {
        evidence_drop(job);
        job->seen = TAKE_PTR(look->seen);
        job->n_seen = look->n;
        look->n = 0;
        engine_judge(job);
    }
    look_free(look);
}

void evidence_look(struct job *job)
{
    struct look *look = xzalloc(sizeof(*look));
    unsigned n = job->record.n_images;

    look->engine = job->engine;
    look->job = job->record.id;
    look->n = n;
    look->files = xrealloc(NULL, n, sizeof(*look->files));
    look->formats = xrealloc(NULL, n, sizeof(*look->formats));
    look->seen = xzalloc(n * sizeof(*look->seen));
    for (unsigned i = 0; i < n; i++) {
        look->files[i] = xstrdup(job->record.images[i].file);
        look->formats[i] = xstrdup(job->record.images[i].format);
    }
    worker_run(job->engine->domains->worker, look_run, look_done, look_free, look);
}

const struct evidence *evidence_of(const struct job *job, const struct record_image *image)
{
    static const struct evidence nothing;
    size_t i = (size_t)(image - job->record.images);

    return i < job->n_seen ? &job->seen[i] : &nothing;
}

bool evidence_lies_on(const struct job *job, const struct record_image *image,
                      const struct record_image *below)
{
    const struct evidence *seen = evidence_of(job, image);

    if (!seen->there)
        return false;
    if (!below)
        return !seen->backing;
    return seen->backing && strcmp(seen->backing, below->file) == 0;
}

void evidence_drop(struct job *job)
{
    evidence_free(job->seen, job->n_seen);
    job->seen = NULL;
    job->n_seen = 0;
}
