/* Images that several disks use, what is left over in QEMU's graph and in folders, and checks as
 * they are asked for. */
#include "job/check.h"

#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "domain/snapshot.h"
#include "job/check-graph.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "tests/unit/chain-scene.h"
#include "tests/unit/domain-fixture.h"

/* --- the graph --- */

static void graph(struct domain *domain, const char *expected)
{
    struct findings findings = {0};
    _cleanup_free_ char *text = NULL;

    check_graph_run(domain, &findings);
    text = finding_kinds(&findings);
    ck_assert_str_eq(text, expected);
    findings_deinit(&findings);
}

static const struct job_row {
    const char *id;
    enum view_job_status status;
    const char *found;
} job_rows[] = {
    {"snapvm-17-vda", VIEW_JOB_PENDING, ""}, /* of the job that is active */
    {"snapvm-18-vda", VIEW_JOB_RUNNING, "w:leftover-job"},
    {"snapvm-18-vda", VIEW_JOB_PENDING, "e:leftover-job"},
    {"snapvm-18-vda", VIEW_JOB_CONCLUDED, "w:leftover-job"},
    {"snapvm-18-vda", VIEW_JOB_NONE, ""}, /* its last event */
    {"snapvm-x", VIEW_JOB_PENDING, "w:unowned-job"},
    {"snapvm-17", VIEW_JOB_CONCLUDED, "w:unowned-job"},
    {"nightly", VIEW_JOB_RUNNING, ""},
    {"nightly", VIEW_JOB_READY, ""},
    {"nightly", VIEW_JOB_PENDING, "w:unowned-job"},
    {"nightly", VIEW_JOB_CONCLUDED, "w:unowned-job"},
};

static const struct node_row {
    const char *name, *driver, *found;
} node_rows[] = {
    {"snapvm-17-vda", "qcow2", ""}, /* an overlay of the active job, not on its disk yet */
    {"snapvm-18-vda", "qcow2", "w:leftover-node"},
    {"snapvm-3-vda", "qcow2", ""}, /* in the disk's chain, since job 3 ended */
    {"merged", "qcow2", ""},
    {"snapvm-2-vda", "qcow2", ""}, /* left by the active job a moment ago */
    {"#block017", "file", ""},
};

/* A disk on a layer that job 3 made, and job 17 that merges one that job 2 made. */
static struct job *graph_scene(struct stage *stage, struct domain **ret_domain)
{
    struct view *view;
    struct job *job;
    struct record_disk *disk;

    stage_init(stage);
    stage_add_engine(stage);
    *ret_domain = stage_domain(stage, "web");
    job = stage_job(stage, *ret_domain, "commit", 17);
    stage_image(job, "vda", "top", "/i/two", "snapvm-2-vda");
    view = stage_view(*ret_domain);
    see_node(view, "snapvm-3-vda", "qcow2", NULL, "/i/three");
    see_disk(view, "snapvm-3-vda", "vda", NULL);
    disk = record_domain_add_disk(&(*ret_domain)->record, "vda");
    disk->qdev = xstrdup("vda");
    return job;
}

START_TEST(jobs_have_an_owner)
{
    struct stage stage;
    struct domain *domain;
    struct job *job = graph_scene(&stage, &domain);

    see_job(domain->view, job_rows[_i].id, job_rows[_i].status);
    graph(domain, job_rows[_i].found);
    stage_drop_job(job);
    stage_deinit(&stage);
}
END_TEST

START_TEST(nodes_have_an_owner)
{
    struct stage stage;
    struct domain *domain;
    struct job *job = graph_scene(&stage, &domain);

    if (!view_node(domain->view, node_rows[_i].name))
        see_node(domain->view, node_rows[_i].name, node_rows[_i].driver, NULL, "/i/x");
    graph(domain, node_rows[_i].found);
    stage_drop_job(job);
    stage_deinit(&stage);
}
END_TEST

START_TEST(disks_that_are_not_there)
{
    struct stage stage;
    struct domain *domain;
    struct job *job = graph_scene(&stage, &domain);
    struct record_disk *disk = record_domain_add_disk(&domain->record, "cdrom");

    disk->qdev = xstrdup("cd0");
    graph(domain, "i:disk-absent");
    see_disk(domain->view, NULL, "cd0", NULL); /* without a medium */
    graph(domain, "");
    stage_drop_job(job);
    stage_deinit(&stage);
}
END_TEST

