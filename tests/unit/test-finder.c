/* Guests that appear in the guests folder, in any order of folder, socket and agent. */
#include "domain/finder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "domain/domains.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "tests/unit/domain-fixture.h"
#include "tests/unit/monitor.h"

#define N(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

static struct stage stage;
static struct monitor monitor, agent;

static void setup(void)
{
    stage_init(&stage);
    monitor = agent = (struct monitor){.fd = -1};
}

static void teardown(void)
{
    stage_deinit(&stage);
    monitor_kill(&monitor);
    monitor_kill(&agent);
}

static char *in_guests(const char *name)
{
    return xasprintf("%s/%s", stage.guests_dir, name);
}

static void make_folder(const char *name)
{
    _cleanup_free_ char *path = in_guests(name);

    ck_assert_int_eq(mkdir(path, 0755), 0);
}

static void open_monitor(const char *guest)
{
    _cleanup_free_ char *path = xasprintf("%s/%s/qmp.sock", stage.guests_dir, guest);

    monitor_open(&monitor, stage.f.base, path);
}

static void open_agent(const char *guest)
{
    _cleanup_free_ char *path = xasprintf("%s/%s/agent.sock", stage.guests_dir, guest);

    monitor_open(&agent, stage.f.base, path);
    agent.silent = true;
}

static struct domain *found(const char *name)
{
    return domains_find(stage.domains, name);
}

static bool is_connected(const char *name)
{
    return found(name) && found(name)->connected;
}

START_TEST(guests_that_were_there_before)
{
    ck_assert_int_eq(mkdir(stage.guests_dir, 0755), 0);
    make_folder("web");
    open_monitor("web");
    open_agent("web");
    stage_start(&stage);
    ck_assert_ptr_nonnull(found("web"));
    STAGE_UNTIL(&stage, is_connected("web") && stage.agent > 0);
    ck_assert(found("web")->record.found);
    ck_assert_str_eq(strrchr(found("web")->record.qmp, '/'), "/qmp.sock");
    ck_assert_str_eq(domain_agent_state(found("web")), "connected");
}
END_TEST

/* Folder, then socket, then agent, each after the start; and all of it is stored. */
START_TEST(guests_that_come_bit_by_bit)
{
    struct journal_model model;

    stage_start(&stage); /* makes the guests folder */
    make_folder("web");
    stage_settle(&stage);
    ck_assert_uint_eq(domains_count(stage.domains), 0);
    open_monitor("web");
    STAGE_UNTIL(&stage, is_connected("web"));
    ck_assert_ptr_null(found("web")->record.agent);
    ck_assert_str_eq(domain_agent_state(found("web")), "none");
    open_agent("web");
    STAGE_UNTIL(&stage, stage.agent > 0);
    ck_assert_str_eq(strrchr(found("web")->record.agent, '/'), "/agent.sock");
    stage_settle(&stage);
    ck_assert_int_eq(journal_load(stage.f.journal, &model, NULL), 0);
    ck_assert_uint_eq(model.n_domains, 1);
    ck_assert_str_eq(model.domains[0].name, "web");
    ck_assert(model.domains[0].found);
    ck_assert_int_eq(model.domains[0].qemu.pid, getpid());
    journal_model_deinit(&model);
    ck_assert_uint_gt(stage.f.n_seqs, 0); /* it was announced */
}
END_TEST

/* An agent's socket before the monitor's, as QEMU may make them. */
START_TEST(agents_that_come_first)
{
    stage_start(&stage);
    make_folder("web");
    open_agent("web");
    open_monitor("web");
    STAGE_UNTIL(&stage, is_connected("web") && stage.agent > 0);
    ck_assert_uint_eq(domains_count(stage.domains), 1);
}
END_TEST

/* A folder that is moved in with all that is in it, or is a link to one elsewhere. */
START_TEST(guests_that_come_ready_made)
{
    _cleanup_free_ char *elsewhere = stage_path(&stage, "elsewhere");
    _cleanup_free_ char *socket = xasprintf("%s/qmp.sock", elsewhere);
    _cleanup_free_ char *there = in_guests("web");

    stage_start(&stage);
    ck_assert_int_eq(mkdir(elsewhere, 0755), 0);
    monitor_open(&monitor, stage.f.base, socket);
    if (_i)
        ck_assert_int_eq(rename(elsewhere, there), 0);
    else
        ck_assert_int_eq(symlink(elsewhere, there), 0);
    STAGE_UNTIL(&stage, is_connected("web"));
    if (_i) { /* for the fixture to remove it */
        free(monitor.path);
        monitor.path = xasprintf("%s/qmp.sock", there);
    }
}
END_TEST

static const char *const bad_names[] = {
    "-bad",
    ".hidden",
    "_bad",
    "has space",
    "a:b",
    "caf\303\251",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", /* 65 */
};

