#include "job/leg.h"

#include <string.h>

#include "domain/disk.h"

static bool is(const struct record_image *image, const char *role)
{
    return strcmp(image->role, role) == 0;
}

bool leg_merges(const struct record_image *image)
{
    return is(image, "top") || is(image, "overlay") || is(image, "intermediate") ||
           is(image, "branch");
}

/* Whether the disk reads a layer, as last seen. */
static bool leg_is_read(const struct job *job, const struct record_image *image)
{
    const struct record_disk *disk = disk_find(job->domain, image->disk);
    const struct view_disk *seen = disk ? disk_in_view(job->domain, disk) : NULL;

    return seen && view_in_chain(job->domain->view, seen->root, image->node);
}

bool leg_leaves(const struct job *job, const struct record_image *image)
{
    if (!image->node)
        return false;
    if (!job_image(job, image->disk, "target"))
        return leg_merges(image) && !(job_has(job, JOB_REVERSED) && leg_is_read(job, image));
    if (job_has(job, JOB_REVERSED))
        return is(image, "target");
    return is(image, "source") || (is(image, "backing") && !job_has(job, JOB_SHALLOW));
}

/* The role of what becomes the disk when this layer is left; NULL for one that is not, as are
 * layers that no QEMU has open. */
static const char *leg_goal(const struct job *job, const struct record_image *image)
{
    if (is(image, "top"))
        return image->node ? "base" : NULL;
    if (is(image, "overlay"))
        return "source";
    return is(image, "source") && job_image(job, image->disk, "target") ? "target" : NULL;
}

/* A disk may have several tops, each followed by its base, and that by what lies on the top. */
static void leg_fill(struct leg *leg, const char *goal)
{
    const struct record_job *record = &leg->job->record;
    unsigned i = leg->image;

    leg->from = &record->images[i];
    leg->to = job_image(leg->job, leg->from->disk, goal);
    job_qemu_name(leg->job, leg->from->disk, leg->name);
    if (!is(leg->from, "top"))
        return;
    while (!is(&record->images[i], goal))
        i++;
    leg->to = &record->images[i];
    while (++i < record->n_images && is(&record->images[i], "above"))
        if (record->images[i].node)
            leg->above = &record->images[i];
}

static struct leg leg_from(const struct job *leader, unsigned member, unsigned image)
{
    struct leg leg = {.member = member, .image = image};

    for (; leg.member < leader->n_members; leg.member++, leg.image = 0) {
        struct job *job = leader->members[leg.member];

        for (; leg.image < job->record.n_images; leg.image++) {
            const char *goal = leg_goal(job, &job->record.images[leg.image]);

            if (!goal)
                continue;
            leg.job = job;
            leg_fill(&leg, goal);
            return leg;
        }
    }
    return leg;
}

struct leg leg_first(const struct job *leader)
{
    return leg_from(leader, 0, 0);
}

struct leg leg_next(const struct job *leader, const struct leg *leg)
{
    return leg_from(leader, leg->member, leg->image + 1);
}

unsigned leg_count(const struct job *leader)
{
    unsigned n = 0;

    for (struct leg leg = leg_first(leader); leg.job; leg = leg_next(leader, &leg))
        n++;
    return n;
}

enum view_job_status leg_status(const struct leg *leg, const struct view *view)
{
    return view_job_status(view, leg->name);
}

bool legs_have(const struct job *leader, bool inner)
{
    for (struct leg leg = leg_first(leader); leg.job; leg = leg_next(leader, &leg))
        if (inner == (leg.above != NULL))
            return true;
    return false;
}

bool leg_copies(const struct leg *leg)
{
    return is(leg->to, "target");
}

struct record_disk *leg_disk(const struct leg *leg)
{
    return disk_find(leg->job->domain, leg->from->disk);
}

const struct view_disk *leg_view_disk(const struct leg *leg)
{
    const struct record_disk *disk = leg_disk(leg);

    return disk ? disk_in_view(leg->job->domain, disk) : NULL;
}

bool leg_pivoted(const struct leg *leg)
{
    const struct record_disk *disk = leg_disk(leg);
    const struct view_node *top = disk ? disk_top(leg->job->domain, disk) : NULL;

    if (leg->above)
        return top && !leg_is_read(leg->job, leg->from);
    return top && strcmp(top->name, leg->to->node) == 0;
}
