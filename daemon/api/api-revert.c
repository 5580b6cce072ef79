/* snapshot.revert of a guest that is shut off: new overlays on what the snapshot froze, or images
 * that become what they hold inside; and of one that is live, to what is inside its images with the
 * memory. */
#include <string.h>

#include "api/answer.h"
#include "api/call.h"
#include "api/context.h"
#include "api/handlers.h"
#include "api/overlay.h"
#include "api/request.h"
#include "api/tree-job.h"
#include "api/turn.h"
#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "domain/snapshot.h"
#include "job/engine.h"
#include "job/internal.h"
#include "job/job.h"
#include "job/revert-job.h"
#include "proto/snapvm-errors.h"
#include "qemu/view.h"

/* Whether QEMU itself can go back: it has all of the snapshot inside the images. */
static bool revert_is_inside(const struct record_snapshot *record)
{
    bool inside = record->memory && strcmp(record->memory, "internal") == 0;

    for (unsigned i = 0; i < record->n_disks; i++)
        inside &= strcmp(record->disks[i].mode, "internal") == 0 ||
                  strcmp(record->disks[i].mode, "no") == 0;
    return inside;
}

static bool revert_is_live(const struct domain *domain)
{
    return strcmp(domain_state(domain), "shutoff") != 0;
}

static int revert_wrong_state(const struct domain *domain, const char *sentence, struct error *err)
{
    error_set(err, SNAPVM_ERROR_INVALID_STATE, "domain %s is %s, %s", domain->record.name,
              domain_state(domain), sentence);
    return error_text(err, "state", domain_state(domain));
}

/* What a live guest is doing is in no snapshot, whatever its disks hold. */
static int revert_check_live(const struct domain *domain, const struct record_snapshot *record,
                             json_object *params, struct error *err)
{
    if (!revert_is_inside(record))
        return revert_wrong_state(
            domain,
            "and QEMU cannot change the disks under a guest that runs: shut it down, revert, and "
            "start it from what domain.blockdev names then",
            err);
    if (domain_need_live(domain, err) < 0 ||
        domain_need_feature(domain, QMP_FEATURE_SNAPSHOT_JOBS, err) < 0)
        return -1;
    if (domain->freezing || domain->debt) {
        error_set(err, SNAPVM_ERROR_INVALID_STATE,
                  "domain %s is frozen, or about to be: thaw it first (guest.thaw)",
                  domain->record.name);
        return error_text(err, "state", domain->freezing ? "freezing" : domain_freeze_name(domain));
    }
    if (!json_flag(params, "force", 0))
        return revert_wrong_state(
            domain,
            "and what it is doing and has written since would be lost: take a snapshot with its "
            "memory first, and say force",
            err);
    return 0;
}

static bool revert_runs(const struct record_snapshot *record, json_object *params)
{
    if (json_flag(params, "running", 0) || json_flag(params, "paused", 0))
        return json_flag(params, "running", 0);
    return strcmp(record->state, "paused") != 0;
}

/* What the guest can be started with, beside its disks. */
static int revert_add_memory(struct job *job, const struct record_snapshot *record, bool run,
                             struct error *err)
{
    bool external = record->memory && strcmp(record->memory, "external") == 0;
    bool inside = record->memory && strcmp(record->memory, "internal") == 0;

    if ((external && record->memory_file) || (inside && job_image(job, NULL, "internal"))) {
        revert_job_add_memory(job, external ? record->memory_file : NULL, record->quiesced, run);
        return 0;
    }
    if (!external && !inside)
        return 0;
    error_set(err, SNAPVM_ERROR_IMAGE,
              "nobody knows where the memory of snapshot \"%s\" is: forget it (metadata_only), and "
              "redefine it with its file, or without memory",
              record->name);
    error_text(err, "file", record->name);
    return error_text(err, "reason", "missing");
}

static int revert_check(const struct domain *domain, const struct record_snapshot *record,
                        json_object *params, struct error *err)
{
    bool running = json_flag(params, "running", 0), paused = json_flag(params, "paused", 0);

    if (running && paused) {
        error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "a guest is either running or paused");
        return error_text(err, "param", "paused");
    }
    if ((running || paused) && !revert_is_live(domain)) {
        error_set(err, SNAPVM_ERROR_UNSUPPORTED,
                  "snapvmd does not start guests: revert without running and paused, and start it "
                  "from what domain.blockdev names then");
        return error_text(err, "feature", "starting guests");
    }
    if (!revert_is_live(domain))
        return turn_need_free(domain, err); /* and, when the images are known, tree_job_check() */
    if (revert_check_live(domain, record, params, err) < 0)
        return -1;
    return job_need_free(domain, err);
}

static int revert_need_disk(const struct job *job, const char *target,
                            const struct record_disk *disk, struct error *err)
{
    if (disk && disk->n_chain > 0)
        return 0;
    error_set(err, SNAPVM_ERROR_NOT_FOUND,
              "domain %s has no disk \"%s\" any more, which snapshot \"%s\" has: define it "
              "again (domain.define), or redefine the snapshot without it",
              job->record.domain, target, job->record.snapshot);
    error_text(err, "object", "disk");
    return error_text(err, "name", target);
}

