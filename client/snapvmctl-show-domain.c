#include "client/snapvmctl-show.h"

#include <string.h>

#include "base/memory.h"
#include "client/snapvmctl-table.h"
#include "client/snapvmctl-text.h"
#include "proto/json.h"

static size_t length_of(struct json_object *array)
{
    return array ? json_object_array_length(array) : 0;
}

static const char *yes_no(struct json_object *object, const char *name)
{
    int value = json_flag(object, name, -1);

    return value < 0 ? NULL : value ? "yes" : "no";
}

void show_size(struct row *row, size_t column, struct json_object *object, const char *name)
{
    long long bytes = json_int(object, name, -1);
    _cleanup_free_ char *size = bytes < 0 ? NULL : text_size(bytes);

    row_set(row, column, size);
}

void show_domains(struct json_object *result)
{
    static const struct column columns[] = {
        {"NAME", 0},
        {"STATE", 0},
        {"CONNECTED", 0},
        {"AGENT", 0},
        {"FREEZE", 0},
        {"DISKS", COLUMN_RIGHT},
        {"JOBS", COLUMN_RIGHT},
        {"SNAPSHOT", 0},
        {NULL, 0},
    };
    _cleanup_table_ struct table *table = table_new(columns);
    struct json_object *domains = json_array(result, "domains");

    for (size_t i = 0; i < length_of(domains); i++) {
        struct json_object *domain = json_object_array_get_idx(domains, i);
        struct row *row = table_row(table, NULL);

        row_set(row, 0, json_string(domain, "name"));
        row_set(row, 1, json_string(domain, "state"));
        row_set(row, 2, yes_no(domain, "connected"));
        row_set(row, 3, json_string(domain, "agent_state"));
        row_set(row, 4, json_string(domain, "freeze"));
        row_setf(row, 5, "%zu", length_of(json_array(domain, "disks")));
        row_setf(row, 6, "%zu", length_of(json_array(domain, "jobs")));
        row_set(row, 7, json_string(domain, "current_snapshot"));
    }
    table_print(table, stdout);
}

static void show_disks(struct json_object *disks)
{
    static const struct column columns[] = {
        {"DISK", 0},
        {"FORMAT", 0},
        {"READ-ONLY", 0},
        {"LAYERS", COLUMN_RIGHT},
        {"SIZE", COLUMN_RIGHT},
        {"ACTIVE", 0},
        {NULL, 0},
    };
    _cleanup_table_ struct table *table = table_new(columns);

    for (size_t i = 0; i < length_of(disks); i++) {
        struct json_object *disk = json_object_array_get_idx(disks, i);
        struct json_object *chain = json_array(disk, "chain");
        struct row *row = table_row(table, NULL);

        row_set(row, 0, json_string(disk, "target"));
        row_set(row, 1, json_string(disk, "format"));
        row_set(row, 2, yes_no(disk, "read_only"));
        row_setf(row, 3, "%zu", length_of(chain));
        if (length_of(chain))
            show_size(row, 4, json_object_array_get_idx(chain, 0), "virtual_size");
        row_set(row, 5, json_string(disk, "active"));
    }
    if (length_of(disks))
        putchar('\n');
    table_print(table, stdout);
}

/* "17, 18" of the jobs' numbers; owned by the caller, NULL when there are none. */
static char *number_list(struct json_object *numbers)
{
    char *list = NULL;

    for (size_t i = 0; i < length_of(numbers); i++) {
        char *longer =
            xasprintf("%s%s%lld", list ? list : "", list ? ", " : "",
                      (long long)json_object_get_int64(json_object_array_get_idx(numbers, i)));

        free(list);
        list = longer;
    }
    return list;
}

