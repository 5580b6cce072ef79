/* From replies to a view: what QEMU 7.2 really said (data/qmp/, recorded before, in the middle and
 * after an active commit, with every way of attaching a disk), and shapes that it never should. */
#include "qemu/qmp-view.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "proto/json.h"
#include "proto/limits.h"
#include "qemu/qmp-pci.h"
#include "qemu/view.h"

static struct view *view_of(json_object *replies)
{
    const struct qmp_view_replies parts = {
        .status = json_member(replies, "status"),
        .block = json_member(replies, "block"),
        .blockstats = json_member(replies, "blockstats"),
        .nodes = json_member(replies, "nodes"),
        .jobs = json_member(replies, "jobs"),
        .block_jobs = json_member(replies, "block-jobs"),
        .chardevs = json_member(replies, "chardev"),
    };

    return qmp_view_read(&parts);
}

static struct view *recorded(const char *name)
{
    _cleanup_free_ char *path = xasprintf(TEST_DATA "/qmp/%s.json", name);
    _cleanup_json_ json_object *replies = json_object_from_file(path);

    ck_assert_msg(replies != NULL, "cannot read %s", path);
    return view_of(replies);
}

/* Of JSON with ' for ". */
static struct view *written(const char *text)
{
    _cleanup_free_ char *quoted = xstrdup(text);
    _cleanup_json_ json_object *replies = NULL;

    for (char *p = quoted; *p; p++)
        if (*p == '\'')
            *p = '"';
    ck_assert_int_eq(json_read(quoted, strlen(quoted), LIMIT_QMP_NESTING, &replies), JSON_OK);
    return view_of(replies);
}

/* The names of a chain's layers, "a<b<c" for a on top. */
static char *chain(const struct view *view, const char *root)
{
    char *text = xstrdup("");

    for (const struct view_node *layer = view_layer(view, root); layer;
         layer = view_below(view, layer)) {
        char *longer = xasprintf("%s%s%s", text, text[0] ? "<" : "", layer->name);

        free(text);
        text = longer;
    }
    return text;
}

static void assert_chain(const struct view *view, const char *disk, const char *expected)
{
    _cleanup_free_ char *text = NULL;

    ck_assert_ptr_nonnull(view_disk(view, disk));
    text = chain(view, view_disk(view, disk)->root);
    ck_assert_str_eq(text, expected);
}

START_TEST(idle)
{
    _cleanup_(view_freep) struct view *view = recorded("idle");
    const struct view_disk *disk;
    const struct view_node *node;

    ck_assert_str_eq(view->status, "prelaunch");
    ck_assert(!view->running);
    ck_assert_uint_eq(view->n_disks, 5);
    ck_assert_uint_eq(view->n_jobs, 0);
    assert_chain(view, "vd0", "n2<n1<n0");
    disk = view_disk(view, "vd0");
    ck_assert_ptr_null(disk->device);
    ck_assert_ptr_null(disk->detect_zeroes);
    ck_assert_str_eq(disk->qom, "/machine/peripheral/vd0/virtio-backend");
    ck_assert_str_eq(disk->io_status, "ok");
    ck_assert(!disk->read_only && !disk->removable && !disk->direct && !disk->no_flush);

    node = view_node(view, "n1");
    ck_assert_str_eq(node->file, "a1.qcow2");
    ck_assert_str_eq(node->driver, "qcow2");
    ck_assert(node->read_only);
    ck_assert_int_eq(node->virtual_size, 64 << 20);
    ck_assert_int_eq(node->actual_size, 200704);
}
END_TEST

/* -drive: the drive's id, node names that QEMU made up, cache=none and cache=unsafe. */
START_TEST(drives)
{
    _cleanup_(view_freep) struct view *view = recorded("idle");
    const struct view_disk *disk = view_disk(view, "virtio0");

    ck_assert_ptr_null(disk->qdev);
    ck_assert(disk->direct && !disk->no_flush);
    ck_assert_str_eq(disk->detect_zeroes, "on");
    ck_assert_str_eq(view_below(view, view_layer(view, disk->root))->file, "/images/b0.qcow2");
    disk = view_disk(view, "ide0");
    ck_assert_str_eq(disk->device, "dr2");
    ck_assert_str_eq(disk->qom, "ide0");
    ck_assert(!disk->direct && disk->no_flush);
    disk = view_disk(view, "cd0");
    ck_assert(disk->removable);
    ck_assert_ptr_null(disk->root);
    ck_assert_ptr_null(disk->device);
    disk = view_disk(view, "raw0"); /* behind a throttle */
    ck_assert_str_eq(disk->root, "th0");
    ck_assert_ptr_null(disk->qdev);
    ck_assert_str_eq(view_layer(view, "th0")->file, "/images/r.raw");
}
END_TEST