/* What somebody else took of a disk is somewhere that snapvmd has no part in. */
static int revert_refuse_manual(const struct snapshot *snapshot,
                                const struct record_snapshot_disk *taken, struct error *err)
{
    error_set(
        err, SNAPVM_ERROR_UNSUPPORTED,
        "snapshot \"%s\" of disk %s was taken by somebody else (manual)%s%s: bring that back "
        "into the disk's image yourself, redefine the snapshot with mode no for the disk, and "
        "go back to that",
        snapshot->record.name, taken->disk, taken->file ? ", to " : "",
        taken->file ? taken->file : "");
    return error_text(err, "feature", "going back to manual snapshots");
}

/* Nobody knows the layer (any more), or a deletion has begun to write to it. */
static int revert_need_backing(const struct snapshot *snapshot,
                               const struct record_snapshot_disk *frozen, struct error *err)
{
    if (frozen->backing)
        return 0;
    error_set(err, SNAPVM_ERROR_IMAGE,
              "the record of snapshot \"%s\" names no image that holds disk %s as it was then: if "
              "a deletion of it did not get done, delete it again; if it was redefined without "
              "backing, forget it (metadata_only) and redefine it with that",
              snapshot->record.name, frozen->disk);
    error_text(err, "file", frozen->file ? frozen->file : frozen->disk);
    return error_text(err, "reason", "missing");
}

/* What is in the image becomes the disk: other layers must not lie on it. */
static int revert_add_internal(struct job *job, const struct record_snapshot_disk *kept,
                               const struct record_disk *disk, struct error *err)
{
    if (revert_need_disk(job, kept->disk, disk, err) < 0)
        return -1;
    if (kept->file && strcmp(kept->file, disk->chain[0].file) == 0) {
        revert_job_add_internal(job, kept->disk, kept->file);
        return 0;
    }
    error_set(
        err, SNAPVM_ERROR_INVALID_STATE,
        "snapshot \"%s\" is inside %s, which is not the active layer of disk %s now; what lies "
        "on it would change by going back: delete the snapshots that were taken since, or commit "
        "their overlays; or keep all, copy it out with qemu-img convert -l, and start the guest "
        "from the copy",
        job->record.snapshot, kept->file ? kept->file : "an unknown image", kept->disk);
    return error_text(err, "state", domain_state(job->domain));
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

        if (strcmp(frozen->mode, "internal") == 0) {
            if (revert_add_internal(job, frozen, disk, err) < 0)
                return -1;
            continue;
        }
        if (strcmp(frozen->mode, "no") == 0)
            continue;
        if (strcmp(frozen->mode, "manual") == 0)
            return revert_refuse_manual(snapshot, frozen, err);
        if (revert_need_backing(snapshot, frozen, err) < 0 ||
            revert_need_disk(job, frozen->disk, disk, err) < 0)
            return -1;
        file = overlay_default_file(conf, job->domain, disk, name);
        if (overlay_check_file(conf, job->domain, file, false, err) < 0)
            return -1;
        revert_job_add_disk(job, frozen->disk, file);
    }
    return 0;
}

/* QEMU refuses to go back under a job that copies, in the middle of it. */
static int revert_need_no_jobs(const struct domain *domain, struct error *err)
{
    for (unsigned i = 0; i < domain->view->n_jobs; i++) {
        const struct view_job *seen = &domain->view->jobs[i];

        if (seen->status != VIEW_JOB_CONCLUDED && seen->status != VIEW_JOB_NONE)
            return error_set(err, SNAPVM_ERROR_BUSY,
                             "job %s of somebody else works in QEMU: wait for its end, or end it",
                             seen->id);
    }
    return 0;
}

/* QEMU has the images, and its view tells what is inside. */
static void revert_start_live(struct call *call, struct job *job)
{
    _cleanup_error_ struct error err = {0};
    const char *memory;

    if (internal_need_in_view(job, &memory, &err) == 0 && !memory)
        internal_missing(job_image(job, NULL, "internal"), &err);
    if (!err.code)
        revert_need_no_jobs(job->domain, &err);
    if (err.code) {
        job_free(job);
        call_error(call, &err);
        return;
    }
    revert_job_go_live(job, memory);
    engine_start(job, answer_note_job, answer_started, call);
}

static void revert_start(struct call *call, struct domain *domain, const struct snapshot *snapshot)
{
    bool force = json_flag(call_params(call), "force", 0);
    _cleanup_error_ struct error err = {0};
    struct job *job =
        revert_job_new(call_context(call)->engine, domain, snapshot->record.name, force);
    bool live = revert_is_live(domain), run = revert_runs(&snapshot->record, call_params(call));

    if (!live)
        turn_take(call);
    xstrset(&job->record.request_id, json_string(call_params(call), "request_id"));
    if (revert_add_disks(call, job, snapshot, &err) < 0 ||
        revert_add_memory(job, &snapshot->record, run, &err) < 0 || tree_job_check(job, &err) < 0) {
        if (live) {
            job_free(job);
            call_error(call, &err);
        } else {
            tree_job_fail(call, job, &err);
        }
        return;
    }
    if (live)
        revert_start_live(call, job);
    else
        revert_survey(job, tree_job_surveyed, tree_job_new(call, job));
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
    if (!snapshot || revert_check(domain, &snapshot->record, call_params(call), &err) < 0)
        call_error(call, &err);
    else
        revert_start(call, domain, snapshot);
}
