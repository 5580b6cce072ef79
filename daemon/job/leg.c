#include "job/leg.h"

#include <string.h>

#include "domain/disk.h"

static bool is_top(const struct record_image *image)
{
    return strcmp(image->role, "top") == 0 || strcmp(image->role, "overlay") == 0;
}

bool leg_merges(const struct record_image *image)
{
    return is_top(image) || strcmp(image->role, "intermediate") == 0;
}

static struct leg leg_from(const struct job *leader, unsigned member, unsigned image)
{
    struct leg leg = {.member = member, .image = image};

    for (; leg.member < leader->n_members; leg.member++, leg.image = 0) {
        struct job *job = leader->members[leg.member];

        for (; leg.image < job->record.n_images; leg.image++) {
            const struct record_image *top = &job->record.images[leg.image];
            bool commit = strcmp(top->role, "top") == 0;

            if (!is_top(top))
                continue;
            leg.job = job;
            leg.top = top;
            leg.base = job_image(job, top->disk, commit ? "base" : "source");
            job_qemu_name(job, top->disk, leg.name);
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

struct record_disk *leg_disk(const struct leg *leg)
{
    return disk_find(leg->job->domain, leg->top->disk);
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

    return top && strcmp(top->name, leg->base->node) == 0;
}
