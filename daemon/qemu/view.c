/* The graph is small and is asked often: nodes stand in a map, everything else in arrays. What a
 * QEMU says of its own graph may be wrong, so a walk along a chain takes no more steps than there
 * are nodes: a loop ends it like the bottom does. */
#include "qemu/view.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

struct view *view_new(void)
{
    return xzalloc(sizeof(struct view));
}

static void view_node_free(struct view_node *node)
{
    free(node->name);
    free(node->driver);
    free(node->file);
    free(node->backing);
    for (unsigned i = 0; i < node->n_snapshots; i++)
        free(node->snapshots[i].name);
    free(node->snapshots);
    free(node);
}

static void view_disk_deinit(struct view_disk *disk)
{
    free(disk->device);
    free(disk->qdev);
    free(disk->qom);
    free(disk->root);
    free(disk->detect_zeroes);
    free(disk->io_status);
}

static void view_job_deinit(struct view_job *job)
{
    free(job->id);
    free(job->type);
    free(job->error);
    free(job->io_status);
}

struct view *view_free(struct view *view)
{
    struct view_node *node, *next;

    if (!view)
        return NULL;
    HASH_ITER (hh, view->nodes, node, next) {
        HASH_DEL(view->nodes, node);
        view_node_free(node);
    }
    for (unsigned i = 0; i < view->n_disks; i++)
        view_disk_deinit(&view->disks[i]);
    for (unsigned i = 0; i < view->n_jobs; i++)
        view_job_deinit(&view->jobs[i]);
    for (unsigned i = 0; i < view->n_chardevs; i++) {
        free(view->chardevs[i].label);
        free(view->chardevs[i].file);
    }
    free(view->disks);
    free(view->jobs);
    free(view->chardevs);
    free(view->status);
    free(view->migration.error);
    free(view);
    return NULL;
}

struct view_node *view_add_node(struct view *view, const char *name)
{
    struct view_node *node = xzalloc(sizeof(*node));

    view_remove_node(view, name);
    node->name = xstrdup(name);
    HASH_ADD_KEYPTR(hh, view->nodes, node->name, strlen(node->name), node);
    return node;
}

void view_remove_node(struct view *view, const char *name)
{
    struct view_node *node = view_node(view, name);

    if (!node)
        return;
    HASH_DEL(view->nodes, node);
    view_node_free(node);
}

/* One element more at the end of an array, zeroed. */
#define ARRAY_GROW(array, n)                                  \
    ({                                                        \
        (array) = xrealloc((array), (n) + 1, sizeof(*array)); \
        memset(&(array)[n], 0, sizeof(*array));               \
        &(array)[(n)++];                                      \
    })

struct view_snapshot *view_node_add_snapshot(struct view_node *node, const char *name)
{
    struct view_snapshot *snapshot = ARRAY_GROW(node->snapshots, node->n_snapshots);

    snapshot->name = xstrdup(name);
    return snapshot;
}

struct view_disk *view_add_disk(struct view *view, const char *root)
{
    struct view_disk *disk = ARRAY_GROW(view->disks, view->n_disks);

    disk->root = xstrdup(root);
    return disk;
}

struct view_job *view_add_job(struct view *view, const char *id)
{
    struct view_job *job = ARRAY_GROW(view->jobs, view->n_jobs);

    job->id = xstrdup(id);
    return job;
}

struct view_chardev *view_add_chardev(struct view *view, const char *label)
{
    struct view_chardev *chardev = ARRAY_GROW(view->chardevs, view->n_chardevs);

    chardev->label = xstrdup(label);
    return chardev;
}

struct view_node *view_node(const struct view *view, const char *name)
{
    struct view_node *node = NULL;

    if (name)
        HASH_FIND_STR(view->nodes, name, node);
    return node;
}

struct view_job *view_job(const struct view *view, const char *id)
{
    for (unsigned i = 0; id && i < view->n_jobs; i++)
        if (strcmp(view->jobs[i].id, id) == 0)
            return &view->jobs[i];
    return NULL;
}

struct view_snapshot *view_node_snapshot(const struct view_node *node, const char *name)
{
    for (unsigned i = 0; node && name && i < node->n_snapshots; i++)
        if (strcmp(node->snapshots[i].name, name) == 0)
            return &node->snapshots[i];
    return NULL;
}

enum view_job_status view_job_status(const struct view *view, const char *id)
{
    const struct view_job *job = view_job(view, id);

    return job ? job->status : VIEW_JOB_NONE;
}

