#include "job/job.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "domain/domain.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "job/evidence.h"
#include "job/hold.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "qemu/qmp.h"
#include "qemu/tool.h"
#include "qemu/view.h"

struct job *job_new(struct engine *engine, struct domain *domain, const char *kind)
{
    struct job *job = xzalloc(sizeof(*job));

    job->engine = engine;
    job->domain = domain;
    job->record.domain = xstrdup(domain->record.name);
    job->record.kind = xstrdup(kind);
    job->record.state = xstrdup("starting");
    job->record.created = job->record.updated = clock_now();
    job->record.total = -1;
    job->record.paused_us = job->record.frozen_us = -1;
    job->record.qemu = domain->record.qemu;
    job->record.guest_state = xstrdup(domain_state(domain));
    job->froze = -1;
    job->leader = job;
    job->members = xrealloc(NULL, 1, sizeof(*job->members));
    job->members[0] = job;
    job->n_members = 1;
    TAILQ_INIT(&job->waiters);
    return job;
}

struct job *job_free(struct job *job)
{
    if (!job)
        return NULL;
    assert(TAILQ_EMPTY(&job->waiters));
    if (job->timer)
        event_free(job->timer);
    tool_free(job->tool);
    evidence_drop(job);
    hold_release(job);
    record_job_deinit(&job->record);
    error_clear(&job->failure);
    error_clear(&job->reply_error);
    error_clear(&job->no_freeze);
    free(job->members);
    free(job->news);
    free(job);
    return NULL;
}

const struct step *job_step(const struct job *job)
{
    return &job->plan->steps[job->step];
}

bool job_is_before(const struct job *job, const char *step)
{
    for (unsigned i = job->step + 1; i < job->plan->n_steps; i++)
        if (strcmp(job->plan->steps[i].name, step) == 0)
            return true;
    return false;
}

bool job_has(const struct job *job, enum record_job_flag flag)
{
    return job->record.flags & flag;
}

struct qmp *job_qmp(const struct job *job)
{
    return job->domain->qmp;
}

struct record_image *job_image(const struct job *job, const char *disk, const char *role)
{
    for (unsigned i = 0; i < job->record.n_images; i++) {
        struct record_image *image = &job->record.images[i];

        if (strcmp(image->role, role) == 0 && (!disk || strcmp(image->disk, disk) == 0))
            return image;
    }
    return NULL;
}

struct job *job_on_disk(const struct domain *domain, const char *target)
{
    struct job *job;

    TAILQ_FOREACH (job, &domain->jobs, link) {
        /* A guest whose memory is saved gives all its images up for a moment. */
        if (job_image(job, NULL, "memory"))
            return job;
        for (unsigned i = 0; i < job->record.n_images; i++)
            if (strcmp(job->record.images[i].disk, target) == 0)
                return job;
    }
    return NULL;
}

int job_need_free(const struct domain *domain, struct error *err)
{
    const struct job *job = TAILQ_FIRST(&domain->jobs);

    if (!job)
        return 0;
    error_set(err, SNAPVM_ERROR_BUSY, "job %lld of domain %s has not ended; wait for its end",
              (long long)job->record.id, domain->record.name);
    return error_number(err, "job", job->record.id);
}

int job_need_free_disk(const struct domain *domain, const char *target, struct error *err)
{
    const struct job *job = job_on_disk(domain, target);

    if (!job)
        return 0;
    error_set(err, SNAPVM_ERROR_BUSY, "job %lld holds disk %s; wait for its end",
              (long long)job->record.id, target);
    return error_number(err, "job", job->record.id);
}

#define JOB_NAME_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"

/* FNV-1a. */
static unsigned job_disk_hash(const char *disk)
{
    uint32_t hash = 2166136261;

    for (; *disk; disk++)
        hash = (hash ^ (unsigned char)*disk) * 16777619;
    return hash;
}

/* QEMU's job ids and node names are letters, digits, '-', '.' and '_', at most 31 for a node. A
 * disk whose name is cut or changed for that is told from its like by a hash. */
