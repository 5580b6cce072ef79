/* The legs of a pivot, and how jobs, disks and images are told apart by name. */
#include "job/leg.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "domain/disk.h"
#include "job/walk.h"
#include "tests/unit/domain-fixture.h"

#define N(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

static struct domain *example(struct stage *stage)
{
    struct domain *domain;
    struct view *view;

    stage_init(stage);
    stage_add_engine(stage);
    domain = stage_domain(stage, "web");
    view = stage_view(domain);
    see_node(view, "top-a", "qcow2", "base-a", "/i/top-a");
    see_node(view, "base-a", "raw", NULL, "/i/base-a");
    see_node(view, "top-b", "qcow2", "base-b", "/i/top-b");
    see_node(view, "base-b", "raw", NULL, "/i/base-b");
    see_disk(view, "top-a", "vda", NULL);
    see_disk(view, "top-b", "vdb", NULL);
    disks_update(domain);
    return domain;
}

static struct job *commit(struct stage *stage, struct domain *domain, const char *disk, int64_t id)
{
    struct job *job = stage_job(stage, domain, "active-commit", id);
    _cleanup_free_ char *top = xasprintf("top-%c", disk[2]), *base = xasprintf("base-%c", disk[2]);
    _cleanup_free_ char *top_file = xasprintf("/i/%s", top), *base_file = xasprintf("/i/%s", base);

    job->record.disk = xstrdup(disk);
    stage_image(job, disk, "top", top_file, top);
    stage_image(job, disk, "intermediate", "/i/between", "between");
    stage_image(job, disk, "base", base_file, base);
    return job;
}

static void assert_leg(const struct leg *leg, const struct job *job, const char *name,
                       const char *top, const char *base)
{
    ck_assert_ptr_eq(leg->job, job);
    ck_assert_str_eq(leg->name, name);
    ck_assert_str_eq(leg->from->node, top);
    ck_assert_str_eq(leg->to->node, base);
}

START_TEST(legs_of_several_members)
{
    struct stage stage;
    struct domain *domain = example(&stage);
    struct job *a = commit(&stage, domain, "vda", 17), *b = commit(&stage, domain, "vdb", 18);
    struct leg leg;

    ck_assert_uint_eq(leg_count(a), 1);
    engine_lead(a, &b, 1);
    ck_assert_uint_eq(leg_count(a), 2);
    leg = leg_first(a);
    assert_leg(&leg, a, "snapvm-17-vda", "top-a", "base-a");
    ck_assert_ptr_eq(leg_disk(&leg), disk_find(domain, "vda"));
    leg = leg_next(a, &leg);
    assert_leg(&leg, b, "snapvm-18-vdb", "top-b", "base-b");
    ck_assert_ptr_eq(leg_disk(&leg), disk_find(domain, "vdb"));
    leg = leg_next(a, &leg);
    ck_assert_ptr_null(leg.job);
    stage_drop_job(b);
    stage_drop_job(a);
    stage_deinit(&stage);
}
END_TEST

START_TEST(legs_of_a_snapshot)
{
    struct stage stage;
    struct domain *domain = example(&stage);
    struct job *job = stage_job(&stage, domain, "snapshot", 17);
    struct leg leg;

    stage_image(job, "vda", "source", "/i/base-a", "base-a");
    stage_image(job, "vda", "overlay", "/i/top-a", "top-a");
    stage_image(job, "vdb", "source", "/i/base-b", "base-b");
    stage_image(job, "vdb", "overlay", "/i/top-b", "top-b");
    ck_assert_uint_eq(leg_count(job), 2);
    leg = leg_first(job);
    assert_leg(&leg, job, "snapvm-17-vda", "top-a", "base-a");
    leg = leg_next(job, &leg);
    assert_leg(&leg, job, "snapvm-17-vdb", "top-b", "base-b");
    leg = leg_next(job, &leg);
    ck_assert_ptr_null(leg.job);
    stage_drop_job(job);
    stage_deinit(&stage);
}
END_TEST

