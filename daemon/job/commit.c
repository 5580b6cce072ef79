/* Active commits as jobs: how one is made, and what its images are worth when it has ended. The way
 * between is that of plan-pivot.c. */
#include "job/commit.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "job/leg.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "qemu/qmp-command.h"
#include "qemu/view.h"

/* The filter of an active commit gets no name. Nobody asks for it, views look through it by its
 * driver, and QEMU takes its time over every byte of a command. */
void commit_start_leg(struct job *leader, const struct leg *leg)
{
    char filter[JOB_NAME_SIZE];
    const struct record_disk *disk = leg_disk(leg);
    const struct view_node *active = disk ? disk_top(leg->job->domain, disk) : NULL;
    struct qmp_commit commit = {
        .job = leg->name,
        .device = leg->above && active ? active->name : leg->from->node,
        .top = leg->above ? leg->from->node : NULL,
        .base = leg->to->node,
        .backing_file = leg->above ? leg->to->file : NULL,
        .filter = leg->above ? job_filter_name(leg->job, leg->from->disk, filter) : NULL,
        .speed = leg->job->record.bandwidth,
    };

    qmp_block_commit(job_qmp(leader), &commit, job_reply, leader);
}

static unsigned chain_find(const struct record_disk *disk, const char *file, unsigned from)
{
    while (from < disk->n_chain && strcmp(disk->chain[from].file, file) != 0)
        from++;
    return from;
}

void commit_take_chain(struct record_disk *disk, const struct leg *leg)
{
    unsigned first = chain_find(disk, leg->from->file, 0);
    unsigned base = chain_find(disk, leg->to->file, first);

    if (base < disk->n_chain)
        record_disk_drop_layers(disk, first, base - first);
}

static const char *commit_worth(bool pivoted, const struct record_image *image)
{
    bool base = strcmp(image->role, "base") == 0;

    if (pivoted)
        return base ? "active" : "invalid";
    return strcmp(image->role, "top") == 0 ? "active" : "backing";
}

/* Whether somebody else made the switch: nobody here decided it, and the chain, which follows what
 * QEMU shows, begins with the base. */
static bool commit_is_usurped(const struct job *job, const struct record_disk *disk)
{
    const struct record_image *base = job_image(job, NULL, "base");

    return !job_has(job, JOB_DECIDED) && disk && disk->n_chain > 0 && base &&
           strcmp(disk->chain[0].file, base->file) == 0;
}

static void commit_tell_strangers(struct job *job, bool usurped)
{
    struct error *err = &job->record.error;

    error_clear(err);
    if (usurped)
        error_set(err, SNAPVM_ERROR_INVALID_STATE,
                  "somebody else made the switch to the base in QEMU: the base is the disk, and "
                  "nodes of the overlay may be left open there");
    else if (job->let_go)
        error_set(err, SNAPVM_ERROR_INVALID_STATE,
                  "somebody else let the vCPUs go (cont) while they were held for the switch; it "
                  "was made all the same, and the base is the disk");
    else
        return;
    error_text(err, "state", "running");
}

void commit_conclude(struct job *job, const char *result)
{
    struct record_disk *disk = disk_find(job->domain, job->record.disk);
    bool usurped = commit_is_usurped(job, disk);
    bool pivoted = usurped || (strcmp(result, "pivoted") == 0 && !job_has(job, JOB_REVERSED));

    if (usurped)
        xstrset(&job->record.result, "pivoted");
    else if (strcmp(result, "pivoted") == 0 && !pivoted)
        xstrset(&job->record.result, "failed");
    if (pivoted)
        commit_tell_strangers(job, usurped);
    for (unsigned i = 0; i < job->record.n_images; i++) {
        struct record_image *image = &job->record.images[i];
        const char *worth = commit_worth(pivoted, image);

        if (strcmp(worth, "active") == 0)
            xstrset(&job->record.active, image->file);
        if (!image->state || strcmp(image->state, "removed") != 0)
            xstrset(&image->state, worth);
    }
    if (disk)
        disk->held = false;
}

struct job *commit_new(struct engine *engine, struct domain *domain, struct record_disk *disk,
                       unsigned base, uint32_t flags, int64_t bandwidth)
{
    struct job *job = job_new(engine, domain, "active-commit");
    const struct view_node *node = disk_top(domain, disk);

    job->record.id = journal_next_job(domain->owner->journal);
    job->record.disk = xstrdup(disk->target);
    job->record.flags = flags;
    job->record.bandwidth = bandwidth;
    for (unsigned i = 0; i <= base && node; i++, node = view_below(domain->view, node)) {
        const char *role = i == 0 ? "top" : i == base ? "base" : "intermediate";
        struct record_image *image =
            record_job_add_image(&job->record, disk->target, role, disk->chain[i].file);

        xstrset(&image->format, node->driver);
        xstrset(&image->node, node->name);
        image->virtual_size = node->virtual_size;
    }
    job->plan = plan_of_step("active-commit", "start", &job->step);
    return job;
}
