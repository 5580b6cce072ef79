#include "tests/unit/domain-fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/worker.h"
#include "journal/journal.h"
#include "tests/unit/scratch.h"

static void stage_viewed(void *arg, struct domain *domain _unused_)
{
    ((struct stage *)arg)->viewed++;
}

static void stage_away(void *arg, struct domain *domain)
{
    struct stage *stage = arg;

    stage->away++;
    stage->gone += domain->gone;
}

static void stage_event(void *arg, struct domain *domain _unused_,
                        const struct qmp_event *event _unused_)
{
    ((struct stage *)arg)->events++;
}

static void stage_agent(void *arg, struct domain *domain _unused_)
{
    ((struct stage *)arg)->agent++;
}

static const struct domain_handlers stage_handlers = {
    .viewed = stage_viewed, .away = stage_away, .event = stage_event, .agent = stage_agent};

void stage_init(struct stage *stage)
{
    struct domains_options options = {.greeting_timeout_ms = 30000, .command_timeout_ms = 30000};

    log_set_level(LOG_ERR);
    memset(stage, 0, sizeof(*stage));
    fixture_init(&stage->f);
    fixture_open(&stage->f);
    stage->guests_dir = stage_path(stage, "guests");
    options.guests_dir = stage->guests_dir;
    stage->domains = domains_new(stage->f.base, stage->f.journal, stage->f.worker, NULL, &options);
    domains_set_handlers(stage->domains, &stage_handlers, stage);
}

void stage_deinit(struct stage *stage)
{
    engine_free(stage->engine);
    domains_free(stage->domains);
    free(stage->guests_dir);
    fixture_deinit(&stage->f);
}

static char *stage_encode(const struct job *job _unused_)
{
    return xstrdup("{}");
}

static void stage_progress(void *arg _unused_, const struct job *job _unused_)
{
}

void stage_add_engine(struct stage *stage)
{
    const struct engine_options options = {.agent_timeout_ms = 30000, .freeze_timeout_ms = 30000};
    const struct engine_hooks hooks = {.encode = stage_encode, .progress = stage_progress};

    stage->engine = engine_new(stage->domains, &options, &hooks);
}

void stage_start(struct stage *stage)
{
    struct error err = {0};

    ck_assert_msg(domains_start(stage->domains, &err) == 0, "%s", err.message);
}

struct domain *stage_domain(struct stage *stage, const char *name)
{
    _cleanup_free_ char *qmp = stage_path(stage, "nobody.sock");
    const struct record_domain definition = {.name = (char *)name, .qmp = qmp};
    bool added;
    struct domain *domain = domains_define(stage->domains, &definition, &added, NULL);

    ck_assert(added);
    return domain;
}

static void stage_guard_fired(evutil_socket_t fd _unused_, short what _unused_, void *arg _unused_)
{
}

struct event *stage_guard(struct stage *stage)
{
    struct event *guard = evtimer_new(stage->f.base, stage_guard_fired, NULL);
    const struct timeval delay = {.tv_sec = STAGE_GUARD_S};

    evtimer_add(guard, &delay);
    return guard;
}

static void stage_flag(void *arg)
{
    *(bool *)arg = true;
}

static void stage_nothing(void *arg _unused_)
{
}

static void stage_committed(void *arg, const struct error *err)
{
    ck_assert_ptr_null(err);
    *(bool *)arg = true;
}

void stage_settle(struct stage *stage)
{
    bool worked = false, committed = false;
    struct journal_txn *txn = journal_begin(stage->f.journal);

    journal_commit(txn, "settle", stage_committed, &committed);
    worker_run(stage->f.worker, stage_nothing, stage_flag, NULL, &worked);
    STAGE_UNTIL(stage, worked && committed);
}

void stage_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

char *stage_path(const struct stage *stage, const char *name)
{
    return fixture_path(&stage->f, name);
}

struct view_node *see_node(struct view *view, const char *name, const char *driver,
                           const char *backing, const char *file)
{
    struct view_node *node = view_add_node(view, name);

    xstrset(&node->driver, driver);
    xstrset(&node->backing, backing);
    xstrset(&node->file, file);
    node->virtual_size = 1 << 20;
    node->actual_size = 4096;
    return node;
}

struct view_disk *see_disk(struct view *view, const char *root, const char *qdev,
                           const char *device)
{
    struct view_disk *disk = view_add_disk(view, root);

    xstrset(&disk->qdev, qdev);
    xstrset(&disk->device, device);
    if (qdev)
        disk->qom = xasprintf("/machine/peripheral/%s/virtio-backend", qdev);
    return disk;
}

void see_job(struct view *view, const char *id, enum view_job_status status)
{
    struct view_job *job = view_add_job(view, id);

    job->type = xstrdup("commit");
    job->status = status;
}

struct view *stage_view(struct domain *domain)
{
    view_free(domain->view);
    domain->view = view_new();
    domain->view->status = xstrdup("running");
    domain->view->running = true;
    domain->connected = true;
    domain->gone = false;
    return domain->view;
}

struct job *stage_job(struct stage *stage, struct domain *domain, const char *kind, int64_t id)
{
    struct job *job = job_new(stage->engine, domain, kind);

    job->record.id = id;
    TAILQ_INSERT_TAIL(&domain->jobs, job, link);
    return job;
}

void stage_drop_job(struct job *job)
{
    TAILQ_REMOVE(&job->domain->jobs, job, link);
    job_free(job);
}

struct record_image *stage_image(struct job *job, const char *disk, const char *role,
                                 const char *file, const char *node)
{
    struct record_image *image = record_job_add_image(&job->record, disk, role, file);

    xstrset(&image->node, node);
    xstrset(&image->format, "qcow2");
    image->virtual_size = 1 << 20;
    return image;
}

int stage_main(const char *name, TCase *(*const cases[])(void), unsigned n)
{
    Suite *suite = suite_create(name);
    SRunner *runner;
    int failed;

    for (unsigned i = 0; i < n; i++) {
        TCase *tcase = cases[i]();

        tcase_set_timeout(tcase, 3 * STAGE_GUARD_S);
        suite_add_tcase(suite, tcase);
    }
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
