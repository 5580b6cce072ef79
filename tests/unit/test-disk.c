/* How disks of a record follow what QEMU shows, and how the words of a person find them. */
#include "domain/disk.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "proto/snapvm-errors.h"
#include "tests/unit/domain-fixture.h"

/* "vda:top,base" for each disk with its chain by file, ';' between. */
static char *chains(const struct domain *domain)
{
    char *text = xstrdup("");

    for (unsigned i = 0; i < domain->record.n_disks; i++) {
        const struct record_disk *disk = &domain->record.disks[i];
        char *more = xasprintf("%s%s%s:", text, i ? ";" : "", disk->target);

        free(text);
        text = more;
        for (unsigned k = 0; k < disk->n_chain; k++) {
            more = xasprintf("%s%s%s", text, k ? "," : "", disk->chain[k].file);
            free(text);
            text = more;
        }
    }
    return text;
}

static void assert_chains(const struct domain *domain, const char *expected)
{
    _cleanup_free_ char *text = chains(domain);

    ck_assert_str_eq(text, expected);
}

/* A chain of two by -blockdev, one by -drive, and one that nobody named. */
static struct domain *example(struct stage *stage)
{
    struct domain *domain = stage_domain(stage, "web");
    struct view *view = stage_view(domain);
    struct view_disk *disk;

    see_node(view, "top", "qcow2", "base", "/i/top.qcow2");
    see_node(view, "base", "raw", NULL, "/i/base.raw");
    see_disk(view, "top", "vd0", NULL);
    see_node(view, "#block123", "qcow2", NULL, "/i/drive.qcow2");
    see_disk(view, "#block123", NULL, "virtio0")->read_only = true;
    see_node(view, "plain", "raw", NULL, "/i/plain.raw");
    disk = see_disk(view, "plain", NULL, NULL);
    disk->qom = xstrdup("/machine/peripheral-anon/device[1]/virtio-backend");
    return domain;
}

START_TEST(new_disks_get_a_target)
{
    struct stage stage;
    struct domain *domain;
    const struct record_disk *disk;

    stage_init(&stage);
    domain = example(&stage);
    ck_assert(disks_update(domain));
    assert_chains(domain, "vd0:/i/top.qcow2,/i/base.raw;virtio0:/i/drive.qcow2;"
                          "plain:/i/plain.raw");
    disk = disk_find(domain, "vd0");
    ck_assert_str_eq(disk->qdev, "vd0");
    ck_assert_ptr_null(disk->device);
    ck_assert_str_eq(disk->chain[0].node, "top");
    ck_assert_str_eq(disk->chain[0].format, "qcow2");
    ck_assert_str_eq(disk->chain[1].format, "raw");
    ck_assert_int_eq(disk->chain[1].virtual_size, 1 << 20);
    ck_assert(!disk->read_only && !disk->defined);
    disk = disk_find(domain, "virtio0");
    ck_assert_ptr_null(disk->qdev);
    ck_assert_str_eq(disk->device, "virtio0");
    ck_assert_ptr_null(disk->chain[0].node); /* QEMU's own name, another one at its next start */
    ck_assert(disk->read_only);
    disk = disk_find(domain, "plain");
    ck_assert_str_eq(disk->qdev, "/machine/peripheral-anon/device[1]/virtio-backend");
    ck_assert(!disks_update(domain));
    stage_deinit(&stage);
}
END_TEST

/* QEMU's device id wins over the drive's. */
START_TEST(target_by_the_device_first)
{
    struct stage stage;
    struct domain *domain;
    struct view *view;

    stage_init(&stage);
    domain = stage_domain(&stage, "web");
    view = stage_view(domain);
    see_node(view, "n", "raw", NULL, "/i/n");
    see_disk(view, "n", "dev0", "drive0");
    disks_update(domain);
    assert_chains(domain, "dev0:/i/n");
    ck_assert_str_eq(domain->record.disks[0].device, "drive0");
    stage_deinit(&stage);
}
END_TEST

START_TEST(chains_grow_and_shrink)
{
    struct stage stage;
    struct domain *domain;
    struct view *view;

    stage_init(&stage);
    domain = example(&stage);
    disks_update(domain);
    view = domain->view;
    see_node(view, "over", "qcow2", "top", "/i/over.qcow2");
    xstrset(&view->disks[0].root, "over");
    ck_assert(disks_update(domain));
    ck_assert(!disks_update(domain));
    assert_chains(domain, "vd0:/i/over.qcow2,/i/top.qcow2,/i/base.raw;virtio0:/i/drive.qcow2;"
                          "plain:/i/plain.raw");
    xstrset(&view->disks[0].root, "base");
    ck_assert(disks_update(domain));
    assert_chains(domain, "vd0:/i/base.raw;virtio0:/i/drive.qcow2;plain:/i/plain.raw");
    view_node(view, "base")->virtual_size = 2 << 20;
    ck_assert(disks_update(domain));
    ck_assert_int_eq(disk_find(domain, "vd0")->chain[0].virtual_size, 2 << 20);
    view->disks[1].read_only = false;
    ck_assert(disks_update(domain));
    ck_assert(!disk_find(domain, "virtio0")->read_only);
    stage_deinit(&stage);
}
END_TEST

