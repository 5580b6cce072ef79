#include "job/strand-tool.h"

#include "base/memory.h"
#include "job/evidence.h"
#include "job/hold.h"
#include "job/image-tool.h"
#include "job/strand.h"

/* Whether QEMU works on an image for this job, rather than tools. */
static bool is_qemus(const struct job *job, const struct record_image *image)
{
    return image->node && !job->plan->look;
}

/* --- merging --- */

bool strands_merge_skip(const struct job *job)
{
    for (struct strand s = strand_first(job); s.top; s = strand_next(job, &s))
        if (!is_qemus(job, s.top))
            return false;
    return true;
}

static void merge_held(struct job *job, const struct error *err)
{
    if (err)
        job_failed(job, err);
    else
        job_acted(job, NULL);
}

/* The n-th strand that is for tools to merge; top NULL behind the last. */
static struct strand find_strand(const struct job *job, unsigned n)
{
    struct strand s = strand_first(job);

    while (s.top && (is_qemus(job, s.top) || n-- > 0))
        s = strand_next(job, &s);
    return s;
}

static void merge_next(struct job *job, const struct error *err)
{
    struct strand strand = find_strand(job, job->merged);

    if (err || job_has(job, JOB_CANCEL)) {
        job_failed(job, job_has(job, JOB_CANCEL) ? NULL : err);
        return;
    }
    if (!strand.top) {
        hold_again(job, merge_held);
        return;
    }
    job->merged++;
    job->touched = true;
    image_tool_commit(job, strand.top, strand.base, merge_next);
}

/* qemu-img needs the locks for itself. */
static void merge_begin(struct job *job, const struct error *err)
{
    hold_pause(job);
    merge_next(job, err);
}

void strands_merge(struct job *job)
{
    xstrset(&job->record.state, "running");
    job->merged = 0;
    hold_images(job, "top", merge_begin);
}

/* --- headers --- */

bool strands_rebase_skip(const struct job *job)
{
    for (struct strand s = strand_first(job); s.top; s = strand_next(job, &s))
        for (unsigned i = 0; i < s.n_aboves; i++)
            if (!is_qemus(job, &s.aboves[i]))
                return false;
    return true;
}

/* A header whose image is gone is needed by nobody; one that somebody has open cannot be written.
 */
enum seen strands_rebase_probe(const struct job *job, const struct view *view _unused_)
{
    enum seen seen = HOLDS;

    for (struct strand s = strand_first(job); s.top; s = strand_next(job, &s))
        for (unsigned i = 0; i < s.n_aboves; i++) {
            const struct evidence *above = evidence_of(job, &s.aboves[i]);

            if (!above->there || evidence_lies_on(job, &s.aboves[i], s.base))
                continue;
            if (above->holders.readers)
                return MOVING;
            seen = NOT_YET;
        }
    return seen;
}

/* Whether the header of an image is still to be written. */
static bool is_to_do(const struct job *job, const struct strand *strand,
                     const struct record_image *above)
{
    return strand_is_done(job, strand) && !is_qemus(job, above) && evidence_of(job, above)->there &&
           !evidence_lies_on(job, above, strand->base);
}

/* The n-th image that lies on a merged one; top NULL behind the last. */
static struct strand find_above(const struct job *job, unsigned n, struct record_image **ret)
{
    struct strand s = strand_first(job);

    for (; s.top && n >= s.n_aboves; s = strand_next(job, &s))
        n -= s.n_aboves;
    *ret = s.top ? &s.aboves[n] : NULL;
    return s;
}

static void rebase_next(struct job *job, const struct error *err)
{
    struct record_image *above;
    struct strand strand = find_above(job, job->merged, &above);

    while (!err && above && !is_to_do(job, &strand, above))
        strand = find_above(job, ++job->merged, &above);
    if (err || !above) {
        job_acted(job, err);
        return;
    }
    job->merged++;
    image_tool_rebase(job, above, strand.base, rebase_next);
}

static void rebase_looked(struct job *job)
{
    rebase_next(job, NULL);
}

void strands_rebase(struct job *job)
{
    hold_release(job);
    job->merged = 0;
    evidence_fetch(job, rebase_looked);
}