/* The good one comes last: once it is found, all others were looked at. */
START_TEST(bad_names_are_not_taken_in)
{
    struct monitor bad;
    _cleanup_free_ char *folder = stage_path(&stage, "b"), *there = NULL;
    _cleanup_free_ char *socket = xasprintf("%s/qmp.sock", folder);

    stage_start(&stage);
    ck_assert_int_eq(mkdir(folder, 0755), 0);
    monitor_open(&bad, stage.f.base, socket);
    there = in_guests(bad_names[_i]);
    ck_assert_int_eq(rename(folder, there), 0);
    make_folder("good");
    open_monitor("good");
    STAGE_UNTIL(&stage, is_connected("good"));
    ck_assert_uint_eq(domains_count(stage.domains), 1);
    ck_assert_uint_eq(bad.accepted, 0);
    monitor_kill(&bad);
}
END_TEST

START_TEST(what_is_no_guest)
{
    _cleanup_free_ char *file = in_guests("file"), *socket = in_guests("qmp.sock");
    struct monitor stray;

    stage_start(&stage);
    stage_write(file, "");
    monitor_open(&stray, stage.f.base, socket);
    make_folder("empty");
    make_folder("good");
    open_monitor("good");
    STAGE_UNTIL(&stage, is_connected("good"));
    ck_assert_uint_eq(domains_count(stage.domains), 1);
    monitor_kill(&stray);
}
END_TEST

/* A folder that is removed and made anew, or renamed, is still watched by its name. */
START_TEST(folders_that_change)
{
    _cleanup_free_ char *old = in_guests("old"), *web = in_guests("web");

    stage_start(&stage);
    make_folder("old");
    stage_settle(&stage);
    if (_i) {
        ck_assert_int_eq(rename(old, web), 0);
    } else {
        ck_assert_int_eq(rmdir(old), 0);
        make_folder("web");
        stage_settle(&stage);
        ck_assert_int_eq(rmdir(web), 0);
        make_folder("web");
    }
    stage_settle(&stage);
    open_monitor("web");
    STAGE_UNTIL(&stage, is_connected("web"));
    ck_assert_ptr_null(found("old"));
}
END_TEST

/* However the administrator wrote the folder's name. */
START_TEST(a_slash_at_the_end)
{
    const struct domains_options options = {
        .greeting_timeout_ms = 30000, .command_timeout_ms = 30000, .guests_dir = stage.guests_dir};
    const struct domain_handlers *handlers = stage.domains->handlers;
    char *dir = xasprintf("%s//", stage.guests_dir);
    struct domains_options slashed = options;

    domains_free(stage.domains);
    slashed.guests_dir = dir;
    stage.domains = domains_new(stage.f.base, stage.f.journal, stage.f.worker, NULL, &slashed);
    free(dir);
    domains_set_handlers(stage.domains, handlers, &stage);
    stage_start(&stage);
    make_folder("web");
    stage_settle(&stage);
    open_monitor("web");
    STAGE_UNTIL(&stage, is_connected("web"));
}
END_TEST

/* A guest that somebody defined is connected when its socket appears, wherever that is. */
START_TEST(defined_guests)
{
    _cleanup_free_ char *folder = stage_path(&stage, "run");
    _cleanup_free_ char *socket = stage_path(&stage, "run/qmp.sock");
    const struct record_domain definition = {.name = (char *)"web", .qmp = socket};
    bool added;

    ck_assert_int_eq(mkdir(folder, 0755), 0);
    stage_start(&stage);
    domains_define(stage.domains, &definition, &added, NULL);
    stage_settle(&stage);
    ck_assert(!is_connected("web"));
    monitor_open(&monitor, stage.f.base, socket);
    STAGE_UNTIL(&stage, is_connected("web"));
    ck_assert(!found("web")->record.found);
}
END_TEST

START_TEST(no_guests_folder)
{
    _cleanup_error_ struct error err = {0};

    stage_write(stage.guests_dir, "a file");
    ck_assert_int_eq(domains_start(stage.domains, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_INTERNAL);
    ck_assert_ptr_nonnull(strstr(err.message, stage.guests_dir));
}
END_TEST

static TCase *finder_case(void)
{
    TCase *tcase = tcase_create("finder");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, guests_that_were_there_before);
    tcase_add_test(tcase, guests_that_come_bit_by_bit);
    tcase_add_test(tcase, agents_that_come_first);
    tcase_add_loop_test(tcase, guests_that_come_ready_made, 0, 2);
    tcase_add_loop_test(tcase, bad_names_are_not_taken_in, 0, N(bad_names));
    tcase_add_test(tcase, what_is_no_guest);
    tcase_add_loop_test(tcase, folders_that_change, 0, 2);
    tcase_add_test(tcase, a_slash_at_the_end);
    tcase_add_test(tcase, defined_guests);
    tcase_add_test(tcase, no_guests_folder);
    return tcase;
}

int main(void)
{
    static TCase *(*const cases[])(void) = {finder_case};

    return stage_main("finder", cases, N(cases));
}
