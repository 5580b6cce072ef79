#include "job/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/memory.h"
#include "base/worker.h"
#include "domain/domains.h"
#include "job/debt.h"
#include "job/engine.h"
#include "job/job.h"
#include "job/snapshot-job.h"
#include "proto/snapvm-errors.h"
#include "qemu/image.h"
#include "qemu/qmp-migrate.h"
#include "qemu/view.h"
#include "qemu/vmstate.h"

static struct record_image *memory_image(const struct job *job)
{
    return job_image(job, NULL, "memory");
}

/* The name of the descriptor in QEMU. */
static const char *memory_fd_name(const struct job *job, char buffer[JOB_NAME_SIZE])
{
    return job_qemu_name(job, "memory", buffer);
}

/* --- work on the file, on the worker's thread --- */

struct memory_task {
    struct job *job;
    char *path, *name;
    struct image_id id;
    struct process qemu;
    int fd;         /* of an opening */
    bool worthless; /* of a finish: the snapshot is taken back in any case */
    bool offline;   /* of a finish: QEMU has ended */
    bool begun, lacks_room, removed;
    int has_open; /* QEMU has it open; -1: that cannot be told */
    struct error err;
    void (*done)(struct memory_task *);
    void (*after)(struct job *);
};

static void memory_task_free(void *arg)
{
    struct memory_task *task = arg;

    if (task->fd >= 0)
        close(task->fd);
    free(task->path);
    free(task->name);
    error_clear(&task->err);
    free(task);
}

static void memory_task_done(void *arg)
{
    struct memory_task *task = arg;

    crash_point(task->job->engine->domains->crash, "effect.done", "memory");
    task->done(task);
    memory_task_free(task);
}

static struct memory_task *memory_task_new(struct job *job, void (*done)(struct memory_task *))
{
    const struct record_image *image = memory_image(job);
    struct memory_task *task = xzalloc(sizeof(*task));

    *task = (struct memory_task){
        .job = job,
        .path = process_reach(&job->record.qemu, image->file),
        .name = xstrdup(image->file),
        .id = {.dev = image->dev, .ino = image->ino},
        .qemu = job->record.qemu,
        .fd = -1,
        .done = done,
    };
    return task;
}

static void memory_task_run(struct memory_task *task, worker_fn run)
{
    crash_point(task->job->engine->domains->crash, "effect.before", "memory");
    worker_run(task->job->engine->domains->worker, run, memory_task_done, memory_task_free, task);
}

static int memory_error(const struct memory_task *task, const char *reason, const char *sentence,
                        struct error *err)
{
    error_set(err, SNAPVM_ERROR_IMAGE, "%s: %s", task->name, sentence);
    error_text(err, "file", task->name);
    return error_text(err, "reason", reason);
}

