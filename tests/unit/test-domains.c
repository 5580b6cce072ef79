/* Domains by name and by definition, and what comes back after a restart. */
#include "domain/domains.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "domain/disk.h"
#include "domain/snapshot.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "qemu/qmp-schema.h"
#include "tests/unit/domain-fixture.h"

#define N(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

static const struct name_row {
    const char *name;
    bool valid;
} name_rows[] = {
    {"a", true},   {"web", true},        {"0", true},    {"Web-1_x.y", true},
    {"a.", true},  {"", false},          {"-a", false},  {".a", false},
    {"_a", false}, {"a/b", false},       {"a b", false}, {"a\n", false},
    {"..", false}, {"a\303\234", false}, {"a:b", false}, {"a\"", false},
};

START_TEST(names)
{
    ck_assert_int_eq(domains_valid_name(name_rows[_i].name), name_rows[_i].valid);
}
END_TEST

START_TEST(names_are_64_characters_long)
{
    char name[67];

    memset(name, 'x', sizeof(name));
    name[65] = '\0';
    ck_assert(!domains_valid_name(name));
    name[64] = '\0';
    ck_assert(domains_valid_name(name));
}
END_TEST

/* --- definitions --- */

static struct record_domain definition(void)
{
    struct record_domain record = {.name = xstrdup("web"),
                                   .qmp = xstrdup("/run/web/qmp.sock"),
                                   .agent = xstrdup("/run/web/agent.sock"),
                                   .uuid = xstrdup("11111111-2222-3333-4444-555555555555")};
    struct record_disk *disk = record_domain_add_disk(&record, "vda");

    disk->node = xstrdup("top");
    disk->format = xstrdup("qcow2");
    disk->read_only = true;
    record_disk_add_layer(disk, "/i/top", "qcow2");
    return record;
}

START_TEST(definitions_are_copied)
{
    struct stage stage;
    struct record_domain record = definition();
    struct domain *domain;
    const struct record_disk *disk;
    bool added;

    stage_init(&stage);
    domain = domains_define(stage.domains, &record, &added, NULL);
    record_domain_deinit(&record);
    ck_assert(added);
    ck_assert_ptr_eq(domains_find(stage.domains, "web"), domain);
    ck_assert_str_eq(domain->record.qmp, "/run/web/qmp.sock");
    ck_assert_str_eq(domain->record.agent, "/run/web/agent.sock");
    ck_assert_str_eq(domain->record.uuid, "11111111-2222-3333-4444-555555555555");
    ck_assert(!domain->record.found && domain->gone && !domain->connected);
    disk = disk_find(domain, "vda");
    ck_assert(disk->defined && disk->read_only);
    ck_assert_str_eq(disk->node, "top");
    ck_assert_str_eq(disk->format, "qcow2");
    ck_assert_str_eq(disk->chain[0].file, "/i/top");
    ck_assert_str_eq(disk->chain[0].format, "qcow2");
    stage_deinit(&stage);
}
END_TEST

static void keep(struct record_domain *record _unused_)
{
}

static void other_qmp(struct record_domain *record)
{
    xstrset(&record->qmp, "/other");
}

static void other_agent(struct record_domain *record)
{
    xstrset(&record->agent, "/other");
}

static void no_agent(struct record_domain *record)
{
    xstrset(&record->agent, NULL);
}

static void other_uuid(struct record_domain *record)
{
    xstrset(&record->uuid, "99999999-2222-3333-4444-555555555555");
}

static void no_uuid(struct record_domain *record)
{
    xstrset(&record->uuid, NULL);
}

static void other_target(struct record_domain *record)
{
    xstrset(&record->disks[0].target, "vdz");
}

static void other_node(struct record_domain *record)
{
    xstrset(&record->disks[0].node, "other");
}

static void more_disks(struct record_domain *record)
{
    record_domain_add_disk(record, "vdb");
}

