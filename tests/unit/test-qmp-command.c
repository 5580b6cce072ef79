/* The words in which each command leaves, and what is made of the replies: bursts of queries whose
 * parts fail or are lacking, and the human monitor's way of reporting errors. */
#include "qemu/qmp-command.h"

#include "base/log.h"
#include "proto/snapvm-errors.h"
#include "qemu/view.h"
#include "qmp-peer.h"

static void done_fn(void *arg, const struct error *err)
{
    asked_fn(arg, NULL, err);
}

/* Commands that take one name. */
static void (*const by_name[])(struct qmp *qmp, const char *name, qmp_done_fn fn, void *arg) = {
    qmp_blockdev_del, qmp_job_complete, qmp_job_finalize, qmp_job_dismiss, qmp_job_cancel,
    qmp_job_pause,    qmp_job_resume,   qmp_job_keep,     qmp_flush,
};

#define N_BY_NAME ((int)(sizeof(by_name) / sizeof(by_name[0])))
#define FLUSH (N_BY_NAME - 1)

/* Of n disks, the first `overlays` with an overlay and the others inside their images. */
static void send_snapshot(struct asked *asked, unsigned n, int overlays)
{
    const struct qmp_snapshot pairs[] = {
        {.node = "a", .overlay = overlays > 0 ? "b" : NULL, .name = "s"},
        {.node = "c", .overlay = overlays > 1 ? "d" : NULL, .name = "s"},
    };

    qmp_snapshot(asked->peer->qmp, pairs, n, done_fn, asked);
}

static const struct qmp_open full = {.node = "n",
                                     .format = "qcow2",
                                     .file = "/i/n",
                                     .direct = true,
                                     .no_flush = true,
                                     .detect_zeroes = "unmap"};

static void send_row(struct peer *peer, int row, struct asked *asked)
{
    const struct qmp_open qcow2 = {.node = "n", .format = "qcow2", .file = "/i/n"};
    const struct qmp_open raw = {
        .node = "n", .format = "raw", .file = "/i/n", .read_only = true, .detect_zeroes = "on"};
    const struct qmp_open over = {
        .node = "n", .format = "qcow2", .file = "/i/n", .backing = "b", .discard = true};
    const struct qmp_mirror whole = {.job = "j", .device = "d", .target = "t", .filter = "f"};
    const struct qmp_mirror shallow = {.job = "j",
                                       .device = "d",
                                       .target = "t",
                                       .filter = "f",
                                       .top_only = true,
                                       .write_blocking = true,
                                       .granularity = 512,
                                       .buf_size = 4096,
                                       .speed = 7};
    const struct qmp_commit plain = {.job = "j", .device = "t", .base = "b"};
    const struct qmp_commit named = {
        .job = "j", .device = "t", .top = "t", .base = "b", .filter = "f", .speed = 7};

    asked->peer = peer;
    if (row < N_BY_NAME)
        return by_name[row](peer->qmp, "n", done_fn, asked);
    switch (row - N_BY_NAME) {
    case 0:
        return qmp_blockdev_add(peer->qmp, &qcow2, done_fn, asked);
    case 1:
        return qmp_blockdev_add(peer->qmp, &raw, done_fn, asked);
    case 2:
        return qmp_blockdev_add(peer->qmp, &full, done_fn, asked);
    case 3:
    case 12:
    case 14:
        return send_snapshot(asked, row == N_BY_NAME + 14 ? 1 : 2, row == N_BY_NAME + 3 ? 2 : 1);
    case 4:
        return qmp_block_commit(peer->qmp, &plain, done_fn, asked);
    case 5:
        return qmp_block_commit(peer->qmp, &named, done_fn, asked);
    case 6:
        return qmp_job_set_speed(peer->qmp, "j", 1048576, done_fn, asked);
    case 7:
        return qmp_stop(peer->qmp, done_fn, asked);
    case 8:
        return qmp_cont(peer->qmp, done_fn, asked);
    case 9:
        return qmp_blockdev_add(peer->qmp, &over, done_fn, asked);
    case 10:
        return qmp_blockdev_mirror(peer->qmp, &whole, done_fn, asked);
    case 11:
        return qmp_blockdev_mirror(peer->qmp, &shallow, done_fn, asked);
    case 13:
        return qmp_snapshot_drop(peer->qmp, "n", "s", done_fn, asked);
    default:
        ck_abort_msg("no such row");
    }
}

