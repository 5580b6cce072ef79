#include "api/turn.h"

#include <event2/event.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

#include "api/call.h"
#include "api/context.h"
#include "api/method.h"
#include "base/memory.h"
#include "domain/domain.h"
#include "job/job.h"
#include "proto/json.h"
#include "proto/snapvm-errors.h"

struct waiting {
    STAILQ_ENTRY(waiting) link; /* turn::waiting */
    struct call *call;
};

STAILQ_HEAD(waiting_list, waiting);

struct turn {
    UT_hash_handle hh; /* turns::map, by domain */
    char *domain;
    bool over; /* those that wait are about to be run */
    struct waiting_list waiting;
};

struct turns {
    struct turn *map;
    struct event *run;
};

static struct turns *turns_of(const struct call *call)
{
    return call_context(call)->turns;
}

static struct turn *turn_of(const struct call *call)
{
    struct turn *turn = NULL;
    const char *domain = json_string(call_params(call), "domain");

    HASH_FIND_STR(turns_of(call)->map, domain, turn);
    return turn;
}

static void turn_free(struct turns *turns, struct turn *turn)
{
    HASH_DEL(turns->map, turn);
    free(turn->domain);
    free(turn);
}

/* In the order in which they came. One of them may take the next turn, and those behind it wait
 * again; what comes in from now on waits behind them. */
static void turn_run(struct turns *turns, struct turn *turn)
{
    struct waiting_list list = STAILQ_HEAD_INITIALIZER(list);
    struct waiting *waiting;

    STAILQ_CONCAT(&list, &turn->waiting);
    turn_free(turns, turn);
    while ((waiting = STAILQ_FIRST(&list))) {
        struct call *call = waiting->call;

        STAILQ_REMOVE_HEAD(&list, link);
        free(waiting);
        call_method(call)->handler(call);
    }
}

static void turns_run(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    struct turns *turns = arg;
    struct turn *turn, *next;

    HASH_ITER (hh, turns->map, turn, next) {
        if (turn->over)
            turn_run(turns, turn);
    }
}

struct turns *turns_new(struct event_base *base)
{
    struct turns *turns = xzalloc(sizeof(*turns));

    turns->run = event_new(base, -1, 0, turns_run, turns);
    return turns;
}

struct turns *turns_free(struct turns *turns)
{
    struct turn *turn, *next;

    if (!turns)
        return NULL;
    HASH_ITER (hh, turns->map, turn, next) {
        struct waiting *waiting;

        while ((waiting = STAILQ_FIRST(&turn->waiting))) {
            STAILQ_REMOVE_HEAD(&turn->waiting, link);
            call_fail(waiting->call, SNAPVM_ERROR_SHUTTING_DOWN,
                      "snapvmd is stopping; send the request again when it is back");
            free(waiting);
        }
        turn_free(turns, turn);
    }
    event_free(turns->run);
    free(turns);
    return NULL;
}

bool turn_waits(struct call *call)
{
    struct turn *turn = turn_of(call);
    struct waiting *waiting;

    if (!turn)
        return false;
    waiting = xzalloc(sizeof(*waiting));
    waiting->call = call;
    STAILQ_INSERT_TAIL(&turn->waiting, waiting, link);
    return true;
}

void turn_take(struct call *call)
{
    struct turns *turns = turns_of(call);
    struct turn *turn = xzalloc(sizeof(*turn));

    turn->domain = xstrdup(json_string(call_params(call), "domain"));
    STAILQ_INIT(&turn->waiting);
    HASH_ADD_KEYPTR(hh, turns->map, turn->domain, strlen(turn->domain), turn);
}

void turn_end(struct call *call)
{
    turn_of(call)->over = true;
    event_active(turns_of(call)->run, EV_TIMEOUT, 0);
}

int turn_need_free(const struct domain *domain, struct error *err)
{
    const struct job *job;

    TAILQ_FOREACH (job, &domain->jobs, link) {
        if (!job->record.snapshot)
            continue;
        error_set(
            err, SNAPVM_ERROR_BUSY,
            "job %lld (%s \"%s\") is about to change the snapshots of domain %s; wait for its "
            "end",
            (long long)job->record.id, job->record.kind, job->record.snapshot, domain->record.name);
        return error_number(err, "job", job->record.id);
    }
    return 0;
}
