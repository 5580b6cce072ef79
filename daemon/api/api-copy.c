/* block.copy: a disk to a file. What can be told from the model is checked at once, what takes a
 * look at files on the worker; then all is checked once more, since the world went on meanwhile. */
#include <stdlib.h>
#include <string.h>

#include "api/answer.h"
#include "api/block.h"
#include "api/call.h"
#include "api/context.h"
#include "api/handlers.h"
#include "api/overlay.h"
#include "api/target.h"
#include "base/memory.h"
#include "base/worker.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "job/copy.h"
#include "job/engine.h"
#include "job/needed.h"
#include "proto/snapvm-errors.h"
#include "qemu/process.h"
#include "qemu/view.h"

#define GRANULARITY_MIN 512
#define GRANULARITY_MAX (INT64_C(64) << 20)
#define BUF_SIZE_MAX (INT64_C(1) << 30)

static int bad_param(struct error *err, const char *param, const char *sentence)
{
    error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "%s", sentence);
    return error_text(err, "param", param);
}

static int unsupported(struct error *err, const char *feature)
{
    error_set(err, SNAPVM_ERROR_UNSUPPORTED, "this snapvmd has no %s", feature);
    return error_text(err, "feature", feature);
}

static void request_read(json_object *params, struct copy_request *ret_request)
{
    json_object *dest = json_sub(params, "dest");

    *ret_request = (struct copy_request){
        .file = json_string(dest, "file"),
        .format = json_string(dest, "format"),
        .shallow = json_flag(params, "shallow", 0),
        .reuse = json_flag(params, "reuse", 0),
        .sync_writes = json_flag(params, "sync_writes", 0),
        .auto_pivot = json_flag(params, "auto_pivot", 0),
        .granularity = json_int(params, "granularity", 0),
        .buf_size = json_int(params, "buf_size", 0),
        .bandwidth = json_int(params, "bandwidth", 0),
    };
}

static int check_numbers(json_object *params, const struct copy_request *request, struct error *err)
{
    int64_t granularity = request->granularity;

    if (json_member(params, "granularity") &&
        (granularity < GRANULARITY_MIN || granularity > GRANULARITY_MAX ||
         (granularity & (granularity - 1)) != 0))
        return bad_param(err, "granularity", "granularity is a power of two from 512 to 64 Mi");
    if (request->buf_size > BUF_SIZE_MAX)
        return bad_param(err, "buf_size", "buf_size is at most 1 Gi");
    return 0;
}

static int check_live(struct domain *domain, const struct copy_request *request, struct error *err)
{
    if (domain->gone)
        return unsupported(err, "copies of guests that are shut off: qemu-img convert makes them");
    if (domain_need_live(domain, err) < 0 ||
        domain_need_feature(domain, QMP_FEATURE_TWO_PHASE, err) < 0 ||
        domain_need_feature(domain, QMP_FEATURE_MIRROR, err) < 0)
        return -1;
    return request->sync_writes ? domain_need_feature(domain, QMP_FEATURE_SYNC_WRITES, err) : 0;
}

static int check_disk(const struct domain *domain, const struct record_disk *disk,
                      struct error *err)
{
    const struct view_disk *seen = disk_in_view(domain, disk);

    if (block_check_disk(domain, disk, err) < 0)
        return -1;
    if (seen && seen->read_only)
        return block_image_error(err, disk->chain[0].file, "read-only",
                                 "a read-only disk does not change: copy its file");
    if (disk->chain[0].file[0] != '/')
        return block_image_error(err, disk->chain[0].file, "no plain file",
                                 "the disk's image is no plain local file");
    return 0;
}

/* The format of the active layer unless the caller says another one. */
static int check_format(const struct record_disk *disk, struct copy_request *request,
                        struct error *err)
{
    if (!request->format)
        request->format = disk->chain[0].format;
    if (strcmp(request->format, "qcow2") != 0 && strcmp(request->format, "raw") != 0)
        return unsupported(err, "copies of other formats than qcow2 and raw: name one of them");
    if (!copy_is_shallow(request, disk))
        return 0;
    if (strcmp(request->format, "raw") == 0)
        return block_image_error(err, request->file, "no backing file",
                                 "a raw image has no backing file, and a shallow copy needs one: "
                                 "leave out shallow, or make it qcow2");
    if (disk->chain[1].file[0] != '/')
        return block_image_error(err, disk->chain[1].file, "no plain file",
                                 "the layer below is no plain local file, so no copy can name it");
    return 0;
}

