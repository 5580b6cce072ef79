#include "job/files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/crash.h"
#include "base/memory.h"
#include "base/worker.h"
#include "domain/domains.h"
#include "domain/snapshot.h"
#include "job/engine.h"
#include "job/leg.h"
#include "job/needed.h"
#include "proto/snapvm-errors.h"
#include "qemu/image-lock.h"
#include "qemu/image.h"
#include "qemu/process.h"
#include "qemu/view.h"
#include "qemu/vmstate.h"

/* One file of the task: copies, so that the thread shares nothing with the loop. */
struct file {
    unsigned image; /* index in the job's record */
    char *path, *name, *format;
    char *like, *backing, *backing_format; /* like: owner and mode of a new file */
    int64_t size;
    struct image_id id;
    bool made, known, removed;
    bool other_boot; /* the job began before the host was started last */
    bool secret;     /* holds what only the guest may know */
    bool memory;     /* of a deleted snapshot: is removed only if it is the guest's saved memory */
};

struct file_task {
    struct job *job;
    struct file *files;
    unsigned n_files;
    struct needed *needed;
    bool yes; /* the answer of a look */
    struct error err;
    void (*done)(struct job *, const struct error *);
    void (*told)(struct job *, bool empty);
};

static void file_task_free(void *arg)
{
    struct file_task *task = arg;

    for (unsigned i = 0; i < task->n_files; i++) {
        free(task->files[i].path);
        free(task->files[i].name);
        free(task->files[i].format);
        free(task->files[i].like);
        free(task->files[i].backing);
        free(task->files[i].backing_format);
    }
    free(task->files);
    needed_free(task->needed);
    error_clear(&task->err);
    free(task);
}

static struct file *file_task_add(struct file_task *task, unsigned image)
{
    const struct record_image *record = &task->job->record.images[image];
    struct file *file;

    task->files = xrealloc(task->files, task->n_files + 1, sizeof(*task->files));
    file = &task->files[task->n_files++];
    *file = (struct file){
        .image = image,
        .path = process_reach(&task->job->record.qemu, record->file),
        .name = xstrdup(record->file),
        .format = xstrdup(record->format),
        .size = record->virtual_size,
        .id = {.dev = record->dev, .ino = record->ino},
        .made = record->made,
        .known = record->ino != 0,
        .other_boot = task->job->recovered && !process_of_this_boot(&task->job->record.qemu),
    };
    return file;
}

/* A task over the overlays of a job, each with the layer below it. */
static struct file_task *file_task_overlays(struct job *job)
{
    struct file_task *task = xzalloc(sizeof(*task));

    task->job = job;
    for (unsigned i = 0; i < job->record.n_images; i++) {
        const struct record_image *image = &job->record.images[i], *source;
        struct file *file;

        if (strcmp(image->role, "overlay") != 0)
            continue;
        source = job_image(job, image->disk, "source");
        file = file_task_add(task, i);
        file->like = process_reach(&job->record.qemu, source->file);
        file->backing = xstrdup(source->file);
        file->backing_format = xstrdup(source->format);
    }
    return task;
}

/* The same with the file of the guest's memory, of a job that saves it. */
static struct file_task *file_task_new_files(struct job *job)
{
    const struct record_image *memory = job_image(job, NULL, "memory");
    struct file_task *task = file_task_overlays(job);
    struct file *file;

    if (!memory || !memory->made)
        return task;
    file = file_task_add(task, (unsigned)(memory - job->record.images));
    file->like = process_reach(&job->record.qemu, job_image(job, NULL, "source")->file);
    file->secret = true;
    return task;
}

/* --- on the worker --- */

/* A file that the caller prepared must be what QEMU does not check: as large, and on that layer. */
static int file_check_reused(const struct file *file, struct error *err)
{
    struct image_info info = {0};
    struct image_id named, below;
    int r = image_read(file->path, "qcow2", &info, err);

    if (r < 0)
        return r;
    if (info.virtual_size != file->size)
        r = error_set(err, SNAPVM_ERROR_IMAGE,
                      "%s is %lld bytes large, the disk is %lld: QEMU would cut the disk",
                      file->name, (long long)info.virtual_size, (long long)file->size);
    else if (!info.backing || image_identify(info.backing, &named, err) < 0 ||
             image_identify(file->like, &below, err) < 0 || !image_same(&named, &below))
        r = error_set(err, SNAPVM_ERROR_IMAGE,
                      "%s does not name %s as its backing file: make it with qemu-img create -b",
                      file->name, file->backing);
    if (r < 0 && !error_get(err, "file")) {
        error_text(err, "file", file->name);
        error_text(err, "reason", "not an overlay of the disk");
    }
    image_info_deinit(&info);
    return r;
}

