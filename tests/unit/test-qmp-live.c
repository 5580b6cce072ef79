/* The monitor's code against a real QEMU, which need not run a guest: what QEMU really says is what
 * all other tests take for granted. The steps follow each other as in an active commit. SKIP (77)
 * where there is no QEMU. */
#include <event2/event.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "proto/snapvm-errors.h"
#include "qemu/qmp-command.h"
#include "qemu/qmp-schema.h"
#include "qemu/qmp.h"
#include "qemu/view.h"

#define SKIP 77
#define GUARD_S 60

extern char **environ;

struct live {
    struct event_base *base;
    struct qmp *qmp;
    pid_t qemu;
    char *dir;
    bool answered; /* the last command was */
    struct error err, down;
    bool is_up, is_down;
    struct view *view;
    struct qmp_schema schema;
    enum view_job_status job_status; /* by the last event on the job */
};

#define REQUIRE(condition)                                                                 \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
            exit(EXIT_FAILURE);                                                            \
        }                                                                                  \
    } while (0)

static void on_guard(evutil_socket_t fd _unused_, short what _unused_, void *arg _unused_)
{
    fprintf(stderr, "QEMU did not do what is waited for\n");
    exit(EXIT_FAILURE);
}

static void on_up(void *arg)
{
    ((struct live *)arg)->is_up = true;
}

static void on_down(void *arg, const struct error *why)
{
    struct live *live = arg;

    live->is_down = true;
    error_copy(&live->down, why);
}

static void on_event(void *arg, const struct qmp_event *event)
{
    if (event->kind == QMP_EVENT_JOB_STATUS)
        ((struct live *)arg)->job_status = event->status;
}

static const struct qmp_handlers handlers = {.up = on_up, .down = on_down, .event = on_event};

static void on_done(void *arg, const struct error *err)
{
    struct live *live = arg;

    live->answered = true;
    error_clear(&live->err);
    if (err)
        error_copy(&live->err, err);
}

static void on_view(void *arg, struct view *view, const struct error *err)
{
    struct live *live = arg;

    view_free(live->view);
    live->view = view;
    on_done(arg, err);
}

static void on_schema(void *arg, const struct qmp_schema *schema, const struct error *err)
{
    if (schema)
        ((struct live *)arg)->schema = *schema;
    on_done(arg, err);
}

static void turn(struct live *live)
{
    REQUIRE(event_base_loop(live->base, EVLOOP_ONCE) == 0);
}

/* Runs the loop until the command that was just sent is answered. */
static void answer(struct live *live)
{
    live->answered = false;
    while (!live->answered)
        turn(live);
}

static void answer_ok(struct live *live)
{
    answer(live);
    if (live->err.code)
        fprintf(stderr, "%s\n", live->err.message);
    REQUIRE(live->err.code == 0);
}

static void look(struct live *live)
{
    qmp_query_view(live->qmp, LOOK_ALL, on_view, live);
    answer_ok(live);
}

static void until_job(struct live *live, enum view_job_status status)
{
    while (live->job_status != status)
        turn(live);
}

static pid_t spawn(const char *const *argv)
{
    pid_t pid;

    if (posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)argv, environ) != 0)
        return -1;
    return pid;
}

/* A program's exit status; -1 where there is no such program. */
static int run(const char *const *argv)
{
    pid_t pid = spawn(argv);
    int status;

    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status) == 127 ? -1 : WEXITSTATUS(status);
}

static void make_image(const char *file, const char *backing)
{
    const char *base[] = {"qemu-img", "create", "-q", "-f", "qcow2", file, "16M", NULL};
    const char *overlay[] = {"qemu-img", "create", "-q",    "-f", "qcow2", "-b",
                             backing,    "-F",     "qcow2", file, NULL};

    REQUIRE(run(backing ? overlay : base) == 0);
}

/* Waits until QEMU has made its socket. */
static void await_file(const char *name)
{
    int fd = inotify_init1(IN_CLOEXEC);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char buffer[4096];

    REQUIRE(fd >= 0 && inotify_add_watch(fd, ".", IN_CREATE) >= 0);
    while (access(name, F_OK) < 0) {
        REQUIRE(poll(&p, 1, GUARD_S * 1000) == 1);
        REQUIRE(read(fd, buffer, sizeof(buffer)) > 0);
    }
    close(fd);
}

