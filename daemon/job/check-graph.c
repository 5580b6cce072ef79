#include "job/check-graph.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domain.h"
#include "job/finding.h"
#include "job/job.h"
#include "qemu/view.h"

#define OUR_PREFIX "snapvm-"

/* The number of the job whose names begin like this one; 0: it is none of ours. */
static int64_t job_number(const char *name)
{
    char *end;
    long long id;

    if (strncmp(name, OUR_PREFIX, strlen(OUR_PREFIX)) != 0)
        return 0;
    id = strtoll(name + strlen(OUR_PREFIX), &end, 10);
    return *end == '-' && id > 0 ? id : 0;
}

static bool job_is_active(const struct domain *domain, int64_t id)
{
    const struct job *job;

    TAILQ_FOREACH (job, &domain->jobs, link) {
        if (job->record.id == id)
            return true;
    }
    return false;
}

/* A command for another monitor: the daemon's own is in use by it. */
static char *repair_qmp(const char *command, const char *argument, const char *name)
{
    return xasprintf("in another monitor of this QEMU: {\"execute\":\"%s\",\"arguments\":"
                     "{\"%s\":\"%s\"}}",
                     command, argument, name);
}

/* --- jobs --- */

static void job_is_left(const struct view_job *seen, struct findings *findings)
{
    bool pending = seen->status == VIEW_JOB_PENDING, over = seen->status == VIEW_JOB_CONCLUDED;

    findings_add(findings,
                 (struct finding){
                     .level = pending ? FINDING_ERROR : FINDING_WARNING,
                     .kind = "leftover-job",
                     .what = xasprintf("QEMU has the job %s of ours, %s, and no job here owns it%s",
                                       seen->id, view_job_status_name(seen->status),
                                       pending ? ": the guest's writes may be held by it" : ""),
                     .repair = repair_qmp(over ? "job-dismiss" : "job-cancel", "id", seen->id),
                 });
}

static void job_is_foreign(const struct view_job *seen, struct findings *findings)
{
    bool pending = seen->status == VIEW_JOB_PENDING;

    if (!pending && seen->status != VIEW_JOB_CONCLUDED)
        return;
    findings_add(
        findings,
        (struct finding){
            .level = FINDING_WARNING,
            .kind = "unowned-job",
            .what = xasprintf("QEMU has the job %s of somebody else, %s, which waits for them%s",
                              seen->id, view_job_status_name(seen->status),
                              pending ? "; a guest's disk may hang until they end it" : ""),
            .repair = repair_qmp(pending ? "job-finalize" : "job-dismiss", "id", seen->id),
        });
}

static void check_jobs(const struct domain *domain, struct findings *findings)
{
    for (unsigned i = 0; i < domain->view->n_jobs; i++) {
        const struct view_job *seen = &domain->view->jobs[i];
        int64_t id = job_number(seen->id);

        if (seen->status == VIEW_JOB_NONE || (id && job_is_active(domain, id)))
            continue;
        if (id)
            job_is_left(seen, findings);
        else
            job_is_foreign(seen, findings);
    }
}

/* --- nodes --- */

static bool node_is_read(const struct view *view, const struct view_node *node)
{
    for (unsigned i = 0; i < view->n_disks; i++)
        if (view_in_chain(view, view->disks[i].root, node->name))
            return true;
    return false;
}

static bool node_is_of_job(const struct domain *domain, const char *name)
{
    const struct job *job;

    TAILQ_FOREACH (job, &domain->jobs, link) {
        for (unsigned i = 0; i < job->record.n_images; i++)
            if (job->record.images[i].node && strcmp(job->record.images[i].node, name) == 0)
                return true;
    }
    return false;
}

/* A node of ours belongs to a disk's chain, or to a job that is under way. */
static void check_nodes(const struct domain *domain, struct findings *findings)
{
    const struct view_node *node, *next;

    HASH_ITER (hh, domain->view->nodes, node, next) {
        int64_t id = job_number(node->name);

        if (!id || job_is_active(domain, id) || view_is_filter(node->driver) ||
            node_is_read(domain->view, node) || node_is_of_job(domain, node->name))
            continue;
        findings_add(findings,
                     (struct finding){
                         .level = FINDING_WARNING,
                         .kind = "leftover-node",
                         .file = xstrdup(node->file),
                         .what = xasprintf("QEMU has %s open as the node %s of ours, and no disk "
                                           "and no job uses it",
                                           node->file ? node->file : "an image", node->name),
                         .repair = repair_qmp("blockdev-del", "node-name", node->name),
                     });
    }
}

/* --- disks --- */

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* Whether QEMU has the device, with or without a medium. */
static bool disk_is_there(const struct domain *domain, const struct record_disk *disk)
{
    if (disk_in_view(domain, disk))
        return true;
    for (unsigned i = 0; i < domain->view->n_disks; i++) {
        const struct view_disk *seen = &domain->view->disks[i];

        if (same(disk->qdev, seen->qdev) || same(disk->qdev, seen->qom) ||
            same(disk->device, seen->device))
            return true;
    }
    return false;
}

static void check_disks(const struct domain *domain, struct findings *findings)
{
    for (unsigned i = 0; i < domain->record.n_disks; i++) {
        const struct record_disk *disk = &domain->record.disks[i];

        if (disk_is_there(domain, disk))
            continue;
        findings_add(findings, (struct finding){
                                   .level = FINDING_INFO,
                                   .kind = "disk-absent",
                                   .disk = xstrdup(disk->target),
                                   .what = xasprintf("this QEMU has no disk %s: it was unplugged, "
                                                     "or is known by another name",
                                                     disk->target),
                                   .repair = xasprintf("snapvmctl domain get %s shows the disks",
                                                       domain->record.name),
                               });
    }
}

void check_graph_run(const struct domain *domain, struct findings *findings)
{
    check_jobs(domain, findings);
    check_nodes(domain, findings);
    check_disks(domain, findings);
}
