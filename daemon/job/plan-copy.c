/* A copy of a disk to a file. Until its end the source is the right image at every instant; whether
 * the target is worth anything is proven by nothing but the end of QEMU's job: READY is a promise
 * about what was copied, not about what is on the disk.
 *
 * The target of a full copy has no backing file. That of a shallow one lies on the backing file of
 * the source, and so does its node from the start: QEMU attaches none when it pivots, and a guest
 * that went on without it would lose all that is below. */
#include "job/copy.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "job/files.h"
#include "job/keep.h"
#include "job/leg.h"
#include "job/pivot.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "qemu/qmp-command.h"
#include "qemu/qmp.h"
#include "qemu/view.h"

static struct record_image *copy_target(const struct job *job)
{
    return job_image(job, NULL, "target");
}

static unsigned copy_count(const struct job *job)
{
    unsigned n = 0;

    for (unsigned i = 0; i < job->n_members; i++)
        n += copy_target(job->members[i]) != NULL;
    return n;
}

bool copy_skip(const struct job *job)
{
    return copy_count(job) == 0;
}

/* --- the target: a file, and its node --- */

void copy_target_act(struct job *job)
{
    xstrset(&job->record.state, "running");
    files_create_target(job, job_filed);
}

static void target_removed(struct job *member, const struct error *err)
{
    job_reply(member->leader, err);
}

void copy_target_undo(struct job *job)
{
    job_expect(job, copy_count(job));
    for (unsigned i = 0; i < job->n_members; i++)
        if (copy_target(job->members[i]))
            files_remove_made(job->members[i], target_removed);
}

/* On the way back one that is left is one too many; on the way on there is one alone. */
enum seen copy_open_probe(const struct job *job, const struct view *view)
{
    for (unsigned i = 0; i < job->n_members; i++) {
        const struct record_image *target = copy_target(job->members[i]);

        if (target && view_node(view, target->node))
            return HOLDS;
    }
    return NOT_YET;
}

/* A file that the job made is sparse, and stays so: what is zero takes no room. One that the caller
 * prepared may be allocated on purpose. */
void copy_open_act(struct job *job)
{
    const struct record_image *target = copy_target(job), *below = job_image(job, NULL, "backing");
    const struct record_disk *disk = disk_find(job->domain, job->record.disk);
    const struct view_disk *seen = disk ? disk_in_view(job->domain, disk) : NULL;
    struct qmp_open open = {
        .node = target->node,
        .format = target->format,
        .file = target->file,
        .backing = job_has(job, JOB_SHALLOW) ? below->node : NULL,
        .direct = seen && seen->direct,
        .no_flush = seen && seen->no_flush,
        .discard = target->made,
        .detect_zeroes = seen ? seen->detect_zeroes : NULL,
    };

    job_expect(job, 1);
    qmp_blockdev_add(job_qmp(job), &open, job_reply, job);
}

void copy_open_undo(struct job *job)
{
    job_expect(job, copy_count(job));
    qmp_cork(job_qmp(job));
    for (unsigned i = 0; i < job->n_members; i++)
        if (copy_target(job->members[i]))
            qmp_blockdev_del(job_qmp(job), copy_target(job->members[i])->node, job_reply_lenient,
                             job);
    qmp_uncork(job_qmp(job));
}

/* What it was to be started with is not recorded, and nothing was copied yet. */
int copy_forward(const struct job *job, const struct view *view, struct error *err)
{
    char name[JOB_NAME_SIZE];

    if (!job_is_before(job, "converge") ||
        view_job(view, job_qemu_name(job, job->record.disk, name)))
        return 0;
    return error_set(err, SNAPVM_ERROR_QEMU_GONE,
                     "snapvmd was restarted, or its connection to QEMU was lost, before the copy "
                     "was begun: everything is as it was, ask again");
}

void copy_start_leg(struct job *leader, const struct leg *leg)
{
    char filter[JOB_NAME_SIZE];
    struct qmp_mirror mirror = {
        .job = leg->name,
        .device = leg->from->node,
        .target = leg->to->node,
        .filter = job_filter_name(leg->job, leg->from->disk, filter),
        .top_only = job_has(leg->job, JOB_SHALLOW),
        .write_blocking = leg->job->copy.sync_writes,
        .granularity = leg->job->copy.granularity,
        .buf_size = leg->job->copy.buf_size,
        .speed = leg->job->record.bandwidth,
    };

    qmp_blockdev_mirror(job_qmp(leader), &mirror, job_reply, leader);
}

