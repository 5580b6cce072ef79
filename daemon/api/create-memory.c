#include "api/create-memory.h"

#include <string.h>

#include "api/overlay.h"
#include "base/memory.h"
#include "domain/domains.h"
#include "job/internal.h"
#include "job/job.h"
#include "job/snapshot-job.h"
#include "proto/snapvm-errors.h"

static int bad_param(struct error *err, const char *param, const char *sentence)
{
    error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "%s", sentence);
    return error_text(err, "param", param);
}

bool create_memory_is_inside(json_object *params)
{
    const char *mode = json_string(json_sub(params, "memory"), "mode");

    return mode && strcmp(mode, "internal") == 0;
}

/* A guest that is paused cannot be left as it is by a migration: what gives its images back to QEMU
 * behind it is `cont` alone. */
static int memory_check_state(const struct domain *domain, bool inside, struct error *err)
{
    const char *state = domain_state(domain);

    if (strcmp(state, "shutoff") == 0)
        error_set(err, SNAPVM_ERROR_INVALID_STATE,
                  "domain %s is shut off and has no memory: ask without it", domain->record.name);
    else if (!inside && strcmp(state, "paused") == 0)
        error_set(
            err, SNAPVM_ERROR_INVALID_STATE,
            "domain %s is paused, and its memory is saved to a file only while it runs: let it go "
            "on, or ask for internal memory",
            domain->record.name);
    else
        return 0;
    return error_text(err, "state", state);
}

/* The saved memory holds what the guest is in the middle of. A freeze that is on its way would be
 * obeyed when it is started again; of one that holds, the record has to tell. */
static int memory_check_freeze(const struct domain *domain, json_object *params, struct error *err)
{
    const char *quiesce = json_string(params, "quiesce");
    bool asked = quiesce && strcmp(quiesce, "none") != 0;

    if (!domain->freezing && (!domain->debt || asked))
        return 0;
    error_set(err, SNAPVM_ERROR_INVALID_STATE,
              domain->freezing
                  ? "a freeze of domain %s is on its way; wait for its answer"
                  : "domain %s is frozen, and so would be its memory: thaw it (guest.thaw), or ask "
                    "for a quiesced snapshot",
              domain->record.name);
    return error_text(err, "state", domain->freezing ? "freezing" : domain_freeze_name(domain));
}

int create_memory_check(const struct domain *domain, json_object *params, struct error *err)
{
    json_object *memory = json_sub(params, "memory");

    if (!memory)
        return 0;
    if (create_memory_is_inside(params) && json_string(memory, "file"))
        return bad_param(err, "memory", "memory inside an image lies in no file of its own");
    if (json_flag(params, "disk_only", 0))
        return bad_param(err, "memory", "a snapshot of the disks only has no memory");
    if (memory_check_state(domain, create_memory_is_inside(params), err) < 0 ||
        memory_check_freeze(domain, params, err) < 0)
        return -1;
    if (create_memory_is_inside(params) && strcmp(domain_state(domain), "unknown") != 0 &&
        domain_need_feature(domain, QMP_FEATURE_SNAPSHOT_JOBS, err) < 0)
        return -1;
    return job_need_free(domain, err); /* those of somebody else are looked for by the job */
}

/* QEMU takes the two in different jobs, between which the guest goes on. */
static int memory_add_inside(struct job *job, struct error *err)
{
    if (!job_image(job, NULL, "overlay")) {
        snapshot_job_add_memory_inside(job);
        return 0;
    }
    error_set(err, SNAPVM_ERROR_UNSUPPORTED,
              "memory inside an image goes with snapshots inside images: QEMU takes no overlays at "
              "the same instant; leave their disks out, or ask for external memory");
    return error_text(err, "feature", "memory inside an image beside overlays");
}

int create_memory_add(const struct conf *conf, struct job *job, json_object *params,
                      struct error *err)
{
    json_object *memory = json_sub(params, "memory");
    const char *file = json_string(memory, "file");
    _cleanup_free_ char *beside = NULL;

    if (!memory)
        return 0;
    if (create_memory_is_inside(params))
        return memory_add_inside(job, err);
    if (internal_has(job)) {
        error_set(
            err, SNAPVM_ERROR_UNSUPPORTED,
            "memory in a file goes with overlays: QEMU cannot write into images that it gives "
            "up while the memory is saved");
        return error_text(err, "feature", "memory in a file beside snapshots inside images");
    }
    if (!file)
        file = beside = overlay_default_memory(job->domain, job_image(job, NULL, "overlay")->file,
                                               job->record.snapshot);
    if (overlay_check_file(conf, job->domain, file, false, err) < 0)
        return -1;
    for (unsigned i = 0; i < job->record.n_images; i++)
        if (strcmp(job->record.images[i].file, file) == 0)
            return bad_param(err, "memory", "the memory and an overlay would get the same file");
    snapshot_job_add_memory(job, file);
    return 0;
}
