/* The contract's objects: their members, exactly, and the type of each. */
#include "api/wire.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "domain/disk.h"
#include "domain/snapshot.h"
#include "proto/snapvm-errors.h"
#include "tests/unit/domain-fixture.h"

#define N(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

/* "name:type …" in any order. Types: s string, i integer, b boolean, t time, a array, o object,
 * 0 null. */
static bool is_of_type(json_object *value, char type)
{
    const char *text = json_object_get_string(value);

    switch (type) {
    case 's':
        return json_object_is_type(value, json_type_string);
    case 'i':
        return json_object_is_type(value, json_type_int);
    case 'b':
        return json_object_is_type(value, json_type_boolean);
    case 't': /* 2026-11-21T01:30:00.000000Z */
        return json_object_is_type(value, json_type_string) && strlen(text) == 27 &&
               text[10] == 'T' && text[19] == '.' && text[26] == 'Z';
    case 'a':
        return json_object_is_type(value, json_type_array);
    case 'o':
        return json_object_is_type(value, json_type_object);
    default:
        return type == '0' && !value;
    }
}

static void assert_shape(json_object *object, const char *shape)
{
    _cleanup_free_ char *copy = xstrdup(shape);
    char *save = NULL;
    int n = 0;

    ck_assert(json_object_is_type(object, json_type_object));
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save), n++) {
        char *type = strchr(word, ':');
        json_object *value;

        *type++ = '\0';
        ck_assert_msg(json_object_object_get_ex(object, word, &value), "no %s", word);
        ck_assert_msg(is_of_type(value, *type), "%s: %s", word, json_text(value));
    }
    ck_assert_msg(json_object_object_length(object) == n, "more than %s: %s", shape,
                  json_text(object));
}

static json_object *element(json_object *object, const char *name, size_t i)
{
    json_object *array = json_array(object, name);

    ck_assert_uint_lt(i, array ? json_object_array_length(array) : 0);
    return json_object_array_get_idx(array, i);
}

static size_t length_of(json_object *object, const char *name)
{
    return json_object_array_length(json_array(object, name));
}

#define LAYER "file:s format:s node:s virtual_size:i actual_size:i"
#define LAYER_UNNAMED "file:s format:s node:0 virtual_size:i actual_size:i"

/* A running guest with a chain of two, an agent, a snapshot, a job of ours and a stranger's. */
static struct domain *example(struct stage *stage)
{
    struct domain *domain;
    struct view *view;

    stage_init(stage);
    stage_add_engine(stage);
    domain = stage_domain(stage, "web");
    domain->record.agent = xstrdup("/run/web/agent.sock");
    domain->record.current_snapshot = xstrdup("s");
    domain->version = xstrdup("7.2.22");
    view = stage_view(domain);
    see_node(view, "top", "qcow2", "#block7", "/i/top.qcow2");
    see_node(view, "#block7", "raw", NULL, "/i/base.raw");
    see_disk(view, "top", "vda", NULL);
    disks_update(domain);
    return domain;
}

START_TEST(domains_that_run)
{
    struct stage stage;
    struct domain *domain = example(&stage);
    struct job *job = stage_job(&stage, domain, "active-commit", 17);
    json_object *object, *foreign;

    job->record.disk = xstrdup("vda");
    see_job(domain->view, "snapvm-17-vda", VIEW_JOB_RUNNING);
    see_job(domain->view, "backup0", VIEW_JOB_PENDING);
    object = wire_domain(domain);
    assert_shape(object, "name:s uuid:s origin:s qmp:s agent:s connected:b state:s agent_state:s "
                         "freeze:s qemu_version:s disks:a jobs:a foreign_jobs:a "
                         "current_snapshot:s");
    ck_assert_str_eq(json_string(object, "name"), "web");
    ck_assert_uint_eq(strlen(json_string(object, "uuid")), 36);
    ck_assert_str_eq(json_string(object, "origin"), "defined");
    ck_assert_str_eq(json_string(object, "state"), "running");
    ck_assert_str_eq(json_string(object, "agent_state"), "disconnected");
    ck_assert_str_eq(json_string(object, "freeze"), "unknown");
    ck_assert_uint_eq(length_of(object, "jobs"), 1);
    ck_assert_int_eq(json_object_get_int64(element(object, "jobs", 0)), 17);
    ck_assert_uint_eq(length_of(object, "foreign_jobs"), 1);
    foreign = element(object, "foreign_jobs", 0);
    assert_shape(foreign, "id:s type:s status:s");
    ck_assert_str_eq(json_string(foreign, "id"), "backup0");
    ck_assert_str_eq(json_string(foreign, "type"), "commit");
    ck_assert_str_eq(json_string(foreign, "status"), "pending");
    json_object_put(object);
    stage_drop_job(job);
    stage_deinit(&stage);
}
END_TEST