static const struct again_row {
    void (*change)(struct record_domain *record);
    bool same;
} again_rows[] = {
    {keep, true},          {no_uuid, true}, /* nothing is said of it */
    {other_qmp, false},    {other_agent, false}, {no_agent, false},   {other_uuid, false},
    {other_target, false}, {other_node, false},  {more_disks, false},
};

START_TEST(defined_again)
{
    const struct again_row *row = &again_rows[_i];
    struct stage stage;
    struct record_domain record = definition();
    struct domain *domain, *again;
    _cleanup_error_ struct error err = {0};
    bool added;

    stage_init(&stage);
    domain = domains_define(stage.domains, &record, &added, NULL);
    /* What a job has changed since is no other content. */
    xstrset(&domain->record.disks[0].chain[0].file, "/i/over");
    record_domain_add_disk(&domain->record, "seen-later");
    row->change(&record);
    again = domains_define(stage.domains, &record, &added, &err);
    ck_assert(!added);
    ck_assert_ptr_eq(again, row->same ? domain : NULL);
    if (!row->same) {
        ck_assert_int_eq(err.code, SNAPVM_ERROR_ALREADY_EXISTS);
        ck_assert_str_eq(error_get(&err, "object"), "domain");
        ck_assert_str_eq(error_get(&err, "name"), "web");
    }
    ck_assert_uint_eq(domains_count(stage.domains), 1);
    record_domain_deinit(&record);
    stage_deinit(&stage);
}
END_TEST

START_TEST(domains_by_name)
{
    struct stage stage;
    _cleanup_error_ struct error err = {0};
    struct domain *domain;
    const char *last = "";

    stage_init(&stage);
    stage_domain(&stage, "web");
    stage_domain(&stage, "db");
    stage_domain(&stage, "mail");
    for (domain = stage.domains->map; domain; domain = domain->hh.next) {
        ck_assert_int_lt(strcmp(last, domain->record.name), 0); /* in order */
        last = domain->record.name;
    }
    ck_assert_uint_eq(domains_count(stage.domains), 3);
    ck_assert_ptr_eq(domains_need(stage.domains, "db", NULL), domains_find(stage.domains, "db"));
    ck_assert_ptr_null(domains_need(stage.domains, "nothing", &err));
    ck_assert_int_eq(err.code, SNAPVM_ERROR_NOT_FOUND);
    ck_assert_str_eq(error_get(&err, "object"), "domain");
    ck_assert_str_eq(error_get(&err, "name"), "nothing");
    domains_remove(stage.domains, domains_find(stage.domains, "db"));
    ck_assert_ptr_null(domains_find(stage.domains, "db"));
    ck_assert_uint_eq(strlen(domains_find(stage.domains, "web")->record.uuid), 36);
    stage_deinit(&stage);
}
END_TEST

/* --- what a domain is good for --- */

