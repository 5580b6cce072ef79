/* Domains and an engine over a real journal and worker, in a folder of their own, and views that
 * are built from tables. */
#ifndef SNAPVM_TESTS_UNIT_DOMAIN_FIXTURE_H
#define SNAPVM_TESTS_UNIT_DOMAIN_FIXTURE_H

#include <check.h>
#include <event2/event.h>
#include <stdbool.h>

#include "domain/domains.h"
#include "job/engine.h"
#include "job/job.h"
#include "qemu/view.h"
#include "tests/unit/journal-fixture.h"

struct stage {
    struct fixture f;
    struct domains *domains;
    struct engine *engine; /* NULL unless the test asks for one */
    char *guests_dir;
    unsigned viewed, away, events, agent; /* what the handlers were told */
    unsigned gone;                        /* of those of `away`: with domain->gone */
};

/* Domains that are not started, with handlers that count. */
void stage_init(struct stage *stage);
void stage_deinit(struct stage *stage);

/* An engine over the domains, which takes their handlers over. */
void stage_add_engine(struct stage *stage);

/* Calls domains_start, which must work. */
void stage_start(struct stage *stage);

/* A domain without connection. */
struct domain *stage_domain(struct stage *stage, const char *name);

/* Fails the test when the loop does not bring the condition within the guard's time. */
#define STAGE_GUARD_S 60
#define STAGE_UNTIL(stage, condition)                                       \
    do {                                                                    \
        struct event *guard_ = stage_guard(stage);                          \
        while (!(condition)) {                                              \
            event_base_loop((stage)->f.base, EVLOOP_ONCE);                  \
            ck_assert_msg(evtimer_pending(guard_, NULL), "no " #condition); \
        }                                                                   \
        event_free(guard_);                                                 \
    } while (0)
struct event *stage_guard(struct stage *stage);

/* Runs the loop until everything that was queued for the journal and the worker has come back. */
void stage_settle(struct stage *stage);

/* A text in a file, a folder, a path in the stage's folder (owned by the caller). */
void stage_write(const char *path, const char *text);
char *stage_path(const struct stage *stage, const char *name);

/* A node of a view, and a disk that reads it; NULL where nothing is to be said. */
struct view_node *see_node(struct view *view, const char *name, const char *driver,
                           const char *backing, const char *file);
struct view_disk *see_disk(struct view *view, const char *root, const char *qdev,
                           const char *device);
void see_job(struct view *view, const char *id, enum view_job_status status);

/* Gives a domain a view, as a connection would have done, and returns it. */
struct view *stage_view(struct domain *domain);

/* A job of that domain, which the domain lists until stage_drop_job. */
struct job *stage_job(struct stage *stage, struct domain *domain, const char *kind, int64_t id);
void stage_drop_job(struct job *job);

/* An image of a job with its node. */
struct record_image *stage_image(struct job *job, const char *disk, const char *role,
                                 const char *file, const char *node);

int stage_main(const char *name, TCase *(*const cases[])(void), unsigned n);

#endif