void show_domain(struct json_object *result)
{
    _cleanup_table_ struct table *table = table_pairs();
    struct json_object *foreign = json_array(result, "foreign_jobs");
    _cleanup_free_ char *jobs = number_list(json_array(result, "jobs"));

    table_pair(table, "Name", json_string(result, "name"));
    table_pair(table, "UUID", json_string(result, "uuid"));
    table_pair(table, "Origin", json_string(result, "origin"));
    table_pair(table, "State", json_string(result, "state"));
    table_pair(table, "Connected", yes_no(result, "connected"));
    table_pair(table, "QEMU", json_string(result, "qemu_version"));
    table_pair(table, "Monitor", json_string(result, "qmp"));
    table_pair(table, "Agent", json_string(result, "agent_state"));
    table_pair(table, "Agent socket", json_string(result, "agent"));
    table_pair(table, "Freeze", json_string(result, "freeze"));
    table_pair(table, "Snapshot", json_string(result, "current_snapshot"));
    table_pair(table, "Jobs", jobs);
    for (size_t i = 0; i < length_of(foreign); i++) {
        struct json_object *job = json_object_array_get_idx(foreign, i);
        const char *id = json_string(job, "id"), *type = json_string(job, "type");
        const char *status = json_string(job, "status");

        table_pairf(table, "Job of others", "%s (%s, %s)", id ? id : "?", type ? type : "?",
                    status ? status : "?");
    }
    table_print(table, stdout);
    show_disks(json_array(result, "disks"));
}

static int disk_is(struct json_object *disk, const char *wanted)
{
    static const char *const names[] = {"target", "qdev", "node", "active"};
    const char *name;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if ((name = json_string(disk, names[i])) && strcmp(name, wanted) == 0)
            return 1;
    return 0;
}

static void add_chain(struct table *table, struct json_object *disk)
{
    struct json_object *chain = json_array(disk, "chain");
    struct row *row = table_row(table, NULL);

    row_blank(row);
    row_set(row, 0, json_string(disk, "target"));
    for (size_t i = 0; i < length_of(chain); i++) {
        struct json_object *image = json_object_array_get_idx(chain, i);

        row = table_row(table, row);
        row_set(row, 0, json_string(image, "file"));
        row_set(row, 1, json_string(image, "format"));
        show_size(row, 2, image, "virtual_size");
        show_size(row, 3, image, "actual_size");
        row_set(row, 4, json_string(image, "node"));
    }
}

int show_only_disk(struct json_object *domain, const char *wanted)
{
    struct json_object *disks = json_array(domain, "disks"), *only;

    for (size_t i = 0; i < length_of(disks); i++) {
        struct json_object *disk = json_object_array_get_idx(disks, i);

        if (!disk_is(disk, wanted))
            continue;
        only = json_object_new_array();
        json_object_array_add(only, json_object_get(disk));
        json_object_object_add(domain, "disks", only);
        return 0;
    }
    return -1;
}

void show_chain(struct json_object *result)
{
    static const struct column columns[] = {
        {"DISK", COLUMN_TREE},     {"FORMAT", 0}, {"SIZE", COLUMN_RIGHT},
        {"ON DISK", COLUMN_RIGHT}, {"NODE", 0},   {NULL, 0},
    };
    _cleanup_table_ struct table *table = table_new(columns);
    struct json_object *disks = json_array(result, "disks");

    for (size_t i = 0; i < length_of(disks); i++)
        add_chain(table, json_object_array_get_idx(disks, i));
    table_print(table, stdout);
}

void show_blockdev(struct json_object *result)
{
    struct json_object *disks = json_array(result, "disks");

    for (size_t i = 0; i < length_of(disks); i++) {
        struct json_object *disk = json_object_array_get_idx(disks, i);
        struct json_object *blockdev = json_sub(disk, "blockdev");
        _cleanup_free_ char *argument = blockdev ? text_quoted(json_text(blockdev)) : NULL;
        const char *target = json_string(disk, "target");

        text_line(stdout, "# %s", target ? target : "?");
        if (argument)
            text_line(stdout, "-blockdev %s", argument);
    }
}

void show_findings(struct json_object *result)
{
    static const struct column columns[] = {
        {"LEVEL", 0}, {"DISK", 0}, {"WHAT", 0}, {"REPAIR", 0}, {NULL, 0},
    };
    _cleanup_table_ struct table *table = table_new(columns);
    struct json_object *findings = json_array(result, "findings");

    for (size_t i = 0; i < length_of(findings); i++) {
        struct json_object *finding = json_object_array_get_idx(findings, i);
        struct row *row = table_row(table, NULL);

        row_set(row, 0, json_string(finding, "level"));
        row_set(row, 1, json_string(finding, "disk"));
        row_set(row, 2, json_string(finding, "what"));
        row_set(row, 3, json_string(finding, "repair"));
    }
    table_print(table, stdout);
    if (!length_of(findings))
        text_line(stdout, "Records, images and QEMU agree.");
}
