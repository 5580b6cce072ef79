#include "job/evidence.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/worker.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "job/internal.h"
#include "job/walk.h"
#include "qemu/image-chain.h"

/* Copies, so that the thread shares nothing with the loop: the job may be gone by then. */
struct look {
    struct engine *engine;
    int64_t job;
    char **files, **formats;
    char **snapshots; /* of role "internal": the one that is meant, NULL otherwise */
    struct evidence *seen;
    unsigned n;
    void (*done)(struct job *job);
};

static void evidence_free(struct evidence *seen, unsigned n)
{
    for (unsigned i = 0; i < n && seen; i++)
        free(seen[i].backing);
    free(seen);
}

static void look_free(void *arg)
{
    struct look *look = arg;

    for (unsigned i = 0; i < look->n; i++) {
        free(look->files[i]);
        free(look->formats[i]);
        free(look->snapshots[i]);
    }
    free(look->files);
    free(look->formats);
    free(look->snapshots);
    evidence_free(look->seen, look->n);
    free(look);
}

static void look_at(const char *file, const char *format, const char *snapshot,
                    struct evidence *seen)
{
    struct image_info info = {0};

    seen->gone = access(file, F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR);
    if (image_identify(file, &seen->id, NULL) < 0 || image_read(file, format, &info, NULL) < 0)
        return;
    seen->there = image_holders(file, &seen->holders, NULL) == 0;
    if (info.backing)
        seen->backing = image_backing_path(file, info.backing);
    if (strcmp(format, "qcow2") != 0 || image_is_empty(file, &seen->empty, NULL) < 0)
        seen->empty = false;
    if (snapshot && image_look_inside(file, snapshot, &seen->inside, NULL) < 0)
        seen->there = false;
    image_info_deinit(&info);
}

static void look_run(void *arg)
{
    struct look *look = arg;

    for (unsigned i = 0; i < look->n; i++)
        look_at(look->files[i], look->formats[i], look->snapshots[i], &look->seen[i]);
}

static void look_done(void *arg)
{
    struct look *look = arg;
    struct job *job = engine_find(look->engine, look->job);

    if (job && job->record.n_images == look->n) {
        evidence_drop(job);
        job->seen = TAKE_PTR(look->seen);
        job->n_seen = look->n;
        look->done(job);
    }
    look_free(look);
}

void evidence_fetch(struct job *job, void (*done)(struct job *job))
{
    struct look *look = xzalloc(sizeof(*look));
    unsigned n = job->record.n_images;

    look->engine = job->engine;
    look->job = job->record.id;
    look->n = n;
    look->done = done;
    look->files = xrealloc(NULL, n, sizeof(*look->files));
    look->formats = xrealloc(NULL, n, sizeof(*look->formats));
    look->snapshots = xrealloc(NULL, n, sizeof(*look->snapshots));
    look->seen = xzalloc(n * sizeof(*look->seen));
    for (unsigned i = 0; i < n; i++) {
        const struct record_image *image = &job->record.images[i];

        look->files[i] = process_reach(&job->record.qemu, image->file);
        look->formats[i] = xstrdup(image->format);
        look->snapshots[i] = xstrdup(internal_is(image) ? image->node : NULL);
    }
    worker_run(job->engine->domains->worker, look_run, look_done, look_free, look);
}

static void evidence_judge(struct job *job)
{
    if (job->phase == PHASE_LOOKING)
        engine_judge(job);
}

void evidence_look(struct job *job)
{
    evidence_fetch(job, evidence_judge);
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
