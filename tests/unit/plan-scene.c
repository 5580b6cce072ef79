#include "tests/unit/plan-scene.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "domain/disk.h"
#include "job/walk.h"

const char *const targets[2] = {"vda", "vdb"};

const struct naming namings[N_NAMINGS] = {
    {{"top-a", "top-b"}, {"mid-a", "mid-b"}, {"base-a", "base-b"}, {"filter-a", "filter-b"}, false},
    {{"#block101", "#block201"},
     {"#block102", "#block202"},
     {"#block103", "#block203"},
     {"#block104", "#block204"},
     true},
};

static char *file_of(const char *node)
{
    return xasprintf("/i/%s", node);
}

void scene_layer(struct view *view, const char *name, const char *driver, const char *below)
{
    _cleanup_free_ char *file = file_of(name);

    see_node(view, name, driver, below, file);
}

/* A fresh view, with all layers open and every disk on its top. */
struct view *scene_view(struct scene *s)
{
    struct view *view = stage_view(s->domain);

    for (int i = 0; i < 2; i++) {
        scene_layer(view, s->naming->top[i], "qcow2", s->naming->middle[i]);
        scene_layer(view, s->naming->middle[i], "qcow2", s->naming->base[i]);
        scene_layer(view, s->naming->base[i], "raw", NULL);
        scene_layer(view, s->naming->filter[i], "commit_top", s->naming->top[i]);
        see_disk(view, s->naming->top[i], s->naming->drive ? NULL : targets[i],
                 s->naming->drive ? targets[i] : NULL);
    }
    return view;
}

static void scene_image(struct job *job, unsigned disk, const char *role, const char *node)
{
    _cleanup_free_ char *file = file_of(node);

    stage_image(job, targets[disk], role, file, node);
}

static const struct {
    const char *job;
    const struct plan *plan;
    const char *prefix;              /* of the names of its steps */
    const char *top, *middle, *base; /* roles of the layers; NULL: takes no part */
} casts[] = {
    [COMMIT] = {"active-commit", &plan_commit, "", "top", "intermediate", "base"},
    [COPY] = {"copy", &plan_copy, "", "source", "backing", "target"},
    [COPIED] = {"copy", &plan_copied, "", "source", "backing", "target"},
    [KEEP] = {"active-commit", &plan_keep, "", "top", "intermediate", "base"},
    [BACK] = {"snapshot", &plan_back, "back-", "overlay", NULL, "source"},
    [SNAPSHOT] = {"snapshot", &plan_snapshot, "", "source", NULL, NULL},
    [INSIDE] = {"snapshot", &plan_snapshot, "", "internal", NULL, NULL},
    [MERGE] = {"commit", &plan_merge, "merge-", "above", "top", "base"},
    [PULL] = {"pull", &plan_pull, "merge-", "above", "intermediate", "base"},
};

static void scene_cast(struct scene *s, enum kind kind, unsigned i)
{
    struct job *job = s->jobs[i] ? s->jobs[i] : s->jobs[0];

    job_qemu_name(job, targets[i], s->name[i]);
    scene_image(job, i, casts[kind].top, s->naming->top[i]);
    if (casts[kind].middle)
        scene_image(job, i, casts[kind].middle, s->naming->middle[i]);
    if (casts[kind].base)
        scene_image(job, i, casts[kind].base, s->naming->base[i]);
    if (kind == SNAPSHOT)
        scene_image(job, i, "overlay", s->name[i]);
    if (kind == INSIDE)
        xstrset(&job->record.images[i].node, "s1");
}

static void scene_jobs(struct scene *s, enum kind kind)
{
    bool each = kind != BACK && kind != SNAPSHOT && kind != INSIDE;

    for (unsigned i = 0; i < s->n; i++) {
        if (i == 0 || each) {
            s->jobs[i] = stage_job(&s->stage, s->domain, casts[kind].job, 17 + i);
            s->jobs[i]->plan = casts[kind].plan;
            s->jobs[i]->record.disk = each ? xstrdup(targets[i]) : NULL;
        }
        scene_cast(s, kind, i);
    }
    if (each && s->n > 1)
        engine_lead(s->jobs[0], &s->jobs[1], 1);
}

void scene_init(struct scene *s, enum kind kind, const struct naming *naming, unsigned n)
{
    memset(s, 0, sizeof(*s));
    stage_init(&s->stage);
    stage_add_engine(&s->stage);
    s->domain = stage_domain(&s->stage, "web");
    s->naming = naming;
    s->n = n;
    s->prefix = casts[kind].prefix;
    scene_view(s);
    disks_update(s->domain);
    scene_jobs(s, kind);
}

void scene_deinit(struct scene *s)
{
    for (int i = 0; i < 2; i++)
        if (s->jobs[i])
            stage_drop_job(s->jobs[i]);
    stage_deinit(&s->stage);
}

void scene_status(struct scene *s, unsigned leg, enum view_job_status status)
{
    if (status != VIEW_JOB_NONE)
        see_job(s->domain->view, s->name[leg], status);
}

void scene_root(struct scene *s, unsigned leg, const char *root)
{
    xstrset(&s->domain->view->disks[leg].root, root);
}

enum seen scene_probe(struct scene *s, const char *step)
{
    struct job *job = s->jobs[0];
    _cleanup_free_ char *name = xasprintf("%s%s", s->prefix, step);
    const struct plan *plan = plan_of_step(job->record.kind, name, &job->step);

    ck_assert_msg(plan == job->plan, "%s", name);
    return job_step(job)->probe(job, s->domain->view);
}

char letter(enum seen seen)
{
    return "nmhl"[seen];
}

const char *root_of(const struct naming *naming, unsigned leg, enum where where)
{
    switch (where) {
    case ON_TOP:
        return naming->top[leg];
    case ON_FILTER:
        return naming->filter[leg];
    case ON_BASE:
        return naming->base[leg];
    default:
        return NULL;
    }
}
