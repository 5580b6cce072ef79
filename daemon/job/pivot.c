#include "job/pivot.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "job/commit.h"
#include "job/copy.h"
#include "job/engine.h"
#include "job/files.h"
#include "job/leg.h"
#include "job/quiesce.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "qemu/qmp-command.h"
#include "qemu/qmp.h"

#define FEW_NODES 16 /* of a guest; a layer has two */

/* --- evidence --- */

/* All legs are needed to go on; on the way back one that is left is one too many. */
enum seen pivot_start_probe(const struct job *job, const struct view *view)
{
    unsigned missing = 0;

    for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg)) {
        switch (leg_status(&leg, view)) {
        case VIEW_JOB_NONE:
            missing++;
            break;
        case VIEW_JOB_ABORTING:
            return MOVING;
        case VIEW_JOB_CONCLUDED:
            return LOST;
        default:
            break;
        }
    }
    if (job_has(job, JOB_UNDOING))
        return missing == leg_count(job) ? NOT_YET : HOLDS;
    return missing == 0 ? HOLDS : NOT_YET;
}

bool pivot_is_asked(const struct job *job)
{
    return job_has(job, JOB_PIVOT) || job_has(job, JOB_AUTO_PIVOT);
}

static bool pivot_is_wanted(const struct job *job)
{
    return pivot_is_asked(job) && !quiesce_is_going_on(job->engine, job->domain);
}

enum seen pivot_converge_probe(const struct job *job, const struct view *view)
{
    enum seen seen = pivot_is_wanted(job) ? HOLDS : MOVING;

    for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg)) {
        switch (leg_status(&leg, view)) {
        case VIEW_JOB_NONE:
        case VIEW_JOB_CONCLUDED:
            return LOST;
        case VIEW_JOB_READY:
            break;
        case VIEW_JOB_PENDING: /* a job-complete that went out before a crash, or a stranger's */
            if (!pivot_is_asked(job))
                return LOST;
            break;
        default:
            seen = MOVING;
            break;
        }
    }
    return seen;
}

bool pivot_is_pressing(const struct job *job)
{
    return job_has(job, JOB_HELD) || leg_count(job) > 1;
}

/* It does not go on by itself. */
static bool leg_stands(const struct leg *leg, const struct view *view)
{
    const struct view_job *seen = view_job(view, leg->name);

    return job_has(leg->job, JOB_STALLED) || (seen && seen->paused);
}

/* The leg that is furthest behind tells, except that the loss of one is the loss of all. */
enum seen pivot_prepare_probe(const struct job *job, const struct view *view)
{
    enum seen seen = HOLDS;

    for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg)) {
        switch (leg_status(&leg, view)) {
        case VIEW_JOB_PENDING:
            break;
        case VIEW_JOB_STANDBY:
            if (pivot_is_pressing(job) && leg_stands(&leg, view))
                return LOST;
            seen = seen == NOT_YET ? NOT_YET : MOVING;
            break;
        case VIEW_JOB_WAITING:
        case VIEW_JOB_ABORTING: /* concluded soon: then it tells why */
            seen = seen == NOT_YET ? NOT_YET : MOVING;
            break;
        case VIEW_JOB_READY:
            seen = NOT_YET;
            break;
        default:
            return LOST;
        }
    }
    return seen;
}

enum seen pivot_decide_probe(const struct job *job, const struct view *view _unused_)
{
    return job_has(job, JOB_DECIDED) ? HOLDS : NOT_YET;
}

enum seen pivot_switch_probe(const struct job *job, const struct view *view)
{
    enum seen seen = HOLDS;

    for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg)) {
        enum view_job_status status = leg_status(&leg, view);

        if (status == VIEW_JOB_PENDING)
            seen = NOT_YET;
        else if (status != VIEW_JOB_CONCLUDED && status != VIEW_JOB_NONE)
            return MOVING;
        else if (!leg_pivoted(&leg) && seen == HOLDS)
            seen = LOST;
    }
    return seen;
}

bool pivot_is_reversed(const struct job *job)
{
    for (unsigned i = 0; i < job->n_members; i++)
        if (job_has(job->members[i], JOB_REVERSED))
            return true;
    return false;
}

bool pivot_reverse_skip(const struct job *job)
{
    return !pivot_is_reversed(job);
}

enum seen pivot_reverse_probe(const struct job *job _unused_, const struct view *view _unused_)
{
    return HOLDS;
}

/* "paused" is what our stop leaves; anything else has another cause and another owner. */
static bool is_paused(const struct view *view)
{
    return view->status && strcmp(view->status, "paused") == 0;
}

