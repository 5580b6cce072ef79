/* snapshot.create: which disks get an overlay, checked before the job begins. */
#include <string.h>

#include "api/answer.h"
#include "api/block.h"
#include "api/call.h"
#include "api/context.h"
#include "api/create-memory.h"
#include "api/create-xml.h"
#include "api/handlers.h"
#include "api/overlay.h"
#include "api/turn.h"
#include "base/clock.h"
#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "domain/shutoff.h"
#include "domain/snapshot.h"
#include "job/engine.h"
#include "job/snapshot-job.h"
#include "proto/limits.h"
#include "proto/snapvm-errors.h"
#include "qemu/view.h"

static int bad_param(struct error *err, const char *param, const char *sentence)
{
    error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "%s", sentence);
    return error_text(err, "param", param);
}

static int bad_disk(struct error *err, const struct record_disk *disk, const char *sentence)
{
    error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "disk %s: %s", disk->target, sentence);
    return error_text(err, "param", "disks");
}

static int create_no_format(const struct record_disk *disk, const char *format, struct error *err)
{
    error_set(err, SNAPVM_ERROR_UNSUPPORTED,
              "disk %s: an overlay is qcow2 here, and not %s: leave format out", disk->target,
              format);
    return error_text(err, "feature", "overlays of another format than qcow2");
}

static int create_no_disks(const struct domain *domain, struct error *err)
{
    error_set(err, SNAPVM_ERROR_INVALID_PARAMS,
              "domain %s has no disk that a snapshot is meant of: name those that are (disks); "
              "domain.get shows what there is",
              domain->record.name);
    return error_text(err, "param", "disks");
}

/* Nobody could say when somebody else is done, and the guest would stand until then. */
static int create_no_manual(const struct record_disk *disk, struct error *err)
{
    error_set(err, SNAPVM_ERROR_UNSUPPORTED,
              "snapvmd holds no guest for a snapshot of disk %s that somebody else takes (manual): "
              "leave the disk out; for yours freeze the guest (guest.freeze), take it, thaw it, "
              "and tell of it by snapshot.redefine",
              disk->target);
    return error_text(err, "feature", "manual snapshots");
}

/* A snapshot that is being put together. */
struct create {
    struct call *call;
    struct job *job;
    const struct shutoff *files; /* of a guest that is shut off; NULL: it runs */
};

static int create_check_options(const struct domain *domain, json_object *params, struct error *err)
{
    if (!json_flag(params, "halt", 0) || strcmp(domain_state(domain), "shutoff") != 0)
        return 0;
    error_set(err, SNAPVM_ERROR_INVALID_STATE, "domain %s is shut off already: leave halt out",
              domain->record.name);
    return error_text(err, "state", "shutoff");
}

static int create_check_name(const struct domain *domain, const char *name, struct error *err)
{
    if (!snapshot_valid_name(name))
        return bad_param(err, "name",
                         "a snapshot's name is 1 to 255 bytes without '/', control characters or a "
                         "leading '.'");
    if (turn_need_free(domain, err) < 0)
        return -1;
    if (!snapshot_find(domain, name))
        return 0;
    error_set(err, SNAPVM_ERROR_ALREADY_EXISTS,
              "domain %s has a snapshot \"%s\" already: choose another name, or delete that one",
              domain->record.name, name);
    error_text(err, "object", "snapshot");
    return error_text(err, "name", name);
}

static int create_image_error(const struct record_disk *disk, const char *reason,
                              const char *sentence, struct error *err)
{
    error_set(err, SNAPVM_ERROR_IMAGE, "disk %s: %s", disk->target, sentence);
    error_text(err, "file", disk->n_chain ? disk->chain[0].file : "");
    return error_text(err, "reason", reason);
}

/* The same for a guest that is shut off, by what its files show. What is written to may not be read
 * by others either. */
static int create_check_files(const struct domain *domain, const struct shutoff *files,
                              struct record_disk *disk, bool writes, struct error *err)
{
    const struct image_holders *holders;
    const struct shutoff_disk *seen;

