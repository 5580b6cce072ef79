#include "job/needed.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/memory.h"
#include "domain/domain.h"
#include "domain/snapshot.h"
#include "qemu/image.h"
#include "qemu/process.h"
#include "qemu/view.h"

struct needed {
    char *path;    /* for this daemon */
    size_t root;   /* so much of it leads to "/" as the file's QEMU sees it */
    bool raw;      /* has no header */
    bool followed; /* what its header names is in the set */
    UT_hash_handle hh;
};

/* Takes the path over. */
static void needed_add(struct needed **set, char *path, size_t root, bool raw)
{
    struct needed *file = NULL;

    HASH_FIND_STR(*set, path, file);
    if (file) {
        free(path);
        return;
    }
    file = xzalloc(sizeof(*file));
    *file = (struct needed){.path = path, .root = root, .raw = raw};
    HASH_ADD_KEYPTR(hh, *set, file->path, strlen(file->path), file);
}

void needed_add_path(struct needed **set, const char *path)
{
    needed_add(set, xstrdup(path), 0, false);
}

static bool is_raw(const char *format)
{
    return format && strcmp(format, "raw") == 0;
}

static void needed_add_name(struct needed **set, const struct domain *domain, const char *name,
                            const char *format)
{
    const struct process *qemu = &domain->record.qemu;
    _cleanup_free_ char *absolute = name ? process_absolute(qemu, name) : NULL;
    char *path;

    if (!absolute)
        return;
    path = process_reach(qemu, absolute);
    needed_add(set, path, strlen(path) - strlen(absolute), is_raw(format));
}

/* The layer that it froze, the image that it is inside, or what somebody else took. */
static void needed_add_snapshot_disk(struct needed **set, const struct domain *domain,
                                     const struct record_snapshot_disk *disk)
{
    needed_add_name(set, domain, disk->backing, disk->backing_format);
    if (disk->mode && strcmp(disk->mode, "external") != 0)
        needed_add_name(set, domain, disk->file, NULL);
}

void needed_add_domain(struct needed **set, const struct domain *domain)
{
    const struct snapshot *snapshot;
    struct view_node *node, *next;

    for (unsigned i = 0; i < domain->record.n_disks; i++) {
        const struct record_disk *disk = &domain->record.disks[i];

        for (unsigned k = 0; k < disk->n_chain; k++)
            needed_add_name(set, domain, disk->chain[k].file, disk->chain[k].format);
    }
    TAILQ_FOREACH (snapshot, &domain->snapshots, link) {
        for (unsigned i = 0; i < snapshot->record.n_disks; i++)
            needed_add_snapshot_disk(set, domain, &snapshot->record.disks[i]);
        needed_add_name(set, domain, snapshot->record.memory_file, "raw");
    }
    if (!domain->view || domain_is_shutoff(domain))
        return; /* a monitor that is away may belong to a QEMU that still has them open */
    HASH_ITER (hh, domain->view->nodes, node, next) {
        needed_add_name(set, domain, node->file, node->driver);
    }
}

/* What the header of a file names: a name that is not absolute is meant from the file's folder. */
static void needed_add_below(struct needed **set, const struct needed *file)
{
    struct image_info info = {0};
    const char *slash = strrchr(file->path, '/');
    char *path;

    if (image_read(file->path, "qcow2", &info, NULL) < 0)
        return;
    if (info.backing && *info.backing == '/')
        path = xasprintf("%.*s%s", (int)file->root, file->path, info.backing);
    else if (info.backing && slash)
        path = xasprintf("%.*s/%s", (int)(slash - file->path), file->path, info.backing);
    else
        path = NULL;
    if (path)
        needed_add(set, path, file->root, is_raw(info.backing_format));
    image_info_deinit(&info);
}

/* What is added comes last, so that the walk reaches it; what is there is not added again, so that
 * it ends, also in a loop. */
void needed_follow(struct needed **set)
{
    for (struct needed *file = *set; file; file = file->hh.next) {
        if (!file->raw && !file->followed)
            needed_add_below(set, file);
        file->followed = true;
    }
}

bool needed_has(const struct needed *set, const struct image_id *id)
{
    struct image_id found;

    for (const struct needed *file = set; file; file = file->hh.next)
        if (image_identify(file->path, &found, NULL) == 0 && image_same(&found, id))
            return true;
    return false;
}

struct needed *needed_free(struct needed *set)
{
    struct needed *file, *next;

    HASH_ITER (hh, set, file, next) {
        HASH_DEL(set, file);
        free(file->path);
        free(file);
    }
    return NULL;
}
