/* The upkeep of a connection: lost, made anew, held by somebody else, and another QEMU on the same
 * socket, which is never taken for the one before. */
#include "domain/link.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "tests/unit/domain-fixture.h"
#include "tests/unit/monitor.h"

static struct stage stage;
static struct monitor monitor, second;
static struct domain *domain;
static char *path;

static void setup(void)
{
    stage_init(&stage);
    monitor = second = (struct monitor){.fd = -1};
    path = stage_path(&stage, "qmp.sock");
    stage_start(&stage);
}

static void teardown(void)
{
    stage_deinit(&stage);
    monitor_kill(&monitor);
    monitor_kill(&second);
    free(path);
}

static void define(void)
{
    const struct record_domain definition = {.name = (char *)"web", .qmp = path};
    bool added;

    domain = domains_define(stage.domains, &definition, &added, NULL);
    ck_assert(added);
}

/* A connection, and everything that follows it said. */
static void connect_to(bool elsewhere)
{
    if (elsewhere)
        monitor_open_elsewhere(&monitor, stage.f.base, path);
    else
        monitor_open(&monitor, stage.f.base, path);
    define();
    STAGE_UNTIL(&stage, domain->connected && stage.viewed > 0);
}

START_TEST(connected)
{
    const struct record_disk *disk;

    connect_to(false);
    ck_assert(!domain->gone);
    ck_assert_str_eq(domain_state(domain), "running");
    ck_assert_str_eq(domain->version, "7.2.22");
    ck_assert_int_eq(domain->record.qemu.pid, getpid());
    ck_assert_uint_eq(stage.away, 0);
    disk = disk_find(domain, "vd0");
    ck_assert_uint_eq(disk->n_chain, 2);
    ck_assert_str_eq(disk->chain[0].file, "/i/top");
    ck_assert_str_eq(disk->chain[1].file, "/i/base");
}
END_TEST

/* The peer goes and its process lives: away, not gone, and back by itself. */
START_TEST(lost_and_found)
{
    connect_to(false);
    stage.viewed = 0;
    monitor_hang_up(&monitor);
    STAGE_UNTIL(&stage, !domain->connected);
    ck_assert_uint_eq(stage.away, 1);
    ck_assert_uint_eq(stage.gone, 0);
    ck_assert(!domain->gone);
    ck_assert_str_eq(domain_state(domain), "unknown");
    ck_assert_ptr_nonnull(domain->view); /* as last seen */
    STAGE_UNTIL(&stage, domain->connected && stage.viewed > 0);
    ck_assert_uint_eq(monitor.accepted, 2);
    ck_assert_uint_eq(domain->record.n_disks, 1);
    ck_assert_uint_eq(stage.away, 1);
}
END_TEST

/* The socket itself is removed and made anew, as at another start of the same program. */
START_TEST(another_socket)
{
    connect_to(false);
    monitor_close(&monitor);
    STAGE_UNTIL(&stage, !domain->connected);
    monitor_open(&monitor, stage.f.base, path);
    monitor.status = "{\"status\":\"paused\",\"running\":false}";
    STAGE_UNTIL(&stage, domain->connected);
    ck_assert_str_eq(domain_state(domain), "paused");
    ck_assert_uint_eq(stage.gone, 0);
}
END_TEST

START_TEST(another_process)
{
    struct process before;

    connect_to(true);
    ck_assert_int_eq(domain->record.qemu.pid, monitor.process);
    before = domain->record.qemu;
    monitor_kill(&monitor);
    STAGE_UNTIL(&stage, domain->gone);
    ck_assert(!domain->connected);
    ck_assert_str_eq(domain_state(domain), "shutoff");
    ck_assert_uint_eq(stage.gone, 1);
    ck_assert(!domain_runs_in(domain, &before));
    monitor_open_elsewhere(&second, stage.f.base, path);
    second.nodes = "[{\"node-name\":\"top\",\"drv\":\"qcow2\",\"file\":\"/i/new\"}]";
    STAGE_UNTIL(&stage, domain->connected);
    ck_assert(!domain->gone);
    ck_assert_int_eq(domain->record.qemu.pid, second.process);
    ck_assert(!domain_runs_in(domain, &before));
    ck_assert_str_eq(disk_find(domain, "vd0")->chain[0].file, "/i/new");
    ck_assert_uint_eq(stage.gone, 1); /* told once */
}
END_TEST

/* The old process lives on without its monitor: that another one answers is the end of it. */
START_TEST(another_process_beside_the_first)
{
    struct process before;

    connect_to(true);
    before = domain->record.qemu;
    monitor_close(&monitor);
    STAGE_UNTIL(&stage, !domain->connected);
    ck_assert_uint_eq(stage.gone, 0);
    ck_assert(domain_runs_in(domain, &before));
    monitor_open_elsewhere(&second, stage.f.base, path);
    STAGE_UNTIL(&stage, domain->connected);
    ck_assert_uint_eq(stage.gone, 1);
    ck_assert(!domain_runs_in(domain, &before));
    ck_assert_int_eq(domain->record.qemu.pid, second.process);
}
END_TEST