    if (job_need_free_disk(domain, disk->target, err) < 0)
        return -1;
    if (disk->read_only)
        return create_image_error(
            disk, "read-only",
            "a read-only disk does not change, and gets no overlay: leave it out", err);
    seen = shutoff_take(files, disk, err);
    if (!seen)
        return -1;
    holders = &seen->chain.layers[0].holders;
    return holders->writers || (writes && holders->readers) ? image_in_use(err, disk->chain[0].file)
                                                            : 0;
}

/* Whether a disk of a live guest can get an overlay. */
static int create_check_disk(const struct domain *domain, const struct record_disk *disk,
                             struct error *err)
{
    const struct view_disk *seen = disk_in_view(domain, disk);
    const struct view_node *top = disk_top(domain, disk);

    if (job_need_free_disk(domain, disk->target, err) < 0)
        return -1;
    if (!seen || !top || disk->n_chain == 0)
        return create_image_error(disk, "missing", "QEMU has no image in this drive: leave it out",
                                  err);
    if (block_check_disk(domain, disk, err) < 0)
        return -1;
    if (seen->read_only)
        return create_image_error(
            disk, "read-only",
            "a read-only disk does not change, and gets no overlay: leave it out", err);
    if (disk->format && strcmp(disk->format, top->driver) != 0)
        return create_image_error(disk, "wrong format",
                                  "QEMU reads its image in another format than the domain's "
                                  "definition says; undefine it and define it anew",
                                  err);
    if (disk->chain[0].file[0] != '/')
        return create_image_error(
            disk, "no plain file",
            "its image is no plain local file, so no overlay can name it: leave it "
            "out",
            err);
    return 0;
}

static bool create_has_disk(const struct job *job, const struct record_disk *disk)
{
    return job_image(job, disk->target, "overlay") || job_image(job, disk->target, "internal");
}

static unsigned create_n_disks(const struct job *job)
{
    unsigned n = 0;

    for (unsigned i = 0; i < job->record.n_images; i++)
        n += strcmp(job->record.images[i].role, "source") != 0;
    return n;
}

static int create_check_room(const struct job *job, struct error *err)
{
    if (create_n_disks(job) < LIMIT_SNAPSHOT_DISKS)
        return 0;
    error_set(err, SNAPVM_ERROR_LIMIT_EXCEEDED,
              "a snapshot has at most %d disks: leave the others out", LIMIT_SNAPSHOT_DISKS);
    error_text(err, "limit", "disks");
    return error_number(err, "value", LIMIT_SNAPSHOT_DISKS);
}

static int create_add(const struct create *create, struct record_disk *disk, const char *file,
                      bool reuse, struct error *err)
{
    const struct conf *conf = call_context(create->call)->conf;
    struct job *job = create->job;
    _cleanup_free_ char *beside = NULL;

    if ((create->files ? create_check_files(job->domain, create->files, disk, false, err)
                       : create_check_disk(job->domain, disk, err)) < 0)
        return -1;
    if (!file)
        file = beside = overlay_default_file(conf, job->domain, disk, job->record.snapshot);
    if (overlay_check_file(conf, job->domain, file, reuse, err) < 0)
        return -1;
    for (unsigned i = 0; i < job->record.n_images; i++)
        if (strcmp(job->record.images[i].file, file) == 0)
            return bad_disk(err, disk,
                            "another one would get the same overlay file: give each its own");
    if (create_check_room(job, err) < 0)
        return -1;
    if (create->files)
        snapshot_job_add_layer(job, disk, file, reuse);
    else
        snapshot_job_add_disk(job, disk, file, reuse);
    return 0;
}

/* A snapshot inside the disk's image: of what formats can hold one, qcow2 alone is written to. */
static int create_add_internal(const struct create *create, struct record_disk *disk,
                               struct error *err)
{
    struct job *job = create->job;
    const char *format;