START_TEST(legs_that_pivoted)
{
    struct stage stage;
    struct domain *domain = example(&stage);
    struct job *job = commit(&stage, domain, "vda", 17);
    struct leg leg = leg_first(job);
    struct view *view = domain->view;

    ck_assert(!leg_pivoted(&leg));
    ck_assert_int_eq(leg_status(&leg, view), VIEW_JOB_NONE);
    see_job(view, "snapvm-17-vda", VIEW_JOB_PENDING);
    ck_assert_int_eq(leg_status(&leg, view), VIEW_JOB_PENDING);
    see_node(view, "filter", "commit_top", "top-a", "/i/top-a");
    xstrset(&view->disks[0].root, "filter");
    ck_assert(!leg_pivoted(&leg));
    xstrset(&view->disks[0].root, "base-a");
    ck_assert(leg_pivoted(&leg));
    xstrset(&view_node(view, "filter")->backing, "base-a");
    xstrset(&view->disks[0].root, "filter");
    ck_assert(leg_pivoted(&leg));
    xstrset(&view->disks[0].root, NULL);
    ck_assert(!leg_pivoted(&leg));
    see_node(view, "other", "qcow2", "base-a", "/i/other"); /* neither of the two */
    xstrset(&view->disks[0].root, "other");
    ck_assert(!leg_pivoted(&leg));
    record_disk_deinit(&domain->record.disks[0]);
    domain->record.disks[0] = (struct record_disk){.target = xstrdup("other")};
    ck_assert_ptr_null(leg_disk(&leg));
    ck_assert(!leg_pivoted(&leg));
    stage_drop_job(job);
    stage_deinit(&stage);
}
END_TEST

/* Of a deletion: an inner leg, one from the active layer, and a strand that no QEMU has open. */
START_TEST(legs_of_a_deletion)
{
    struct stage stage;
    struct domain *domain = example(&stage);
    struct job *job = stage_job(&stage, domain, "snapshot-delete", 17);
    struct view *view = domain->view;
    struct leg leg;

    xstrset(&view_node(view, "top-a")->backing, "middle-a");
    see_node(view, "middle-a", "qcow2", "base-a", "/i/middle-a");
    stage_image(job, "vda", "top", "/i/off-top", NULL);
    stage_image(job, "vda", "base", "/i/off-base", NULL);
    stage_image(job, "vda", "above", "/i/off-above", NULL);
    stage_image(job, "vda", "top", "/i/middle-a", "middle-a");
    stage_image(job, "vda", "base", "/i/base-a", "base-a");
    stage_image(job, "vda", "above", "/i/branch", NULL);
    stage_image(job, "vda", "above", "/i/top-a", "top-a");
    stage_image(job, "vdb", "top", "/i/top-b", "top-b");
    stage_image(job, "vdb", "base", "/i/base-b", "base-b");
    ck_assert_uint_eq(leg_count(job), 2);
    leg = leg_first(job);
    assert_leg(&leg, job, "snapvm-17-vda", "middle-a", "base-a");
    ck_assert_str_eq(leg.above->node, "top-a");
    ck_assert(!leg_pivoted(&leg));
    xstrset(&view_node(view, "top-a")->backing, "base-a");
    ck_assert(leg_pivoted(&leg));
    ck_assert(!leg_leaves(job, &job->record.images[0]));
    ck_assert(leg_leaves(job, &job->record.images[3]));
    leg = leg_next(job, &leg);
    assert_leg(&leg, job, "snapvm-17-vdb", "top-b", "base-b");
    ck_assert_ptr_null(leg.above);
    ck_assert(legs_have(job, true) && legs_have(job, false));
    /* One that QEMU failed to make: what the other one left is closed all the same. */
    job->record.flags |= JOB_REVERSED;
    ck_assert(leg_leaves(job, &job->record.images[3]));
    ck_assert(!leg_leaves(job, &job->record.images[7]));
    stage_drop_job(job);
    stage_deinit(&stage);
}
END_TEST

static const struct merge_row {
    const char *role;
    bool merges;
} merge_rows[] = {
    {"top", true},     {"intermediate", true}, {"overlay", true}, {"base", false},
    {"source", false}, {"target", false},      {"memory", false},
};

START_TEST(what_a_pivot_makes_worthless)
{
    const struct record_image image = {.role = (char *)merge_rows[_i].role};

    ck_assert_int_eq(leg_merges(&image), merge_rows[_i].merges);
}
END_TEST

START_TEST(images_by_disk_and_role)
{
    struct stage stage;
    struct domain *domain = example(&stage);
    struct job *job = stage_job(&stage, domain, "snapshot", 17);

    stage_image(job, "vda", "source", "/i/1", "n1");
    stage_image(job, "vda", "overlay", "/i/2", "n2");
    stage_image(job, "vdb", "source", "/i/3", "n3");
    ck_assert_str_eq(job_image(job, "vda", "overlay")->file, "/i/2");
    ck_assert_str_eq(job_image(job, "vdb", "source")->file, "/i/3");
    ck_assert_str_eq(job_image(job, NULL, "source")->file, "/i/1");
    ck_assert_ptr_null(job_image(job, "vdb", "overlay"));
    ck_assert_ptr_null(job_image(job, NULL, "base"));
    ck_assert_ptr_eq(job_on_disk(domain, "vda"), job);
    ck_assert_ptr_eq(job_on_disk(domain, "vdb"), job);
    ck_assert_ptr_null(job_on_disk(domain, "vdc"));
    stage_drop_job(job);
    ck_assert_ptr_null(job_on_disk(domain, "vda"));
    stage_deinit(&stage);
}
END_TEST