static void start_qemu(struct live *live)
{
    const char *argv[] = {
        "qemu-system-x86_64",
        "-machine",
        "q35,accel=tcg",
        "-m",
        "64",
        "-S",
        "-nodefaults",
        "-display",
        "none",
        "-qmp",
        "unix:qmp.sock,server=on,wait=off",
        "-blockdev",
        "{\"driver\":\"qcow2\",\"node-name\":\"a0\",\"read-only\":true,\"backing\":null,"
        "\"file\":{\"driver\":\"file\",\"filename\":\"a0.qcow2\"}}",
        "-blockdev",
        "{\"driver\":\"qcow2\",\"node-name\":\"a1\",\"backing\":\"a0\","
        "\"file\":{\"driver\":\"file\",\"filename\":\"a1.qcow2\"}}",
        "-device",
        "virtio-blk-pci,drive=a1,id=vd0",
        "-drive",
        "file=b1.qcow2,format=qcow2,if=virtio,cache=none",
        "-drive",
        "file=c0.qcow2,format=qcow2,if=none,id=dr,detect-zeroes=unmap,discard=unmap",
        "-device",
        "ide-hd,drive=dr,id=ide0",
        "-device",
        "virtio-scsi-pci",
        "-device",
        "scsi-cd,id=cd0",
        "-chardev",
        "socket,path=agent.sock,server=on,wait=off,id=ch0",
        NULL};

    make_image("a0.qcow2", NULL);
    make_image("a1.qcow2", "a0.qcow2");
    make_image("b0.qcow2", NULL);
    make_image("b1.qcow2", "b0.qcow2");
    make_image("c0.qcow2", NULL);
    make_image("over.qcow2", "a1.qcow2");
    live->qemu = spawn(argv);
    REQUIRE(live->qemu > 0);
    await_file("qmp.sock");
}

static struct qmp *connect_monitor(struct live *live, unsigned greeting_ms)
{
    const struct qmp_options options = {
        .path = "qmp.sock", .greeting_timeout_ms = greeting_ms, .command_timeout_ms = 30000};

    return qmp_new(live->base, &options, &handlers, live);
}

static void test_connect(struct live *live)
{
    _cleanup_free_ char *name = NULL, *expected = NULL;

    live->qmp = connect_monitor(live, 30000);
    while (!live->is_up && !live->is_down)
        turn(live);
    REQUIRE(live->is_up && qmp_is_up(live->qmp));
    REQUIRE(qmp_process(live->qmp)->pid == live->qemu);
    REQUIRE(process_alive(qmp_process(live->qmp)));
    REQUIRE(strchr(qmp_version(live->qmp), '.'));
    name = process_absolute(qmp_process(live->qmp), "a1.qcow2");
    expected = xasprintf("%s/a1.qcow2", live->dir);
    REQUIRE(name && strcmp(name, expected) == 0);
}

/* A monitor serves one client; the next one connects and hears nothing. */
static void test_second_client(struct live *live)
{
    struct qmp *second = connect_monitor(live, 200);

    while (!live->is_down)
        turn(live);
    REQUIRE(live->down.code == SNAPVM_ERROR_TIMEOUT);
    qmp_free(second);
    live->is_down = false;
    error_clear(&live->down);
}

static void test_schema(struct live *live)
{
    qmp_query_schema(live->qmp, on_schema, live);
    answer_ok(live);
    REQUIRE(live->schema.has[QMP_FEATURE_TWO_PHASE]);
    REQUIRE(live->schema.has[QMP_FEATURE_TRANSACTION]);
    REQUIRE(live->schema.has[QMP_FEATURE_STOP] && live->schema.has[QMP_FEATURE_HMP]);
    REQUIRE(live->schema.has[QMP_FEATURE_MIRROR]);
}

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