void copy_take_chain(struct record_disk *disk, const struct leg *leg)
{
    struct record_layer *active = &disk->chain[0];

    if (!job_has(leg->job, JOB_SHALLOW))
        record_disk_drop_layers(disk, 1, disk->n_chain - 1);
    xstrset(&active->file, leg->to->file);
    xstrset(&active->format, leg->to->format);
    xstrset(&active->node, leg->to->node);
    active->virtual_size = leg->to->virtual_size;
}

/* --- the end without pivot --- */

static bool copy_is_whole(const struct job *job)
{
    const char *state = copy_target(job)->state;

    return state && strcmp(state, "valid") == 0;
}

/* Pending: both images are equal and flushed, and what comes now does not touch the copy. */
static void whole_note(struct job *job, struct journal_txn *txn _unused_)
{
    xstrset(&copy_target(job)->state, "valid");
}

/* A node that somebody else uses stays open: what the job copied is flushed already. */
static enum seen close_probe(const struct job *job, const struct view *view)
{
    if (keep_status(job, view) != VIEW_JOB_NONE)
        return NOT_YET;
    return job->retry_ms < PIVOT_PATIENCE_MS && copy_open_probe(job, view) == HOLDS ? NOT_YET
                                                                                    : HOLDS;
}

static void close_act(struct job *job)
{
    char name[JOB_NAME_SIZE];

    job_expect(job, 2);
    qmp_cork(job_qmp(job));
    qmp_job_dismiss(job_qmp(job), job_qemu_name(job, job->record.disk, name), job_reply_lenient,
                    job);
    qmp_blockdev_del(job_qmp(job), copy_target(job)->node, job_reply_lenient, job);
    qmp_uncork(job_qmp(job));
}

/* A file that cannot be synced is no copy to rely on; trying on would not make it one. */
static void copy_lose(struct job *job, const struct error *err)
{
    xstrset(&copy_target(job)->state, "invalid");
    if (!job->record.error.code)
        error_copy(&job->record.error, err);
}

static void store_done(struct job *job, const struct error *err)
{
    if (err)
        copy_lose(job, err);
    job_acted(job, NULL);
}

static void store_act(struct job *job)
{
    files_sync_target(job, store_done);
}

static const char *copy_result(const struct job *job)
{
    return copy_is_whole(job) ? "completed" : "failed";
}

static void copied_act(struct job *job)
{
    engine_end(job, copy_result(job));
}

static const struct step copied_steps[] = {
    {.name = "keep",
     .probe = keep_probe,
     .act = keep_act,
     .flags = STEP_RECORD | STEP_WAIT,
     .does = "end the ready job without pivot: block-job-cancel without force, until pending",
     .image = "source",
     .lives = "the job in QEMU",
     .gone = "record: failed, cancelled"},
    {.name = "let-go",
     .probe = let_go_probe,
     .act = let_go_act,
     .flags = STEP_RECORD | STEP_DECIDE | STEP_WAIT,
     .note = whole_note,
     .does = "record that the copy is whole; job-finalize: the guest's I/O goes on",
     .image = "source; the copy is whole",
     .lives = "the job in QEMU",
     .gone = "record: completed"},
    {.name = "close",
     .probe = close_probe,
     .act = close_act,
     .flags = STEP_VERIFY,
     .does = "job-dismiss, close the copy's node",
     .image = "source; the copy is whole",
     .lives = "the job and the copy's node in QEMU",
     .gone = "record: completed"},
    {.name = "store",
     .act = store_act,
     .does = "sync the copy and its folder",
     .image = "source; the copy is whole"},
    {.name = "copied",
     .act = copied_act,
     .flags = STEP_END,
     .does = "outcome and event in one commit",
     .image = "source; the copy is whole"},
};

static void copied_stored(struct job *job, const struct error *err)
{
    if (err)
        copy_lose(job, err);
    job_offline_done(job, copy_result(job), NULL);
}