static int copy_check(struct call *call, struct domain *domain, struct record_disk **ret_disk,
                      struct copy_request *ret_request, struct error *err)
{
    json_object *params = call_params(call);

    request_read(params, ret_request);
    *ret_disk = disk_need(domain, json_string(params, "disk"), err);
    if (!*ret_disk || check_numbers(params, ret_request, err) < 0 ||
        check_live(domain, ret_request, err) < 0 || check_disk(domain, *ret_disk, err) < 0 ||
        check_format(*ret_disk, ret_request, err) < 0)
        return -1;
    return overlay_check_file(call_context(call)->conf, domain, ret_request->file,
                              ret_request->reuse, err);
}

/* --- a look at the files --- */

struct looking {
    struct call *call;
    struct target target;
    struct error err;
};

static void looking_free(void *arg)
{
    struct looking *looking = arg;

    target_deinit(&looking->target);
    error_clear(&looking->err);
    free(looking);
}

static void looking_run(void *arg)
{
    struct looking *looking = arg;

    target_check(&looking->target, &looking->err);
}

static void looking_fill(struct looking *looking, const struct domain *domain,
                         const struct record_disk *disk, const struct copy_request *request)
{
    const struct process *qemu = &domain->record.qemu;
    struct target *target = &looking->target;
    struct domain *other, *next;
    bool shallow = copy_is_shallow(request, disk);

    target->path = process_reach(qemu, request->file);
    target->name = xstrdup(request->file);
    target->format = xstrdup(request->format);
    target->reuse = request->reuse;
    target->virtual_size = disk->chain[0].virtual_size;
    for (unsigned i = 0; i < (shallow ? 1 : disk->n_chain); i++) {
        _cleanup_free_ char *path = process_reach(qemu, disk->chain[i].file);

        target_add_layer(target, path, disk->chain[i].format);
    }
    target->backing = shallow ? process_reach(qemu, disk->chain[1].file) : NULL;
    target->backing_name = shallow ? xstrdup(disk->chain[1].file) : NULL;
    HASH_ITER (hh, domain->owner->map, other, next) {
        needed_add_domain(&target->needed, other);
    }
}

static void copy_start(struct call *call, struct domain *domain, struct record_disk *disk,
                       const struct copy_request *request)
{
    struct job *job = copy_new(call_context(call)->engine, domain, disk, request);

    xstrset(&job->record.request_id, json_string(call_params(call), "request_id"));
    engine_start(job, answer_note_job, block_started, call);
}

static void looked(void *arg)
{
    struct looking *looking = arg;
    struct call *call = looking->call;
    _cleanup_error_ struct error err = {0};
    struct copy_request request;
    struct record_disk *disk;
    struct domain *domain;

    error_move(&err, &looking->err);
    looking_free(looking);
    if (err.code) {
        call_error(call, &err);
        return;
    }
    domain = answer_need_domain(call);
    if (!domain)
        return;
    if (copy_check(call, domain, &disk, &request, &err) < 0)
        call_error(call, &err);
    else
        copy_start(call, domain, disk, &request);
}

void block_copy_handle(struct call *call)
{
    _cleanup_error_ struct error err = {0};
    struct copy_request request;
    struct looking *looking;
    struct record_disk *disk;
    struct domain *domain;

    if (!answer_is_new(call, "no"))
        return;
    domain = answer_need_domain(call);
    if (!domain)
        return;
    if (copy_check(call, domain, &disk, &request, &err) < 0) {
        call_error(call, &err);
        return;
    }
    looking = xzalloc(sizeof(*looking));
    looking->call = call;
    looking_fill(looking, domain, disk, &request);
    worker_run(call_context(call)->worker, looking_run, looked, looking_free, looking);
}