    if ((create->files ? create_check_files(job->domain, create->files, disk, true, err)
                       : create_check_disk(job->domain, disk, err)) < 0 ||
        create_check_room(job, err) < 0)
        return -1;
    format = disk->chain[0].format;
    if (strcmp(format, "qcow2") != 0)
        return create_image_error(disk, "wrong format",
                                  "its image is not qcow2, and holds no snapshot inside: take an "
                                  "external one of it, or convert the image",
                                  err);
    snapshot_job_add_internal(job, disk);
    return 0;
}

static int create_add_named(const struct create *create, json_object *named, struct error *err)
{
    const struct job *job = create->job;
    const char *mode = json_string(named, "mode"), *format = json_string(named, "format");
    const char *file = json_string(named, "file");
    bool inside = mode ? strcmp(mode, "internal") == 0
                       : create_memory_is_inside(call_params(create->call));
    bool reuse = json_flag(named, "reuse", 0);
    struct record_disk *disk = disk_need(job->domain, json_string(named, "disk"), err);

    if (!disk)
        return -1;
    if (create_has_disk(job, disk))
        return bad_disk(err, disk, "it is named twice");
    if (mode && strcmp(mode, "no") == 0)
        return 0;
    if (mode && strcmp(mode, "manual") == 0)
        return create_no_manual(disk, err);
    if (inside && (file || reuse))
        return bad_disk(err, disk,
                        "an internal snapshot lies in the disk's own image: leave file and reuse "
                        "out");
    if (format && strcmp(format, "qcow2") != 0)
        return create_no_format(disk, format, err);
    if (inside)
        return create_add_internal(create, disk, err);
    if (reuse && !file)
        return bad_disk(err, disk, "reuse needs the file that is to be used");
    return create_add(create, disk, file, reuse, err);
}

/* Why a disk gets no overlay when nobody names it; NULL for one that is meant. */
static const char *create_why_not(const struct create *create, const struct record_disk *disk)
{
    const struct view_disk *seen = disk_in_view(create->job->domain, disk);

    if (create->files ? disk->n_chain == 0 : !seen)
        return "empty";
    if (create->files ? disk->read_only : seen->read_only)
        return "read-only";
    return disk->firmware ? "firmware" : NULL;
}

static void left_out_add(json_object *list, const char *disk, const char *reason)
{
    json_object *object = json_object_new_object();

    json_add_string(object, "disk", disk);
    json_add_string(object, "reason", reason);
    json_object_array_add(list, object);
}

/* A drive that nothing was ever in is no disk of the record. */
static void create_note_empty(const struct create *create, json_object *list)
{
    struct domain *domain = create->job->domain;

    for (unsigned i = 0; i < domain->view->n_disks; i++) {
        const struct view_disk *seen = &domain->view->disks[i];
        const char *name = seen->qdev ? seen->qdev : seen->device;

        if (!seen->root && name && !disk_find(domain, name))
            left_out_add(list, name, "empty");
    }
}

/* What the snapshot does not have is told with it. */
static void create_note_left_out(const struct create *create)
{
    const struct domain *domain = create->job->domain;
    _cleanup_json_ json_object *list = json_object_new_array();

    for (unsigned i = 0; i < domain->record.n_disks; i++) {
        const struct record_disk *disk = &domain->record.disks[i];
        const char *why = create_why_not(create, disk);

        if (!create_has_disk(create->job, disk))
            left_out_add(list, disk->target, why ? why : "not asked for");
    }
    if (!create->files)
        create_note_empty(create, list);
    if (json_object_array_length(list) > 0)
        xstrset(&create->job->record.left_out, json_text(list));
}

static int create_add_disks(const struct create *create, struct error *err)
{
    json_object *disks = json_array(call_params(create->call), "disks");
    struct domain *domain = create->job->domain;
    bool inside = create_memory_is_inside(call_params(create->call));

    for (size_t i = 0; disks && i < json_object_array_length(disks); i++)
        if (create_add_named(create, json_object_array_get_idx(disks, i), err) < 0)
            return -1;
    /* Without a list all disks that can change are meant. */
    for (unsigned i = 0; i < domain->record.n_disks && !disks; i++) {
        struct record_disk *disk = &domain->record.disks[i];

        if (create_why_not(create, disk))
            continue;
        if ((inside ? create_add_internal(create, disk, err)
                    : create_add(create, disk, NULL, false, err)) < 0)
            return -1;
    }
    if (create->job->record.n_images == 0)
        return create_no_disks(domain, err);
    create_note_left_out(create);
    return 0;
}

