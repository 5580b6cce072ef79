/* Jobs on the snapshot tree begin once the worker has read the files.
 * Until then it is their call's turn at the tree; what was checked before is checked again. */
#include "api/tree-job.h"

#include <stdlib.h>
#include <string.h>

#include "api/answer.h"
#include "api/call.h"
#include "api/turn.h"
#include "base/error.h"
#include "base/memory.h"
#include "domain/domain.h"
#include "domain/shutoff.h"
#include "job/engine.h"
#include "job/job.h"
#include "proto/snapvm-errors.h"

struct tree_job {
    struct call *call;
    struct job *job;
};

struct tree_job *tree_job_new(struct call *call, struct job *job)
{
    struct tree_job *waiting = xzalloc(sizeof(*waiting));

    *waiting = (struct tree_job){.call = call, .job = job};
    return waiting;
}

void tree_job_fail(struct call *call, struct job *job, const struct error *err)
{
    job_free(job);
    turn_end(call);
    call_error(call, err);
}

int tree_job_check(const struct job *job, struct error *err)
{
    bool live = strcmp(job->record.guest_state, "shutoff") != 0;

    if (live ? domain_need_live(job->domain, err) < 0
             : shutoff_need(job->domain, "it was started just now", err) < 0)
        return -1;
    if (live && !domain_runs_in(job->domain, &job->record.qemu))
        return error_set(err, SNAPVM_ERROR_QEMU_GONE,
                         "the guest was started anew just now; try again");
    if (turn_need_free(job->domain, err) < 0)
        return -1;
    for (unsigned i = 0; i < job->record.n_images; i++)
        if (job_need_free_disk(job->domain, job->record.images[i].disk, err) < 0)
            return -1;
    return 0;
}

void tree_job_surveyed(void *arg, const struct error *err)
{
    struct tree_job *waiting = arg;
    struct call *call = waiting->call;
    struct job *job = waiting->job;
    _cleanup_error_ struct error again = {0};

    free(waiting);
    if (!err && tree_job_check(job, &again) < 0)
        err = &again;
    if (err) {
        tree_job_fail(call, job, err);
        return;
    }
    turn_end(call);
    engine_start(job, answer_note_job, answer_started, call);
}