/* By row of send_row(), without the braces, the id, and with ' for ". */
static const char *const wire[] = {
    "'execute':'blockdev-del','arguments':{'node-name':'n'}",
    "'execute':'job-complete','arguments':{'id':'n'}",
    "'execute':'job-finalize','arguments':{'id':'n'}",
    "'execute':'job-dismiss','arguments':{'id':'n'}",
    "'execute':'job-cancel','arguments':{'id':'n'}",
    "'execute':'job-pause','arguments':{'id':'n'}",
    "'execute':'job-resume','arguments':{'id':'n'}",
    "'execute':'block-job-cancel','arguments':{'device':'n'}",
    "'execute':'human-monitor-command','arguments':{'command-line':'qemu-io n flush'}",
    "'execute':'blockdev-add','arguments':{'driver':'qcow2','node-name':'n',"
    "'file':{'driver':'file','filename':'/i/n'},'backing':null}",
    "'execute':'blockdev-add','arguments':{'driver':'raw','node-name':'n','read-only':true,"
    "'detect-zeroes':'on',"
    "'file':{'driver':'file','filename':'/i/n'}}",
    "'execute':'blockdev-add','arguments':{'driver':'qcow2','node-name':'n',"
    "'detect-zeroes':'unmap','cache':{'direct':true,'no-flush':true},"
    "'file':{'driver':'file','filename':'/i/n'},'discard':'unmap','backing':null}",
    "'execute':'transaction','arguments':{'actions':["
    "{'type':'blockdev-snapshot','data':{'node':'a','overlay':'b'}},"
    "{'type':'blockdev-snapshot','data':{'node':'c','overlay':'d'}}]}",
    "'execute':'block-commit','arguments':{'job-id':'j','device':'t',"
    "'base-node':'b','on-error':'stop','auto-finalize':false,'auto-dismiss':false}",
    "'execute':'block-commit','arguments':{'job-id':'j','device':'t','top-node':'t',"
    "'base-node':'b','filter-node-name':'f','on-error':'stop','speed':7,'auto-finalize':false,"
    "'auto-dismiss':false}",
    "'execute':'block-job-set-speed','arguments':{'device':'j','speed':1048576}",
    "'execute':'stop'",
    "'execute':'cont'",
    "'execute':'blockdev-add','arguments':{'driver':'qcow2','node-name':'n',"
    "'file':{'driver':'file','filename':'/i/n'},'discard':'unmap','backing':'b'}",
    "'execute':'blockdev-mirror','arguments':{'job-id':'j','device':'d','target':'t',"
    "'filter-node-name':'f','sync':'full','on-source-error':'stop','on-target-error':'stop',"
    "'auto-finalize':false,'auto-dismiss':false}",
    "'execute':'blockdev-mirror','arguments':{'job-id':'j','device':'d','target':'t',"
    "'filter-node-name':'f','sync':'top','copy-mode':'write-blocking','granularity':512,"
    "'buf-size':4096,'on-source-error':'stop','on-target-error':'stop','speed':7,"
    "'auto-finalize':false,'auto-dismiss':false}",
    "'execute':'transaction','arguments':{'actions':["
    "{'type':'blockdev-snapshot','data':{'node':'a','overlay':'b'}},"
    "{'type':'blockdev-snapshot-internal-sync','data':{'device':'c','name':'s'}}]}",
    "'execute':'blockdev-snapshot-delete-internal-sync','arguments':{'device':'n','name':'s'}",
    "'execute':'blockdev-snapshot','arguments':{'node':'a','overlay':'b'}",
};

#define N_WIRE ((int)(sizeof(wire) / sizeof(wire[0])))