START_TEST(held_chains_stand)
{
    struct stage stage;
    struct domain *domain;

    stage_init(&stage);
    domain = example(&stage);
    disks_update(domain);
    disk_find(domain, "vd0")->held = true;
    xstrset(&domain->view->disks[0].root, "base");
    ck_assert(!disks_update(domain));
    assert_chains(domain, "vd0:/i/top.qcow2,/i/base.raw;virtio0:/i/drive.qcow2;"
                          "plain:/i/plain.raw");
    disk_find(domain, "vd0")->held = false;
    ck_assert(disks_update(domain));
    assert_chains(domain, "vd0:/i/base.raw;virtio0:/i/drive.qcow2;plain:/i/plain.raw");
    stage_deinit(&stage);
}
END_TEST

START_TEST(filters_are_no_layers)
{
    struct stage stage;
    struct domain *domain;
    struct view *view;

    stage_init(&stage);
    domain = example(&stage);
    disks_update(domain);
    view = domain->view;
    see_node(view, "filter", "commit_top", "top", "/i/top.qcow2");
    xstrset(&view->disks[0].root, "filter");
    see_node(view, "cor", "copy-on-read", "base", "/i/base.raw");
    xstrset(&view_node(view, "top")->backing, "cor");
    ck_assert(!disks_update(domain));
    ck_assert_str_eq(disk_top(domain, disk_find(domain, "vd0"))->name, "top");
    stage_deinit(&stage);
}
END_TEST

START_TEST(empty_drives_are_left_out)
{
    struct stage stage;
    struct domain *domain;
    struct view *view;

    stage_init(&stage);
    domain = stage_domain(&stage, "web");
    view = stage_view(domain);
    see_disk(view, NULL, "cd0", NULL);
    ck_assert(!disks_update(domain));
    ck_assert_uint_eq(domain->record.n_disks, 0);
    see_node(view, "iso", "raw", NULL, "/i/cd.iso");
    xstrset(&view->disks[0].root, "iso");
    ck_assert(disks_update(domain));
    assert_chains(domain, "cd0:/i/cd.iso");
    xstrset(&view->disks[0].root, NULL);
    disks_update(domain);
    ck_assert_ptr_null(disk_in_view(domain, disk_find(domain, "cd0")));
    ck_assert_ptr_null(disk_top(domain, disk_find(domain, "cd0")));
    stage_deinit(&stage);
}
END_TEST

/* A root that the list of nodes does not have yet proves nothing: what the disk must be started
 * from is not forgotten for it. */
START_TEST(an_unknown_root_empties_no_chain)
{
    struct stage stage;
    struct domain *domain;

    stage_init(&stage);
    domain = example(&stage);
    disks_update(domain);
    xstrset(&domain->view->disks[0].root, "just-made");
    ck_assert(!disks_update(domain));
    assert_chains(domain, "vd0:/i/top.qcow2,/i/base.raw;virtio0:/i/drive.qcow2;"
                          "plain:/i/plain.raw");
    stage_deinit(&stage);
}
END_TEST

START_TEST(a_loop_in_the_graph_ends)
{
    struct stage stage;
    struct domain *domain;

    stage_init(&stage);
    domain = example(&stage);
    xstrset(&view_node(domain->view, "base")->backing, "top");
    disks_update(domain);
    ck_assert_uint_le(disk_find(domain, "vd0")->n_chain, HASH_COUNT(domain->view->nodes));
    stage_deinit(&stage);
}
END_TEST

START_TEST(a_base_may_be_shared)
{
    struct stage stage;
    struct domain *domain;
    struct view *view;

    stage_init(&stage);
    domain = stage_domain(&stage, "web");
    view = stage_view(domain);
    see_node(view, "a", "qcow2", "base", "/i/a");
    see_node(view, "b", "qcow2", "base", "/i/b");
    see_node(view, "base", "raw", NULL, "/i/base");
    see_disk(view, "a", "vda", NULL);
    see_disk(view, "b", "vdb", NULL);
    disks_update(domain);
    assert_chains(domain, "vda:/i/a,/i/base;vdb:/i/b,/i/base");
    stage_deinit(&stage);
}
END_TEST

