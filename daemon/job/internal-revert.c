/* Going back to what is inside images: each disk becomes what its snapshot holds. What it was until
 * then is gone by that, unless a snapshot inside holds it too. An image tells which of these it is:
 * at the snapshot; of clusters that snapshots inside hold, as before it and in the middle of it; or
 * written to since.
 *
 * Killed in its middle, qemu-img leaves a disk that is neither here nor there, or one that is there
 * and would write into the clusters of the snapshot. Done anew it is right, and at most clusters
 * are lost; so it is done until the image shows the last of its writes. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/worker.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "job/evidence.h"
#include "job/image-tool.h"
#include "job/internal.h"
#include "job/job.h"
#include "job/needed.h"
#include "proto/snapvm-errors.h"

/* --- before the job begins --- */

struct row {
    unsigned image; /* in the job's record */
    char *path, *name;
    struct image_inside inside;
    struct image_holders holders;
    bool needed; /* by another domain */
    struct error err;
};

struct survey {
    struct job *job;
    struct needed *others;
    struct row *rows;
    unsigned n_rows;
    void (*done)(void *arg, const struct error *err);
    void *arg;
};

static void survey_free(void *arg)
{
    struct survey *survey = arg;

    for (unsigned i = 0; i < survey->n_rows; i++) {
        free(survey->rows[i].path);
        free(survey->rows[i].name);
        error_clear(&survey->rows[i].err);
    }
    free(survey->rows);
    needed_free(survey->others);
    free(survey);
}

static void row_look(struct row *row, const struct needed *others)
{
    struct image_id id;

    if (image_identify(row->path, &id, &row->err) < 0 ||
        image_look_inside(row->path, row->name, &row->inside, &row->err) < 0 ||
        image_holders(row->path, &row->holders, &row->err) < 0)
        return;
    row->needed = needed_has(others, &id);
}

static void survey_run(void *arg)
{
    struct survey *survey = arg;

    needed_follow(&survey->others);
    for (unsigned i = 0; i < survey->n_rows; i++)
        row_look(&survey->rows[i], survey->others);
}

int internal_missing(const struct record_image *image, struct error *err)
{
    error_set(err, SNAPVM_ERROR_MISMATCH,
              "%s has no snapshot \"%s\" inside: somebody else has deleted it; snapshot.delete "
              "forgets its record",
              image->file, image->node);
    error_text(err, "file", image->file);
    error_text(err, "expected", image->node);
    return error_text(err, "found", "none");
}

static int row_needed(const struct record_image *image, struct error *err)
{
    error_set(err, SNAPVM_ERROR_IMAGE,
              "images of another domain lie on %s, and would change with it: going back is refused",
              image->file);
    error_text(err, "file", image->file);
    return error_text(err, "reason", "in use");
}

static int row_resized(const struct record_image *image, struct error *err)
{
    error_set(err, SNAPVM_ERROR_INVALID_STATE,
              "disk %s had another size when snapshot \"%s\" was taken, and would get that again: "
              "say force",
              image->disk, image->node);
    return error_text(err, "state", "shutoff");
}

static int row_unsaved(const struct record_image *image, struct error *err)
{
    error_set(err, SNAPVM_ERROR_INVALID_STATE,
              "what was written to disk %s since the last snapshot inside %s would be lost: take a "
              "snapshot first, or say force",
              image->disk, image->file);
    return error_text(err, "state", "shutoff");
}

static int row_check(const struct job *job, const struct row *row, struct error *err)
{
    const struct record_image *image = &job->record.images[row->image];

    if (row->err.code) {
        error_copy(err, &row->err);
        return -1;
    }
    if (!row->inside.has)
        return internal_missing(image, err);
    if (row->holders.writers || row->holders.readers)
        return image_in_use(err, image->file);
    if (row->needed)
        return row_needed(image, err);
    if (job_has(job, JOB_FORCE))
        return 0;
    if (row->inside.resized)
        return row_resized(image, err);
    return row->inside.saved ? 0 : row_unsaved(image, err);
}

static void survey_done(void *arg)
{
    struct survey *survey = arg;
    _cleanup_error_ struct error err = {0};

    for (unsigned i = 0; i < survey->n_rows && !err.code; i++)
        row_check(survey->job, &survey->rows[i], &err);
    survey->done(survey->arg, err.code ? &err : NULL);
    survey_free(survey);
}