static bool file_is_missing(const struct file *file)
{
    struct stat st;

    return lstat(file->path, &st) < 0 && errno == ENOENT;
}

static struct image_new file_new(const struct file *file)
{
    return (struct image_new){
        .path = file->path,
        .name = file->name,
        .like = file->like,
        .format = file->format,
        .backing = file->backing,
        .backing_format = file->backing_format,
        .size = file->size,
        .secret = file->secret,
    };
}

static void file_create(struct file *file, bool unsynced, struct error *err)
{
    struct image_new image = file_new(file);

    image.unsynced = unsynced;
    file->known = image_create(&image, &file->id, err) == 0;
}

/* What was not made is not ours, whatever lies there. */
static void files_disown(struct file_task *task)
{
    for (unsigned i = 0; i < task->n_files; i++) {
        struct file *file = &task->files[i];

        if (!file->made || file->known)
            continue;
        file->made = false;
        file->removed = file_is_missing(file);
    }
}

static void files_run_create(void *arg)
{
    struct file_task *task = arg;

    for (unsigned i = 0; i < task->n_files && !task->err.code; i++) {
        struct file *file = &task->files[i];

        if (file->made)
            file_create(file, true, &task->err);
        else
            file_check_reused(file, &task->err);
    }
    files_disown(task);
}

static void files_run_create_target(void *arg)
{
    struct file_task *task = arg;
    struct file *file = &task->files[0];

    if (file->made)
        file_create(file, false, &task->err);
    else
        image_sync(file->path, &task->err);
    files_disown(task);
}

static void files_run_sync(void *arg)
{
    struct file_task *task = arg;

    for (unsigned i = 0; i < task->n_files && !task->err.code; i++)
        if (task->files[i].made)
            image_sync(task->files[i].path, &task->err);
}

static void files_run_sync_headers(void *arg)
{
    struct file_task *task = arg;

    for (unsigned i = 0; i < task->n_files && !task->err.code; i++)
        if (!file_is_missing(&task->files[i]))
            image_sync_data(task->files[i].path, &task->err);
}

static void files_run_sync_image(void *arg)
{
    struct file_task *task = arg;

    image_sync_data(task->files[0].path, &task->err);
}

static void files_run_sync_target(void *arg)
{
    struct file_task *task = arg;

    image_sync(task->files[0].path, &task->err);
}

/* Whether a file whose making was recorded, but not its identity, is as empty as it was made. */
static bool file_is_untouched(const struct file *file)
{
    const struct image_new image = file_new(file);
    struct image_info info = {0};
    bool empty = false, ours;

    if (image_is_half_made(&image))
        return true;
    if (image_read(file->path, file->format, &info, NULL) < 0)
        return false;
    ours = info.backing && file->backing ? strcmp(info.backing, file->backing) == 0
                                         : !info.backing && !file->backing;
    image_info_deinit(&info);
    return ours && image_is_empty(file->path, &empty, NULL) == 0 && empty;
}

/* After a crash the identity may not be recorded: a file under the recorded name is ours only if it
 * holds nothing, or was not even begun. A device may have another number since the host's start. */
static bool file_is_ours(struct file *file)
{
    struct stat st;

    if (stat(file->path, &st) < 0)
        return false;
    if (file->known && st.st_ino == file->id.ino && file->other_boot)
        file->id.dev = st.st_dev;
    if (file->known)
        return st.st_dev == file->id.dev && st.st_ino == file->id.ino;
    file->id = (struct image_id){.dev = st.st_dev, .ino = st.st_ino};
    return file_is_untouched(file);
}

/* Whether somebody has it open by QEMU's locks: not every QEMU has a monitor of ours. */
static bool file_is_held(const struct file *file)
{
    struct image_holders holders = {0};

    return image_holders(file->path, &holders, NULL) < 0 || holders.readers || holders.writers;
}