START_TEST(what_needs_a_live_guest)
{
    struct stage stage;
    struct domain *domain;
    _cleanup_error_ struct error err = {0};

    stage_init(&stage);
    domain = stage_domain(&stage, "web");
    ck_assert_int_eq(domain_need_live(domain, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_QEMU_GONE); /* nobody has looked yet */
    domain->deserted = true;
    ck_assert_int_eq(domain_need_live(domain, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_INVALID_STATE);
    ck_assert_str_eq(error_get(&err, "state"), "shutoff");
    domain->gone = false;
    ck_assert_int_eq(domain_need_live(domain, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_QEMU_GONE);
    stage_view(domain);
    ck_assert_int_eq(domain_need_live(domain, NULL), 0);
    ck_assert(domain_is_running(domain));
    domain->view->running = false;
    ck_assert(!domain_is_running(domain));
    ck_assert_int_eq(domain_need_live(domain, NULL), 0);
    stage_deinit(&stage);
}
END_TEST

START_TEST(what_needs_a_feature)
{
    struct stage stage;
    struct domain *domain;
    _cleanup_error_ struct error err = {0};

    stage_init(&stage);
    domain = stage_domain(&stage, "web");
    ck_assert_int_eq(domain_need_feature(domain, QMP_FEATURE_MIRROR, NULL), 0);
    domain->schema_known = true;
    ck_assert_int_eq(domain_need_feature(domain, QMP_FEATURE_MIRROR, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_UNSUPPORTED);
    ck_assert_str_eq(error_get(&err, "feature"), "blockdev-mirror");
    domain->schema.has[QMP_FEATURE_MIRROR] = true;
    ck_assert_int_eq(domain_need_feature(domain, QMP_FEATURE_MIRROR, NULL), 0);
    stage_deinit(&stage);
}
END_TEST

/* A job belongs to the very QEMU in which it was started. */
START_TEST(which_qemu)
{
    struct stage stage;
    struct domain *domain;
    struct process qemu = {.pid = 100, .start = 5, .boot_id = "one"};

    stage_init(&stage);
    domain = stage_domain(&stage, "web");
    domain->record.qemu = qemu;
    domain->gone = false;
    ck_assert(domain_runs_in(domain, &qemu));
    qemu.start++;
    ck_assert(!domain_runs_in(domain, &qemu));
    domain->gone = true;
    ck_assert(!domain_runs_in(domain, &domain->record.qemu));
    stage_deinit(&stage);
}
END_TEST

/* --- after a restart --- */

static void own_process(struct process *process)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(process_of_socket(pair[0], process, NULL), 0);
    close(pair[0]);
    close(pair[1]);
}

/* Domains and their snapshots come back; whether its QEMU lives decides what one is. */
START_TEST(domains_come_back)
{
    struct stage stage;
    struct domain *domain;
    struct journal_model model;
    struct record_snapshot snapshot = {.domain = xstrdup("web"),
                                       .name = xstrdup("s"),
                                       .state = xstrdup("running"),
                                       .memory = xstrdup("no")};
    struct journal_txn *txn;

    stage_init(&stage);
    domain = stage_domain(&stage, "web");
    own_process(&domain->record.qemu);
    record_disk_add_layer(record_domain_add_disk(&domain->record, "vda"), "/i/a", "qcow2");
    xstrset(&domain->record.disks[0].format, "qcow2");
    domain_save_now(domain);
    domain_save_now(stage_domain(&stage, "off"));
    txn = journal_begin(stage.f.journal);
    journal_put_snapshot(txn, &snapshot);
    ck_assert_int_eq(fixture_commit(&stage.f, txn), 0);
    record_snapshot_deinit(&snapshot);
    domains_remove(stage.domains, domain);
    domains_remove(stage.domains, domains_find(stage.domains, "off"));
    ck_assert_int_eq(journal_load(stage.f.journal, &model, NULL), 0);
    domains_load(stage.domains, &model);
    journal_model_deinit(&model);
    domain = domains_find(stage.domains, "web");
    ck_assert_str_eq(domain_state(domain), "unknown"); /* it lives, and was not seen yet */
    ck_assert_str_eq(domain->record.disks[0].chain[0].file, "/i/a");
    ck_assert_str_eq(domain->record.disks[0].format, "qcow2");
    ck_assert_ptr_nonnull(snapshot_find(domain, "s"));
    ck_assert_str_eq(domain_state(domains_find(stage.domains, "off")), "unknown");
    stage_deinit(&stage);
}
END_TEST

static TCase *domains_case(void)
{
    TCase *tcase = tcase_create("domains");

    tcase_add_loop_test(tcase, names, 0, N(name_rows));
    tcase_add_test(tcase, names_are_64_characters_long);
    tcase_add_test(tcase, definitions_are_copied);
    tcase_add_loop_test(tcase, defined_again, 0, N(again_rows));
    tcase_add_test(tcase, domains_by_name);
    tcase_add_test(tcase, what_needs_a_live_guest);
    tcase_add_test(tcase, what_needs_a_feature);
    tcase_add_test(tcase, which_qemu);
    tcase_add_test(tcase, domains_come_back);
    return tcase;
}

int main(void)
{
    static TCase *(*const cases[])(void) = {domains_case};

    return stage_main("domains", cases, N(cases));
}