START_TEST(domains_that_are_off)
{
    struct stage stage;
    struct domain *domain = example(&stage);
    json_object *object;

    domain->connected = false;
    domain->gone = domain->deserted = true;
    domain->record.found = true;
    xstrset(&domain->record.agent, NULL);
    xstrset(&domain->record.current_snapshot, NULL);
    see_job(domain->view, "backup0", VIEW_JOB_RUNNING); /* of a QEMU that has ended */
    object = wire_domain(domain);
    assert_shape(object, "name:s uuid:s origin:s qmp:s agent:0 connected:b state:s agent_state:s "
                         "freeze:s qemu_version:0 disks:a jobs:a foreign_jobs:a "
                         "current_snapshot:0");
    ck_assert_str_eq(json_string(object, "origin"), "found");
    ck_assert_str_eq(json_string(object, "state"), "shutoff");
    ck_assert_str_eq(json_string(object, "agent_state"), "none");
    ck_assert_uint_eq(length_of(object, "foreign_jobs"), 0);
    ck_assert_uint_eq(length_of(object, "disks"), 1);
    json_object_put(object);
    stage_deinit(&stage);
}
END_TEST

static const struct state_row {
    bool gone, deserted, connected, running;
    enum domain_freeze freeze;
    const char *state, *freeze_name;
} state_rows[] = {
    {true, true, false, false, FREEZE_UNKNOWN, "shutoff", "unknown"},
    {true, false, false, false, FREEZE_UNKNOWN, "unknown", "unknown"},
    {false, true, false, true, FREEZE_THAW_OWED, "unknown", "thaw-owed"},
    {false, false, false, true, FREEZE_THAW_OWED, "unknown", "thaw-owed"},
    {false, false, true, true, FREEZE_FROZEN, "running", "frozen"},
    {false, false, true, false, FREEZE_THAWED, "paused", "thawed"},
};

START_TEST(states)
{
    const struct state_row *row = &state_rows[_i];
    struct stage stage;
    struct domain *domain = example(&stage);
    json_object *object;

    domain->gone = row->gone;
    domain->deserted = row->deserted;
    domain->connected = row->connected;
    domain->view->running = row->running;
    domain->freeze = row->freeze;
    object = wire_domain(domain);
    ck_assert_str_eq(json_string(object, "state"), row->state);
    ck_assert_str_eq(json_string(object, "freeze"), row->freeze_name);
    json_object_put(object);
    stage_deinit(&stage);
}
END_TEST

