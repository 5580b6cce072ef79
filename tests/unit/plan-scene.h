/* Two disks with three layers each, as -blockdev and as -drive show them, and the job or jobs of a
 * plan on them: what probes are asked about. */
#ifndef SNAPVM_TESTS_UNIT_PLAN_SCENE_H
#define SNAPVM_TESTS_UNIT_PLAN_SCENE_H

#include <stdbool.h>

#include "job/job.h"
#include "job/plan.h"
#include "qemu/view.h"
#include "tests/unit/domain-fixture.h"

#define N(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))
#define N_STATUS ((int)VIEW_JOB_UNKNOWN + 1)
#define N_NAMINGS 2

extern const char *const targets[2];

extern const struct naming {
    const char *top[2], *middle[2], *base[2], *filter[2];
    bool drive; /* the disks are known by the drive's id */
} namings[N_NAMINGS];

/* A commit or a copy has a job a disk, the others have one job with all disks. A copy goes to the
 * node that is the base of a commit. */
enum kind { COMMIT, COPY, BACK, KEEP, COPIED, SNAPSHOT, INSIDE, MERGE, PULL };

struct scene {
    struct stage stage;
    struct domain *domain;
    const struct naming *naming;
    struct job *jobs[2];
    unsigned n; /* disks that take part */
    const char *prefix;
    char name[2][JOB_NAME_SIZE]; /* in QEMU: of a leg's job, or of an overlay */
};

void scene_init(struct scene *s, enum kind kind, const struct naming *naming, unsigned n);
void scene_deinit(struct scene *s);

/* A fresh view, with all layers open and every disk on its top. */
struct view *scene_view(struct scene *s);

/* A node whose file is "/i/NAME". */
void scene_layer(struct view *view, const char *name, const char *driver, const char *below);

/* Gives the job of a leg that status, and a disk that root. */
void scene_status(struct scene *s, unsigned leg, enum view_job_status status);
void scene_root(struct scene *s, unsigned leg, const char *root);

/* What the probe of a step says: the name without the prefix of its plan. */
enum seen scene_probe(struct scene *s, const char *step);

/* n not yet, m moving, h holds, l lost. */
char letter(enum seen seen);

enum where { ON_TOP, ON_FILTER, ON_BASE, GONE };

const char *root_of(const struct naming *naming, unsigned leg, enum where where);

#endif