static void copied_removed(struct job *job, const struct error *err _unused_)
{
    _cleanup_error_ struct error gone = {0};

    error_set(&gone, SNAPVM_ERROR_QEMU_GONE,
              "QEMU ended before the copy was whole: the source is the disk");
    job_offline_done(job, job_has(job, JOB_CANCEL) ? "cancelled" : "failed", &gone);
}

static void copied_offline(struct job *job)
{
    if (job_has(job, JOB_DECIDED))
        files_sync_target(job, copied_stored);
    else
        files_remove_made(job, copied_removed);
}

/* --- the outcome --- */

static const char *copy_worth(const struct job *job, const struct record_image *image, bool pivoted)
{
    if (strcmp(image->role, "target") == 0)
        return pivoted ? "active" : "invalid";
    if (strcmp(image->role, "source") == 0)
        return pivoted ? "valid" : "active";
    return pivoted && !job_has(job, JOB_SHALLOW) ? "valid" : "backing";
}

void copy_conclude(struct job *job, const char *result)
{
    struct record_disk *disk = disk_find(job->domain, job->record.disk);
    bool pivoted = strcmp(result, "pivoted") == 0 && !job_has(job, JOB_REVERSED);

    if (strcmp(result, "pivoted") == 0 && !pivoted)
        xstrset(&job->record.result, "failed");
    if (pivoted || strcmp(result, "completed") == 0)
        error_clear(&job->record.error);
    for (unsigned i = 0; i < job->record.n_images; i++) {
        struct record_image *image = &job->record.images[i];
        const char *worth = copy_worth(job, image, pivoted);

        if (strcmp(worth, "active") == 0)
            xstrset(&job->record.active, image->file);
        if (pivoted || !image->state)
            xstrset(&image->state, worth);
    }
    if (disk)
        disk->held = false;
}

/* --- making one --- */

bool copy_is_shallow(const struct copy_request *request, const struct record_disk *disk)
{
    return request->shallow && disk->n_chain > 1;
}

static void copy_add_images(struct job *job, const struct record_disk *disk,
                            const struct copy_request *request)
{
    const struct view_node *node = disk_top(job->domain, disk);
    bool shallow = copy_is_shallow(request, disk);
    int64_t size = node ? node->virtual_size : -1;
    char name[JOB_NAME_SIZE];
    struct record_image *image;

    for (unsigned i = 0; i < disk->n_chain && i < (shallow ? 2 : disk->n_chain) && node;
         i++, node = view_below(job->domain->view, node)) {
        image = record_job_add_image(&job->record, disk->target, i == 0 ? "source" : "backing",
                                     disk->chain[i].file);
        xstrset(&image->format, node->driver);
        xstrset(&image->node, node->name);
        image->virtual_size = node->virtual_size;
    }
    image = record_job_add_image(&job->record, disk->target, "target", request->file);
    xstrset(&image->format, request->format);
    xstrset(&image->node, job_qemu_name(job, disk->target, name));
    image->virtual_size = size;
    image->made = !request->reuse;
}

struct job *copy_new(struct engine *engine, struct domain *domain, struct record_disk *disk,
                     const struct copy_request *request)
{
    struct job *job = job_new(engine, domain, "copy");

    job->record.id = journal_next_job(domain->owner->journal);
    job->record.disk = xstrdup(disk->target);
    job->record.bandwidth = request->bandwidth;
    if (request->auto_pivot)
        job->record.flags |= JOB_AUTO_PIVOT;
    if (copy_is_shallow(request, disk))
        job->record.flags |= JOB_SHALLOW;
    job->copy.sync_writes = request->sync_writes;
    job->copy.granularity = request->granularity;
    job->copy.buf_size = request->buf_size;
    copy_add_images(job, disk, request);
    job->plan = &plan_copy;
    return job;
}

const struct plan plan_copied = {
    .name = "copy",
    .title = "End of a copy without pivot",
    .steps = copied_steps,
    .n_steps = sizeof(copied_steps) / sizeof(copied_steps[0]),
    .undone = "failed",
    .before = &plan_copy,
    .observe = pivot_observe,
    .offline = copied_offline,
    .conclude = copy_conclude,
};
