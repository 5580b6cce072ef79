/* What is known of a stall stands in the bits of the record: it is told after a restart too. */
#include "job/stall.h"

#include <string.h>

#include "base/memory.h"
#include "job/job.h"
#include "qemu/view.h"

#define STALL_BITS ((unsigned)(JOB_STALLED | JOB_STALL_SPACE | JOB_STALL_READ))

static bool is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

bool stall_is_seen(const struct job *job, const struct view_job *seen)
{
    if (!seen || (seen->status != VIEW_JOB_PAUSED && seen->status != VIEW_JOB_STANDBY))
        return false;
    if (seen->io_status && !is(seen->io_status, "ok"))
        return true;
    return job_has(job, JOB_STALLED);
}

/* The io-status "nospace" is about the image that receives the data: reading takes no room. QEMU
 * calls every error of a stream one of reading, also when it could not write. */
void stall_note(struct job *job, const struct view_job *seen)
{
    bool space = is(seen->io_status, "nospace");

    if (job_has(job, JOB_STALLED))
        return; /* as it was told */
    /* What was ready falls behind: it is told anew when it has caught up. */
    job->record.flags &= ~(STALL_BITS | (unsigned)JOB_READY_SENT);
    if (space)
        job->record.flags |= JOB_STALL_SPACE;
    else if (job->read_failed)
        job->record.flags |= JOB_STALL_READ;
}

void stall_forget(struct job *job)
{
    job->record.flags &= ~STALL_BITS;
    job->read_failed = false;
}

const char *stall_reason(const struct record_job *job)
{
    if (!is(job->state, "stalled"))
        return NULL;
    return job->flags & JOB_STALL_SPACE ? "no-space" : "io-error";
}

/* The image with one of two roles if there is no more than one. */
static const char *stall_only(const struct record_job *job, const char *role, const char *other)
{
    const char *file = NULL;

    for (unsigned i = 0; i < job->n_images; i++) {
        if (!is(job->images[i].role, role) && !is(job->images[i].role, other))
            continue;
        if (file)
            return NULL;
        file = job->images[i].file;
    }
    return file;
}

/* What receives the data: the layer above of a pull, the layer below of a snapshot that is given
 * back, the base of a commit, the target of a copy. */
const char *stall_file(const struct record_job *job)
{
    bool pull = is(job->kind, "pull"), space = job->flags & JOB_STALL_SPACE;

    if (pull)
        return space ? stall_only(job, "above", "above") : NULL;
    if (job->flags & JOB_STALL_READ)
        return is(job->kind, "copy") ? stall_only(job, "source", "backing")
                                     : stall_only(job, "top", "intermediate");
    return stall_only(job, is(job->kind, "snapshot") ? "source" : "base", "target");
}

char *stall_advice(const struct record_job *job)
{
    const char *file = stall_file(job);
    const char *place = file ? file : "the image that it writes to";

    if (job->flags & JOB_STALL_SPACE)
        return xasprintf("no room is left for %s; the guest goes on. Make room there and resume "
                         "job %lld (job.resume), or cancel it",
                         place, (long long)job->id);
    if (file)
        return xasprintf("%s %s failed; the guest goes on. See QEMU's and the kernel's log, mend "
                         "it and resume job %lld (job.resume), or cancel it",
                         job->flags & JOB_STALL_READ ? "reading" : "writing", file,
                         (long long)job->id);
    return xasprintf("an image of the job could not be read or written; the guest goes on. See "
                     "QEMU's and the kernel's log, mend it and resume job %lld (job.resume), or "
                     "cancel it",
                     (long long)job->id);
}
