/* Going back to a snapshot with memory inside the images of a guest, in the QEMU that runs it. The
 * vCPUs are held first, so that QEMU neither starts nor stops anything by itself; then one job of
 * its makes each disk what the snapshot holds, one after another, and reads the memory last of all.
 *
 * Until QEMU has begun, all is taken back. A job that fails before it has changed the first disk
 * has changed nothing: the guest goes on. One that fails later leaves disks of that moment, and a
 * guest that is neither here nor there: its vCPUs stay held, and only to go back again, in QEMU or
 * without it, helps. Which of the two it was the disks tell that were something else before. If
 * none was, it may have failed with the memory half read: the guest is held, since all that is lost
 * by that is what it did without writing, and it would write whatever that memory says. QEMU ends:
 * the disks are made what the snapshot holds by image tools, and the guest is started with its
 * memory, as if it had been shut off; unless the record says that it had gone on. */
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "domain/domains.h"
#include "job/debt.h"
#include "job/engine.h"
#include "job/evidence.h"
#include "job/internal.h"
#include "job/memory-inside.h"
#include "job/revert-job.h"
#include "job/walk.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "qemu/view.h"

/* --- hold --- */

static enum seen hold_probe(const struct job *job, const struct view *view)
{
    if (job_has(job, JOB_UNDOING))
        return job_has(job, JOB_HELD) && !view->running ? HOLDS : NOT_YET;
    return view->running ? NOT_YET : HOLDS;
}

static void hold_act(struct job *job)
{
    xstrset(&job->record.state, "running");
    if (!domain_is_running(job->domain))
        job->record.flags &= ~(unsigned)JOB_HELD; /* somebody else holds it */
    job_expect(job, 1);
    qmp_stop(job_qmp(job), job_reply, job);
}

static void hold_undo(struct job *job)
{
    bool holds = job_has(job, JOB_HELD) && !job->domain->view->running;

    job_expect(job, holds ? 1 : 0);
    if (holds)
        qmp_cont(job_qmp(job), job_reply, job);
}

/* --- see --- */

static void see_seen(struct job *job)
{
    internal_note_at(job);
    job_acted(job, NULL);
}

static void see_act(struct job *job)
{
    evidence_fetch(job, see_seen);
}

/* --- load --- */

static bool load_owes(const struct job *job)
{
    return job->domain->debt && job->domain->debt->job == job->record.id;
}

/* The guest that comes back is a frozen one if the snapshot was quiesced. */
static void load_note(struct job *job, struct journal_txn *txn)
{
    if (job_has(job, JOB_QUIESCED) && !job->domain->debt)
        debt_incur(job->domain, job->record.id, clock_now(), txn);
}

/* Whether the job has ended, well or not: which of the two is looked at behind it. */
static enum seen load_probe(const struct job *job, const struct view *view)
{
    enum seen seen = memory_inside_seen(job, view);

    return seen == LOST ? HOLDS : seen;
}

static void load_act(struct job *job)
{
    memory_inside_start(job, qmp_state_load);
}

static void load_undo(struct job *job)
{
    if (load_owes(job)) {
        debt_strike(job->domain, NULL); /* nothing was loaded */
        if (job->domain->freeze == FREEZE_THAW_OWED)
            job->domain->freeze = FREEZE_UNKNOWN;
    }
    memory_inside_dismiss(job);
}

/* --- look --- */

static void look_torn(struct job *job)
{
    _cleanup_free_ char *desc = xstrdup(error_get(&job->record.error, "desc"));

    job->record.flags |= JOB_REVERSED;
    error_clear(&job->record.error);
    error_set(
        &job->record.error, SNAPVM_ERROR_QEMU,
        "QEMU failed to go back (%s) when it may have changed the guest: it is held, and must "
        "not go on as it is; go back again, or end its QEMU and go back while it is shut off",
        desc);
    error_text(&job->record.error, "class", "GenericError");
    error_text(&job->record.error, "desc", desc);
    error_text(&job->record.error, "command", "snapshot-load");
    job_acted(job, NULL);
}

static void look_seen(struct job *job)
{
    _cleanup_error_ struct error err = {0};

    if (internal_may_have_gone(job)) {
        look_torn(job);
        return;
    }
    error_copy(&err, &job->record.error);
    job_failed(job, &err);
}

static void look_act(struct job *job)
{
    if (memory_inside_seen(job, job->domain->view) == LOST)
        evidence_fetch(job, look_seen);
    else
        job_acted(job, NULL);
}

/* --- release, thaw, the end --- */

static bool load_is_torn(const struct job *job)
{
    return job_has(job, JOB_REVERSED);
}

static bool release_runs(const struct job *job)
{
    return job_has(job, JOB_RUN) && !load_is_torn(job);
}

static enum seen release_probe(const struct job *job, const struct view *view)
{
    return view->running == release_runs(job) ? HOLDS : NOT_YET;
}

static void release_act(struct job *job)
{
    job_expect(job, 1);
    if (release_runs(job))
        qmp_cont(job_qmp(job), job_reply, job);
    else
        qmp_stop(job_qmp(job), job_reply, job);
}

static bool thaw_skips(const struct job *job)
{
    return !load_owes(job) || !release_runs(job);
}

static void load_thawed(void *arg, bool confirmed, int64_t count _unused_)
{
    struct job *job = arg;

    if (confirmed)
        debt_strike(job->domain, NULL);
    job_acted(job, NULL);
}