START_TEST(disks)
{
    struct stage stage;
    struct domain *domain = example(&stage);
    json_object *object = wire_disk(domain, disk_find(domain, "vda"));

    assert_shape(object, "target:s node:s qdev:s active:s format:s read_only:b chain:a");
    ck_assert_str_eq(json_string(object, "target"), "vda");
    ck_assert_str_eq(json_string(object, "node"), "top");
    ck_assert_str_eq(json_string(object, "active"), "/i/top.qcow2");
    ck_assert_str_eq(json_string(object, "format"), "qcow2");
    ck_assert_uint_eq(length_of(object, "chain"), 2);
    assert_shape(element(object, "chain", 0), LAYER);
    assert_shape(element(object, "chain", 1), LAYER);
    ck_assert_str_eq(json_string(element(object, "chain", 1), "node"), "#block7");
    ck_assert_str_eq(json_string(element(object, "chain", 1), "file"), "/i/base.raw");
    ck_assert_int_eq(json_int(element(object, "chain", 0), "virtual_size", -1), 1 << 20);
    ck_assert_int_eq(json_int(element(object, "chain", 0), "actual_size", -1), 4096);
    json_object_put(object);
    stage_deinit(&stage);
}
END_TEST

/* The names that QEMU made up are worth nothing once it has ended. */
START_TEST(disks_of_a_guest_that_is_off)
{
    struct stage stage;
    struct domain *domain = example(&stage);
    _cleanup_free_ char *file = stage_path(&stage, "image");
    struct record_disk *disk = disk_find(domain, "vda");
    json_object *object;

    stage_write(file, "x");
    domain->connected = false;
    xstrset(&disk->qdev, "/machine/peripheral-anon/device[0]"); /* nobody's name for it */
    xstrset(&disk->chain[1].file, file);
    disk->chain[0].virtual_size = -1;
    object = wire_disk(domain, disk);
    assert_shape(object, "target:s node:s qdev:0 active:s format:s read_only:b chain:a");
    ck_assert_str_eq(json_string(object, "node"), "top");
    assert_shape(element(object, "chain", 0), "file:s format:s node:s virtual_size:0 "
                                              "actual_size:0");
    assert_shape(element(object, "chain", 1), LAYER_UNNAMED);
    json_object_put(object);
    stage_deinit(&stage);
}
END_TEST

START_TEST(disks_that_were_never_seen)
{
    struct stage stage;
    struct domain *domain = example(&stage);
    json_object *object = wire_disk(domain, record_domain_add_disk(&domain->record, "vdz"));

    assert_shape(object, "target:s node:0 qdev:0 active:0 format:0 read_only:b chain:a");
    ck_assert_uint_eq(length_of(object, "chain"), 0);
    json_object_put(object);
    stage_deinit(&stage);
}
END_TEST

/* A job may know better than the view which layer is the active one. */
START_TEST(disks_that_a_job_holds)
{
    struct stage stage;
    struct domain *domain = example(&stage);
    struct record_disk *disk = disk_find(domain, "vda");
    json_object *object;

    disk->held = true;
    record_disk_drop_layers(disk, 0, 1);
    object = wire_disk(domain, disk);
    ck_assert_str_eq(json_string(object, "active"), "/i/base.raw");
    ck_assert_uint_eq(length_of(object, "chain"), 1);
    assert_shape(element(object, "chain", 0), "file:s format:s node:0 virtual_size:i "
                                              "actual_size:0");
    json_object_put(object);
    stage_deinit(&stage);
}
END_TEST

/* --- jobs --- */

#define JOB_BEGIN "id:i domain:s kind:s state:s step:s bandwidth:i created:t updated:t "

static struct record_job job_record(const char *kind, const char *state)
{
    return (struct record_job){
        .id = 17,
        .domain = xstrdup("web"),
        .kind = xstrdup(kind),
        .state = xstrdup(state),
        .step = xstrdup("converge"),
        .created = clock_now(),
        .updated = clock_now(),
        .total = -1,
        .paused_us = -1,
        .frozen_us = -1,
    };
}

START_TEST(jobs_that_begin)
{
    _cleanup_(record_job_deinit) struct record_job record = job_record("snapshot", "starting");
    json_object *object = wire_job(&record);

    assert_shape(object, JOB_BEGIN "disk:0 progress:0 ended:0 request_id:0 stall:0 outcome:0");
    ck_assert_int_eq(json_int(object, "id", 0), 17);
    json_object_put(object);
}
END_TEST

