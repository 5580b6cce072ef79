/* The graph's arithmetic on tables: how disks, layers and filters find each other, and that a graph
 * which is wrong (loops, missing nodes) ends a walk instead of keeping it. */
#include "qemu/view.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

struct node_row {
    const char *name, *driver, *backing, *file;
};

static struct view *view_of(const struct node_row *rows, size_t n)
{
    struct view *view = view_new();

    for (size_t i = 0; i < n; i++) {
        struct view_node *node = view_add_node(view, rows[i].name);

        node->driver = xstrdup(rows[i].driver);
        node->backing = xstrdup(rows[i].backing);
        node->file = xstrdup(rows[i].file);
    }
    return view;
}

/* A disk in the middle of an active commit (filter on top), one behind a throttle over a raw file
 * that is itself the layer, and an overlay that is open but on no chain. */
static const struct node_row rows[] = {
    {"filter", "mirror_top", "top", "/i/top.qcow2"},
    {"top", "qcow2", "middle", "/i/top.qcow2"},
    {"#block1", "file", NULL, "/i/top.qcow2"},
    {"middle", "qcow2", "cor", "middle.qcow2"},
    {"cor", "copy-on-read", "base", "base.raw"},
    {"base", "raw", NULL, "base.raw"},
    {"#block2", "file", NULL, "base.raw"},
    {"throttle", "throttle", "plain", "json:{}"},
    {"plain", "file", NULL, "/i/plain"},
    {"over", "qcow2", NULL, "/i/over.qcow2"},
    {"#block3", "file", NULL, "/i/over.qcow2"},
    {"shared", "qcow2", NULL, "/i/shared.qcow2"},
    {"shared-again", "qcow2", NULL, "/i/shared.qcow2"},
};

static struct view *example(void)
{
    struct view *view = view_of(rows, sizeof(rows) / sizeof(rows[0]));
    struct view_disk *disk = view_add_disk(view, "filter");

    disk->qdev = xstrdup("vd0");
    disk->qom = xstrdup("/machine/peripheral/vd0/virtio-backend");
    disk = view_add_disk(view, "throttle");
    disk->device = xstrdup("virtio0");
    disk->qom = xstrdup("/machine/peripheral-anon/device[0]/virtio-backend");
    disk = view_add_disk(view, NULL);
    disk->qdev = xstrdup("cd0");
    disk->qom = xstrdup("cd0");
    disk = view_add_disk(view, "shared");
    disk->device = xstrdup("cd0"); /* a drive named as another disk's device */
    return view;
}

START_TEST(layers_skip_filters)
{
    _cleanup_(view_freep) struct view *view = example();
    struct view_node *layer = view_layer(view, "filter");

    ck_assert_str_eq(layer->name, "top");
    ck_assert_ptr_eq(view_layer(view, "top"), layer);
    layer = view_below(view, layer);
    ck_assert_str_eq(layer->name, "middle");
    layer = view_below(view, layer);
    ck_assert_str_eq(layer->name, "base");
    ck_assert_ptr_null(view_below(view, layer));
    ck_assert_str_eq(view_layer(view, "throttle")->name, "plain");
    ck_assert_ptr_null(view_layer(view, "nothing"));
    ck_assert_ptr_null(view_layer(view, NULL));
}
END_TEST

static const struct chain_row {
    const char *root, *node;
    bool in;
} chain_rows[] = {
    {"filter", "top", true},     {"filter", "middle", true},      {"filter", "base", true},
    {"middle", "base", true},    {"filter", "filter", false},     {"filter", "cor", false},
    {"middle", "top", false},    {"filter", "over", false},       {"filter", "#block1", false},
    {"throttle", "plain", true}, {"throttle", "throttle", false}, {"nothing", "nothing", false},
    {NULL, "top", false},        {"filter", NULL, false},
};

START_TEST(chains)
{
    _cleanup_(view_freep) struct view *view = example();

    ck_assert_int_eq(view_in_chain(view, chain_rows[_i].root, chain_rows[_i].node),
                     chain_rows[_i].in);
}
END_TEST

static const struct disk_row {
    const char *name;
    int index; /* -1: none */
} disk_rows[] = {
    {"vd0", 0},     {"/machine/peripheral/vd0/virtio-backend", 0},
    {"top", 0},     /* the active layer, below the filter */
    {"filter", -1}, /* which is nobody's name for the disk */
    {"middle", -1}, {"virtio0", 1},
    {"plain", 1},   {"cd0", 2}, /* a device's id before a drive's */
    {"shared", 3},  {"nothing", -1},
    {NULL, -1},
};

START_TEST(disks)
{
    _cleanup_(view_freep) struct view *view = example();
    const struct disk_row *row = &disk_rows[_i];

    ck_assert_ptr_eq(view_disk(view, row->name), row->index < 0 ? NULL : &view->disks[row->index]);
}
END_TEST

static const struct file_row {
    const char *file, *node;
    unsigned n;
} file_rows[] = {
    {"/i/top.qcow2", "top", 1}, /* neither the filter's nor the protocol node's */
    {"base.raw", "base", 1},      {"/i/plain", "plain", 1}, /* a layer without a format */
    {"/i/over.qcow2", "over", 1}, {"/i/shared.qcow2", NULL, 2},
    {"/i/nothing", NULL, 0},      {NULL, NULL, 0},
};