static TCase *graph_case(void)
{
    TCase *tcase = tcase_create("graph");

    tcase_add_loop_test(tcase, jobs_have_an_owner, 0, N(job_rows));
    tcase_add_loop_test(tcase, nodes_have_an_owner, 0, N(node_rows));
    tcase_add_test(tcase, disks_that_are_not_there);
    return tcase;
}

/* --- whole checks, of guests that are shut off --- */

struct answer {
    unsigned n;
    char *kinds;
    int error;
};

static void answered(void *arg, const struct findings *findings, const struct error *err)
{
    struct answer *answer = arg;

    answer->n++;
    answer->error = err ? err->code : 0;
    answer->kinds = err ? xstrdup("") : finding_kinds(findings);
}

static void expect_check(struct stage *stage, struct domain *domain, const char *expected)
{
    struct answer answer = {0};

    check_domain(stage->engine, domain, answered, &answer);
    STAGE_UNTIL(stage, answer.n);
    ck_assert_int_eq(answer.error, 0);
    ck_assert_str_eq(answer.kinds, expected);
    free(answer.kinds);
}

static struct domain *domain_on(struct stage *stage, const char *name, const char *file,
                                const char *format)
{
    struct domain *domain = stage_domain(stage, name);

    record_disk_add_layer(record_domain_add_disk(&domain->record, "vda"), file, format);
    return domain;
}

START_TEST(shared_images)
{
    struct stage stage;
    struct domain *web, *db, *twin;
    _cleanup_free_ char *same = in_folder("same"), *other = in_folder("other");

    stage_init(&stage);
    stage_add_engine(&stage);
    web = domain_on(&stage, "web", its.top, "qcow2");
    expect_check(&stage, web, "");
    put_image(other, SIZE, its.base, "raw");
    db = domain_on(&stage, "db", other, "qcow2");
    expect_check(&stage, web, "i:image-shared"); /* the base */
    expect_check(&stage, db, "i:image-shared");
    ck_assert_int_eq(link(its.top, same), 0);
    twin = domain_on(&stage, "twin", same, "qcow2");
    /* The top, and the base with the other one. */
    expect_check(&stage, twin, "e:image-shared i:image-shared");
    expect_check(&stage, web, "e:image-shared i:image-shared");
    twin->record.disks[0].read_only = web->record.disks[0].read_only = true;
    expect_check(&stage, twin, "i:image-shared i:image-shared");
    stage_deinit(&stage);
}
END_TEST

static void add_snapshot(struct domain *domain, const char *file, const char *backing)
{
    struct record_snapshot record = {.domain = xstrdup(domain->record.name),
                                     .name = xstrdup("before")};
    struct record_snapshot_disk *disk = record_snapshot_add_disk(&record, "vda");

    disk->mode = xstrdup("external");

    disk->file = xstrdup(file);
    disk->backing = xstrdup(backing);
    snapshot_add(domain, &record);
}

START_TEST(snapshots_without_files)
{
    struct stage stage;
    struct domain *web;

    stage_init(&stage);
    stage_add_engine(&stage);
    web = domain_on(&stage, "web", its.top, "qcow2");
    add_snapshot(web, its.top, its.middle);
    expect_check(&stage, web, "");
    add_snapshot(web, "/nowhere/over", its.middle);
    expect_check(&stage, web, "w:snapshot-gone");
    add_snapshot(web, its.top, "/nowhere/base");
    expect_check(&stage, web, "e:snapshot-gone w:snapshot-gone");
    stage_deinit(&stage);
}
END_TEST

/* What an ended job said of a file, and whether the check calls it left over. */
static const struct left_row {
    const char *role, *state, *file;
    bool known; /* with its identity: of another file than the one that is there */
    const char *found;
} left_rows[] = {
    {"top", "invalid", "stray", false, "i:leftover-file"},
    {"top", "valid", "stray", false, "i:leftover-file"},
    {"target", "valid", "stray", false, ""},
    {"overlay", "removed", "stray", false, ""}, /* somebody's new file, for all that is known */
    {"top", "invalid", "stray", true, ""},
    {"top", "invalid", "middle", false, ""}, /* the chain reads through it */
    {"top", "invalid", "nowhere", false, ""},
    {"base", "backing", "stray", false, ""},
};

