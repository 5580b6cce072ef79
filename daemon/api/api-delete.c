/* snapshot.delete with the data merged, and snapshot.revert, of a guest that is shut off. The files
 * are read before the job begins; meanwhile it is this call's turn at the tree. */
#include <string.h>

#include "api/answer.h"
#include "api/call.h"
#include "api/context.h"
#include "api/handlers.h"
#include "api/overlay.h"
#include "api/request.h"
#include "api/turn.h"
#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "domain/shutoff.h"
#include "domain/snapshot.h"
#include "job/delete-job.h"
#include "job/engine.h"
#include "job/job.h"
#include "job/revert-job.h"
#include "proto/snapvm-errors.h"

/* A job that waits for what the files show. */
struct deleting {
    struct call *call;
    struct job *job;
};

static void deleting_fail(struct call *call, struct job *job, const struct error *err)
{
    job_free(job);
    turn_end(call);
    call_error(call, err);
}

static void delete_begun(void *arg, struct job *job, const struct error *err)
{
    struct call *call = arg;

    if (err) {
        call_error(call, err);
        return;
    }
    request_started(call, job->record.id);
    answer_job(call, job, "ended");
}

/* Jobs on disks may have begun since, and the guest may have been started. */
static int delete_check_again(const struct job *job, struct error *err)
{
    if (shutoff_need(job->domain, "it was started just now", err) < 0)
        return -1;
    return job_need_free(job->domain, err);
}

static void delete_surveyed(void *arg, const struct error *err)
{
    struct deleting *deleting = arg;
    struct call *call = deleting->call;
    struct job *job = deleting->job;
    _cleanup_error_ struct error again = {0};

    free(deleting);
    if (!err && delete_check_again(job, &again) < 0)
        err = &again;
    if (err) {
        deleting_fail(call, job, err);
        return;
    }
    turn_end(call);
    engine_start(job, answer_note_job, delete_begun, call);
}

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

    if (delete_check_again(job, err) < 0 || delete_check_kind(job, err) < 0)
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
    struct deleting *deleting;
    _cleanup_error_ struct error err = {0};
    struct job *job;

    if (!domain || !snapshot_need(domain, name, &err)) {
        if (!domain)
            domains_need(files->domains, files->domain, &err);
        deleting_fail(call, NULL, &err);
        return;
    }
    job = delete_job_new(call_context(call)->engine, domain, name, delete_flags(call_params(call)));
    xstrset(&job->record.request_id, json_string(call_params(call), "request_id"));
    if (delete_check(job, files, &err) < 0) {
        deleting_fail(call, job, &err);
        return;
    }
    deleting = xzalloc(sizeof(*deleting));
    *deleting = (struct deleting){.call = call, .job = job};
    delete_survey(job, delete_surveyed, deleting);
}

void snapshot_delete_data(struct call *call, struct domain *domain)
{
    turn_take(call);
    shutoff_look(domain, delete_looked, call);
}

/* --- snapshot.revert --- */

static int revert_check_state(const struct domain *domain, const struct snapshot *snapshot,
                              struct error *err)
{
    const char *state = domain_state(domain);

    if (strcmp(state, "shutoff") != 0) {
        error_set(err, SNAPVM_ERROR_INVALID_STATE,
                  "domain %s is %s, and QEMU cannot put other images under a guest that runs: shut "
                  "it down, revert, and start it from what domain.blockdev names then",
                  domain->record.name, state);
        return error_text(err, "state", state);
    }
    if (strcmp(snapshot_location(snapshot), "external") == 0 &&
        (!snapshot->record.memory || strcmp(snapshot->record.memory, "no") == 0))
        return 0;
    error_set(err, SNAPVM_ERROR_UNSUPPORTED,
              "snapshot \"%s\" is not one of disks in overlays alone, to which this snapvmd can go "
              "back",
              snapshot->record.name);
    return error_text(err, "feature", "revert to internal snapshots and memory");
}

static int revert_check(const struct domain *domain, const struct snapshot *snapshot,
                        json_object *params, struct error *err)
{
    if (json_flag(params, "running", 0) || json_flag(params, "paused", 0)) {
        error_set(err, SNAPVM_ERROR_UNSUPPORTED,
                  "snapvmd does not start guests: revert without running and paused, and start it "
                  "from what domain.blockdev names then");
        return error_text(err, "feature", "starting guests");
    }
    if (revert_check_state(domain, snapshot, err) < 0)
        return -1;
    return job_need_free(domain, err);
}

static int revert_need_disk(const struct job *job, const char *target,
                            const struct record_disk *disk, struct error *err)
{
    if (disk && disk->n_chain > 0)
        return 0;
    error_set(err, SNAPVM_ERROR_NOT_FOUND,
              "domain %s has no disk \"%s\" any more, which the snapshot has", job->record.domain,
              target);
    error_text(err, "object", "disk");
    return error_text(err, "name", target);
}

static int revert_add_disks(struct call *call, struct job *job, const struct snapshot *snapshot,
                            struct error *err)
{
    const struct conf *conf = call_context(call)->conf;
    _cleanup_free_ char *name =
        xasprintf("%s-%lld", snapshot->record.name, (long long)job->record.id);

    for (unsigned i = 0; i < snapshot->record.n_disks; i++) {
        const struct record_snapshot_disk *frozen = &snapshot->record.disks[i];
        struct record_disk *disk = disk_find(job->domain, frozen->disk);
        _cleanup_free_ char *file = NULL;

        if (!frozen->backing)
            continue;
        if (revert_need_disk(job, frozen->disk, disk, err) < 0)
            return -1;
        file = overlay_default_file(job->domain, disk, name);
        if (overlay_check_file(conf, job->domain, file, false, err) < 0)
            return -1;
        revert_job_add_disk(job, frozen->disk, file);
    }
    return 0;
}

static void revert_start(struct call *call, struct domain *domain, const struct snapshot *snapshot)
{
    bool force = json_flag(call_params(call), "force", 0);
    struct deleting *reverting = xzalloc(sizeof(*reverting));
    _cleanup_error_ struct error err = {0};
    struct job *job = revert_job_new(call_context(call)->engine, domain, snapshot->record.name);

    turn_take(call);
    xstrset(&job->record.request_id, json_string(call_params(call), "request_id"));
    if (revert_add_disks(call, job, snapshot, &err) < 0) {
        free(reverting);
        deleting_fail(call, job, &err);
        return;
    }
    *reverting = (struct deleting){.call = call, .job = job};
    revert_survey(job, force, delete_surveyed, reverting);
}

void snapshot_revert_handle(struct call *call)
{
    _cleanup_error_ struct error err = {0};
    struct snapshot *snapshot;
    struct domain *domain;

    if (turn_waits(call) || !answer_is_new(call, "ended"))
        return;
    domain = answer_need_domain(call);
    if (!domain)
        return;
    snapshot = snapshot_need(domain, json_string(call_params(call), "name"), &err);
    if (!snapshot || revert_check(domain, snapshot, call_params(call), &err) < 0)
        call_error(call, &err);
    else
        revert_start(call, domain, snapshot);
}