static const char *job_name(const struct job *job, const char *disk, const char *suffix,
                            char buffer[JOB_NAME_SIZE])
{
    int n = snprintf(buffer, JOB_NAME_SIZE, "snapvm-%lld-", (long long)job->record.id);
    int room = 31 - n - (int)strlen(suffix), length = (int)strlen(disk);
    size_t size = JOB_NAME_SIZE - (size_t)n;
    char *p = buffer + n;

    if (length <= room && (int)strspn(disk, JOB_NAME_LETTERS) == length) {
        snprintf(p, size, "%s%s", disk, suffix);
        return buffer;
    }
    room -= 9; /* for the hash */
    snprintf(p, size, "%.*s.%08x%s", room > 0 ? room : 0, disk, job_disk_hash(disk), suffix);
    for (; *p; p++)
        if (!strchr(JOB_NAME_LETTERS, *p))
            *p = '_';
    return buffer;
}

const char *job_qemu_name(const struct job *job, const char *disk, char buffer[JOB_NAME_SIZE])
{
    return job_name(job, disk, "", buffer);
}

const char *job_filter_name(const struct job *job, const char *disk, char buffer[JOB_NAME_SIZE])
{
    return job_name(job, disk, "-f", buffer);
}

static void job_tell_failure(const struct job *leader, const struct record_image *image,
                             const char *desc, struct error *err)
{
    if (leader->n_members > 1)
        error_set(err, SNAPVM_ERROR_QEMU,
                  "disk %s could not be made ready for the switch (%s), so none of the group was "
                  "switched: see to that, and start the jobs again",
                  image->disk, desc);
    else
        error_set(err, SNAPVM_ERROR_QEMU, "the job of disk %s failed in QEMU: %s", image->disk,
                  desc);
    error_text(err, "desc", desc);
}

/* The first image of a member whose job in QEMU failed. */
static const struct record_image *job_failed_image(const struct job *member, const char **ret_desc)
{
    for (unsigned i = 0; i < member->record.n_images; i++) {
        const struct record_image *image = &member->record.images[i];
        char name[JOB_NAME_SIZE];
        const struct view_job *seen =
            view_job(member->domain->view, job_qemu_name(member, image->disk, name));

        if (seen && seen->error) {
            *ret_desc = seen->error;
            return image;
        }
    }
    return NULL;
}

bool job_why_failed(const struct job *leader, struct error *err)
{
    for (unsigned i = 0; i < leader->n_members; i++) {
        const struct job *member = leader->members[i];
        const char *desc;
        const struct record_image *image = job_failed_image(member, &desc);

        if (member->record.error.code)
            error_copy(err, &member->record.error);
        else if (image)
            job_tell_failure(leader, image, desc, err);
        else
            continue;
        return true;
    }
    return false;
}

void job_failed(struct job *job, const struct error *err)
{
    engine_fail(job, err);
}

void job_filed(struct job *job, const struct error *err)
{
    if (err)
        engine_fail(job, err);
    else
        job_acted(job, NULL);
}

void job_expect(struct job *job, unsigned n)
{
    assert(job->outstanding == 0);
    job->outstanding = n;
    error_clear(&job->reply_error);
    if (n == 0)
        job_acted(job, NULL);
}

void job_lay(struct job *job, void (*lay)(struct job *))
{
    struct qmp *qmp = job->domain->connected ? job_qmp(job) : NULL;

    if (!lay || !qmp)
        return;
    qmp_lay(qmp);
    lay(job);
    qmp_laid(qmp);
}

void job_reply(void *arg, const struct error *err)
{
    struct job *job = arg;

    assert(job->outstanding > 0);
    if (err && !job->reply_error.code)
        error_copy(&job->reply_error, err);
    if (--job->outstanding > 0)
        return;
    job_acted(job, job->reply_error.code ? &job->reply_error : NULL);
}

void job_reply_lenient(void *arg, const struct error *err)
{
    struct job *job = arg;

    if (err)
        job->believed = false;
    job_reply(arg, err && err->code == SNAPVM_ERROR_QEMU ? NULL : err);
}