START_TEST(nodes_of_files)
{
    _cleanup_(view_freep) struct view *view = example();
    const struct file_row *row = &file_rows[_i];
    struct view_node *node = NULL;

    ck_assert_uint_eq(view_nodes_of_file(view, row->file, &node), row->n);
    if (row->n == 0)
        ck_assert_ptr_null(node);
    else
        ck_assert_str_eq(node->file, row->file);
    if (row->node)
        ck_assert_str_eq(node->name, row->node);
}
END_TEST

START_TEST(two_hundred_layers)
{
    _cleanup_(view_freep) struct view *view = view_new();
    struct view_node *layer;
    unsigned n = 0;

    for (int i = 0; i < 200; i++) {
        char name[16], below[16];
        struct view_node *node;

        snprintf(name, sizeof(name), "l%d", i);
        snprintf(below, sizeof(below), "l%d", i - 1);
        node = view_add_node(view, name);
        node->driver = xstrdup("qcow2");
        node->backing = i ? xstrdup(below) : NULL;
    }
    for (layer = view_layer(view, "l199"); layer; layer = view_below(view, layer))
        n++;
    ck_assert_uint_eq(n, 200);
    ck_assert(view_in_chain(view, "l199", "l0"));
    ck_assert(!view_in_chain(view, "l0", "l199"));
}
END_TEST

START_TEST(loops_end)
{
    static const struct node_row loops[] = {
        {"a", "qcow2", "b", "a"},    {"b", "qcow2", "a", "b"},    {"self", "raw", "self", "s"},
        {"f", "throttle", "g", "f"}, {"g", "throttle", "f", "g"}, {"cut", "qcow2", "gone", "c"},
        {"null", NULL, NULL, NULL},
    };
    _cleanup_(view_freep) struct view *view = view_of(loops, sizeof(loops) / sizeof(loops[0]));

    ck_assert(!view_in_chain(view, "a", "x"));
    ck_assert(view_in_chain(view, "a", "b"));
    ck_assert(!view_in_chain(view, "self", "x"));
    ck_assert_ptr_null(view_layer(view, "f"));
    ck_assert(!view_in_chain(view, "f", "a"));
    ck_assert_ptr_null(view_below(view, view_node(view, "cut")));
    ck_assert_ptr_eq(view_layer(view, "null"), view_node(view, "null"));
}
END_TEST

START_TEST(nodes_come_and_go)
{
    _cleanup_(view_freep) struct view *view = example();
    struct view_node *node = view_add_node(view, "top");

    ck_assert_ptr_null(node->driver);
    ck_assert_ptr_eq(view_node(view, "top"), node);
    ck_assert_ptr_null(view_below(view, node));
    view_remove_node(view, "top");
    ck_assert_ptr_null(view_node(view, "top"));
    view_remove_node(view, "top");
    view_remove_node(view, NULL);
    ck_assert_ptr_null(view_node(view, NULL));
    ck_assert_ptr_null(view_free(NULL));
}
END_TEST

START_TEST(jobs)
{
    _cleanup_(view_freep) struct view *view = view_new();

    view_add_job(view, "a")->status = VIEW_JOB_READY;
    view_add_job(view, "b")->status = VIEW_JOB_CONCLUDED;
    ck_assert_int_eq(view_job_status(view, "a"), VIEW_JOB_READY);
    ck_assert_int_eq(view_job_status(view, "b"), VIEW_JOB_CONCLUDED);
    ck_assert_int_eq(view_job_status(view, "c"), VIEW_JOB_NONE);
    ck_assert_int_eq(view_job_status(view, NULL), VIEW_JOB_NONE);
    ck_assert_str_eq(view_job(view, "b")->id, "b");
}
END_TEST

START_TEST(job_words)
{
    for (int i = VIEW_JOB_NONE; i <= VIEW_JOB_UNKNOWN; i++)
        ck_assert_int_eq(view_job_status_of(view_job_status_name((enum view_job_status)i)), i);
    ck_assert_int_eq(view_job_status_of("pending"), VIEW_JOB_PENDING);
    ck_assert_int_eq(view_job_status_of("null"), VIEW_JOB_NONE);
    ck_assert_int_eq(view_job_status_of("dancing"), VIEW_JOB_UNKNOWN);
    ck_assert_int_eq(view_job_status_of(NULL), VIEW_JOB_UNKNOWN);
    ck_assert_str_eq(view_job_status_name((enum view_job_status)99), "unknown");
}
END_TEST

START_TEST(filters)
{
    ck_assert(view_is_filter("commit_top") && view_is_filter("mirror_top"));
    ck_assert(view_is_filter("throttle") && view_is_filter("copy-before-write"));
    ck_assert(!view_is_filter("qcow2") && !view_is_filter("raw") && !view_is_filter("file"));
    ck_assert(!view_is_filter("") && !view_is_filter(NULL));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("view");
    TCase *tcase = tcase_create("graph");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, layers_skip_filters);
    tcase_add_loop_test(tcase, chains, 0, sizeof(chain_rows) / sizeof(chain_rows[0]));
    tcase_add_loop_test(tcase, disks, 0, sizeof(disk_rows) / sizeof(disk_rows[0]));
    tcase_add_loop_test(tcase, nodes_of_files, 0, sizeof(file_rows) / sizeof(file_rows[0]));
    tcase_add_test(tcase, two_hundred_layers);
    tcase_add_test(tcase, loops_end);
    tcase_add_test(tcase, nodes_come_and_go);
    tcase_add_test(tcase, jobs);
    tcase_add_test(tcase, job_words);
    tcase_add_test(tcase, filters);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