static const struct progress_row {
    const char *state;
    int64_t current;
} progress_rows[] = {
    {"running", 5},
    {"stalled", 5},
    {"ready", 9}, /* current equals total */
    {"ended", 5},
};

static const struct stall_row {
    const char *kind;
    uint32_t flags;
    const char *reason, *file;
} stall_rows[] = {
    {"active-commit", JOB_STALL_SPACE, "no-space", "/i/base"},
    {"active-commit", 0, "io-error", "/i/base"},
    {"active-commit", JOB_STALL_READ, "io-error", "/i/top"},
    {"commit", JOB_STALL_SPACE, "no-space", "/i/base"},
    {"pull", JOB_STALL_SPACE, "no-space", "/i/above"},
    {"pull", JOB_STALL_READ, "io-error", NULL}, /* QEMU says so of a stream's writes as well */
};

START_TEST(jobs_that_stall)
{
    static const char *const roles[] = {"above", "top", "base"};
    const struct stall_row *row = &stall_rows[_i];
    _cleanup_(record_job_deinit) struct record_job record = job_record(row->kind, "stalled");
    json_object *object, *stall;

    record.flags = JOB_STALLED | row->flags;
    for (unsigned i = 0; i < 3; i++) {
        _cleanup_free_ char *file = xasprintf("/i/%s", roles[i]);

        record_job_add_image(&record, "vda", roles[i], file);
    }
    object = wire_job(&record);
    stall = json_sub(object, "stall");
    ck_assert_str_eq(json_string(stall, "reason"), row->reason);
    ck_assert_pstr_eq(json_string(stall, "file"), row->file);
    ck_assert_ptr_nonnull(strstr(json_string(stall, "message"), "resume job 17"));
    json_object_put(object);
}
END_TEST

START_TEST(jobs_that_run)
{
    const struct progress_row *row = &progress_rows[_i];
    _cleanup_(record_job_deinit) struct record_job record = job_record("active-commit", row->state);
    json_object *object;

    record.disk = xstrdup("vda");
    record.request_id = xstrdup("mine");
    record.bandwidth = 1 << 30;
    record.current = 5;
    record.total = 9;
    object = wire_job(&record);
    if (strcmp(row->state, "stalled") == 0)
        assert_shape(object, JOB_BEGIN "disk:s progress:o ended:0 request_id:s stall:o outcome:0");
    else
        assert_shape(object, JOB_BEGIN "disk:s progress:o ended:0 request_id:s stall:0 outcome:0");
    assert_shape(json_sub(object, "progress"), "current:i total:i");
    ck_assert_int_eq(json_int(json_sub(object, "progress"), "current", -1), row->current);
    ck_assert_int_eq(json_int(json_sub(object, "progress"), "total", -1), 9);
    ck_assert_int_eq(json_int(object, "bandwidth", 0), 1 << 30);
    json_object_put(object);
}
END_TEST

static void end(struct record_job *record)
{
    struct record_image *image = record_job_add_image(record, "vda", "base", "/i/base");

    image->state = xstrdup("active");
    record->ended = clock_now();
    record->result = xstrdup("pivoted");
    record->active = xstrdup("/i/base");
    record->evidence = xstrdup("query");
}

START_TEST(jobs_that_ended)
{
    _cleanup_(record_job_deinit) struct record_job record = job_record("active-commit", "ended");
    json_object *object, *outcome;

    end(&record);
    record.paused_us = 1200;
    object = wire_job(&record);
    assert_shape(object, JOB_BEGIN "disk:0 progress:0 ended:t request_id:0 stall:0 outcome:o");
    outcome = json_sub(object, "outcome");
    assert_shape(outcome, "result:s active:s files:a evidence:s error:0 paused_us:i frozen_us:0");
    assert_shape(element(outcome, "files", 0), "file:s role:s state:s disk:s");
    ck_assert_int_eq(json_int(outcome, "paused_us", 0), 1200);
    json_object_put(object);
}
END_TEST