START_TEST(chardevs)
{
    _cleanup_(view_freep) struct view *view = recorded("idle");

    ck_assert_uint_eq(view->n_chardevs, 2);
    ck_assert_str_eq(view->chardevs[0].label, "compat_monitor0");
    ck_assert(view->chardevs[0].frontend_open);
    ck_assert_str_eq(view->chardevs[1].file, "disconnected:unix:/images/agent.sock,server=on");
    ck_assert(!view->chardevs[1].frontend_open);
}
END_TEST

/* One job with a filter that was given a name, which becomes the disk's root, and one whose filter
 * QEMU hides. */
START_TEST(commit)
{
    _cleanup_(view_freep) struct view *view = recorded("commit");
    const struct view_job *job = view_job(view, "snapvm-1-vd0");
    const struct view_disk *disk = view_disk(view, "vd0");

    ck_assert_uint_eq(view->n_jobs, 2);
    ck_assert_int_eq(job->status, VIEW_JOB_READY);
    ck_assert_str_eq(job->type, "commit");
    ck_assert_str_eq(job->io_status, "ok");
    ck_assert_ptr_null(job->error);
    ck_assert_str_eq(disk->root, "snapvm-1-f");
    assert_chain(view, "vd0", "n2<n1<n0");
    ck_assert_ptr_eq(view_disk(view, "n2"), disk);
    ck_assert_int_eq(view_job_status(view, "j-implicit"), VIEW_JOB_READY);
    disk = view_disk(view, "virtio0");
    ck_assert_str_eq(view_layer(view, disk->root)->name, disk->root);
}
END_TEST

START_TEST(pending_and_concluded)
{
    _cleanup_(view_freep) struct view *pending = recorded("pending");
    _cleanup_(view_freep) struct view *concluded = recorded("concluded");

    ck_assert_int_eq(view_job_status(pending, "snapvm-1-vd0"), VIEW_JOB_PENDING);
    assert_chain(pending, "vd0", "n2<n1<n0");
    ck_assert_int_eq(view_job_status(concluded, "snapvm-1-vd0"), VIEW_JOB_CONCLUDED);
    assert_chain(concluded, "vd0", "n0");
    /* The nodes of the old chain are open still, and on no disk's chain. */
    ck_assert_ptr_nonnull(view_node(concluded, "n2"));
    ck_assert_ptr_null(view_node(concluded, "n2")->backing);
}
END_TEST

/* The edges come nested, as deep as the chain is long. */
START_TEST(two_hundred_layers)
{
    char *nodes = xstrdup("[{}"), *stats = xstrdup("{'node-name':'l0'}"), *text, *quoted;
    _cleanup_(view_freep) struct view *view = NULL;

    for (int i = 0; i < 200; i++) {
        text = xasprintf("%s,{'node-name':'l%d','drv':'qcow2','image':{}}", nodes, i);
        free(nodes);
        nodes = text;
        if (i == 0)
            continue;
        text = xasprintf("{'node-name':'l%d','parent':{},'backing':%s}", i, stats);
        free(stats);
        stats = text;
    }
    quoted = xasprintf("{'nodes':%s],'blockstats':[%s],'block':[{'qdev':'vda','inserted':"
                       "{'node-name':'l199'}}]}",
                       nodes, stats);
    view = written(quoted);
    ck_assert_uint_eq(HASH_COUNT(view->nodes), 200);
    ck_assert(view_in_chain(view, view_disk(view, "vda")->root, "l0"));
    ck_assert_int_eq(view_node(view, "l7")->virtual_size, -1);
    free(nodes);
    free(stats);
    free(quoted);
}
END_TEST

static const struct qdev_row {
    const char *qom, *qdev;
} qdev_rows[] = {
    {"/machine/peripheral/vd0/virtio-backend", "vd0"},
    {"/machine/peripheral/vd0", "vd0"},
    {"ide0", "ide0"},
    {"/machine/peripheral-anon/device[3]/virtio-backend", NULL},
    {"/machine/peripheral-anon/device[0]", NULL},
    {"/machine/unattached/device[23]", NULL},
    {"/machine/peripheral/", NULL},
    {"/machine/peripheral//virtio-backend", NULL},
    {"", NULL},
};