/* What cannot be thawed now is owed on, and the guest is there all the same. */
static void load_thaw_act(struct job *job)
{
    debt_collect(job->engine, job->domain, load_thawed, job);
}

static enum seen dismiss_probe(const struct job *job, const struct view *view)
{
    return memory_inside_seen(job, view) == NOT_YET ? HOLDS : NOT_YET;
}

static void load_settle_act(struct job *job)
{
    engine_end(job, load_is_torn(job) ? "failed" : "completed");
}

static void load_settle_note(struct job *job, struct journal_txn *txn)
{
    _cleanup_free_ char *body = record_name_event(job->record.snapshot);

    if (!load_is_torn(job))
        journal_add_event(txn, "snapshot.current", job->record.domain, body);
}

static const struct step load_steps[] = {
    {.name = "load-hold",
     .probe = hold_probe,
     .act = hold_act,
     .undo = hold_undo,
     .flags = STEP_RECORD,
     .does = "record that the vCPUs will be held, and hold the vCPUs if they run (stop)",
     .image = "the same",
     .lives = "the job in QEMU, run state",
     .gone = "record: rolled-back"},
    {.name = "load-see",
     .act = see_act,
     .does = "see by the images which disks are what the snapshot holds",
     .image = "the same"},
    {.name = "load",
     .probe = load_probe,
     .act = load_act,
     .undo = load_undo,
     .flags = STEP_RECORD | STEP_VERIFY,
     .note = load_note,
     .does =
         "record these, and a freeze debt if the memory was saved frozen; snapshot-load. If QEMU "
         "ends, the disks are made what the snapshot holds by qemu-img snapshot -a",
     .image = "the same; what the disk was is gone",
     .lives = "the job in QEMU",
     .gone = "record, tables of the images: completed, rolled-back"},
    {.name = "load-look",
     .act = look_act,
     .flags = STEP_COMMITS,
     .does = "only if QEMU failed: see by the images whether it has changed a disk, or may have",
     .image = "the same"},
    {.name = "load-release",
     .probe = release_probe,
     .act = release_act,
     .flags = STEP_RECORD | STEP_DECIDE,
     .does = "let the vCPUs go (cont) if they are to run; not after a failure",
     .image = "the same",
     .lives = "run state",
     .gone = "record: completed"},
    {.name = "load-thaw",
     .act = load_thaw_act,
     .skip = thaw_skips,
     .does = "thaw the guest that was saved frozen",
     .image = "the same"},
    {.name = "load-dismiss",
     .probe = dismiss_probe,
     .act = memory_inside_dismiss,
     .flags = STEP_VERIFY,
     .does = "job-dismiss",
     .image = "the same",
     .lives = "the job in QEMU",
     .gone = "record: completed"},
    {.name = "load-settle",
     .act = load_settle_act,
     .flags = STEP_END,
     .note = load_settle_note,
     .does = "current snapshot, outcome and events in one commit",
     .image = "the same"},
};

/* --- hooks --- */

static int load_forward(const struct job *job, const struct view *view, struct error *err)
{
    if (memory_inside_seen(job, view) != NOT_YET)
        return 0;
    return error_set(err, SNAPVM_ERROR_QEMU_GONE,
                     "snapvmd was restarted, or its connection to QEMU was lost, before QEMU went "
                     "back: everything is as it was, ask again");
}

static bool load_may_have_begun(const struct job *job)
{
    return !job_has(job, JOB_UNDOING) && !job_is_before(job, "load");
}

/* The image tools do it anew, which the tables show to be needed or not. */
static void load_offline_on(struct job *job)
{
    unsigned step;

    error_clear(&job->record.error);
    job->record.flags &= ~(unsigned)JOB_REVERSED;
    job->record.flags |= JOB_DECIDED;
    job->plan = plan_of_step("revert", "off-apply", &step);
    job->step = step;
    job->resumed = true;
    engine_save(job, "off-apply");
    engine_look(job);
}

static void load_offline(struct job *job)
{
    _cleanup_error_ struct error gone = {0};

    if (job_has(job, JOB_DECIDED) && !load_is_torn(job)) {
        job_offline_done(job, "completed", NULL);
    } else if (load_may_have_begun(job)) {
        load_offline_on(job);
    } else {
        error_set(&gone, SNAPVM_ERROR_QEMU_GONE,
                  "QEMU ended before it went back: the disks are "
                  "what they were");
        job_offline_done(job, "rolled-back", &gone);
    }
}

static void load_conclude(struct job *job, const char *result)
{
    for (unsigned i = 0; i < job->record.n_images; i++)
        xstrset(&job->record.images[i].state, "active");
    xstrset(&job->record.active, job->record.images[0].file);
    if (strcmp(result, "completed") == 0)
        xstrset(&job->domain->record.current_snapshot, job->record.snapshot);
}

void revert_job_go_live(struct job *job, const char *memory)
{
    xstrset(&job_image(job, NULL, "memory")->file, memory);
    job->record.flags |= JOB_FORCE;
    job->record.flags |= domain_is_running(job->domain) ? JOB_HELD : 0;
    job->plan = &plan_load;
    job->step = 0;
}

const struct plan plan_load = {
    .name = "revert",
    .title = "Revert of a live guest to a snapshot with memory inside its images",
    .steps = load_steps,
    .n_steps = sizeof(load_steps) / sizeof(load_steps[0]),
    .undone = "rolled-back",
    .observe = memory_inside_observe,
    .forward = load_forward,
    .offline = load_offline,
    .conclude = load_conclude,
};