/* The end of a QEMU is seen while its monitor is away. */
START_TEST(ended_while_away)
{
    connect_to(true);
    monitor_close(&monitor);
    STAGE_UNTIL(&stage, !domain->connected);
    ck_assert(!domain->gone);
    monitor_kill(&monitor);
    STAGE_UNTIL(&stage, domain->gone);
    ck_assert_uint_eq(stage.gone, 1);
    ck_assert_str_eq(domain_state(domain), "shutoff");
}
END_TEST

/* It is told by the process itself: nobody waits for a greeting that will not come. */
START_TEST(ended_while_connecting)
{
    connect_to(true);
    stage.domains->options.greeting_timeout_ms = 10 * STAGE_GUARD_S * 1000;
    monitor_close(&monitor);
    STAGE_UNTIL(&stage, !domain->connected);
    monitor_open(&second, stage.f.base, path);
    second.silent = true;
    STAGE_UNTIL(&stage, second.accepted == 1);
    ck_assert(!domain->gone);
    monitor_kill(&monitor);
    STAGE_UNTIL(&stage, domain->gone);
    ck_assert_uint_eq(stage.gone, 1);
}
END_TEST

/* The end of the process may be seen before that of its monitor. */
START_TEST(ended_before_its_monitor)
{
    connect_to(true);
    kill(monitor.process, SIGKILL);
    waitpid(monitor.process, NULL, 0);
    monitor.process = 0;
    stage_settle(&stage);
    ck_assert_int_ge(event_base_loop(stage.f.base, EVLOOP_NONBLOCK), 0);
    monitor_hang_up(&monitor);
    monitor.silent = true; /* whoever connects again hears nothing */
    STAGE_UNTIL(&stage, domain->gone);
    ck_assert(!domain->connected);
    ck_assert_uint_eq(stage.gone, 1);
}
END_TEST

/* A monitor that another client holds accepts and says nothing. */
START_TEST(a_silent_monitor)
{
    stage.domains->options.greeting_timeout_ms = 20;
    monitor_open(&monitor, stage.f.base, path);
    monitor.silent = true;
    define();
    STAGE_UNTIL(&stage, monitor.accepted >= 3); /* tried again and again */
    ck_assert(!domain->connected);
    ck_assert_uint_eq(stage.viewed, 0);
    ck_assert_str_eq(domain_state(domain),
                     "unknown"); /* nobody has seen a QEMU, and one is there */
    monitor_close(&monitor);
    STAGE_UNTIL(&stage, domain_is_shutoff(domain));
    ck_assert_str_eq(domain_state(domain), "shutoff");
    monitor_open(&monitor, stage.f.base, path);
    stage.domains->options.greeting_timeout_ms = 30000;
    monitor.silent = false;
    STAGE_UNTIL(&stage, domain->connected);
}
END_TEST

/* Going silent later is noticed by the command that is not answered. */
START_TEST(a_monitor_that_falls_silent)
{
    stage.domains->options.command_timeout_ms = 20;
    monitor_open(&monitor, stage.f.base, path);
    define();
    STAGE_UNTIL(&stage, domain->connected && stage.viewed > 0);
    event_del(monitor.reads);
    domain_look(domain);
    STAGE_UNTIL(&stage, !domain->connected);
    ck_assert_uint_eq(stage.away, 1);
    ck_assert_uint_eq(stage.gone, 0);
}
END_TEST

START_TEST(events)
{
    connect_to(false);
    monitor_say(&monitor, "{\"event\":\"STOP\",\"timestamp\":{\"seconds\":1,"
                          "\"microseconds\":0}}\r\n");
    STAGE_UNTIL(&stage, stage.events == 1);
    ck_assert_str_eq(domain_state(domain), "paused");
    ck_assert_uint_eq(stage.agent, 0);
    monitor_say(&monitor, "{\"event\":\"RESUME\",\"timestamp\":{\"seconds\":1,"
                          "\"microseconds\":0}}\r\n");
    STAGE_UNTIL(&stage, stage.events == 2);
    ck_assert_str_eq(domain_state(domain), "running");
    ck_assert_uint_eq(stage.agent, 1); /* a chance for a thaw */
    ck_assert_uint_eq(stage.away, 0);
}
END_TEST

/* --- looks --- */

