/* block.*: jobs on the layers of a disk. */
#include <stdlib.h>
#include <string.h>

#include "api/answer.h"
#include "api/block.h"
#include "api/call.h"
#include "api/context.h"
#include "api/handlers.h"
#include "api/request.h"
#include "api/wire.h"
#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "domain/shutoff.h"
#include "domain/snapshot.h"
#include "job/commit.h"
#include "job/engine.h"
#include "job/merge.h"
#include "job/off-merge.h"
#include "proto/snapvm-errors.h"
#include "qemu/view.h"

int block_image_error(struct error *err, const char *file, const char *reason, const char *sentence)
{
    error_set(err, SNAPVM_ERROR_IMAGE, "%s: %s", file, sentence);
    error_text(err, "file", file);
    return error_text(err, "reason", reason);
}

/* A layer of a disk's chain by its path, its node's name, or TARGET[INDEX]; -1 when it is none. */
static int commit_layer(const struct domain *domain, const struct record_disk *disk,
                        const char *name, struct error *err)
{
    const struct view_node *node = disk_top(domain, disk);
    size_t length = strlen(disk->target);
    char *end;
    unsigned long index;

    if (strncmp(name, disk->target, length) == 0 && name[length] == '[') {
        index = strtoul(name + length + 1, &end, 10);
        if (strcmp(end, "]") == 0 && index < disk->n_chain)
            return (int)index;
    }
    for (unsigned i = 0; i < disk->n_chain; i++) {
        if (strcmp(disk->chain[i].file, name) == 0 || (node && strcmp(node->name, name) == 0))
            return (int)i;
        node = node ? view_below(domain->view, node) : NULL;
    }
    return block_image_error(err, name, "missing",
                             "is no layer of this disk; domain.get shows its chain");
}

/* The layers that are meant, by their index in the chain: 0 is the active one. */
struct layers {
    int top, base;
};

static int commit_layers(struct domain *domain, struct record_disk *disk, json_object *params,
                         struct layers *ret, struct error *err)
{
    const char *top = json_string(params, "top"), *base = json_string(params, "base");
    bool shallow = json_flag(params, "shallow", 0);

    ret->top = top ? commit_layer(domain, disk, top, err) : 0;
    if (ret->top < 0)
        return -1;
    if (base && shallow) {
        error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "shallow says the base already: leave one out");
        return error_text(err, "param", "shallow");
    }
    if ((unsigned)ret->top + 1 >= disk->n_chain)
        return block_image_error(err, disk->chain[ret->top].file, "no backing file",
                                 "has no backing file to commit into");
    ret->base = base      ? commit_layer(domain, disk, base, err)
                : shallow ? ret->top + 1
                          : (int)disk->n_chain - 1;
    if (ret->base < 0)
        return -1;
    if (ret->base <= ret->top)
        return block_image_error(err, disk->chain[ret->base].file, "not below the top",
                                 "the base has to lie below the top");
    return 0;
}

/* How many there are in a layer; of a running guest also those that no record tells of. */
static unsigned block_count_inside(const struct domain *domain, const struct record_disk *disk,
                                   int layer)
{
    unsigned n = snapshot_count_inside(domain, disk->chain[layer].file);
    const struct view_node *node = domain->view ? disk_top(domain, disk) : NULL;

    for (int i = 0; node && i < layer; i++)
        node = view_below(domain->view, node);
    return node && node->n_snapshots > n ? node->n_snapshots : n;
}

/* What is inside an image reads through to what lies below it: none of these layers may come to lie
 * on anything else, or on anything that is written to. */
static int block_check_inside(const struct domain *domain, const struct record_disk *disk,
                              int first, int end, struct error *err)
{
    for (int i = first; i < end; i++) {
        unsigned n = block_count_inside(domain, disk, i);

        if (n == 0)
            continue;
        error_set(err, SNAPVM_ERROR_HAS_SNAPSHOTS,
                  "%u snapshots inside %s read through to the layers below it, which would change: "
                  "delete them first",
                  n, disk->chain[i].file);
        return error_number(err, "count", n);
    }
    return 0;
}

static int commit_check_active(json_object *params, const struct layers *layers, struct error *err)
{
    if (layers->top > 0 || json_flag(params, "active", 0))
        return 0;
    return error_set(err, SNAPVM_ERROR_ACTIVE_REQUIRED,
                     "the active layer is written all the time, so its commit gets ready and then "
                     "waits for job.pivot or job.cancel; say active: true if you mean that");
}