/* Names that are taken already get a number. */
START_TEST(targets_are_unique)
{
    struct stage stage;
    struct domain *domain;
    struct view *view;

    stage_init(&stage);
    domain = stage_domain(&stage, "web");
    view = stage_view(domain);
    for (int i = 0; i < 3; i++) {
        _cleanup_free_ char *node = xasprintf("n%d", i);
        _cleanup_free_ char *file = xasprintf("/i/n%d", i);

        see_node(view, node, "raw", NULL, file);
    }
    see_disk(view, "n0", "n1", NULL);
    see_disk(view, "n2", "n2-2", NULL);
    see_disk(view, "n1", NULL, NULL)->qom = xstrdup("/machine/peripheral-anon/device[0]");
    disks_update(domain);
    assert_chains(domain, "n1:/i/n0;n2-2:/i/n2;n1-2:/i/n1");
    see_node(view, "n3", "raw", NULL, "/i/n3");
    see_disk(view, "n3", "other", "n1");
    ck_assert(disks_update(domain));
    ck_assert(!disks_update(domain));
    assert_chains(domain, "n1:/i/n0;n2-2:/i/n2;n1-2:/i/n1;other:/i/n3");
    stage_deinit(&stage);
}
END_TEST

/* What a definition may say to find its disk the first time. */
static const struct defined_row {
    const char *target, *node, *file;
} defined_rows[] = {
    {"vd0", NULL, NULL},           /* the device's id is the target */
    {"vda", "top", NULL},          /* the active layer's node */
    {"vda", NULL, "/i/top.qcow2"}, /* its file */
    {"vda", "other", "/i/top.qcow2"},
};

START_TEST(defined_disks_are_found)
{
    const struct defined_row *row = &defined_rows[_i];
    struct stage stage;
    struct domain *domain;
    struct record_disk *disk;

    stage_init(&stage);
    domain = example(&stage);
    disk = record_domain_add_disk(&domain->record, row->target);
    disk->defined = true;
    xstrset(&disk->node, row->node);
    if (row->file)
        record_disk_add_layer(disk, row->file, "qcow2");
    ck_assert(disks_update(domain));
    ck_assert_uint_eq(domain->record.n_disks, 3);
    disk = disk_find(domain, row->target);
    ck_assert_str_eq(disk->qdev, "vd0");
    ck_assert_uint_eq(disk->n_chain, 2);
    ck_assert_str_eq(disk->chain[0].node, "top");
    ck_assert(!disks_update(domain));
    stage_deinit(&stage);
}
END_TEST

/* Known by its device, a disk is found also after its node and its file have changed. */
START_TEST(the_device_is_the_identity)
{
    struct stage stage;
    struct domain *domain;
    struct view *view;

    stage_init(&stage);
    domain = example(&stage);
    disks_update(domain);
    view = stage_view(domain);
    see_node(view, "x", "qcow2", NULL, "/i/x");
    see_disk(view, "x", NULL, "virtio0");
    see_node(view, "y", "qcow2", NULL, "/i/y");
    see_disk(view, "y", "vd0", NULL);
    ck_assert(disks_update(domain));
    assert_chains(domain, "vd0:/i/y;virtio0:/i/x;plain:/i/plain.raw");
    stage_deinit(&stage);
}
END_TEST

static const struct need_row {
    const char *name, *target;
    int code;
} need_rows[] = {
    {"vd0", "vd0", 0},
    {"top", "vd0", 0}, /* the active layer's node */
    {"virtio0", "virtio0", 0},
    {"#block123", "virtio0", 0},
    {"plain", "plain", 0},
    {"/i/top.qcow2", "vd0", 0},
    {"/i/base.raw", "vd0", 0},
    {"base", NULL, SNAPVM_ERROR_NOT_FOUND}, /* a node below is no name of the disk */
    {"/i/other", NULL, SNAPVM_ERROR_NOT_FOUND},
    {"vdz", NULL, SNAPVM_ERROR_NOT_FOUND},
    {"", NULL, SNAPVM_ERROR_NOT_FOUND},
};

START_TEST(disks_by_all_their_names)
{
    const struct need_row *row = &need_rows[_i];
    struct stage stage;
    struct domain *domain;
    struct record_disk *disk;
    _cleanup_error_ struct error err = {0};

    stage_init(&stage);
    domain = example(&stage);
    disks_update(domain);
    disk = disk_need(domain, row->name, &err);
    ck_assert_int_eq(err.code, row->code);
    if (row->target)
        ck_assert_ptr_eq(disk, disk_find(domain, row->target));
    else
        ck_assert_ptr_null(disk);
    if (row->code) {
        ck_assert_str_eq(error_get(&err, "object"), "disk");
        ck_assert_str_eq(error_get(&err, "name"), row->name);
    }
    stage_deinit(&stage);
}
END_TEST