START_TEST(a_whole_look)
{
    uint64_t number;

    connect_to(false);
    monitor.nodes = "[{\"node-name\":\"base\",\"drv\":\"raw\",\"file\":\"/i/base\"}]";
    monitor.block = "[{\"device\":\"\",\"qdev\":\"/machine/peripheral/vd0/virtio-backend\","
                    "\"inserted\":{\"node-name\":\"base\",\"ro\":false}}]";
    monitor.blockstats = "[]";
    number = domain_look(domain);
    ck_assert_uint_gt(number, domain->view_number);
    STAGE_UNTIL(&stage, domain->view_number >= number);
    ck_assert_uint_eq(disk_find(domain, "vd0")->n_chain, 1);
    ck_assert_ptr_null(view_node(domain->view, "top"));
}
END_TEST

/* Jobs and run state are new, the graph stays the one that is known. */
START_TEST(a_look_at_jobs)
{
    uint64_t number;

    connect_to(false);
    monitor.nodes = "[]";
    monitor.status = "{\"status\":\"paused\",\"running\":false}";
    monitor.jobs = "[{\"id\":\"j\",\"type\":\"commit\",\"status\":\"ready\","
                   "\"current-progress\":3,\"total-progress\":4}]";
    number = domain_look_jobs(domain);
    STAGE_UNTIL(&stage, domain->view_number >= number);
    ck_assert_int_eq(view_job_status(domain->view, "j"), VIEW_JOB_READY);
    ck_assert_str_eq(domain->view->status, "paused");
    ck_assert_ptr_nonnull(view_node(domain->view, "top"));
    ck_assert_uint_eq(domain->view->n_disks, 1);
    ck_assert_uint_eq(monitor.views, 1);
}
END_TEST

/* What is asked while a query is on its way is queried anew, once, and as a whole if any asked for
 * that. */
START_TEST(looks_are_gathered)
{
    uint64_t first, later;
    unsigned views;

    connect_to(false);
    views = monitor.views;
    stage.viewed = 0;
    first = domain_look_jobs(domain);
    later = domain_look_jobs(domain);
    ck_assert_uint_gt(later, first);
    ck_assert_uint_eq(domain_look(domain), later);
    ck_assert_uint_eq(domain_look_jobs(domain), later);
    STAGE_UNTIL(&stage, domain->view_number >= later);
    ck_assert_uint_eq(domain->view_number, later);
    ck_assert_uint_eq(stage.viewed, 2);
    ck_assert_uint_eq(monitor.views, views + 1);
}
END_TEST

/* Asked for while the monitor is away, it is the view of the next connection. */
START_TEST(a_look_while_away)
{
    uint64_t number;

    connect_to(false);
    monitor_hang_up(&monitor);
    STAGE_UNTIL(&stage, !domain->connected);
    number = domain_look_jobs(domain);
    STAGE_UNTIL(&stage, domain->connected && domain->view_number >= number);
    ck_assert_uint_eq(monitor.accepted, 2);
}
END_TEST

/* --- the end --- */

/* A domain is dropped in the middle of anything: nothing more is told of it. */
START_TEST(dropped_at_any_time)
{
    monitor_open(&monitor, stage.f.base, path);
    define();
    if (_i == 1)
        STAGE_UNTIL(&stage, monitor.accepted == 1);
    if (_i == 2)
        STAGE_UNTIL(&stage, monitor.views == 1);
    if (_i >= 3)
        STAGE_UNTIL(&stage, domain->connected);
    if (_i == 4)
        domain_look(domain);
    domains_remove(stage.domains, domain);
    stage.viewed = stage.away = stage.agent = stage.events = 0;
    stage_settle(&stage);
    ck_assert_int_ge(event_base_loop(stage.f.base, EVLOOP_NONBLOCK), 0);
    ck_assert_uint_eq(stage.viewed + stage.away + stage.agent + stage.events, 0);
}
END_TEST

static TCase *link_case(void)
{
    TCase *tcase = tcase_create("link");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, connected);
    tcase_add_test(tcase, lost_and_found);
    tcase_add_test(tcase, another_socket);
    tcase_add_test(tcase, another_process);
    tcase_add_test(tcase, another_process_beside_the_first);
    tcase_add_test(tcase, ended_while_away);
    tcase_add_test(tcase, ended_while_connecting);
    tcase_add_test(tcase, ended_before_its_monitor);
    tcase_add_test(tcase, a_silent_monitor);
    tcase_add_test(tcase, a_monitor_that_falls_silent);
    tcase_add_test(tcase, events);
    return tcase;
}

static TCase *look_case(void)
{
    TCase *tcase = tcase_create("look");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_whole_look);
    tcase_add_test(tcase, a_look_at_jobs);
    tcase_add_test(tcase, looks_are_gathered);
    tcase_add_test(tcase, a_look_while_away);
    tcase_add_loop_test(tcase, dropped_at_any_time, 0, 5);
    return tcase;
}

int main(void)
{
    static TCase *(*const cases[])(void) = {link_case, look_case};

    return stage_main("link", cases, (int)(sizeof(cases) / sizeof(cases[0])));
}