START_TEST(snapshots_that_failed)
{
    _cleanup_(record_job_deinit) struct record_job record = job_record("snapshot", "ended");
    json_object *object, *outcome, *error;

    end(&record);
    record.snapshot = xstrdup("s");
    record.flags = JOB_QUIESCED;
    record.frozen_us = 0;
    error_set(&record.error, SNAPVM_ERROR_QUIESCE_FAILED, "no");
    error_text(&record.error, "reason", "already-frozen");
    object = wire_job(&record);
    assert_shape(object,
                 JOB_BEGIN "disk:0 progress:0 ended:t request_id:0 stall:0 outcome:o snapshot:s");
    outcome = json_sub(object, "outcome");
    assert_shape(outcome, "result:s active:s files:a evidence:s error:o paused_us:0 frozen_us:i "
                          "quiesced:b quiesce_error:0");
    ck_assert(json_flag(outcome, "quiesced", 0));
    error = json_sub(outcome, "error");
    assert_shape(error, "code:i message:s data:o");
    assert_shape(json_sub(error, "data"), "kind:s reason:s");
    ck_assert_str_eq(json_string(json_sub(error, "data"), "kind"), "QuiesceFailed");
    json_object_put(object);
}
END_TEST

/* A result is told once it is durable, with the job's end. */
START_TEST(no_outcome_before_the_end)
{
    _cleanup_(record_job_deinit) struct record_job record = job_record("snapshot", "finishing");
    json_object *object;

    end(&record);
    record.ended = 0;
    object = wire_job(&record);
    ck_assert_ptr_null(json_sub(object, "outcome"));
    json_object_put(object);
}
END_TEST

START_TEST(jobs_as_text)
{
    struct stage stage;
    struct domain *domain = example(&stage);
    struct job *job = stage_job(&stage, domain, "snapshot", 17);
    _cleanup_free_ char *text = wire_job_text(job);
    _cleanup_json_ json_object *object = NULL, *same = wire_job(&job->record);

    ck_assert_int_eq(json_read(text, strlen(text), 32, &object), JSON_OK);
    ck_assert(json_object_equal(object, same));
    ck_assert_ptr_null(strchr(text, '\n'));
    stage_drop_job(job);
    stage_deinit(&stage);
}
END_TEST

/* --- snapshots --- */

#define SNAPSHOT                                                                          \
    "domain:s name:s children:i current:b created:t state:s memory:s quiesced:b disks:a " \
    "location:s "

static struct snapshot *plant(struct domain *domain, const char *name, const char *parent)
{
    struct record_snapshot record = {
        .domain = xstrdup("web"),
        .name = xstrdup(name),
        .parent = xstrdup(parent),
        .state = xstrdup("running"),
        .memory = xstrdup("no"),
        .created = clock_now(),
    };
    struct record_snapshot_disk *disk = record_snapshot_add_disk(&record, "vda");

    disk->mode = xstrdup("external");
    disk->file = xstrdup("/i/top.qcow2");
    disk->format = xstrdup("qcow2");
    disk->backing = xstrdup("/i/base.raw");
    return snapshot_add(domain, &record);
}

START_TEST(snapshots)
{
    struct stage stage;
    struct domain *domain = example(&stage);
    struct snapshot *parent = plant(domain, "s", NULL), *child = plant(domain, "t", "s");
    json_object *object = wire_snapshot(domain, parent);

    assert_shape(object, SNAPSHOT "parent:0 description:0 memory_file:0 quiesce_error:0");
    ck_assert_int_eq(json_int(object, "children", -1), 1);
    ck_assert(json_flag(object, "current", 0));
    ck_assert_str_eq(json_string(object, "location"), "external");
    assert_shape(element(object, "disks", 0), "disk:s mode:s file:s format:s backing:s");
    json_object_put(object);
    xstrset(&child->record.description, "words");
    xstrset(&child->record.quiesce_error, "no agent");
    xstrset(&child->record.memory_file, "/i/memory");
    object = wire_snapshot(domain, child);
    assert_shape(object, SNAPSHOT "parent:s description:s memory_file:s quiesce_error:s");
    ck_assert_str_eq(json_string(object, "parent"), "s");
    ck_assert_int_eq(json_int(object, "children", -1), 0);
    ck_assert(!json_flag(object, "current", 1));
    json_object_put(object);
    stage_deinit(&stage);
}
END_TEST

