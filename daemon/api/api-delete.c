/* snapshot.delete with the data merged, of a guest that is shut off. */
#include <string.h>

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

/* What the snapshots hold that are to go must be overlays of files. */
static int delete_check_kind(const struct job *job, struct error *err)
{
    const struct snapshot *snapshot;

    TAILQ_FOREACH (snapshot, &job->domain->snapshots, link) {
        if (!delete_takes(job, snapshot) || strcmp(snapshot_location(snapshot), "external") == 0)
            continue;
        error_set(err, SNAPVM_ERROR_UNSUPPORTED,
                  "snapshot \"%s\" is an internal one, whose data this snapvmd does not delete; "
                  "metadata_only forgets it",
                  snapshot->record.name);
        return error_text(err, "feature", "deleting internal snapshots");
    }
    return 0;
}

static int delete_check(struct job *job, const struct shutoff *files, struct error *err)
{
    struct record_domain *record = &job->domain->record;

    if (tree_job_check(job, err) < 0 || delete_check_kind(job, err) < 0)
        return -1;
    for (unsigned i = 0; i < record->n_disks; i++)
        if (snapshot_has_disk(job->domain, record->disks[i].target) &&
            !shutoff_take(files, &record->disks[i], err))
            return -1;
    return 0;
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

static void delete_looked(void *arg, struct shutoff *files)
{
    struct call *call = arg;
    const char *name = json_string(call_params(call), "name");
    struct domain *domain = domains_find(files->domains, files->domain);
    _cleanup_error_ struct error err = {0};
    struct job *job;

    if (!domain || !snapshot_need(domain, name, &err)) {
        if (!domain)
            domains_need(files->domains, files->domain, &err);
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

void snapshot_delete_data(struct call *call, struct domain *domain)
{
    turn_take(call);
    shutoff_look(domain, delete_looked, call);
}