static void test_first_view(struct live *live)
{
    struct view_disk *disk;
    struct view_node *layer, *found;

    look(live);
    REQUIRE(same(live->view->status, "prelaunch") && !live->view->running);
    REQUIRE(live->view->n_disks == 4 && live->view->n_jobs == 0);
    disk = view_disk(live->view, "vd0");
    REQUIRE(disk && !disk->device && !disk->direct && !disk->read_only && !disk->detect_zeroes);
    REQUIRE(disk == view_disk(live->view, "a1") && same(disk->root, "a1"));
    layer = view_layer(live->view, disk->root);
    REQUIRE(same(layer->file, "a1.qcow2") && same(layer->driver, "qcow2"));
    REQUIRE(layer->virtual_size == 16 << 20 && layer->actual_size > 0 && !layer->read_only);
    layer = view_below(live->view, layer);
    REQUIRE(same(layer->name, "a0") && layer->read_only && !view_below(live->view, layer));
    REQUIRE(view_nodes_of_file(live->view, "a0.qcow2", &found) == 1 && found == layer);

    disk = view_disk(live->view, "virtio0");
    REQUIRE(disk && !disk->qdev && disk->direct && !disk->no_flush);
    layer = view_below(live->view, view_layer(live->view, disk->root));
    REQUIRE(layer && strstr(layer->file, "b0.qcow2"));

    disk = view_disk(live->view, "ide0");
    REQUIRE(disk && disk == view_disk(live->view, "dr") && same(disk->detect_zeroes, "unmap"));
    disk = view_disk(live->view, "cd0");
    REQUIRE(disk && !disk->root && disk->removable);
    REQUIRE(live->view->n_chardevs == 2);
}

static void test_errors(struct live *live)
{
    qmp_block_commit(live->qmp, &(struct qmp_commit){.job = "x", .device = "nope", .base = "nope"},
                     on_done, live);
    answer(live);
    REQUIRE(live->err.code == SNAPVM_ERROR_QEMU);
    REQUIRE(same(error_get(&live->err, "class"), "DeviceNotFound"));
    REQUIRE(same(error_get(&live->err, "command"), "block-commit"));
    qmp_flush(live->qmp, "nope", on_done, live);
    answer(live);
    REQUIRE(live->err.code == SNAPVM_ERROR_QEMU);
    qmp_flush(live->qmp, "a1", on_done, live);
    answer_ok(live);
}

static void test_snapshot(struct live *live)
{
    const struct qmp_open open = {.node = "over",
                                  .format = "qcow2",
                                  .file = "over.qcow2",
                                  .detect_zeroes = "unmap",
                                  .direct = true};
    const struct qmp_open raw = {
        .node = "raw", .format = "raw", .file = "a0.qcow2", .read_only = true};
    const struct qmp_snapshot pair = {.node = "a1", .overlay = "over"};

    qmp_blockdev_add(live->qmp, &open, on_done, live);
    answer_ok(live);
    look(live);
    REQUIRE(view_node(live->view, "over") && !view_node(live->view, "over")->backing);
    qmp_blockdev_add(live->qmp, &raw, on_done, live);
    answer_ok(live);
    qmp_blockdev_del(live->qmp, "raw", on_done, live);
    answer_ok(live);
    qmp_snapshot(live->qmp, &pair, 1, on_done, live);
    answer_ok(live);
    look(live);
    REQUIRE(same(view_disk(live->view, "vd0")->root, "over"));
    REQUIRE(same(view_node(live->view, "over")->backing, "a1"));
    REQUIRE(view_in_chain(live->view, "over", "a0"));
    REQUIRE(view_disk(live->view, "vd0")->direct);
}

static void test_pivot(struct live *live)
{
    const struct qmp_commit commit = {.job = "snapvm-1-vd0",
                                      .device = "over",
                                      .base = "a1",
                                      .filter = "snapvm-1-filter",
                                      .speed = 1 << 30};
    struct view_job *job;

    live->job_status = VIEW_JOB_NONE;
    qmp_block_commit(live->qmp, &commit, on_done, live);
    answer_ok(live);
    until_job(live, VIEW_JOB_READY);
    qmp_job_set_speed(live->qmp, commit.job, 0, on_done, live);
    answer_ok(live);
    look(live);
    job = view_job(live->view, commit.job);
    REQUIRE(job && job->status == VIEW_JOB_READY && same(job->type, "commit") && !job->error);
    REQUIRE(same(job->io_status, "ok") && job->speed == 0);
    REQUIRE(same(view_disk(live->view, "vd0")->root, "snapvm-1-filter"));
    REQUIRE(same(view_layer(live->view, "snapvm-1-filter")->name, "over"));

    qmp_job_complete(live->qmp, commit.job, on_done, live);
    answer_ok(live);
    until_job(live, VIEW_JOB_PENDING);
    qmp_query_view(live->qmp, LOOK_JOBS, on_view, live);
    answer_ok(live);
    REQUIRE(view_job_status(live->view, commit.job) == VIEW_JOB_PENDING);
    REQUIRE(!live->view->nodes && live->view->status);
    qmp_stop(live->qmp, on_done, live);
    answer_ok(live);
    qmp_job_finalize(live->qmp, commit.job, on_done, live);
    answer_ok(live);
    look(live);
    REQUIRE(view_job_status(live->view, commit.job) == VIEW_JOB_CONCLUDED);
    REQUIRE(same(view_disk(live->view, "vd0")->root, "a1"));
    REQUIRE(!view_node(live->view, "a1")->read_only);
    qmp_job_dismiss(live->qmp, commit.job, on_done, live);
    answer_ok(live);
    qmp_blockdev_del(live->qmp, "over", on_done, live);
    answer_ok(live);
    look(live);
    REQUIRE(!view_node(live->view, "over") && live->view->n_jobs == 0);
}

