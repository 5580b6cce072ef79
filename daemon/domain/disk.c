#include "domain/disk.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "proto/snapvm-errors.h"

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

struct record_disk *disk_find(struct domain *domain, const char *target)
{
    for (unsigned i = 0; i < domain->record.n_disks; i++)
        if (same(domain->record.disks[i].target, target))
            return &domain->record.disks[i];
    return NULL;
}

static int disk_missing(const struct domain *domain, const char *name, struct error *err)
{
    error_set(err, SNAPVM_ERROR_NOT_FOUND,
              "domain %s has no disk \"%s\"; domain.get shows those that it has",
              domain->record.name, name);
    error_text(err, "object", "disk");
    return error_text(err, "name", name);
}

static struct record_disk *disk_by_path(struct domain *domain, const char *path, struct error *err)
{
    struct record_disk *found = NULL;

    for (unsigned i = 0; i < domain->record.n_disks; i++) {
        struct record_disk *disk = &domain->record.disks[i];

        for (unsigned k = 0; k < disk->n_chain; k++) {
            if (!same(disk->chain[k].file, path))
                continue;
            if (found && found != disk) {
                error_set(err, SNAPVM_ERROR_INVALID_PARAMS,
                          "%s belongs to the disks %s and %s: name the target instead", path,
                          found->target, disk->target);
                error_text(err, "param", "disk");
                return NULL;
            }
            found = disk;
        }
    }
    if (!found)
        disk_missing(domain, path, err);
    return found;
}

static struct record_disk *disk_by_id(struct domain *domain, const char *name)
{
    for (unsigned i = 0; i < domain->record.n_disks; i++)
        if (same(domain->record.disks[i].qdev, name))
            return &domain->record.disks[i];
    for (unsigned i = 0; i < domain->record.n_disks; i++)
        if (same(domain->record.disks[i].device, name))
            return &domain->record.disks[i];
    return NULL;
}

/* Asked after all ids: a node may bear the name that another disk's device has. */
static struct record_disk *disk_by_node(struct domain *domain, const char *name)
{
    for (unsigned i = 0; i < domain->record.n_disks; i++) {
        struct record_disk *disk = &domain->record.disks[i];
        const struct view_node *top = disk_top(domain, disk);

        if ((top && same(top->name, name)) || (disk->n_chain && same(disk->chain[0].node, name)))
            return disk;
    }
    return NULL;
}

struct record_disk *disk_need(struct domain *domain, const char *name, struct error *err)
{
    struct record_disk *disk = disk_find(domain, name);

    if (disk)
        return disk;
    if (name[0] == '/')
        return disk_by_path(domain, name, err);
    disk = disk_by_id(domain, name);
    if (!disk)
        disk = disk_by_node(domain, name);
    if (!disk)
        disk_missing(domain, name, err);
    return disk;
}

/* Whether a node is the one that a definition named, or holds the file that it named. */
static bool disk_fits_layer(const struct domain *domain, const struct record_disk *disk,
                            const struct view_node *layer)
{
    _cleanup_free_ char *file = NULL;

    if (same(disk->node, layer->name))
        return true;
    if (!disk->n_chain || !layer->file)
        return false;
    file = process_absolute(&domain->record.qemu, layer->file);
    return same(file, disk->chain[0].file);
}

/* How QEMU names a device that has neither an id nor a drive's id: by its place. */
static const char *view_disk_id(const struct view_disk *seen)
{
    return seen->qdev || seen->device ? seen->qdev : seen->qom;
}

static bool disk_fits(const struct domain *domain, const struct record_disk *disk,
                      const struct view_disk *seen)
{
    const struct view_node *layer;

    if (disk->qdev || disk->device)
        return same(disk->qdev, view_disk_id(seen)) || same(disk->device, seen->device);
    if (same(disk->target, seen->qdev) || same(disk->target, seen->device))
        return true;
    layer = view_layer(domain->view, seen->root);
    return layer && disk_fits_layer(domain, disk, layer);
}