/* A filter that a job has put above a layer. One that nobody named is looked through by most of
 * QEMU's queries: what is shown as the disk's root then is the layer. */
static bool is_job_filter(const struct view_node *node)
{
    return strcmp(node->driver, "commit_top") == 0 || strcmp(node->driver, "mirror_top") == 0 ||
           (strcmp(node->driver, "copy-on-read") == 0 && node->name[0] == '#');
}

/* Whether a job that is none of ours works on a layer of the disk. */
static bool block_is_held(const struct domain *domain, const struct record_disk *disk)
{
    const struct view_node *node, *next;

    HASH_ITER (hh, domain->view->nodes, node, next) {
        for (unsigned i = 0; i < disk->n_chain && node->file && is_job_filter(node); i++)
            if (strcmp(node->file, disk->chain[i].file) == 0)
                return true;
    }
    return false;
}

int block_check_disk(const struct domain *domain, const struct record_disk *disk, struct error *err)
{
    const struct view_disk *seen = disk_in_view(domain, disk);
    const struct view_node *root = seen ? view_node(domain->view, seen->root) : NULL;
    _cleanup_free_ char *names = NULL;

    if (job_need_free_disk(domain, disk->target, err) < 0)
        return -1;
    if (!root || disk->n_chain == 0)
        return block_image_error(err, disk->target, "missing", "QEMU has no image in this drive");
    if (!block_is_held(domain, disk))
        return 0;
    names = wire_foreign_names(domain);
    return error_set(err, SNAPVM_ERROR_BUSY,
                     "a job that somebody else started in QEMU holds disk %s: %s; wait for its "
                     "end, or have it ended by who started it",
                     disk->target, names ? names : "it ends just now");
}

void block_started(void *arg, struct job *job, const struct error *err)
{
    struct call *call = arg;

    if (err) {
        call_error(call, err);
        return;
    }
    request_started(call, job->record.id);
    answer_job(call, job, "no");
}

static void commit_start(struct call *call, struct domain *domain, struct record_disk *disk,
                         const struct layers *layers, bool off)
{
    json_object *params = call_params(call);
    uint32_t flags = 0;
    struct job *job;

    if (json_flag(params, "delete", 0))
        flags |= JOB_DELETE;
    if (json_flag(params, "auto_pivot", 0))
        flags |= JOB_AUTO_PIVOT;
    if (off)
        job = off_merge_new(call_context(call)->engine, domain, disk, (unsigned)layers->top,
                            (unsigned)layers->base, flags & JOB_DELETE,
                            json_int(params, "bandwidth", 0));
    else if (layers->top == 0)
        job = commit_new(call_context(call)->engine, domain, disk, (unsigned)layers->base, flags,
                         json_int(params, "bandwidth", 0));
    else
        job = merge_commit_new(call_context(call)->engine, domain, disk, (unsigned)layers->top,
                               (unsigned)layers->base, flags & JOB_DELETE,
                               json_int(params, "bandwidth", 0));
    xstrset(&job->record.request_id, json_string(params, "request_id"));
    engine_start(job, answer_note_job, block_started, call);
}

/* Nobody may have a layer open that is merged, or the one whose header is to be changed. */
static int commit_check_held(const struct record_disk *disk, const struct image_chain *chain,
                             const struct layers *layers, struct error *err)
{
    for (int i = layers->top > 0 ? layers->top - 1 : 0; i <= layers->base; i++)
        if (chain->layers[i].holders.readers || chain->layers[i].holders.writers)
            return image_in_use(err, disk->chain[i].file);
    return 0;
}

/* Of a guest that is shut off. */
static int commit_check_files(struct call *call, struct domain *domain, struct record_disk *disk,
                              const struct shutoff *files, struct layers *ret_layers,
                              struct error *err)
{
    const struct shutoff_disk *seen;

    if (job_need_free_disk(domain, disk->target, err) < 0)
        return -1;
    seen = shutoff_take(files, disk, err);
    if (!seen || commit_layers(domain, disk, call_params(call), ret_layers, err) < 0)
        return -1;
    return commit_check_held(disk, &seen->chain, ret_layers, err);
}

static int commit_check_live(struct call *call, struct domain *domain, struct record_disk *disk,
                             struct layers *ret_layers, struct error *err)
{
    if (domain_need_live(domain, err) < 0 ||
        domain_need_feature(domain, QMP_FEATURE_TWO_PHASE, err) < 0 ||
        block_check_disk(domain, disk, err) < 0)
        return -1;
    return commit_layers(domain, disk, call_params(call), ret_layers, err);
}

