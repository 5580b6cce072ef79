#include "job/strand.h"

#include <string.h>

#include "base/memory.h"
#include "domain/disk.h"
#include "job/evidence.h"

static bool has_role(const struct record_image *image, const char *role)
{
    return strcmp(image->role, role) == 0;
}

static struct strand strand_from(const struct job *job, unsigned i)
{
    struct record_image *images = job->record.images;
    unsigned n = job->record.n_images;
    struct strand strand = {0};

    while (i < n && !has_role(&images[i], "top"))
        i++;
    if (i == n)
        return strand;
    strand.top = &images[i++];
    while (i < n && has_role(&images[i], "intermediate"))
        i++;
    strand.base = &images[i++];
    strand.aboves = images + i;
    while (i < n && has_role(&images[i], "above")) {
        strand.n_aboves++;
        i++;
    }
    return strand;
}

struct strand strand_first(const struct job *job)
{
    return strand_from(job, 0);
}

struct strand strand_next(const struct job *job, const struct strand *strand)
{
    return strand_from(job, (unsigned)(strand->base - job->record.images) + 1);
}

int strand_place(const struct job *job, const struct strand *strand)
{
    return record_disk_place(disk_find(job->domain, strand->top->disk), strand->top->file);
}

void strands_lower(struct job *job)
{
    for (struct strand s = strand_first(job); s.top; s = strand_next(job, &s)) {
        int first = strand_place(job, &s);

        if (first > 0 || (first == 0 && !job_has(job, JOB_REVERSED)))
            record_disk_drop_layers(disk_find(job->domain, s.top->disk), (unsigned)first,
                                    (unsigned)(s.base - s.top));
    }
}

static void strand_raise(struct record_disk *disk, const struct strand *strand, unsigned base)
{
    for (const struct record_image *image = strand->top; image < strand->base; image++)
        record_disk_insert_layer(disk, base++, image->file, image->format)->virtual_size =
            image->virtual_size;
}

void strands_raise(struct job *job)
{
    for (struct strand s = strand_first(job); s.top; s = strand_next(job, &s)) {
        struct record_disk *disk = disk_find(job->domain, s.top->disk);
        int base = record_disk_place(disk, s.base->file);

        if (base >= 0 && strand_place(job, &s) < 0)
            strand_raise(disk, &s, (unsigned)base);
    }
}

bool strands_are_active(const struct job *job)
{
    for (struct strand s = strand_first(job); s.top; s = strand_next(job, &s))
        if (strand_place(job, &s) >= 0)
            return true;
    return false;
}

bool strand_is_done(const struct job *job, const struct strand *strand)
{
    return job_has(job, JOB_DECIDED) &&
           (!job_has(job, JOB_REVERSED) || strand_place(job, strand) < 0);
}

static const char *active_of(const struct job *job, const char *target)
{
    const struct record_disk *disk = target ? disk_find(job->domain, target) : NULL;

    return disk && disk->n_chain ? disk->chain[0].file : NULL;
}

static bool is_active(const struct job *job, const struct record_image *image)
{
    const char *active = active_of(job, image->disk);

    return active && strcmp(active, image->file) == 0;
}

/* A top holds what it did as long as nobody writes to the base. */
static const char *strand_worth(const struct job *job, const struct strand *strand,
                                const struct record_image *image)
{
    if (!strand_is_done(job, strand))
        return "backing";
    if (image == strand->top)
        return is_active(job, strand->base) ? "invalid" : "valid";
    return image < strand->base ? "invalid" : "backing";
}

static void conclude_image(const struct job *job, struct record_image *image, const char *worth)
{
    if (!image->state || strcmp(image->state, "removed") != 0)
        xstrset(&image->state, is_active(job, image) ? "active" : worth);
}

/* An image that had a snapshot inside is a layer like any other, which may have been merged. */
static const char *inside_worth(const struct job *job, unsigned i)
{
    const struct record_image *image = &job->record.images[i];

    for (unsigned k = 0; k < i; k++)
        if (job->record.images[k].state && strcmp(job->record.images[k].file, image->file) == 0)
            return job->record.images[k].state;
    if (evidence_of(job, image)->gone)
        return "removed";
    return record_disk_place(disk_find(job->domain, image->disk), image->file) > 0 ? "backing"
                                                                                   : "valid";
}

void strands_conclude(struct job *job)
{
    const char *first = NULL;

    for (unsigned i = 0; i < job->record.n_images && !first; i++)
        if (!has_role(&job->record.images[i], "memory"))
            first = job->record.images[i].disk;
    xstrset(&job->record.active, active_of(job, job->record.disk ? job->record.disk : first));
    for (struct strand s = strand_first(job); s.top; s = strand_next(job, &s))
        for (struct record_image *image = s.top; image < s.aboves + s.n_aboves; image++)
            conclude_image(job, image, strand_worth(job, &s, image));
    for (unsigned i = 0; i < job->record.n_images; i++)
        if (has_role(&job->record.images[i], "branch"))
            conclude_image(job, &job->record.images[i],
                           job_has(job, JOB_DECIDED) ? "invalid" : "valid");
    for (unsigned i = 0; i < job->record.n_images; i++)
        if (has_role(&job->record.images[i], "internal"))
            conclude_image(job, &job->record.images[i], inside_worth(job, i));
    for (unsigned i = 0; i < job->record.n_images; i++)
        if (has_role(&job->record.images[i], "memory"))
            conclude_image(job, &job->record.images[i], "valid");
}