static void put_ended_job(struct stage *stage, const struct left_row *row)
{
    struct journal_txn *txn = journal_begin(stage->f.journal);
    struct record_job job = {.id = 7,
                             .domain = xstrdup("web"),
                             .kind = xstrdup("commit"),
                             .state = xstrdup("ended"),
                             .step = xstrdup("settle"),
                             .ended = 1};
    _cleanup_free_ char *path = in_folder(row->file);
    struct record_image *image = record_job_add_image(&job, "vda", row->role, path);

    image->state = xstrdup(row->state);
    image->ino = row->known;
    journal_put_job(txn, &job);
    journal_commit(txn, "test", NULL, NULL);
    record_job_deinit(&job);
    stage_settle(stage);
}

START_TEST(files_of_ended_jobs)
{
    struct stage stage;
    struct domain *web;
    _cleanup_free_ char *stray = in_folder("stray");

    stage_init(&stage);
    stage_add_engine(&stage);
    web = domain_on(&stage, "web", its.top, "qcow2");
    put_raw(stray, SIZE);
    put_ended_job(&stage, &left_rows[_i]);
    expect_check(&stage, web, left_rows[_i].found);
    stage_deinit(&stage);
}
END_TEST

START_TEST(names_of_ours)
{
    struct stage stage;
    struct domain *web;
    struct job *job;
    _cleanup_free_ char *like = in_folder("web-vda.old.qcow2"), *not = in_folder("web-vdb.a.qcow2");

    stage_init(&stage);
    stage_add_engine(&stage);
    web = domain_on(&stage, "web", its.top, "qcow2");
    put_raw(not, SIZE);
    expect_check(&stage, web, "");
    put_raw(like, SIZE);
    expect_check(&stage, web, "i:leftover-file");
    job = stage_job(&stage, web, "snapshot", 17);
    stage_image(job, "vdb", "overlay", like, "snapvm-17-vdb");
    expect_check(&stage, web, ""); /* it is being made */
    stage_drop_job(job);
    stage_deinit(&stage);
}
END_TEST

START_TEST(a_domain_that_goes_away)
{
    struct stage stage;
    struct domain *web;
    struct answer answer = {0};

    stage_init(&stage);
    stage_add_engine(&stage);
    web = domain_on(&stage, "web", its.top, "qcow2");
    check_domain(stage.engine, web, answered, &answer);
    domains_remove(stage.domains, web);
    STAGE_UNTIL(&stage, answer.n);
    ck_assert_int_eq(answer.error, SNAPVM_ERROR_NOT_FOUND);
    free(answer.kinds);

    answer = (struct answer){0};
    web = domain_on(&stage, "web", its.top, "qcow2");
    stage_view(web); /* connected, so that it waits for a view */
    check_domain(stage.engine, web, answered, &answer);
    ck_assert_uint_eq(answer.n, 0);
    check_forget(stage.engine, web);
    ck_assert_uint_eq(answer.n, 1);
    ck_assert_int_eq(answer.error, SNAPVM_ERROR_NOT_FOUND);
    free(answer.kinds);
    web->connected = false;
    check_domain(stage.engine, web, answered, &answer); /* dropped with the engine */
    stage_deinit(&stage);
}
END_TEST

static TCase *whole_case(void)
{
    TCase *tcase = tcase_create("whole");

    tcase_add_checked_fixture(tcase, chain_setup, chain_teardown);
    tcase_add_test(tcase, shared_images);
    tcase_add_test(tcase, snapshots_without_files);
    tcase_add_loop_test(tcase, files_of_ended_jobs, 0, N(left_rows));
    tcase_add_test(tcase, names_of_ours);
    tcase_add_test(tcase, a_domain_that_goes_away);
    return tcase;
}

int main(void)
{
    static TCase *(*const cases[])(void) = {graph_case, whole_case};

    return stage_main("check", cases, N(cases));
}