START_TEST(an_ambiguous_path_is_refused)
{
    struct stage stage;
    struct domain *domain;
    struct view *view;
    _cleanup_error_ struct error err = {0};

    stage_init(&stage);
    domain = stage_domain(&stage, "web");
    view = stage_view(domain);
    see_node(view, "a", "qcow2", "base", "/i/a");
    see_node(view, "b", "qcow2", "base", "/i/b");
    see_node(view, "base", "raw", NULL, "/i/base");
    see_disk(view, "a", "vda", NULL);
    see_disk(view, "b", "vdb", NULL);
    disks_update(domain);
    ck_assert_ptr_null(disk_need(domain, "/i/base", &err));
    ck_assert_int_eq(err.code, SNAPVM_ERROR_INVALID_PARAMS);
    ck_assert_str_eq(error_get(&err, "param"), "disk");
    ck_assert_ptr_eq(disk_need(domain, "/i/b", NULL), disk_find(domain, "vdb"));
    stage_deinit(&stage);
}
END_TEST

/* A node may bear the name that another disk's device has: ids are asked first. */
START_TEST(ids_come_before_nodes)
{
    struct stage stage;
    struct domain *domain;
    struct view *view;
    struct record_disk *disk;

    stage_init(&stage);
    domain = stage_domain(&stage, "web");
    disk = record_domain_add_disk(&domain->record, "first");
    xstrset(&disk->node, "d2");
    disk = record_domain_add_disk(&domain->record, "second");
    xstrset(&disk->node, "d1");
    view = stage_view(domain);
    see_node(view, "d2", "raw", NULL, "/i/one");
    see_node(view, "d1", "raw", NULL, "/i/two");
    see_disk(view, "d2", "d1", NULL);
    see_disk(view, "d1", "d2", "drive2");
    disks_update(domain);
    assert_chains(domain, "first:/i/one;second:/i/two");
    ck_assert_str_eq(disk_need(domain, "d1", NULL)->target, "first");
    ck_assert_str_eq(disk_need(domain, "d2", NULL)->target, "second");
    ck_assert_str_eq(disk_need(domain, "drive2", NULL)->target, "second");
    stage_deinit(&stage);
}
END_TEST

/* Without a view the record alone tells. */
START_TEST(disks_of_a_guest_that_is_off)
{
    struct stage stage;
    struct domain *domain;

    stage_init(&stage);
    domain = example(&stage);
    disks_update(domain);
    domain->view = view_free(domain->view);
    domain->connected = false;
    ck_assert_ptr_null(disk_top(domain, disk_find(domain, "vd0")));
    ck_assert_str_eq(disk_need(domain, "top", NULL)->target, "vd0");
    ck_assert_str_eq(disk_need(domain, "virtio0", NULL)->target, "virtio0");
    ck_assert_str_eq(disk_need(domain, "/i/base.raw", NULL)->target, "vd0");
    stage_deinit(&stage);
}
END_TEST

#define N(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

static TCase *update_case(void)
{
    TCase *tcase = tcase_create("update");

    tcase_add_test(tcase, new_disks_get_a_target);
    tcase_add_test(tcase, target_by_the_device_first);
    tcase_add_test(tcase, chains_grow_and_shrink);
    tcase_add_test(tcase, held_chains_stand);
    tcase_add_test(tcase, filters_are_no_layers);
    tcase_add_test(tcase, empty_drives_are_left_out);
    tcase_add_test(tcase, an_unknown_root_empties_no_chain);
    tcase_add_test(tcase, a_loop_in_the_graph_ends);
    tcase_add_test(tcase, a_base_may_be_shared);
    tcase_add_test(tcase, targets_are_unique);
    tcase_add_loop_test(tcase, defined_disks_are_found, 0, N(defined_rows));
    tcase_add_test(tcase, the_device_is_the_identity);
    return tcase;
}

static TCase *need_case(void)
{
    TCase *tcase = tcase_create("need");

    tcase_add_loop_test(tcase, disks_by_all_their_names, 0, N(need_rows));
    tcase_add_test(tcase, an_ambiguous_path_is_refused);
    tcase_add_test(tcase, ids_come_before_nodes);
    tcase_add_test(tcase, disks_of_a_guest_that_is_off);
    return tcase;
}

int main(void)
{
    static TCase *(*const cases[])(void) = {update_case, need_case};

    return stage_main("disk", cases, N(cases));
}