static void memory_run_open(void *arg)
{
    struct memory_task *task = arg;
    struct stat st;

    task->fd = open(task->path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (task->fd < 0 || fstat(task->fd, &st) < 0 || st.st_dev != task->id.dev ||
        st.st_ino != task->id.ino)
        memory_error(task, "missing", "the file that was made for the memory is gone", &task->err);
}

static void memory_run_look(void *arg)
{
    struct memory_task *task = arg;

    task->begun = vmstate_is_begun(task->path, &task->id);
    task->has_open = process_has_open(&task->qemu, task->id.dev, task->id.ino);
    task->lacks_room = task->begun && task->has_open != 1 && vmstate_lacks_room(task->path);
}

/* As long as QEMU lives its word counts, that all was written. Once it has ended, and the host may
 * have with it, the stream has to tell that its end is there, and the boot that no write was lost.
 */
static int memory_finish(struct memory_task *task, struct error *err)
{
    bool whole = false;

    if (!vmstate_is_begun(task->path, &task->id))
        return memory_error(task, "missing", "the saved memory is gone, or empty", err);
    if (image_sync(task->path, err) < 0)
        return -1;
    if (!task->offline)
        return 0;
    if (vmstate_is_whole(task->path, &whole, err) < 0)
        return -1;
    return whole && process_of_this_boot(&task->qemu)
               ? 0
               : memory_error(task, "not whole", "QEMU ended before the saved memory was whole",
                              err);
}

/* A device may have another number since the host's start. */
static void memory_find_device(struct memory_task *task)
{
    struct stat st;

    if (!process_of_this_boot(&task->qemu) && lstat(task->path, &st) == 0 &&
        st.st_ino == task->id.ino)
        task->id.dev = st.st_dev;
}

static void memory_run_finish(void *arg)
{
    struct memory_task *task = arg;

    memory_find_device(task);
    if (task->worthless || memory_finish(task, &task->err) < 0)
        task->removed = image_remove(task->path, &task->id, NULL) == 0;
}

/* --- hand --- */

void memory_hand_note(struct job *job, struct journal_txn *txn _unused_)
{
    if (domain_is_running(job->domain))
        job->record.flags |= JOB_HELD;
}

static void memory_opened(struct memory_task *task)
{
    struct job *job = task->job;
    char name[JOB_NAME_SIZE];

    if (task->err.code) {
        job_failed(job, &task->err);
        return;
    }
    job_expect(job, 2);
    qmp_getfd(job_qmp(job), memory_fd_name(job, name), TAKE_FD(task->fd), job_reply, job);
    qmp_migrate_prepare(job_qmp(job), job_reply, job);
}

void memory_hand_act(struct job *job)
{
    _cleanup_error_ struct error err = {0};

    if (job_has(job, JOB_HELD)) {
        job->domain->saving = true;
        memory_task_run(memory_task_new(job, memory_opened), memory_run_open);
        return;
    }
    error_set(&err, SNAPVM_ERROR_INVALID_STATE,
              "domain %s was paused meanwhile: its memory is saved only while it runs",
              job->record.domain);
    error_text(&err, "state", domain_state(job->domain));
    job_failed(job, &err);
}

void memory_hand_undo(struct job *job)
{
    char name[JOB_NAME_SIZE];

    job_expect(job, 1);
    qmp_closefd(job_qmp(job), memory_fd_name(job, name), job_reply_lenient, job);
}

/* --- hold --- */

static bool is_status(const struct view *view, const char *status)
{
    return view->status && strcmp(view->status, status) == 0;
}

/* "paused" is what our stop leaves, "postmigrate" what our migration does; anything else has
 * another cause and another owner. */
static bool memory_is_held(const struct job *job, const struct view *view)
{
    if (!job_has(job, JOB_HELD))
        return false;
    return is_status(view, "paused") ||
           (is_status(view, "postmigrate") && (job->memory.accepted || job->memory.begun));
}

enum seen memory_hold_probe(const struct job *job, const struct view *view)
{
    if (job_has(job, JOB_UNDOING))
        return memory_is_held(job, view) ? HOLDS : NOT_YET;
    return view->running ? NOT_YET : HOLDS;
}

static void memory_stop(struct job *job)
{
    job->held_since = clock_monotonic();
    job_expect(job, 1);
    qmp_stop(job_qmp(job), job_reply, job);
}

/* A freeze was sent and not answered well: what the guest takes from there to the hold is saved
 * with it. */
static bool memory_is_doubtful(const struct job *job)
{
    const struct record_debt *debt = job->domain->debt;

    return debt && debt->job == job->record.id && job->froze == 0;
}

static void memory_calmed(void *arg, bool confirmed, int64_t count _unused_)
{
    _cleanup_error_ struct error err = {0};
    struct job *job = arg;

    if (confirmed) {
        debt_strike(job->domain, NULL); /* the job goes on without a freeze, and has none to thaw */
        job->memory.then(job);
        return;
    }
    error_set(&err, SNAPVM_ERROR_QUIESCE_FAILED,
              "the guest's agent does not answer the freeze, which the saved memory would hold and "
              "obey later; ask without quiesce, or see to the agent");
    error_text(&err, "reason", "unanswered");
    job_failed(job, &err);
}

void memory_calm(struct job *job, void (*then)(struct job *))
{
    job->memory.then = then;
    if (memory_is_doubtful(job))
        debt_collect(job->engine, job->domain, memory_calmed, job);
    else
        then(job);
}

void memory_hold_act(struct job *job)
{
    memory_calm(job, memory_stop);
}

static void memory_released(void *arg, const struct error *err)
{
    struct job *job = arg;

    if (!err && job->held_since)
        job->record.paused_us = clock_monotonic() - job->held_since;
    if (!err)
        job->held_since = 0;
    job_reply(job, err);
}

static void memory_cont(struct job *job)
{
    job_expect(job, 1);
    qmp_cont(job_qmp(job), memory_released, job);
}

void memory_hold_undo(struct job *job)
{
    if (memory_is_held(job, job->domain->view))
        memory_cont(job);
    else
        job_acted(job, NULL);
}

/* --- save --- */

/* QEMU reports the end a moment before the run state has followed. */
static bool memory_is_ending(const struct view *view)
{
    return is_status(view, "finish-migrate");
}

static bool memory_is_moving(const struct job *job, const struct view *view)
{
    return !job->memory.foreign &&
           (view->migration.status == VIEW_MIGRATION_ACTIVE || memory_is_ending(view));
}

enum seen memory_save_probe(const struct job *job, const struct view *view)
{
    if (job_has(job, JOB_UNDOING))
        return memory_is_moving(job, view) ? MOVING : NOT_YET;
    if (switch_probe(job, view) == HOLDS)
        return HOLDS;
    if (!job->memory.accepted)
        return NOT_YET;
    if (memory_is_moving(job, view))
        return MOVING;
    /* With any other run state somebody has let the guest go on since. */
    return view->migration.status == VIEW_MIGRATION_COMPLETED && is_status(view, "postmigrate")
               ? HOLDS
               : LOST;
}

static void memory_accepted(void *arg, const struct error *err)
{
    struct job *job = arg;

    if (!err) {
        job->memory.accepted = true;
        job->domain->view->migration.status = VIEW_MIGRATION_ACTIVE;
        domain_look_jobs(job->domain); /* it may have ended before this */
    }
    job_reply(job, err);
}

void memory_save_act(struct job *job)
{
    char name[JOB_NAME_SIZE];

    job_expect(job, 1);
    qmp_migrate(job_qmp(job), memory_fd_name(job, name), memory_accepted, job);
}

static void memory_note_room(struct job *job)
{
    if (job->record.error.code != SNAPVM_ERROR_QEMU)
        return;
    error_clear(&job->record.error);
    error_set(&job->record.error, SNAPVM_ERROR_NO_SPACE,
              "no room is left for the guest's memory in %s: make room, or name another file",
              memory_image(job)->file);
}

/* Nothing is cancelled that is not ours. */
static void memory_looked(struct memory_task *task)
{
    struct job *job = task->job;
    bool ours = job->memory.accepted || task->has_open == 1 || (task->has_open < 0 && task->begun);

    job->memory.begun = task->begun;
    if (task->lacks_room)
        memory_note_room(job);
    if (!memory_is_moving(job, job->domain->view) || !ours) {
        job->memory.foreign = !ours;
        job_acted(job, NULL);
        return;
    }
    job_expect(job, 1);
    qmp_migrate_cancel(job_qmp(job), job_reply, job);
}

/* A descriptor that no migration took would look like one that is being written to. */
static void memory_closed(void *arg, const struct error *err)
{
    struct job *job = arg;

    if (err && err->code == SNAPVM_ERROR_QEMU_GONE)
        job_acted(job, err);
    else
        memory_task_run(memory_task_new(job, memory_looked), memory_run_look);
}

void memory_save_undo(struct job *job)
{
    char name[JOB_NAME_SIZE];

    qmp_closefd(job_qmp(job), memory_fd_name(job, name), memory_closed, job);
}

static void memory_note_failure(struct job *job, const char *desc)
{
    struct error *err = &job->record.error;

    if (err->code || job_has(job, JOB_UNDOING) || job_has(job, JOB_CANCEL))
        return;
    error_set(err, SNAPVM_ERROR_QEMU, "QEMU could not save the guest's memory: %s", desc);
    error_text(err, "class", "GenericError");
    error_text(err, "desc", desc);
    error_text(err, "command", "migrate");
}

static void memory_note_end(struct job *job, const struct view *view)
{
    const char *error = view->migration.error;

    if (view->migration.status != VIEW_MIGRATION_COMPLETED)
        memory_note_failure(job, error ? error : "the migration was given up");
    else if (!is_status(view, "postmigrate"))
        memory_note_failure(job,
                            "somebody else let the guest go on before its disks were switched");
}

void memory_observe(struct job *job, const struct view *view)
{
    if (!job->memory.accepted || job_has(job, JOB_UNDOING))
        return;
    if (view->migration.total >= 0) {
        job->record.total = view->migration.total;
        job->record.current = view->migration.total - view->migration.remaining;
    }
    if (memory_is_ending(view) && view->migration.status != VIEW_MIGRATION_ACTIVE)
        domain_look_jobs(job->domain); /* no event tells the end of this moment */
    else if (!memory_is_moving(job, view) && job_is_before(job, "switch"))
        memory_note_end(job, view);
}

/* --- release, settle --- */

enum seen memory_release_probe(const struct job *job, const struct view *view)
{
    bool stands = is_status(view, "paused") || is_status(view, "postmigrate");

    return job_has(job, JOB_HELD) && stands ? NOT_YET : HOLDS;
}

void memory_release_act(struct job *job)
{
    memory_cont(job);
}

static void memory_finished(struct memory_task *task)
{
    struct job *job = task->job;

    if (task->worthless || task->err.code)
        xstrset(&memory_image(job)->state, task->removed ? "removed" : "invalid");
    if (task->err.code && !job->record.error.code)
        error_copy(&job->record.error, &task->err);
    task->after(job);
}

static void memory_start_finish(struct job *job, bool offline, void (*after)(struct job *))
{
    struct memory_task *task = memory_task_new(job, memory_finished);

    task->offline = offline;
    task->worthless = snapshot_is_void(job);
    task->after = after;
    memory_task_run(task, memory_run_finish);
}

/* The guest wrote between the two instants, on the old layers: memory and disks do not fit. */
static void memory_note_torn(struct job *job)
{
    if (job->let_go)
        memory_note_failure(job,
                            "somebody else let the guest go on before its disks were switched");
}

void memory_settle_act(struct job *job)
{
    memory_note_torn(job);
    memory_start_finish(job, false, settle_act);
}

void memory_check_offline(struct job *job, void (*done)(struct job *))
{
    memory_start_finish(job, true, done);
}