static void survey_add(struct survey *survey, unsigned i)
{
    const struct record_image *image = &survey->job->record.images[i];

    survey->rows = xrealloc(survey->rows, survey->n_rows + 1, sizeof(*survey->rows));
    survey->rows[survey->n_rows++] = (struct row){
        .image = i,
        .path = process_reach(&survey->job->record.qemu, image->file),
        .name = xstrdup(image->node),
    };
}

void internal_survey(struct job *job, void (*done)(void *arg, const struct error *err), void *arg)
{
    struct survey *survey = xzalloc(sizeof(*survey));
    struct domain *domain, *next;

    *survey = (struct survey){.job = job, .done = done, .arg = arg};
    for (unsigned i = 0; i < job->record.n_images; i++)
        if (internal_is(&job->record.images[i]))
            survey_add(survey, i);
    HASH_ITER (hh, job->engine->domains->map, domain, next) {
        if (domain != job->domain)
            needed_add_domain(&survey->others, domain);
    }
    worker_run(job->engine->domains->worker, survey_run, survey_done, survey_free, survey);
}

/* --- the job --- */

bool internal_all_at(const struct job *job)
{
    for (unsigned i = 0; i < job->record.n_images; i++)
        if (internal_is(&job->record.images[i]) &&
            !evidence_of(job, &job->record.images[i])->inside.at)
            return false;
    return true;
}

void internal_note_at(struct job *job)
{
    for (unsigned i = 0; i < job->record.n_images; i++) {
        struct record_image *image = &job->record.images[i];

        image->was_at = internal_is(image) && evidence_of(job, image)->inside.at;
    }
}

bool internal_may_have_gone(const struct job *job)
{
    for (unsigned i = 0; i < job->record.n_images; i++) {
        const struct record_image *image = &job->record.images[i];
        const struct evidence *seen = evidence_of(job, image);

        /* Somebody else who let the vCPUs go let the guest write behind our look. */
        bool was_at = image->was_at && !job->let_go;

        if (internal_is(image) && (!seen->there || (seen->inside.at && !was_at)))
            return true;
    }
    return internal_all_at(job);
}

static bool is_to_do(const struct job *job, unsigned i)
{
    const struct record_image *image = &job->record.images[i];

    return internal_is(image) && !evidence_of(job, image)->inside.at;
}

bool internal_is_lost(const struct job *job)
{
    const char *state = domain_state(job->domain);
    bool live = strcmp(state, "running") == 0 || strcmp(state, "paused") == 0;

    for (unsigned i = 0; i < job->record.n_images; i++) {
        const struct evidence *seen = evidence_of(job, &job->record.images[i]);

        if (!is_to_do(job, i) || !seen->there)
            continue; /* one that cannot be read is told by the tool */
        if (live)
            return true;
        if (!seen->holders.writers && domain_is_shutoff(job->domain) &&
            (!seen->inside.has || (!seen->inside.saved && !job_has(job, JOB_FORCE))))
            return true;
    }
    return false;
}

bool internal_is_busy(const struct job *job)
{
    for (unsigned i = 0; i < job->record.n_images; i++)
        if (is_to_do(job, i) && (!domain_is_shutoff(job->domain) ||
                                 evidence_of(job, &job->record.images[i])->holders.writers))
            return true;
    return false;
}

static void internal_apply_next(struct job *job, const struct error *err)
{
    while (!err && job->merged < job->record.n_images) {
        const struct record_image *image = &job->record.images[job->merged++];

        if (!is_to_do(job, job->merged - 1))
            continue;
        image_tool_apply(job, image, evidence_of(job, image)->inside.id, internal_apply_next);
        return;
    }
    job->internal_done(job, err);
}

static void internal_apply_seen(struct job *job)
{
    _cleanup_error_ struct error err = {0};

    if (internal_is_lost(job) || internal_is_busy(job)) {
        error_set(&err, SNAPVM_ERROR_INVALID_STATE,
                  "the guest was started just now, or somebody else has opened an image of it");
        error_text(&err, "state", domain_state(job->domain));
    }
    job->merged = 0;
    internal_apply_next(job, err.code ? &err : NULL);
}

void internal_apply(struct job *job, internal_fn done)
{
    job->internal_done = done;
    evidence_fetch(job, internal_apply_seen);
}