/* --- names in QEMU --- */

static const struct qemu_name_row {
    int64_t id;
    const char *disk, *job, *filter;
} qemu_name_rows[] = {
    {17, "vda", "snapvm-17-vda", "snapvm-17-vda-f"},
    {1, "scsi0-0-0-1_x.y", "snapvm-1-scsi0-0-0-1_x.y", "snapvm-1-scsi0-0-0-1_x.y-f"},
    {17, "twenty-one-characters", "snapvm-17-twenty-one-characters", NULL},
};

START_TEST(names_in_qemu)
{
    const struct qemu_name_row *row = &qemu_name_rows[_i];
    struct stage stage;
    struct domain *domain = example(&stage);
    struct job *job = stage_job(&stage, domain, "snapshot", row->id);
    char name[JOB_NAME_SIZE];

    ck_assert_str_eq(job_qemu_name(job, row->disk, name), row->job);
    if (row->filter)
        ck_assert_str_eq(job_filter_name(job, row->disk, name), row->filter);
    stage_drop_job(job);
    stage_deinit(&stage);
}
END_TEST

/* Disks that are alike up to where a node's name ends, or up to letters that it cannot have. */
static const struct alike_row {
    int64_t id;
    const char *a, *b;
} alike_rows[] = {
    {17, "the-database-of-production-1", "the-database-of-production-2"},
    {17, "disk:1", "disk;1"},
    {17, "/machine/peripheral-anon/device[1]", "/machine/peripheral-anon/device[2]"},
    {17, "twenty-two-characters1", "twenty-two-characters2"},
    {1234567890, "virtio-disk-1", "virtio-disk-2"},
    {17, "disk\303\2341", "disk\303\2342"},
};

static void assert_node_name(const char *name)
{
    ck_assert_uint_le(strlen(name), 31);
    ck_assert_uint_eq(strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "0123456789-._"),
                      strlen(name));
}

START_TEST(names_in_qemu_differ)
{
    const struct alike_row *row = &alike_rows[_i];
    struct stage stage;
    struct domain *domain = example(&stage);
    struct job *job = stage_job(&stage, domain, "snapshot", row->id);
    char a[JOB_NAME_SIZE], b[JOB_NAME_SIZE], filter[JOB_NAME_SIZE], again[JOB_NAME_SIZE];
    _cleanup_free_ char *begin = xasprintf("snapvm-%lld-", (long long)row->id);

    assert_node_name(job_qemu_name(job, row->a, a));
    assert_node_name(job_qemu_name(job, row->b, b));
    assert_node_name(job_filter_name(job, row->a, filter));
    ck_assert_str_ne(a, b);
    ck_assert_str_ne(a, filter);
    ck_assert_str_ne(job_filter_name(job, row->b, b), filter);
    ck_assert_int_eq(strncmp(a, begin, strlen(begin)), 0);
    ck_assert_int_eq(strncmp(filter, begin, strlen(begin)), 0);
    ck_assert_str_eq(job_qemu_name(job, row->a, again), a);
    stage_drop_job(job);
    stage_deinit(&stage);
}
END_TEST

static TCase *leg_case(void)
{
    TCase *tcase = tcase_create("leg");

    tcase_add_test(tcase, legs_of_several_members);
    tcase_add_test(tcase, legs_of_a_deletion);
    tcase_add_test(tcase, legs_of_a_snapshot);
    tcase_add_test(tcase, legs_that_pivoted);
    tcase_add_loop_test(tcase, what_a_pivot_makes_worthless, 0, N(merge_rows));
    tcase_add_test(tcase, images_by_disk_and_role);
    tcase_add_loop_test(tcase, names_in_qemu, 0, N(qemu_name_rows));
    tcase_add_loop_test(tcase, names_in_qemu_differ, 0, N(alike_rows));
    return tcase;
}

int main(void)
{
    static TCase *(*const cases[])(void) = {leg_case};

    return stage_main("leg", cases, N(cases));
}
