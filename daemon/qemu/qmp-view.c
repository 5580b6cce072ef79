/* No single query tells the graph. query-named-block-nodes knows every node and no edge,
 * query-blockstats knows the edges of the disks' chains and nothing else of the nodes, query-block
 * knows the disks. A node that lies on no disk's chain, such as an overlay that was just opened,
 * has no known backing node. */
#include "qemu/qmp-view.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "proto/json.h"
#include "qemu/view.h"

#define QOM_PERIPHERAL "/machine/peripheral/"

/* A list that a reply may be; every other type is an empty one. */
static size_t list_length(json_object *list)
{
    return json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
}

/* A text, or NULL where it is absent or empty. */
static const char *text_of(json_object *object, const char *name)
{
    const char *text = json_string(object, name);

    return text && text[0] ? text : NULL;
}

static void read_status(struct view *view, json_object *status)
{
    xstrset(&view->status, text_of(status, "status"));
    view->running = json_flag(status, "running", false);
}

static void read_snapshots(struct view_node *node, json_object *snapshots)
{
    for (size_t i = 0; i < list_length(snapshots); i++) {
        json_object *object = json_object_array_get_idx(snapshots, i);
        const char *name = text_of(object, "name");

        if (name)
            view_node_add_snapshot(node, name)->memory = json_int(object, "vm-state-size", 0) > 0;
    }
}

static void read_nodes(struct view *view, json_object *nodes)
{
    for (size_t i = 0; i < list_length(nodes); i++) {
        json_object *object = json_object_array_get_idx(nodes, i);
        json_object *image = json_sub(object, "image");
        const char *name = text_of(object, "node-name");
        struct view_node *node;

        if (!name)
            continue;
        node = view_add_node(view, name);
        node->driver = xstrdup(text_of(object, "drv"));
        node->file = xstrdup(text_of(object, "file"));
        node->read_only = json_flag(object, "ro", false);
        node->virtual_size = json_int(image, "virtual-size", -1);
        node->actual_size = json_int(image, "actual-size", -1);
        read_snapshots(node, json_array(image, "snapshots"));
    }
}

/* A qcow2 image that was opened with another backing file than its header names has a description
 * in JSON as its name. The node that opens the file for it knows the file. (With other formats the
 * description may say what the file alone does not, such as a raw image's offset.) */
static void read_file(struct view_node *node, const struct view_node *opener)
{
    if (opener && opener->file && node->file && strncmp(node->file, "json:", 5) == 0 &&
        node->driver && strcmp(node->driver, "qcow2") == 0)
        xstrset(&node->file, opener->file);
}

/* One disk's chain from the top down. A node that several disks read has the same node below it in
 * each of their chains; the first word on it stands. */
static void read_chain(struct view *view, json_object *stats)
{
    for (json_object *below; stats; stats = below) {
        struct view_node *node = view_node(view, text_of(stats, "node-name"));

        below = json_sub(stats, "backing");
        if (node)
            read_file(node, view_node(view, text_of(json_sub(stats, "parent"), "node-name")));
        if (node && !node->backing)
            node->backing = xstrdup(text_of(below, "node-name"));
    }
}

static void read_chains(struct view *view, json_object *blockstats)
{
    for (size_t i = 0; i < list_length(blockstats); i++)
        read_chain(view, json_object_array_get_idx(blockstats, i));
}

/* The id that a person gave a device. Devices of one kind are told by it alone, others by a path:
 * "/machine/peripheral/ID", perhaps with a child behind it. Devices without one lie elsewhere. */
static char *qdev_id(const char *qom)
{
    if (!qom)
        return NULL;
    if (qom[0] != '/')
        return xstrdup(qom);
    if (strncmp(qom, QOM_PERIPHERAL, strlen(QOM_PERIPHERAL)) != 0)
        return NULL;
    qom += strlen(QOM_PERIPHERAL);
    return strcspn(qom, "/") ? xstrndup(qom, strcspn(qom, "/")) : NULL;
}

/* The board's own chips, as in "/machine/system.flash1"; devices that a person added lie deeper. */
static bool is_firmware(const char *qom)
{
    const char *name = qom && strncmp(qom, "/machine/", 9) == 0 ? strchr(qom + 9, '.') : NULL;

    return name && strncmp(name, ".flash", 6) == 0 && strspn(name + 6, "0123456789") > 0 &&
           name[6 + strspn(name + 6, "0123456789")] == '\0';
}