START_TEST(qdev)
{
    _cleanup_free_ char *text = xasprintf("{'block':[{'qdev':'%s'}]}", qdev_rows[_i].qom);
    _cleanup_(view_freep) struct view *view = written(text);

    ck_assert_uint_eq(view->n_disks, 1);
    if (qdev_rows[_i].qdev)
        ck_assert_str_eq(view->disks[0].qdev, qdev_rows[_i].qdev);
    else
        ck_assert_ptr_null(view->disks[0].qdev);
}
END_TEST

/* Each gives a view without any node, disk, job or device. */
static const char *const hostile[] = {
    "{}",
    "[]",
    "{'status':[],'block':{},'blockstats':{},'nodes':{},'jobs':{},'block-jobs':{},'chardev':{}}",
    "{'status':1,'block':1,'blockstats':1,'nodes':1,'jobs':1,'block-jobs':1,'chardev':1}",
    "{'status':null,'block':null,'blockstats':null,'nodes':null,'jobs':null,'chardev':null}",
    "{'nodes':[null,1,'x',[],{},{'node-name':1},{'node-name':''},{'node-name':null}]}",
    "{'block':[null,1,'x',[]]}",
    "{'jobs':[null,1,{},{'id':1},{'id':''}],'block-jobs':[null,{},{'device':'x','speed':1}]}",
    "{'chardev':[null,1,{},{'label':1},{'filename':'x'}]}",
    "{'blockstats':[null,1,{},{'node-name':'a','backing':{'node-name':'b'}},{'backing':[]}]}",
};

START_TEST(hostile_shapes)
{
    _cleanup_(view_freep) struct view *view = written(hostile[_i]);

    ck_assert_uint_eq(HASH_COUNT(view->nodes) + view->n_disks + view->n_jobs + view->n_chardevs, 0);
    ck_assert_ptr_null(view->status);
    ck_assert(!view->running);
}
END_TEST

START_TEST(wrong_types_count_as_unknown)
{
    _cleanup_(view_freep) struct view *view = written(
        "{'status':{'status':7,'running':'yes'},"
        "'nodes':[{'node-name':'a','drv':1,'file':{},'ro':'no','image':{'virtual-size':'big'}},"
        "{'node-name':'b','image':7},{'node-name':'b','drv':'qcow2'}],"
        "'blockstats':[{'node-name':'a','backing':{'node-name':'b','backing':{'node-name':'a'}}},"
        "{'node-name':'a','backing':{'node-name':'c'}}],"
        "'block':[{'device':1,'qdev':[],'removable':1,'io-status':2,'inserted':{'node-name':3,"
        "'cache':'none','detect_zeroes':1}}],"
        "'jobs':[{'id':'j','type':1,'status':2,'error':3,'current-progress':'4'},{'id':'j'}],"
        "'block-jobs':[{'device':'j','io-status':1,'speed':'fast'}]}");

    ck_assert_ptr_null(view->status);
    ck_assert(!view->running);
    ck_assert_uint_eq(HASH_COUNT(view->nodes), 2);
    ck_assert_ptr_null(view_node(view, "a")->file);
    ck_assert(!view_node(view, "a")->read_only);
    ck_assert_int_eq(view_node(view, "a")->virtual_size, -1);
    ck_assert_str_eq(view_node(view, "a")->backing, "b");
    ck_assert(!view_in_chain(view, "a", "c")); /* a loop, which ends */
    ck_assert_ptr_null(view->disks[0].root);
    ck_assert_ptr_null(view->disks[0].detect_zeroes);
    ck_assert_uint_eq(view->n_jobs, 1);
    ck_assert_int_eq(view->jobs[0].status, VIEW_JOB_UNKNOWN);
    ck_assert_int_eq(view->jobs[0].current, 0);
}
END_TEST

/* Another backing file than its header names: a description is its name, and the file is its
 * node's. */
START_TEST(described_by_json)
{
    _cleanup_(view_freep) struct view *view =
        written("{'nodes':[{'node-name':'top','drv':'qcow2','file':'json:{}'},"
                "{'node-name':'f','drv':'file','file':'/i/top'},"
                "{'node-name':'base','drv':'raw','file':'json:{}'},"
                "{'node-name':'g','drv':'file','file':'/i/base'}],"
                "'blockstats':[{'node-name':'top','parent':{'node-name':'f'},"
                "'backing':{'node-name':'base','parent':{'node-name':'g'}}}]}");

    ck_assert_str_eq(view_node(view, "top")->file, "/i/top");
    ck_assert_str_eq(view_node(view, "base")->file, "json:{}"); /* may begin anywhere in the file */
}
END_TEST