static void files_run_remove_overlays(void *arg)
{
    struct file_task *task = arg;

    for (unsigned i = 0; i < task->n_files; i++) {
        struct file *file = &task->files[i];

        /* One that a guest was started from is its disk, whatever was meant. */
        if (file->made && file_is_ours(file) && !file_is_held(file))
            file->removed = image_remove(file->path, &file->id, &task->err) == 0;
    }
}

static void files_run_remove_made(void *arg)
{
    struct file_task *task = arg;
    struct file *file = &task->files[0];

    if (!file->made)
        return;
    needed_follow(&task->needed);
    if (file_is_ours(file) && !needed_has(task->needed, &file->id) && !file_is_held(file))
        file->removed = image_remove(file->path, &file->id, &task->err) == 0;
    else
        file->removed = file_is_missing(file);
}

/* A record may name any file for it. */
static bool file_is_no_memory(const struct file *file)
{
    bool whole = false;

    return file->memory && (vmstate_is_whole(file->path, &whole, NULL) < 0 || !whole);
}

/* From the top down: a layer that stays keeps those below it. */
static void files_run_remove_worthless(void *arg)
{
    struct file_task *task = arg;

    needed_follow(&task->needed);
    for (unsigned i = 0; i < task->n_files; i++) {
        struct file *file = &task->files[i];

        if (file_is_missing(file))
            file->removed = image_remove(file->path, &file->id, &task->err) == 0;
        else if (file_is_no_memory(file))
            file->removed = false;
        else if (!file->known && image_identify(file->path, &file->id, NULL) < 0)
            file->removed = false; /* it cannot be told: it stays */
        else if (!needed_has(task->needed, &file->id) && !file_is_held(file))
            file->removed = image_remove(file->path, &file->id, &task->err) == 0;
        if (file->removed)
            continue;
        needed_add_path(&task->needed, file->path);
        needed_follow(&task->needed);
    }
}

/* The daemon may have been killed between making the file and filling it, and the host before it
 * was synced, which is done before the guest can write to it. */
static bool file_is_unbegun(const struct file *file)
{
    const struct image_new image = file_new(file);

    return file_is_missing(file) || (file->made && image_is_half_made(&image));
}

static void files_run_look(void *arg)
{
    struct file_task *task = arg;

    task->yes = true;
    for (unsigned i = 0; i < task->n_files && task->yes; i++) {
        bool empty = false;

        if (file_is_unbegun(&task->files[i]))
            continue;
        task->yes = image_is_empty(task->files[i].path, &empty, NULL) == 0 && empty;
    }
}

static void files_run_look_at_header(void *arg)
{
    struct file_task *task = arg;
    const struct file *file = &task->files[0];
    struct image_info info = {0};

    image_sync_data(file->path, NULL);
    if (image_read(file->path, "qcow2", &info, NULL) == 0)
        task->yes = file->backing ? info.backing && strcmp(info.backing, file->backing) == 0
                                  : !info.backing;
    image_info_deinit(&info);
}

/* --- back on the loop --- */

static void files_done(void *arg)
{
    struct file_task *task = arg;
    struct job *job = task->job;

    crash_point(job->engine->domains->crash, "effect.done", "files");
    for (unsigned i = 0; i < task->n_files; i++) {
        struct record_image *image = &job->record.images[task->files[i].image];

        if (task->files[i].known) {
            image->dev = task->files[i].id.dev;
            image->ino = task->files[i].id.ino;
        }
        image->made = task->files[i].made;
        if (task->files[i].removed)
            xstrset(&image->state, "removed");
    }
    if (task->told)
        task->told(job, task->yes);
    else
        task->done(job, task->err.code ? &task->err : NULL);
    file_task_free(task);
}

static void files_run(struct file_task *task, worker_fn run)
{
    crash_point(task->job->engine->domains->crash, "effect.before", "files");
    worker_run(task->job->engine->domains->worker, run, files_done, file_task_free, task);
}

void files_create_overlays(struct job *job, void (*done)(struct job *, const struct error *))
{
    struct file_task *task = file_task_new_files(job);

    task->done = done;
    files_run(task, files_run_create);
}

void files_sync_overlays(struct job *job, void (*done)(struct job *, const struct error *))
{
    struct file_task *task = file_task_new_files(job);

    task->done = done;
    files_run(task, files_run_sync);
}

