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

bool leg_leaves(const struct job *job, const struct record_image *image)
{
    if (!job_image(job, image->disk, "target"))
        return leg_merges(image) && !job_has(job, JOB_REVERSED);
    if (job_has(job, JOB_REVERSED))
        return is(image, "target");
    return is(image, "source") || (is(image, "backing") && !job_has(job, JOB_SHALLOW));
}

/* The role of what becomes the disk when this layer is left; NULL for one that is not. */
static const char *leg_goal(const struct job *job, const struct record_image *image)
{
    if (is(image, "top"))
        return "base";
    if (is(image, "overlay"))
        return "source";
    return is(image, "source") && job_image(job, image->disk, "target") ? "target" : NULL;
}

static struct leg leg_from(const struct job *leader, unsigned member, unsigned image)
{
    struct leg leg = {.member = member, .image = image};

    for (; leg.member < leader->n_members; leg.member++, leg.image = 0) {
        struct job *job = leader->members[leg.member];

        for (; leg.image < job->record.n_images; leg.image++) {
            const struct record_image *from = &job->record.images[leg.image];
            const char *goal = leg_goal(job, from);

            if (!goal)
                continue;
            leg.job = job;
            leg.from = from;
            leg.to = job_image(job, from->disk, goal);
            job_qemu_name(job, from->disk, leg.name);
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

    return top && strcmp(top->name, leg->to->node) == 0;
}