START_TEST(snapshots_inside)
{
    _cleanup_(view_freep) struct view *view =
        written("{'nodes':[{'node-name':'a','image':{'snapshots':[{'id':'1','name':'s1',"
                "'vm-state-size':0},null,7,{'id':'2','name':'s2','vm-state-size':4096},"
                "{'id':'3'},{'name':3}]}},{'node-name':'b','image':{'snapshots':{}}}]}");
    const struct view_node *node = view_node(view, "a");

    ck_assert_uint_eq(node->n_snapshots, 2);
    ck_assert(!view_node_snapshot(node, "s1")->memory);
    ck_assert(view_node_snapshot(node, "s2")->memory);
    ck_assert_ptr_null(view_node_snapshot(node, "3"));
    ck_assert_ptr_null(view_node_snapshot(node, NULL));
    ck_assert_ptr_null(view_node_snapshot(view_node(view, "b"), "s1"));
    ck_assert_ptr_null(view_node_snapshot(view_node(view, "c"), "s1"));
}
END_TEST

/* A stalled job, one that is paused and one that failed: only io-status, paused and error tell. */
START_TEST(job_members)
{
    _cleanup_(view_freep) struct view *view = written(
        "{'jobs':[{'id':'s','type':'mirror','status':'standby','current-progress':5,"
        "'total-progress':9},{'id':'f','type':'commit','status':'concluded','error':'No space'},"
        "{'id':'w','type':'backup','status':'whirling'}],"
        "'block-jobs':[{'device':'s','io-status':'nospace','speed':1048576,'paused':true},"
        "{'device':'came-later','io-status':'ok'}]}");

    ck_assert_uint_eq(view->n_jobs, 3);
    ck_assert_int_eq(view_job_status(view, "s"), VIEW_JOB_STANDBY);
    ck_assert_str_eq(view_job(view, "s")->io_status, "nospace");
    ck_assert_int_eq(view_job(view, "s")->speed, 1048576);
    ck_assert(view_job(view, "s")->paused && !view_job(view, "f")->paused);
    ck_assert_int_eq(view_job(view, "s")->current, 5);
    ck_assert_int_eq(view_job(view, "s")->total, 9);
    ck_assert_str_eq(view_job(view, "f")->error, "No space");
    ck_assert_int_eq(view_job_status(view, "w"), VIEW_JOB_UNKNOWN);
}
END_TEST

/* As query-pci answers: a disk on the root bus, one behind a bridge, a device without an id. */
START_TEST(pci_devices)
{
    _cleanup_json_ json_object *reply = json_tokener_parse(
        "[{\"bus\": 0, \"devices\": [7, {\"bus\": 0, \"slot\": 31, \"function\": 2, "
        "\"qdev_id\": \"\"}, {\"bus\": 0, \"slot\": 8, \"function\": 0, \"qdev_id\": \"vda\"}, "
        "{\"bus\": 0, \"slot\": 4, \"function\": 0, \"qdev_id\": \"rp\", \"pci_bridge\": "
        "{\"bus\": {\"number\": 0, \"secondary\": 1}, \"devices\": [{\"bus\": 1, \"slot\": 0, "
        "\"function\": 0, \"qdev_id\": \"vdb\"}]}}]}, \"x\"]");
    struct qmp_pci *devices;
    unsigned n = qmp_pci_read(reply, &devices);

    ck_assert_uint_eq(n, 3);
    ck_assert_str_eq(devices[0].qdev, "vda");
    ck_assert_int_eq(devices[0].slot, 8);
    ck_assert_str_eq(devices[2].qdev, "vdb");
    ck_assert_int_eq(devices[2].bus, 1);
    qmp_pci_free(devices, n);
    n = qmp_pci_read(NULL, &devices);
    ck_assert_uint_eq(n, 0);
    qmp_pci_free(devices, n);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("qmp-view");
    TCase *tcase = tcase_create("replies");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, idle);
    tcase_add_test(tcase, drives);
    tcase_add_test(tcase, chardevs);
    tcase_add_test(tcase, commit);
    tcase_add_test(tcase, pending_and_concluded);
    tcase_add_test(tcase, two_hundred_layers);
    tcase_add_loop_test(tcase, qdev, 0, sizeof(qdev_rows) / sizeof(qdev_rows[0]));
    tcase_add_loop_test(tcase, hostile_shapes, 0, sizeof(hostile) / sizeof(hostile[0]));
    tcase_add_test(tcase, wrong_types_count_as_unknown);
    tcase_add_test(tcase, described_by_json);
    tcase_add_test(tcase, snapshots_inside);
    tcase_add_test(tcase, job_members);
    tcase_add_test(tcase, pci_devices);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