bool files_have_overlays(const struct job *job)
{
    bool all = true;

    for (unsigned i = 0; i < job->record.n_images && all; i++) {
        const struct record_image *image = &job->record.images[i];
        _cleanup_free_ char *path = process_reach(&job->record.qemu, image->file);
        struct image_info info = {0};

        if (strcmp(image->role, "overlay") != 0)
            continue;
        all = image_read(path, "qcow2", &info, NULL) == 0 && info.backing;
        image_info_deinit(&info);
    }
    return all;
}

void files_remove_overlays(struct job *job, void (*done)(struct job *, const struct error *))
{
    struct file_task *task = file_task_new_files(job);

    task->done = done;
    files_run(task, files_run_remove_overlays);
}

void files_look_at_overlays(struct job *job, void (*done)(struct job *, bool empty))
{
    struct file_task *task = file_task_overlays(job);

    task->told = done;
    files_run(task, files_run_look);
}

void files_look_at_header(struct job *job, void (*done)(struct job *, bool names))
{
    const struct record_image *above = job_image(job, NULL, "above");
    const struct record_image *base = job_image(job, NULL, "base");
    struct file_task *task = xzalloc(sizeof(*task));
    struct file *file;

    task->job = job;
    task->told = done;
    file = file_task_add(task, (unsigned)(above - job->record.images));
    file->backing = base ? xstrdup(base->file) : NULL;
    files_run(task, files_run_look_at_header);
}

void files_sync_image(struct job *job, unsigned image,
                      void (*done)(struct job *, const struct error *))
{
    struct file_task *task = xzalloc(sizeof(*task));

    task->job = job;
    task->done = done;
    file_task_add(task, image);
    files_run(task, files_run_sync_image);
}

void files_sync_headers(struct job *job, void (*done)(struct job *, const struct error *))
{
    struct file_task *task = xzalloc(sizeof(*task));

    task->job = job;
    task->done = done;
    for (unsigned i = 0; i < job->record.n_images; i++)
        if (strcmp(job->record.images[i].role, "above") == 0)
            file_task_add(task, i);
    files_run(task, files_run_sync_headers);
}

/* An overlay that the caller prepared is the caller's. */
static bool is_reused(const struct record_image *image)
{
    return strcmp(image->role, "overlay") == 0 && !image->made;
}

/* What is removed is proven to be needed by no domain. */
static void task_need(struct file_task *task)
{
    struct domain *domain, *next;

    HASH_ITER (hh, task->job->engine->domains->map, domain, next) {
        needed_add_domain(&task->needed, domain);
    }
}

/* A task over the target of a copy. */
static struct file_task *file_task_target(struct job *job)
{
    const struct record_image *target = job_image(job, NULL, "target");
    const struct record_image *backing = job_image(job, NULL, "backing");
    struct file_task *task = xzalloc(sizeof(*task));
    struct file *file;

    task->job = job;
    file = file_task_add(task, (unsigned)(target - job->record.images));
    file->like = process_reach(&job->record.qemu, job_image(job, NULL, "source")->file);
    if (job_has(job, JOB_SHALLOW)) {
        file->backing = xstrdup(backing->file);
        file->backing_format = xstrdup(backing->format);
    }
    return task;
}

void files_create_target(struct job *job, void (*done)(struct job *, const struct error *))
{
    struct file_task *task = file_task_target(job);

    task->done = done;
    files_run(task, files_run_create_target);
}

void files_sync_target(struct job *job, void (*done)(struct job *, const struct error *))
{
    struct file_task *task = file_task_target(job);

    task->done = done;
    files_run(task, files_run_sync_target);
}

void files_remove_made(struct job *job, void (*done)(struct job *, const struct error *))
{
    struct file_task *task = file_task_target(job);

    task->done = done;
    task_need(task);
    files_run(task, files_run_remove_made);
}

void files_remove_worthless(struct job *job, void (*done)(struct job *, const struct error *))
{
    struct file_task *task = xzalloc(sizeof(*task));

    task->job = job;
    task->done = done;
    for (unsigned i = 0; i < job->record.n_images; i++) {
        const struct record_image *image = &job->record.images[i];
        bool memory = strcmp(job->record.kind, "snapshot-delete") == 0 &&
                      strcmp(image->role, "memory") == 0;

        if (memory || (leg_merges(image) && !is_reused(image)))
            file_task_add(task, i)->memory = memory;
    }
    task_need(task);
    files_run(task, files_run_remove_worthless);
}