static bool pivot_holds_now(const struct job *job, const struct view *view)
{
    return job_has(job, JOB_HELD) && is_paused(view);
}

static bool pivot_has_open_nodes(const struct job *job, const struct view *view)
{
    for (unsigned i = 0; i < job->n_members; i++) {
        const struct job *member = job->members[i];

        for (unsigned k = 0; k < member->record.n_images; k++)
            if (leg_leaves(member, &member->record.images[k]) &&
                view_node(view, member->record.images[k].node))
                return true;
    }
    return false;
}

/* The vCPUs must run and the jobs be gone. Closing the layers that were left is tried a few times:
 * a node may be busy for a moment, and one that somebody else uses stays open. */
enum seen pivot_tidy_probe(const struct job *job, const struct view *view)
{
    if (pivot_holds_now(job, view))
        return NOT_YET;
    for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg))
        if (leg_status(&leg, view) != VIEW_JOB_NONE)
            return NOT_YET;
    return job->retry_ms < PIVOT_PATIENCE_MS && pivot_has_open_nodes(job, view) ? NOT_YET : HOLDS;
}

/* --- acts --- */

/* Only the guest's device gives a raw image the right to be written. A `stop` pushes the requests
 * that the guest has already queued into the pending disk, where they wait for the switch; QEMU
 * lets them go before it has passed that right on, and aborts. So with a raw image the vCPUs are
 * held before the disk is pending. Formats with metadata of their own always hold the right. */
static bool pivot_holds_early(const struct job *job)
{
    for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg))
        if (!leg.above && leg.to->format && strcmp(leg.to->format, "raw") == 0)
            return true;
    return false;
}

/* That the pivot is wanted is in the record of the start, or of the command. */
bool pivot_prepare_known(const struct job *job)
{
    return !pivot_holds_early(job);
}

void pivot_prepare_lay(struct job *job)
{
    struct leg first = leg_first(job);

    if (job_has(job, JOB_HELD))
        qmp_stop(job_qmp(job), job_reply, job);
    else
        qmp_job_complete(job_qmp(job), first.name, job_reply, job);
}

static void leg_start(struct job *job, const struct leg *leg)
{
    if (leg_copies(leg))
        copy_start_leg(job, leg);
    else
        commit_start_leg(job, leg);
}

void pivot_start_lay(struct job *job)
{
    struct leg first = leg_first(job);

    leg_start(job, &first);
}

/* Legs whose job is there already, from before a crash, are left to it. QEMU reads what completes
 * the job while it starts it. */
void pivot_start_act(struct job *job)
{
    unsigned begun = 0;

    job_expect(job, leg_count(job));
    qmp_cork(job_qmp(job));
    for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg)) {
        if (leg_status(&leg, job->domain->view) != VIEW_JOB_NONE) {
            job_reply(job, NULL);
            continue;
        }
        leg_start(job, &leg);
        begun++;
    }
    qmp_uncork(job_qmp(job));
    if (begun > 0 && job_has(job, JOB_AUTO_PIVOT) && pivot_prepare_known(job))
        job_lay(job, pivot_prepare_lay);
}

static void pivot_note_released(struct job *job)
{
    for (unsigned i = 0; i < job->n_members && job->held_since; i++)
        job->members[i]->record.paused_us = clock_monotonic() - job->held_since;
    job->held_since = 0;
    job->domain->switching = false;
}

static void pivot_released(void *arg, const struct error *err)
{
    struct job *job = arg;

    pivot_note_released(job);
    job_reply(job, err);
}

/* Lets the vCPUs go too, where they were held for the sake of a raw base. */
void pivot_start_undo(struct job *job)
{
    bool held = pivot_holds_now(job, job->domain->view);

    job_expect(job, leg_count(job) + held);
    qmp_cork(job_qmp(job));
    for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg)) {
        if (leg_status(&leg, job->domain->view) == VIEW_JOB_CONCLUDED)
            qmp_job_dismiss(job_qmp(job), leg.name, job_reply_lenient, job);
        else
            qmp_job_cancel(job_qmp(job), leg.name, job_reply_lenient, job);
    }
    if (held)
        qmp_cont(job_qmp(job), pivot_released, job);
    qmp_uncork(job_qmp(job));
}

static void pivot_note_hold(struct job *job)
{
    for (unsigned i = 0; i < job->n_members && legs_have(job, false); i++)
        if (!job_has(job->members[i], JOB_PAUSE_NEVER) && job->domain->view->running)
            job->members[i]->record.flags |= JOB_HELD;
}