/* --- what QEMU is started from --- */

START_TEST(blockdevs)
{
    struct stage stage;
    struct domain *domain = example(&stage);
    struct record_disk *disk = disk_find(domain, "vda");
    json_object *object = wire_blockdev(domain, disk), *below = json_sub(object, "backing");

    assert_shape(object, "driver:s node-name:s read-only:b file:o backing:o");
    assert_shape(json_sub(object, "file"), "driver:s filename:s");
    ck_assert_str_eq(json_string(object, "driver"), "qcow2");
    ck_assert_str_eq(json_string(object, "node-name"), "top");
    ck_assert(!json_flag(object, "read-only", 1));
    ck_assert_str_eq(json_string(json_sub(object, "file"), "driver"), "file");
    ck_assert_str_eq(json_string(json_sub(object, "file"), "filename"), "/i/top.qcow2");
    assert_shape(below, "driver:s read-only:b file:o");
    ck_assert_str_eq(json_string(below, "driver"), "raw");
    ck_assert(json_flag(below, "read-only", 0));
    json_object_put(object);
    stage_deinit(&stage);
}
END_TEST

/* Without it QEMU would open what the header names. */
START_TEST(no_backing_is_said)
{
    struct stage stage;
    struct domain *domain = example(&stage);
    struct record_disk *disk = disk_find(domain, "vda");
    json_object *object;

    record_disk_drop_layers(disk, 1, 1);
    xstrset(&disk->chain[0].node, NULL);
    disk->read_only = true;
    object = wire_blockdev(domain, disk);
    assert_shape(object, "driver:s node-name:s read-only:b file:o backing:0");
    ck_assert_str_eq(json_string(object, "node-name"), "vda");
    ck_assert(json_flag(object, "read-only", 0));
    json_object_put(object);
    record_disk_drop_layers(disk, 0, 1);
    ck_assert_ptr_null(wire_blockdev(domain, disk));
    stage_deinit(&stage);
}
END_TEST

static TCase *domain_case(void)
{
    TCase *tcase = tcase_create("domain");

    tcase_add_test(tcase, domains_that_run);
    tcase_add_test(tcase, domains_that_are_off);
    tcase_add_loop_test(tcase, states, 0, N(state_rows));
    tcase_add_test(tcase, disks);
    tcase_add_test(tcase, disks_of_a_guest_that_is_off);
    tcase_add_test(tcase, disks_that_were_never_seen);
    tcase_add_test(tcase, disks_that_a_job_holds);
    tcase_add_test(tcase, blockdevs);
    tcase_add_test(tcase, no_backing_is_said);
    return tcase;
}

static TCase *job_case(void)
{
    TCase *tcase = tcase_create("job");

    tcase_add_test(tcase, jobs_that_begin);
    tcase_add_loop_test(tcase, jobs_that_stall, 0, sizeof(stall_rows) / sizeof(stall_rows[0]));
    tcase_add_loop_test(tcase, jobs_that_run, 0, N(progress_rows));
    tcase_add_test(tcase, jobs_that_ended);
    tcase_add_test(tcase, snapshots_that_failed);
    tcase_add_test(tcase, no_outcome_before_the_end);
    tcase_add_test(tcase, jobs_as_text);
    tcase_add_test(tcase, snapshots);
    return tcase;
}

int main(void)
{
    static TCase *(*const cases[])(void) = {domain_case, job_case};

    return stage_main("wire", cases, N(cases));
}