static void commit_try(struct call *call, const struct shutoff *files);

static void commit_looked(void *arg, struct shutoff *files)
{
    commit_try(arg, files);
}

/* Of a guest that is shut off the files are read first; by then all may be different, so everything
 * is looked at again. */
static void commit_try(struct call *call, const struct shutoff *files)
{
    struct domain *domain = answer_need_domain(call);
    _cleanup_error_ struct error err = {0};
    struct record_disk *disk;
    struct layers layers = {0};
    bool off;

    if (!domain)
        return;
    off = strcmp(domain_state(domain), "shutoff") == 0;
    disk = disk_need(domain, json_string(call_params(call), "disk"), &err);
    if (off && disk && !files) {
        shutoff_look(domain, commit_looked, call);
        return;
    }
    if (!disk ||
        (off ? commit_check_files(call, domain, disk, files, &layers, &err)
             : commit_check_live(call, domain, disk, &layers, &err)) < 0 ||
        commit_check_active(call_params(call), &layers, &err) < 0 ||
        block_check_inside(domain, disk, layers.top, layers.base, &err) < 0)
        call_error(call, &err);
    else
        commit_start(call, domain, disk, &layers, off);
}

void block_commit_handle(struct call *call)
{
    if (answer_is_new(call, "no"))
        commit_try(call, NULL);
}

/* --- block.pull --- */

/* `top` receives the data of all that lies between it and the base; without a base (n_chain) of all
 * that lies below. */
static int pull_layers(struct domain *domain, struct record_disk *disk, json_object *params,
                       struct layers *ret, struct error *err)
{
    const char *top = json_string(params, "top"), *base = json_string(params, "base");

    ret->top = top ? commit_layer(domain, disk, top, err) : 0;
    if (ret->top < 0)
        return -1;
    if ((unsigned)ret->top + 1 >= disk->n_chain)
        return block_image_error(err, disk->chain[ret->top].file, "no backing file",
                                 "has no backing file to pull from");
    ret->base = base ? commit_layer(domain, disk, base, err) : (int)disk->n_chain;
    if (ret->base < 0)
        return -1;
    if (ret->base <= ret->top)
        return block_image_error(err, disk->chain[ret->base].file, "not below the top",
                                 "the base has to lie below the top");
    if (ret->base == ret->top + 1)
        return block_image_error(err, disk->chain[ret->base].file, "nothing between",
                                 "nothing lies between the top and this base");
    return 0;
}

static int pull_check(struct call *call, struct domain *domain, struct record_disk **ret_disk,
                      struct layers *ret_layers, struct error *err)
{
    json_object *params = call_params(call);

    *ret_disk = disk_need(domain, json_string(params, "disk"), err);
    if (!*ret_disk)
        return -1;
    if (domain_is_shutoff(domain)) {
        error_set(err, SNAPVM_ERROR_UNSUPPORTED,
                  "this snapvmd pulls layers of running guests alone: start the guest first");
        return error_text(err, "feature", "pull in guests that are shut off");
    }
    if (domain_need_live(domain, err) < 0 ||
        domain_need_feature(domain, QMP_FEATURE_HMP, err) < 0 ||
        block_check_disk(domain, *ret_disk, err) < 0)
        return -1;
    if (pull_layers(domain, *ret_disk, params, ret_layers, err) < 0)
        return -1;
    return block_check_inside(domain, *ret_disk, ret_layers->top, ret_layers->top + 1, err);
}

void block_pull_handle(struct call *call)
{
    _cleanup_error_ struct error err = {0};
    struct domain *domain;
    struct record_disk *disk;
    struct layers layers = {0};
    struct job *job;

    if (!answer_is_new(call, "no"))
        return;
    domain = answer_need_domain(call);
    if (!domain)
        return;
    if (pull_check(call, domain, &disk, &layers, &err) < 0) {
        call_error(call, &err);
        return;
    }
    job = merge_pull_new(call_context(call)->engine, domain, disk, (unsigned)layers.top,
                         (unsigned)layers.base, json_int(call_params(call), "bandwidth", 0));
    xstrset(&job->record.request_id, json_string(call_params(call), "request_id"));
    engine_start(job, answer_note_job, block_started, call);
}