void pivot_prepare_note(struct job *job, struct journal_txn *txn _unused_)
{
    if (pivot_holds_early(job))
        pivot_note_hold(job);
}

static void pivot_hold(struct job *job)
{
    if (!job->held_since)
        job->held_since = clock_monotonic();
    job->domain->switching = true;
    qmp_stop(job_qmp(job), job_reply, job);
}

void pivot_prepare_act(struct job *job)
{
    bool hold = job_has(job, JOB_HELD);

    job_expect(job, leg_count(job) + hold);
    qmp_cork(job_qmp(job));
    if (hold)
        pivot_hold(job);
    for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg)) {
        if (leg_status(&leg, job->domain->view) == VIEW_JOB_PENDING)
            job_reply(job, NULL); /* prepared already, before a crash */
        else
            qmp_job_complete(job_qmp(job), leg.name, job_reply, job);
    }
    qmp_uncork(job_qmp(job));
}

/* The record of a disk whose chain becomes another one. */
static void leg_take_chain(const struct leg *leg)
{
    struct record_disk *disk = leg_disk(leg);

    if (!disk || disk->n_chain == 0)
        return;
    disk->held = true;
    if (leg_copies(leg))
        copy_take_chain(disk, leg);
    else
        commit_take_chain(disk, leg);
}

void pivot_decide_note(struct job *job, struct journal_txn *txn)
{
    if (!pivot_holds_early(job))
        pivot_note_hold(job);
    for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg))
        leg_take_chain(&leg);
    journal_put_domain(txn, &job->domain->record);
}

static void pivot_root_told(void *arg, const char *qom, const char *node, const struct error *err)
{
    struct job *job = arg;
    struct view *view = job->domain->view;

    for (unsigned i = 0; i < view->n_disks && !err; i++)
        if (view->disks[i].qom && strcmp(view->disks[i].qom, qom) == 0)
            xstrset(&view->disks[i].root, node);
    job_reply(job, err);
}

/* Whether each disk of the job is asked for by itself. The root of a disk says nothing about its
 * inner layers; and of a guest with few nodes QEMU has told all disks before it has read the longer
 * question for one. */
static bool pivot_asks_each(const struct job *job)
{
    if (HASH_COUNT(job->domain->view->nodes) <= FEW_NODES)
        return false;
    for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg)) {
        const struct view_disk *disk = leg_view_disk(&leg);

        if (!disk || !disk->qom || disk->device || leg.above)
            return false;
    }
    return true;
}

/* The vCPUs wait for what it shows: no more is asked for than the pivot needs. */
static void pivot_ask_roots(struct job *job, bool each)
{
    if (!each) {
        job->asked = legs_have(job, true) ? domain_look(job->domain)
                                          : domain_look_roots(job->domain);
        return;
    }
    job->asked = job->domain->view_number;
    for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg))
        qmp_query_root(job_qmp(job), leg_view_disk(&leg)->qom, pivot_root_told, job);
}

static bool pivot_holds_late(const struct job *job)
{
    return job_has(job, JOB_HELD) && !pivot_holds_early(job);
}

void pivot_switch_lay(struct job *job)
{
    struct leg first = leg_first(job);

    if (pivot_holds_late(job))
        qmp_stop(job_qmp(job), job_reply, job);
    else
        qmp_job_finalize(job_qmp(job), first.name, job_reply, job);
}

static void pivot_tidy_lay(struct job *job)
{
    struct leg first = leg_first(job);

    if (job_has(job, JOB_HELD))
        qmp_cont(job_qmp(job), job_reply, job);
    else
        qmp_job_dismiss(job_qmp(job), first.name, job_reply, job);
}

void pivot_switch_act(struct job *job)
{
    bool hold = pivot_holds_late(job), each = pivot_asks_each(job);
    unsigned sent = hold;

    job_expect(job, leg_count(job) * (1 + each) + hold);
    qmp_cork(job_qmp(job));
    if (hold)
        pivot_hold(job);
    for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg)) {
        if (leg_status(&leg, job->domain->view) != VIEW_JOB_PENDING) {
            job_reply(job, NULL);
            continue;
        }
        qmp_job_finalize(job_qmp(job), leg.name, job_reply, job);
        sent++;
    }
    pivot_ask_roots(job, each);
    qmp_uncork(job_qmp(job));
    if (sent > 0)
        job_lay(job, pivot_tidy_lay);
}

void pivot_reverse_note(struct job *job, struct journal_txn *txn)
{
    journal_put_domain(txn, &job->domain->record);
}