START_TEST(words)
{
    _cleanup_free_ char *expected = xasprintf("{%s,'id':2}", wire[_i]);
    struct asked asked = {0};
    struct peer peer;

    for (char *p = expected; *p; p++)
        if (*p == '\'')
            *p = '"';
    peer_up(&peer, 10000, NULL);
    send_row(&peer, _i, &asked);
    ck_assert_str_eq(peer_line(&peer), expected);
    peer_say(&peer, _i == FLUSH ? "{\"return\":\"\",\"id\":2}\n" : "{\"return\":{},\"id\":2}\n");
    peer_until(&peer, &asked.done);
    ck_assert_int_eq(asked.err.code, 0);
    asked_deinit(&asked);
    asked = (struct asked){0};
    send_row(&peer, _i, &asked);
    peer_say(&peer, "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"},\"id\":3}\n");
    peer_until(&peer, &asked.done);
    ck_assert_int_eq(asked.err.code, SNAPVM_ERROR_QEMU);
    asked_deinit(&asked);
    send_row(&peer, _i, &asked); /* outstanding when the connection is freed */
    peer_deinit(&peer);
}
END_TEST

/* Ids are few: more calls than that in flight get their own answers, in the order of asking. */
START_TEST(ids_begin_anew)
{
    struct peer peer;
    struct asked asked[250] = {0};
    unsigned n = sizeof(asked) / sizeof(asked[0]);

    peer_up(&peer, 10000, NULL);
    for (unsigned i = 0; i < n; i++)
        ask(&peer, "query-a", false, &asked[i]);
    for (unsigned i = 0; i < n; i++) {
        _cleanup_json_ json_object *request = json_tokener_parse(peer_line(&peer));
        _cleanup_free_ char *answer = NULL;

        ck_assert_int_eq(json_int(request, "id", 0), (i + 1) % 99 + 1);
        answer = xasprintf("{\"return\":%u,\"id\":%u}\n", i, (i + 1) % 99 + 1);
        peer_say(&peer, answer);
    }
    peer_until(&peer, &asked[n - 1].done);
    for (unsigned i = 0; i < n; i++) {
        ck_assert_int_eq(atoi(asked[i].result), (int)i);
        asked_deinit(&asked[i]);
    }
    peer_deinit(&peer);
}
END_TEST

START_TEST(flush_prints_an_error)
{
    struct asked asked = {0};
    struct peer peer;

    peer_up(&peer, 10000, NULL);
    qmp_flush(peer.qmp, "nope", done_fn, &asked);
    peer_say(&peer, "{\"return\":\"Error: Cannot find node\\r\\n\",\"id\":2}\n");
    peer_until(&peer, &asked.done);
    ck_assert_int_eq(asked.err.code, SNAPVM_ERROR_QEMU);
    ck_assert_str_eq(error_get(&asked.err, "command"), "human-monitor-command");
    asked_deinit(&asked);
    peer_deinit(&peer);
}
END_TEST

struct seen {
    bool done;
    struct view *view;
    struct error err;
};

static void view_fn(void *arg, struct view *view, const struct error *err)
{
    struct seen *seen = arg;

    ck_assert(!seen->done);
    ck_assert(!view == !!err);
    seen->done = true;
    seen->view = view;
    if (err)
        error_copy(&seen->err, err);
}

static void seen_deinit(struct seen *seen)
{
    view_free(seen->view);
    error_clear(&seen->err);
}

static const char *const burst[] = {
    "{\"execute\":\"query-jobs\",\"id\":2}",
    "{\"execute\":\"query-block-jobs\",\"id\":3}",
    "{\"execute\":\"query-block\",\"id\":4}",
    "{\"execute\":\"query-blockstats\",\"id\":5}",
    "{\"execute\":\"query-named-block-nodes\",\"arguments\":{\"flat\":true},\"id\":6}",
    "{\"execute\":\"query-chardev\",\"id\":7}",
    "{\"execute\":\"query-status\",\"id\":8}",
};

static void say_return(struct peer *peer, int id, const char *value)
{
    _cleanup_free_ char *line = xasprintf("{\"return\":%s,\"id\":%d}\n", value, id);

    peer_say(peer, line);
}

static void say_error(struct peer *peer, int id, const char *class)
{
    _cleanup_free_ char *line =
        xasprintf("{\"error\":{\"class\":\"%s\",\"desc\":\"no\"},\"id\":%d}\n", class, id);

    peer_say(peer, line);
}

