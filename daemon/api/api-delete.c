/* snapshot.delete with the data merged: by QEMU where the guest runs, by image tools where it is
 * shut off. */
#include <stdlib.h>
#include <string.h>

#include "api/block.h"
#include "api/call.h"
#include "api/context.h"
#include "api/handlers.h"
#include "api/request.h"
#include "api/tree-job.h"
#include "api/turn.h"
#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "domain/shutoff.h"
#include "domain/snapshot.h"
#include "job/delete-job.h"
#include "job/engine.h"
#include "job/job.h"
#include "proto/snapvm-errors.h"

/* What is inside an image that QEMU has open to read through is not QEMU's to delete. */
static int delete_check_below(const struct job *job, const struct snapshot *snapshot,
                              const struct record_snapshot_disk *kept, struct error *err)
{
    const struct record_disk *disk = disk_find(job->domain, kept->disk);

    for (unsigned i = 1; disk && i < disk->n_chain; i++) {
        if (strcmp(kept->mode, "internal") != 0 || !kept->file ||
            strcmp(kept->file, disk->chain[i].file) != 0)
            continue;
        error_set(
            err, SNAPVM_ERROR_INVALID_STATE,
            "snapshot \"%s\" is inside %s, which QEMU has open below the active layer of "
            "disk %s: delete it while the guest is shut off, or first the snapshots that were "
            "taken since",
            snapshot->record.name, kept->file, kept->disk);
        return error_text(err, "state", domain_state(job->domain));
    }
    return 0;
}

static int delete_check_inside(const struct job *job, struct error *err)
{
    const struct snapshot *snapshot;

    TAILQ_FOREACH (snapshot, &job->domain->snapshots, link) {
        for (unsigned i = 0; delete_takes(job, snapshot) && i < snapshot->record.n_disks; i++)
            if (delete_check_below(job, snapshot, &snapshot->record.disks[i], err) < 0)
                return -1;
    }
    return 0;
}

/* The chain below the active layer of a guest that is shut off is read from the headers. */
static int delete_check_off(struct job *job, const struct shutoff *files, struct error *err)
{
    struct record_domain *record = &job->domain->record;

    for (unsigned i = 0; i < record->n_disks; i++)
        if (delete_touches(job, record->disks[i].target) &&
            !shutoff_take(files, &record->disks[i], err))
            return -1;
    return 0;
}

static int delete_check_disks(const struct job *job, struct error *err)
{
    const struct domain *domain = job->domain;

    for (unsigned i = 0; i < domain->record.n_disks; i++) {
        const struct record_disk *disk = &domain->record.disks[i];

        if (delete_touches(job, disk->target) && disk_in_view(domain, disk) &&
            block_check_disk(domain, disk, err) < 0)
            return -1;
    }
    return 0;
}

static int delete_check_live(const struct job *job, struct error *err)
{
    const struct domain *domain = job->domain;
    _cleanup_free_ char *root = process_root(&domain->record.qemu);

    if (root[0]) {
        error_set(err, SNAPVM_ERROR_UNSUPPORTED,
                  "QEMU of domain %s has another root folder than snapvmd, which reads the image "
                  "headers: delete the snapshot while the guest is shut off",
                  domain->record.name);
        return error_text(err, "feature", "merging a guest's data in another root");
    }
    if (domain_need_feature(domain, QMP_FEATURE_TWO_PHASE, err) < 0 ||
        domain_need_feature(domain, QMP_FEATURE_HMP, err) < 0 || delete_check_inside(job, err) < 0)
        return -1;
    return delete_check_disks(job, err);
}

/* Jobs on other disks go on. */
static int delete_check_free(const struct job *job, struct error *err)
{
    const struct record_domain *record = &job->domain->record;

    for (unsigned i = 0; i < record->n_disks; i++)
        if (delete_touches(job, record->disks[i].target) &&
            job_need_free_disk(job->domain, record->disks[i].target, err) < 0)
            return -1;
    return 0;
}

static int delete_check(struct job *job, const struct shutoff *files, struct error *err)
{
    if (tree_job_check(job, err) < 0 || delete_check_free(job, err) < 0)
        return -1;
    return files ? delete_check_off(job, files, err) : delete_check_live(job, err);
}

static unsigned delete_flags(json_object *params)
{
    unsigned flags = 0;

    if (json_flag(params, "children", 0))
        flags |= JOB_CHILDREN;
    if (json_flag(params, "children_only", 0))
        flags |= JOB_CHILDREN_ONLY;
    return flags;
}

/* Files: as they were read while the guest was shut off; NULL if it was not. */
static void delete_begin(struct call *call, struct domain *domain, const struct shutoff *files)
{
    const char *name = json_string(call_params(call), "name");
    _cleanup_error_ struct error err = {0};
    struct job *job;

    if (!domain_is_shutoff(domain))
        files = NULL;
    if (!snapshot_need(domain, name, &err)) {
        tree_job_fail(call, NULL, &err);
        return;
    }
    job = delete_job_new(call_context(call)->engine, domain, name, delete_flags(call_params(call)));
    xstrset(&job->record.request_id, json_string(call_params(call), "request_id"));
    if (delete_check(job, files, &err) < 0) {
        tree_job_fail(call, job, &err);
        return;
    }
    delete_survey(job, tree_job_surveyed, tree_job_new(call, job));
}

static void delete_looked(void *arg, struct shutoff *files)
{
    struct call *call = arg;
    _cleanup_error_ struct error err = {0};
    struct domain *domain = domains_need(files->domains, files->domain, &err);

    if (domain)
        delete_begin(call, domain, files);
    else
        tree_job_fail(call, NULL, &err);
}

void snapshot_delete_data(struct call *call, struct domain *domain)
{
    turn_take(call);
    if (domain_is_shutoff(domain))
        shutoff_look(domain, delete_looked, call);
    else
        delete_begin(call, domain, NULL);
}