static unsigned pivot_count_left(const struct job *job)
{
    unsigned n = 0;

    for (unsigned i = 0; i < job->n_members; i++)
        for (unsigned k = 0; k < job->members[i]->record.n_images; k++)
            n += leg_leaves(job->members[i], &job->members[i]->record.images[k]);
    return n;
}

static void pivot_close_left(struct job *job)
{
    for (unsigned i = 0; i < job->n_members; i++) {
        const struct job *member = job->members[i];

        for (unsigned k = 0; k < member->record.n_images; k++)
            if (leg_leaves(member, &member->record.images[k]))
                qmp_blockdev_del(job_qmp(job), member->record.images[k].node, job_reply_lenient,
                                 job);
    }
}

/* The guest first. Nodes that -drive made vanish with the job, those of -blockdev stay: one that is
 * gone is fine. */
void pivot_tidy_act(struct job *job)
{
    bool held = pivot_holds_now(job, job->domain->view);

    job_expect(job, leg_count(job) + pivot_count_left(job) + held);
    job->believed = pivot_remove_skip(job); /* what is removed is looked for in a fresh view */
    qmp_cork(job_qmp(job));
    if (held)
        qmp_cont(job_qmp(job), pivot_released, job);
    else
        pivot_note_released(job);
    for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg))
        qmp_job_dismiss(job_qmp(job), leg.name, job_reply_lenient, job);
    pivot_close_left(job);
    qmp_uncork(job_qmp(job));
}

bool pivot_store_skip(const struct job *job)
{
    for (unsigned i = 0; i < job->record.n_images; i++)
        if (strcmp(job->record.images[i].role, "above") == 0)
            return false;
    return true;
}

static void pivot_stored(struct job *job, const struct error *err)
{
    if (err) {
        log_warning("job %lld: the merged layers are kept: %s", (long long)job->record.id,
                    err->message);
        job->record.flags &= ~(unsigned)JOB_DELETE;
    }
    job_acted(job, NULL);
}

void pivot_store_act(struct job *job)
{
    files_sync_headers(job, pivot_stored);
}

static bool wants_removal(const struct job *job)
{
    return job_has(job, JOB_DELETE) && !job_has(job, JOB_REVERSED);
}

/* A copy to which QEMU failed to switch is worth nothing. */
static bool wants_target_removed(const struct job *job)
{
    return job_image(job, NULL, "target") && job_has(job, JOB_REVERSED);
}

bool pivot_remove_skip(const struct job *job)
{
    for (unsigned i = 0; i < job->n_members; i++)
        if (wants_removal(job->members[i]) || wants_target_removed(job->members[i]))
            return false;
    return true;
}

static void pivot_removed(struct job *member, const struct error *err)
{
    if (err)
        log_warning("job %lld: a worthless image stays: %s", (long long)member->record.id,
                    err->message);
    job_reply(member->leader, NULL);
}

void pivot_remove_act(struct job *job)
{
    job_expect(job, job->n_members);
    for (unsigned i = 0; i < job->n_members; i++) {
        if (wants_removal(job->members[i]))
            files_remove_worthless(job->members[i], pivot_removed);
        else if (wants_target_removed(job->members[i]))
            files_remove_made(job->members[i], pivot_removed);
        else
            job_reply(job, NULL);
    }
}

static void leg_reverse_error(const struct leg *leg, struct error *err)
{
    error_set(err, SNAPVM_ERROR_QEMU,
              leg->above
                  ? "QEMU could not take %2$s out of the chain: it stays on %1$s; see QEMU's "
                    "log"
                  : "QEMU could not switch to %s: %s stays the disk; see QEMU's log",
              leg->to->file, leg->from->file);
    error_text(err, "class", "GenericError");
    error_text(err, "command", "job-finalize");
}

bool pivot_reverse(struct job *job)
{
    for (struct leg leg = leg_first(job); leg.job; leg = leg_next(job, &leg)) {
        struct record_disk *disk = leg_disk(&leg);

        if (leg_pivoted(&leg))
            continue;
        leg.job->record.flags |= JOB_REVERSED;
        if (!leg.job->record.error.code)
            leg_reverse_error(&leg, &leg.job->record.error);
        if (disk)
            disk->held = false;
    }
    disks_update(job->domain);
    return pivot_is_reversed(job);
}

void pivot_resume(struct job *job)
{
    if (!job_has(job, JOB_DECIDED) || job_has(job, JOB_REVERSED) || job_has(job, JOB_KEEP))
        return;
    for (unsigned i = 0; i < job->record.n_images; i++) {
        struct record_disk *disk = disk_find(job->domain, job->record.images[i].disk);

        if (disk)
            disk->held = true;
    }
}