static uint32_t create_flags(json_object *params)
{
    const char *quiesce = json_string(params, "quiesce");
    uint32_t flags = json_flag(params, "metadata", 1) ? 0 : JOB_NO_METADATA;

    if (json_flag(params, "halt", 0))
        flags |= JOB_HALT;
    if (quiesce && strcmp(quiesce, "required") == 0)
        flags |= JOB_QUIESCE_REQUIRED;
    if (quiesce && strcmp(quiesce, "preferred") == 0)
        flags |= JOB_QUIESCE_PREFERRED;
    return flags;
}

static int create_check(struct domain *domain, const char *name, json_object *params,
                        struct error *err)
{
    if (create_check_options(domain, params, err) < 0 || create_check_name(domain, name, err) < 0 ||
        create_memory_check(domain, params, err) < 0)
        return -1;
    if (strcmp(domain_state(domain), "shutoff") == 0)
        return 0;
    if (domain_need_live(domain, err) < 0)
        return -1;
    return domain_need_feature(domain, QMP_FEATURE_TRANSACTION, err);
}

static void create_start(struct call *call, struct domain *domain, const char *name,
                         const struct shutoff *files)
{
    json_object *params = call_params(call);
    _cleanup_error_ struct error err = {0};
    struct job *job = snapshot_job_new(call_context(call)->engine, domain, name,
                                       json_string(params, "description"), create_flags(params));
    struct create create = {call, job, files};

    xstrset(&job->record.request_id, json_string(params, "request_id"));
    if (create_add_disks(&create, &err) < 0 ||
        create_memory_add(call_context(call)->conf, job, params, &err) < 0) {
        job_free(job);
        call_error(call, &err);
        return;
    }
    engine_start(job, answer_note_job, answer_started, call);
}

static void create_try(struct call *call, const struct shutoff *files);

static void create_looked(void *arg, struct shutoff *files)
{
    turn_end(arg);
    create_try(arg, files);
}

/* Of a guest that is shut off the files are read first; by then all may be different, so everything
 * is looked at again. */
static void create_try(struct call *call, const struct shutoff *files)
{
    const char *name = json_string(call_params(call), "name");
    struct domain *domain = answer_need_domain(call);
    _cleanup_error_ struct error err = {0};
    char now[CLOCK_TEXT];
    bool off;

    if (!domain)
        return;
    if (!name)
        name = clock_name(clock_now(), now);
    off = strcmp(domain_state(domain), "shutoff") == 0;
    if (create_check(domain, name, call_params(call), &err) < 0)
        call_error(call, &err);
    else if (off && !files) {
        turn_take(call);
        shutoff_look(domain, create_looked, call);
    } else
        create_start(call, domain, name, off ? files : NULL);
}

/* Whether the parameters are whole: the call has its answer otherwise. */
static bool create_takes_xml(struct call *call)
{
    _cleanup_error_ struct error err = {0};
    struct domain *domain;

    if (!json_string(call_params(call), "xml") && json_flag(call_params(call), "validate", 0)) {
        bad_param(&err, "validate",
                  "only XML is held against a schema: give xml, or leave validate out");
        call_error(call, &err);
        return false;
    }
    if (!json_string(call_params(call), "xml"))
        return true;
    domain = answer_need_domain(call);
    if (!domain)
        return false;
    if (create_xml_take(domain, call_params(call), &err) == 0)
        return true;
    call_error(call, &err);
    return false;
}

void snapshot_create_handle(struct call *call)
{
    if (!turn_waits(call) && answer_is_new(call, "ended") && create_takes_xml(call))
        create_try(call, NULL);
}