struct view_disk *disk_in_view(const struct domain *domain, const struct record_disk *disk)
{
    if (!domain->view)
        return NULL;
    for (unsigned i = 0; i < domain->view->n_disks; i++)
        if (domain->view->disks[i].root && disk_fits(domain, disk, &domain->view->disks[i]))
            return &domain->view->disks[i];
    return NULL;
}

struct view_node *disk_top(const struct domain *domain, const struct record_disk *disk)
{
    const struct view_disk *seen = disk_in_view(domain, disk);

    return seen ? view_layer(domain->view, seen->root) : NULL;
}

static bool layer_set(struct record_layer *layer, const struct domain *domain,
                      const struct view_node *node)
{
    _cleanup_free_ char *absolute = process_absolute(&domain->record.qemu, node->file);
    const char *file = absolute ? absolute : node->file ? node->file : "";
    /* Names that QEMU made up are others at its next start. */
    const char *name = node->name[0] == '#' ? NULL : node->name;
    bool changed = !same(layer->file, file) || !same(layer->format, node->driver) ||
                   (name ? !same(layer->node, name) : layer->node != NULL) ||
                   layer->virtual_size != node->virtual_size;

    if (!changed)
        return false;
    xstrset(&layer->file, file);
    xstrset(&layer->format, node->driver);
    xstrset(&layer->node, name);
    layer->virtual_size = node->virtual_size;
    return true;
}

static bool disk_update_chain(const struct domain *domain, struct record_disk *disk,
                              const struct view_disk *seen)
{
    const struct view_node *node = view_layer(domain->view, seen->root);
    unsigned n = 0, most = HASH_COUNT(domain->view->nodes);
    bool changed = false;

    /* The list of nodes may be older than the disk's root: that proves nothing of the chain. */
    if (!node)
        return false;
    if (same(disk->format, node->driver)) {
        xstrset(&disk->format, NULL);
        changed = true;
    }
    /* A loop in the graph ends the walk like the bottom does. */
    for (; node && n < most; node = view_below(domain->view, node), n++) {
        if (n == disk->n_chain)
            record_disk_add_layer(disk, NULL, NULL);
        changed |= layer_set(&disk->chain[n], domain, node);
    }
    if (n < disk->n_chain) {
        record_disk_drop_layers(disk, n, disk->n_chain - n);
        changed = true;
    }
    return changed;
}

static struct record_disk *disk_of_view(struct domain *domain, const struct view_disk *seen)
{
    for (unsigned i = 0; i < domain->record.n_disks; i++)
        if (disk_fits(domain, &domain->record.disks[i], seen))
            return &domain->record.disks[i];
    return NULL;
}

static struct record_disk *disk_add(struct domain *domain, const struct view_disk *seen)
{
    const struct view_node *layer = view_layer(domain->view, seen->root);
    const char *target = seen->qdev ? seen->qdev : seen->device ? seen->device : NULL;
    _cleanup_free_ char *other = NULL;

    if (!target)
        target = layer ? layer->name : seen->root;
    for (unsigned n = 2; disk_find(domain, target); n++) {
        free(other);
        target = other = xasprintf("%s-%u", layer ? layer->name : seen->root, n);
    }
    return record_domain_add_disk(&domain->record, target);
}

bool disks_update(struct domain *domain)
{
    bool changed = false;

    for (unsigned i = 0; i < domain->view->n_disks; i++) {
        const struct view_disk *seen = &domain->view->disks[i];
        struct record_disk *disk;

        if (!seen->root)
            continue;
        disk = disk_of_view(domain, seen);
        if (!disk) {
            disk = disk_add(domain, seen);
            changed = true;
        }
        if (!disk->qdev && !disk->device && (view_disk_id(seen) || seen->device)) {
            xstrset(&disk->qdev, view_disk_id(seen));
            xstrset(&disk->device, seen->device);
            changed = true;
        }
        changed |= disk->read_only != seen->read_only || disk->firmware != seen->firmware;
        disk->read_only = seen->read_only;
        disk->firmware = seen->firmware;
        if (!disk->held)
            changed |= disk_update_chain(domain, disk, seen);
    }
    return changed;
}