START_TEST(view_in_one_burst)
{
    struct seen seen = {0};
    struct peer peer;

    peer_up(&peer, 10000, NULL);
    qmp_query_view(peer.qmp, LOOK_ALL, view_fn, &seen);
    for (size_t i = 0; i < sizeof(burst) / sizeof(burst[0]); i++)
        ck_assert_str_eq(peer_line(&peer), burst[i]);
    say_return(&peer, 2, "[{\"id\":\"j\",\"status\":\"running\"}]");
    say_return(&peer, 3, "[{\"device\":\"j\",\"speed\":5}]");
    say_return(&peer, 4, "[{\"qdev\":\"vda\",\"inserted\":{\"node-name\":\"a\"}}]");
    say_return(&peer, 5, "[{\"node-name\":\"a\",\"backing\":{\"node-name\":\"b\"}}]");
    say_return(&peer, 6, "[{\"node-name\":\"a\"},{\"node-name\":\"b\"}]");
    say_return(&peer, 7, "[{\"label\":\"c\"}]");
    peer_settle(&peer);
    ck_assert(!seen.done);
    say_return(&peer, 8, "{\"status\":\"running\",\"running\":true}");
    peer_until(&peer, &seen.done);
    ck_assert(seen.view->running);
    ck_assert_int_eq(view_job(seen.view, "j")->speed, 5);
    ck_assert(view_in_chain(seen.view, view_disk(seen.view, "vda")->root, "b"));
    ck_assert_uint_eq(seen.view->n_chardevs, 1);
    seen_deinit(&seen);
    peer_deinit(&peer);
}
END_TEST

/* A command that is lacking leaves its part empty; any other error spoils the whole. */
START_TEST(parts_fail)
{
    struct seen seen = {0};
    struct peer peer;

    peer_up(&peer, 10000, NULL);
    qmp_query_view(peer.qmp, LOOK_JOBS, view_fn, &seen);
    say_return(&peer, 2, "[{\"id\":\"j\",\"status\":\"ready\"}]");
    say_error(&peer, 3, "CommandNotFound");
    say_error(&peer, 4, "CommandNotFound");
    peer_until(&peer, &seen.done);
    ck_assert_ptr_null(seen.view->status);
    ck_assert_int_eq(view_job_status(seen.view, "j"), VIEW_JOB_READY);
    seen_deinit(&seen);

    seen = (struct seen){0};
    qmp_query_view(peer.qmp, LOOK_JOBS, view_fn, &seen);
    say_error(&peer, 5, "GenericError");
    say_error(&peer, 6, "DeviceNotFound");
    say_return(&peer, 7, "{}");
    peer_until(&peer, &seen.done);
    ck_assert_int_eq(seen.err.code, SNAPVM_ERROR_QEMU);
    ck_assert_str_eq(error_get(&seen.err, "command"), "query-jobs");
    seen_deinit(&seen);
    peer_deinit(&peer);
}
END_TEST

/* Lost, and freed, with one part answered and the others not. */
START_TEST(burst_cut_off)
{
    struct seen seen = {0};
    struct peer peer;

    peer_up(&peer, 10000, NULL);
    qmp_query_view(peer.qmp, LOOK_ALL, view_fn, &seen);
    say_return(&peer, 2, "{}");
    if (_i == 0)
        peer_settle(&peer);
    if (_i == 1) {
        close(TAKE_FD(peer.fd));
        peer_until(&peer, &seen.done);
        ck_assert_int_eq(seen.err.code, SNAPVM_ERROR_QEMU_GONE);
    }
    peer.qmp = qmp_free(peer.qmp);
    ck_assert_int_eq(seen.done, _i == 1);
    seen_deinit(&seen);
    peer_deinit(&peer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("qmp-command");
    TCase *tcase = tcase_create("commands");
    SRunner *runner = srunner_create(suite);
    int failed;

    log_set_level(LOG_ERR);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, words, 0, N_WIRE);
    tcase_add_test(tcase, ids_begin_anew);
    tcase_add_test(tcase, flush_prints_an_error);
    tcase_add_test(tcase, view_in_one_burst);
    tcase_add_test(tcase, parts_fail);
    tcase_add_loop_test(tcase, burst_cut_off, 0, 3);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