static void read_disk(struct view *view, json_object *object)
{
    json_object *inserted = json_sub(object, "inserted"), *cache = json_sub(inserted, "cache");
    const char *detect_zeroes = text_of(inserted, "detect_zeroes");
    struct view_disk *disk = view_add_disk(view, text_of(inserted, "node-name"));

    disk->device = xstrdup(text_of(object, "device"));
    disk->qom = xstrdup(text_of(object, "qdev"));
    disk->qdev = qdev_id(disk->qom);
    disk->firmware = is_firmware(disk->qom);
    disk->removable = json_flag(object, "removable", false);
    disk->io_status = xstrdup(text_of(object, "io-status"));
    disk->read_only = json_flag(inserted, "ro", false);
    disk->direct = json_flag(cache, "direct", false);
    disk->no_flush = json_flag(cache, "no-flush", false);
    if (detect_zeroes && strcmp(detect_zeroes, "off") != 0)
        disk->detect_zeroes = xstrdup(detect_zeroes);
}

static void read_disks(struct view *view, json_object *block)
{
    for (size_t i = 0; i < list_length(block); i++) {
        json_object *object = json_object_array_get_idx(block, i);

        if (json_object_is_type(object, json_type_object))
            read_disk(view, object);
    }
}

static void read_jobs(struct view *view, json_object *jobs)
{
    for (size_t i = 0; i < list_length(jobs); i++) {
        json_object *object = json_object_array_get_idx(jobs, i);
        const char *id = text_of(object, "id");
        struct view_job *job;

        if (!id || view_job(view, id))
            continue;
        job = view_add_job(view, id);
        job->type = xstrdup(text_of(object, "type"));
        job->status = view_job_status_of(text_of(object, "status"));
        job->error = xstrdup(text_of(object, "error"));
        job->current = json_int(object, "current-progress", 0);
        job->total = json_int(object, "total-progress", 0);
    }
}

/* What only block jobs have. The two lists are not of the same instant: a job that has come or gone
 * in between is known by query-jobs or not at all. */
static void read_block_jobs(struct view *view, json_object *jobs)
{
    for (size_t i = 0; i < list_length(jobs); i++) {
        json_object *object = json_object_array_get_idx(jobs, i);
        struct view_job *job = view_job(view, text_of(object, "device"));

        if (!job)
            continue;
        xstrset(&job->io_status, text_of(object, "io-status"));
        job->paused = json_flag(object, "paused", false);
        job->speed = json_int(object, "speed", 0);
    }
}

static void read_chardevs(struct view *view, json_object *chardevs)
{
    for (size_t i = 0; i < list_length(chardevs); i++) {
        json_object *object = json_object_array_get_idx(chardevs, i);
        const char *label = text_of(object, "label");
        struct view_chardev *chardev;

        if (!label)
            continue;
        chardev = view_add_chardev(view, label);
        chardev->file = xstrdup(text_of(object, "filename"));
        chardev->frontend_open = json_flag(object, "frontend-open", false);
    }
}

enum view_migration_status qmp_migration_of(const char *word)
{
    if (!word || strcmp(word, "none") == 0)
        return VIEW_MIGRATION_NONE;
    if (strcmp(word, "completed") == 0)
        return VIEW_MIGRATION_COMPLETED;
    if (strcmp(word, "failed") == 0 || strcmp(word, "cancelled") == 0)
        return VIEW_MIGRATION_FAILED;
    return VIEW_MIGRATION_ACTIVE;
}

static void read_migration(struct view_migration *migration, json_object *state)
{
    json_object *ram = json_sub(state, "ram");

    migration->status = qmp_migration_of(text_of(state, "status"));
    migration->error = xstrdup(text_of(state, "error-desc"));
    migration->total = json_int(ram, "total", -1);
    migration->remaining = json_int(ram, "remaining", 0);
}

struct view *qmp_view_read(const struct qmp_view_replies *replies)
{
    struct view *view = view_new();

    read_status(view, replies->status);
    read_nodes(view, replies->nodes);
    read_chains(view, replies->blockstats);
    read_disks(view, replies->block);
    read_jobs(view, replies->jobs);
    read_block_jobs(view, replies->block_jobs);
    read_chardevs(view, replies->chardevs);
    read_migration(&view->migration, replies->migrate);
    return view;
}
