#include "client/snapvmctl-show.h"

#include <stdbool.h>
#include <string.h>

#include "base/memory.h"
#include "client/snapvmctl-table.h"
#include "client/snapvmctl-text.h"
#include "proto/json.h"

static size_t length_of(struct json_object *array)
{
    return array ? json_object_array_length(array) : 0;
}

static char *time_of(struct json_object *snapshot)
{
    const char *created = json_string(snapshot, "created");

    return created ? text_time(created) : NULL;
}

static const char *quiesced(struct json_object *snapshot)
{
    int value = json_flag(snapshot, "quiesced", -1);

    return value < 0 ? NULL : value ? "yes" : "no";
}

static void set_snapshot(struct row *row, struct json_object *snapshot)
{
    _cleanup_free_ char *time = time_of(snapshot);
    const char *name = json_string(snapshot, "name");
    bool current = json_flag(snapshot, "current", false);

    row_setf(row, 0, "%s%s", name ? name : "?", current ? " *" : "");
    row_set(row, 1, time);
    row_set(row, 2, json_string(snapshot, "state"));
    row_set(row, 3, json_string(snapshot, "location"));
    row_set(row, 4, json_string(snapshot, "memory"));
    row_set(row, 5, quiesced(snapshot));
}

void show_snapshots(struct json_object *result)
{
    static const struct column columns[] = {
        {"NAME", 0},   {"CREATED", 0},  {"STATE", 0},  {"LOCATION", 0},
        {"MEMORY", 0}, {"QUIESCED", 0}, {"PARENT", 0}, {NULL, 0},
    };
    _cleanup_table_ struct table *table = table_new(columns);
    struct json_object *snapshots = json_array(result, "snapshots");

    for (size_t i = 0; i < length_of(snapshots); i++) {
        struct json_object *snapshot = json_object_array_get_idx(snapshots, i);
        struct row *row = table_row(table, NULL);

        set_snapshot(row, snapshot);
        row_set(row, 6, json_string(snapshot, "parent"));
    }
    table_print(table, stdout);
}

/* Snapshots come in any order. Each is found below its parent by the parent's name. */
struct tree {
    struct table *table;
    struct json_object *snapshots;
    struct json_object *children; /* by a snapshot's name: the places of its children in the list */
    bool *shown;
};

static void tree_index(struct tree *tree)
{
    struct json_object *snapshot, *siblings;
    const char *name;

    for (size_t i = 0; i < length_of(tree->snapshots); i++) {
        name = json_string(json_object_array_get_idx(tree->snapshots, i), "name");
        if (name)
            json_object_object_add(tree->children, name, json_object_new_array());
    }
    for (size_t i = 0; i < length_of(tree->snapshots); i++) {
        snapshot = json_object_array_get_idx(tree->snapshots, i);
        name = json_string(snapshot, "parent");
        siblings = name ? json_array(tree->children, name) : NULL;
        if (siblings)
            json_object_array_add(siblings, json_object_new_int64((int64_t)i));
    }
}

static void tree_add(struct tree *tree, size_t i, struct row *above)
{
    struct json_object *snapshot = json_object_array_get_idx(tree->snapshots, i);
    const char *name = json_string(snapshot, "name");
    struct json_object *children = name ? json_array(tree->children, name) : NULL;
    struct row *row;

    if (tree->shown[i])
        return;
    tree->shown[i] = true;
    row = table_row(tree->table, above);
    set_snapshot(row, snapshot);
    for (size_t j = 0; j < length_of(children); j++)
        tree_add(tree, (size_t)json_object_get_int64(json_object_array_get_idx(children, j)), row);
}

static bool tree_is_root(const struct tree *tree, size_t i)
{
    const char *parent = json_string(json_object_array_get_idx(tree->snapshots, i), "parent");

    return !parent || !json_array(tree->children, parent);
}

void show_snapshot_tree(struct json_object *result)
{
    static const struct column columns[] = {
        {"NAME", COLUMN_TREE}, {"CREATED", 0},  {"STATE", 0}, {"LOCATION", 0},
        {"MEMORY", 0},         {"QUIESCED", 0}, {NULL, 0},
    };
    struct json_object *snapshots = json_array(result, "snapshots");
    _cleanup_table_ struct table *table = table_new(columns);
    _cleanup_json_ struct json_object *children = json_object_new_object();
    _cleanup_free_ bool *shown = xzalloc(length_of(snapshots) * sizeof(*shown));
    struct tree tree = {table, snapshots, children, shown};

    tree_index(&tree);
    for (size_t i = 0; i < length_of(snapshots); i++)
        if (tree_is_root(&tree, i))
            tree_add(&tree, i, NULL);
    /* A circle of parents has no root; it is shown all the same. */
    for (size_t i = 0; i < length_of(snapshots); i++)
        tree_add(&tree, i, NULL);
    table_print(table, stdout);
}

static void show_snapshot_disks(struct json_object *disks)
{
    static const struct column columns[] = {
        {"DISK", 0}, {"MODE", 0}, {"FORMAT", 0}, {"FILE", 0}, {"BACKING", 0}, {NULL, 0},
    };
    _cleanup_table_ struct table *table = table_new(columns);

    for (size_t i = 0; i < length_of(disks); i++) {
        struct json_object *disk = json_object_array_get_idx(disks, i);
        struct row *row = table_row(table, NULL);

        row_set(row, 0, json_string(disk, "disk"));
        row_set(row, 1, json_string(disk, "mode"));
        row_set(row, 2, json_string(disk, "format"));
        row_set(row, 3, json_string(disk, "file"));
        row_set(row, 4, json_string(disk, "backing"));
    }
    if (length_of(disks))
        putchar('\n');
    table_print(table, stdout);
}

void show_snapshot(struct json_object *result)
{
    _cleanup_table_ struct table *table = table_pairs();
    _cleanup_free_ char *time = time_of(result);
    long long children = json_int(result, "children", -1);

    table_pair(table, "Name", json_string(result, "name"));
    table_pair(table, "Domain", json_string(result, "domain"));
    table_pair(table, "Description", json_string(result, "description"));
    table_pair(table, "Current", json_flag(result, "current", false) ? "yes" : "no");
    table_pair(table, "Parent", json_string(result, "parent"));
    if (children >= 0)
        table_pairf(table, "Children", "%lld", children);
    table_pair(table, "Created", time);
    table_pair(table, "State", json_string(result, "state"));
    table_pair(table, "Location", json_string(result, "location"));
    table_pair(table, "Memory", json_string(result, "memory"));
    table_pair(table, "Memory file", json_string(result, "memory_file"));
    table_pair(table, "Quiesced", quiesced(result));
    table_pair(table, "Not quiesced", json_string(result, "quiesce_error"));
    table_print(table, stdout);
    show_snapshot_disks(json_array(result, "disks"));
}

void show_current(struct json_object *result)
{
    const char *name = json_string(result, "name");

    if (name)
        text_line(stdout, "%s", name);
}