/* From pending there is no way but finalize or the end of the job; a soft cancel when ready keeps
 * the overlay. */
static void test_keep(struct live *live)
{
    const struct qmp_commit commit = {.job = "k", .device = "virtio0", .filter = NULL};
    struct qmp_commit named = commit;
    _cleanup_free_ char *top = NULL, *base = NULL;

    top = xstrdup(view_disk(live->view, "virtio0")->root);
    base = xstrdup(view_node(live->view, top)->backing);
    named.device = top;
    named.base = base;
    live->job_status = VIEW_JOB_NONE;
    qmp_block_commit(live->qmp, &named, on_done, live);
    answer_ok(live);
    until_job(live, VIEW_JOB_READY);
    look(live);
    REQUIRE(same(view_layer(live->view, view_disk(live->view, "virtio0")->root)->name, top));
    qmp_job_keep(live->qmp, named.job, on_done, live);
    answer_ok(live);
    until_job(live, VIEW_JOB_PENDING);
    qmp_job_finalize(live->qmp, named.job, on_done, live);
    answer_ok(live);
    until_job(live, VIEW_JOB_CONCLUDED);
    look(live);
    REQUIRE(same(view_disk(live->view, "virtio0")->root, top));
    REQUIRE(view_job(live->view, named.job) && !view_job(live->view, named.job)->error);
}

static void test_killed(struct live *live)
{
    struct process process = *qmp_process(live->qmp);

    REQUIRE(kill(live->qemu, SIGKILL) == 0);
    while (!live->is_down)
        turn(live);
    REQUIRE(live->down.code == SNAPVM_ERROR_QEMU_GONE && !qmp_is_up(live->qmp));
    REQUIRE(waitpid(live->qemu, NULL, 0) == live->qemu);
    live->qemu = 0;
    REQUIRE(!process_alive(&process));
    qmp_stop(live->qmp, on_done, live);
    answer(live);
    REQUIRE(live->err.code == SNAPVM_ERROR_QEMU_GONE);
}

static struct live live;

static void clean_up(void)
{
    const char *argv[] = {"rm", "-rf", live.dir, NULL};

    if (live.qemu > 0)
        kill(live.qemu, SIGKILL);
    if (live.dir)
        run(argv);
}

int main(void)
{
    const char *have_qemu[] = {"sh", "-c", "qemu-system-x86_64 -version >/dev/null 2>&1", NULL};
    const char *have_img[] = {"sh", "-c", "qemu-img --version >/dev/null 2>&1", NULL};
    struct timeval guard = clock_timeval_ms(GUARD_S * 1000);
    char dir[] = "/tmp/test-qmp-live-XXXXXX";
    struct event *timer;

    if (run(have_qemu) != 0 || run(have_img) != 0) {
        printf("SKIP: there is no qemu-system-x86_64 with qemu-img\n");
        return SKIP;
    }
    REQUIRE(mkdtemp(dir) && chdir(dir) == 0);
    live.dir = dir;
    atexit(clean_up);
    log_set_level(LOG_ERR);
    live.base = event_base_new();
    timer = evtimer_new(live.base, on_guard, NULL);
    event_add(timer, &guard);
    start_qemu(&live);
    test_connect(&live);
    test_second_client(&live);
    test_schema(&live);
    test_first_view(&live);
    test_errors(&live);
    test_snapshot(&live);
    test_pivot(&live);
    test_keep(&live);
    test_killed(&live);
    qmp_free(live.qmp);
    view_free(live.view);
    error_clear(&live.err);
    error_clear(&live.down);
    event_free(timer);
    event_base_free(live.base);
    clean_up();
    live.dir = NULL;
    return EXIT_SUCCESS;
}