/* QEMU's words; "null" is what its last event says of a job that is gone. */
static const char *const job_status_names[] = {
    [VIEW_JOB_NONE] = "null",         [VIEW_JOB_CREATED] = "created",
    [VIEW_JOB_RUNNING] = "running",   [VIEW_JOB_PAUSED] = "paused",
    [VIEW_JOB_READY] = "ready",       [VIEW_JOB_STANDBY] = "standby",
    [VIEW_JOB_WAITING] = "waiting",   [VIEW_JOB_PENDING] = "pending",
    [VIEW_JOB_ABORTING] = "aborting", [VIEW_JOB_CONCLUDED] = "concluded",
    [VIEW_JOB_UNKNOWN] = "unknown",
};

#define N_JOB_STATUS (sizeof(job_status_names) / sizeof(job_status_names[0]))

enum view_job_status view_job_status_of(const char *word)
{
    for (unsigned i = 0; word && i < N_JOB_STATUS; i++)
        if (strcmp(job_status_names[i], word) == 0)
            return (enum view_job_status)i;
    return VIEW_JOB_UNKNOWN;
}

const char *view_job_status_name(enum view_job_status status)
{
    return (unsigned)status < N_JOB_STATUS ? job_status_names[status] : "unknown";
}

static bool is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

/* By ids first: a node may bear the name that a device has as its id. */
struct view_disk *view_disk(const struct view *view, const char *name)
{
    const struct view_node *layer;

    if (!name)
        return NULL;
    for (unsigned i = 0; i < view->n_disks; i++)
        if (is(view->disks[i].qdev, name))
            return &view->disks[i];
    for (unsigned i = 0; i < view->n_disks; i++)
        if (is(view->disks[i].device, name) || is(view->disks[i].qom, name))
            return &view->disks[i];
    for (unsigned i = 0; i < view->n_disks; i++) {
        layer = view_layer(view, view->disks[i].root);
        if (layer && is(layer->name, name))
            return &view->disks[i];
    }
    return NULL;
}

bool view_is_filter(const char *driver)
{
    static const char *const filters[] = {
        "backup-top",  "blkdebug",    "blklogwrites", "blkreplay",         "blkverify",
        "commit_top",  "compress",    "copy-on-read", "copy-before-write", "mirror_top",
        "preallocate", "replication", "throttle",
    };

    for (size_t i = 0; driver && i < sizeof(filters) / sizeof(filters[0]); i++)
        if (strcmp(filters[i], driver) == 0)
            return true;
    return false;
}

static struct view_node *view_layer_in(const struct view *view, const char *name, unsigned *steps)
{
    struct view_node *node;

    while ((node = view_node(view, name)) && *steps > 0) {
        (*steps)--;
        if (!view_is_filter(node->driver))
            return node;
        name = node->backing;
    }
    return NULL;
}

struct view_node *view_layer(const struct view *view, const char *name)
{
    unsigned steps = HASH_COUNT(view->nodes);

    return view_layer_in(view, name, &steps);
}

struct view_node *view_below(const struct view *view, const struct view_node *layer)
{
    return view_layer(view, layer->backing);
}

bool view_in_chain(const struct view *view, const char *root, const char *node)
{
    unsigned steps = HASH_COUNT(view->nodes);
    const struct view_node *layer = view_layer_in(view, root, &steps);

    for (; node && layer; layer = view_layer_in(view, layer->backing, &steps))
        if (strcmp(layer->name, node) == 0)
            return true;
    return false;
}

static bool is_protocol(const char *driver)
{
    return is(driver, "file") || is(driver, "host_device") || is(driver, "host_cdrom");
}

/* Whether a node that opens a file is itself what a guest or an overlay reads, instead of lying
 * under a node of an image format. */
static bool view_is_read(const struct view *view, const struct view_node *node)
{
    const struct view_node *other, *next;

    for (unsigned i = 0; i < view->n_disks; i++)
        if (is(view->disks[i].root, node->name))
            return true;
    HASH_ITER (hh, view->nodes, other, next) {
        if (is(other->backing, node->name))
            return true;
    }
    return false;
}

unsigned view_nodes_of_file(const struct view *view, const char *file, struct view_node **ret)
{
    struct view_node *node, *next;
    unsigned n = 0;

    HASH_ITER (hh, view->nodes, node, next) {
        if (!file || !is(node->file, file) || view_is_filter(node->driver))
            continue;
        if (is_protocol(node->driver) && !view_is_read(view, node))
            continue;
        if (n++ == 0)
            *ret = node;
    }
    return n;
}
