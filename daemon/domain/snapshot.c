#include "domain/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "proto/limits.h"
#include "proto/snapvm-errors.h"

bool snapshot_valid_name(const char *name)
{
    size_t length = strlen(name);

    if (length == 0 || length > LIMIT_SNAPSHOT_NAME || name[0] == '.')
        return false;
    for (const unsigned char *p = (const unsigned char *)name; *p; p++)
        if (*p < 0x20 || *p == 0x7f || *p == '/')
            return false;
    /* C1 control characters are two bytes in UTF-8: C2 80 to C2 9F. */
    for (const unsigned char *p = (const unsigned char *)name; *p; p++)
        if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
            return false;
    return true;
}

struct snapshot *snapshot_find(const struct domain *domain, const char *name)
{
    struct snapshot *snapshot = NULL;

    if (name)
        HASH_FIND_STR(domain->snapshot_map, name, snapshot);
    return snapshot;
}

struct snapshot *snapshot_need(const struct domain *domain, const char *name, struct error *err)
{
    struct snapshot *snapshot = snapshot_find(domain, name);

    if (snapshot)
        return snapshot;
    error_set(err, SNAPVM_ERROR_NOT_FOUND,
              "domain %s has no snapshot \"%s\"; snapshot.list shows those that it has",
              domain->record.name, name);
    error_text(err, "object", "snapshot");
    error_text(err, "name", name);
    return NULL;
}

static bool snapshot_is_below(const struct snapshot *snapshot, const struct snapshot *ancestor)
{
    for (; snapshot; snapshot = snapshot->parent)
        if (snapshot == ancestor)
            return true;
    return false;
}

/* By the time of creation; snapshots of the same moment, which a description may claim, by name. */
int snapshot_order(const struct record_snapshot *a, const struct record_snapshot *b)
{
    if (a->created != b->created)
        return a->created > b->created ? 1 : -1;
    return strcmp(a->name, b->name);
}

static bool snapshot_is_later(const struct snapshot *a, const struct snapshot *b)
{
    return snapshot_order(&a->record, &b->record) > 0;
}

/* The journal holds no circle of parents. If it did, the link that closes it would be left out: a
 * forest is what every walk relies on. */
static void snapshot_link(struct domain *domain, struct snapshot *snapshot)
{
    struct snapshot *parent = snapshot_find(domain, snapshot->record.parent), *before;

    if (!parent || (snapshot->n_children > 0 && snapshot_is_below(parent, snapshot)) ||
        parent == snapshot)
        return;
    snapshot->parent = parent;
    parent->n_children++;
    before = TAILQ_LAST(&parent->children, snapshot_list);
    while (before && snapshot_is_later(before, snapshot))
        before = TAILQ_PREV(before, snapshot_list, sibling);
    if (before)
        TAILQ_INSERT_AFTER(&parent->children, before, snapshot, sibling);
    else
        TAILQ_INSERT_HEAD(&parent->children, snapshot, sibling);
}

static void snapshot_unlink(struct snapshot *snapshot)
{
    if (!snapshot->parent)
        return;
    TAILQ_REMOVE(&snapshot->parent->children, snapshot, sibling);
    snapshot->parent->n_children--;
    snapshot->parent = NULL;
}

struct snapshot *snapshot_add(struct domain *domain, struct record_snapshot *record)
{
    struct snapshot *snapshot = xzalloc(sizeof(*snapshot)), *before;

    snapshot->record = *record;
    memset(record, 0, sizeof(*record));
    TAILQ_INIT(&snapshot->children);
    before = TAILQ_LAST(&domain->snapshots, snapshot_list);
    while (before && snapshot_is_later(before, snapshot))
        before = TAILQ_PREV(before, snapshot_list, link);
    if (before)
        TAILQ_INSERT_AFTER(&domain->snapshots, before, snapshot, link);
    else
        TAILQ_INSERT_HEAD(&domain->snapshots, snapshot, link);
    HASH_ADD_KEYPTR(hh, domain->snapshot_map, snapshot->record.name, strlen(snapshot->record.name),
                    snapshot);
    snapshot_link(domain, snapshot);
    return snapshot;
}

void snapshots_link(struct domain *domain)
{
    struct snapshot *snapshot;

    TAILQ_FOREACH (snapshot, &domain->snapshots, link) {
        if (!snapshot->parent)
            snapshot_link(domain, snapshot);
    }
}

struct snapshot *snapshot_remove(struct domain *domain, struct snapshot *snapshot)
{
    struct snapshot *child;

    while ((child = TAILQ_FIRST(&snapshot->children))) {
        snapshot_unlink(child);
        xstrset(&child->record.parent, snapshot->record.parent);
        snapshot_link(domain, child);
    }
    snapshot_unlink(snapshot);
    TAILQ_REMOVE(&domain->snapshots, snapshot, link);
    HASH_DEL(domain->snapshot_map, snapshot);
    record_snapshot_deinit(&snapshot->record);
    free(snapshot);
    return NULL;
}

unsigned snapshot_children(const struct domain *domain, const char *name)
{
    const struct snapshot *snapshot = snapshot_find(domain, name);

    return snapshot ? snapshot->n_children : 0;
}

unsigned snapshot_count(const struct domain *domain)
{
    return HASH_COUNT(domain->snapshot_map);
}

static bool snapshot_is_inside(const struct record_snapshot *record, const char *file)
{
    for (unsigned i = 0; i < record->n_disks; i++) {
        const struct record_snapshot_disk *disk = &record->disks[i];

        if (strcmp(disk->mode, "internal") == 0 && disk->file && strcmp(disk->file, file) == 0)
            return true;
    }
    return false;
}

unsigned snapshot_count_inside(const struct domain *domain, const char *file)
{
    const struct snapshot *snapshot;
    unsigned n = 0;

    TAILQ_FOREACH (snapshot, &domain->snapshots, link)
        n += snapshot_is_inside(&snapshot->record, file);
    return n;
}

bool snapshot_is_current(const struct domain *domain, const struct snapshot *snapshot)
{
    const char *current = domain->record.current_snapshot;

    return current && strcmp(current, snapshot->record.name) == 0;
}

bool snapshot_descends(const struct domain *domain, const struct snapshot *snapshot,
                       const char *ancestor)
{
    const struct snapshot *above = snapshot_find(domain, ancestor);

    return above && snapshot_is_below(snapshot, above);
}

static struct snapshot *snapshot_next_root(struct snapshot *root)
{
    while (root && root->parent)
        root = TAILQ_NEXT(root, link);
    return root;
}

struct snapshot *snapshot_next(const struct domain *domain, const struct snapshot *top,
                               struct snapshot *at)
{
    if (!at)
        return snapshot_next_root(TAILQ_FIRST(&domain->snapshots));
    if (!TAILQ_EMPTY(&at->children))
        return TAILQ_FIRST(&at->children);
    for (; at != top && at->parent; at = at->parent)
        if (TAILQ_NEXT(at, sibling))
            return TAILQ_NEXT(at, sibling);
    return at == top ? NULL : snapshot_next_root(TAILQ_NEXT(at, link));
}

const char *snapshot_record_location(const struct record_snapshot *record)
{
    bool internal = false, external = false;

    for (unsigned i = 0; i < record->n_disks; i++) {
        const char *mode = record->disks[i].mode;

        internal |= strcmp(mode, "internal") == 0;
        external |= strcmp(mode, "external") == 0 || strcmp(mode, "manual") == 0;
    }
    if (record->memory && strcmp(record->memory, "no") != 0) {
        internal |= strcmp(record->memory, "internal") == 0;
        external |= strcmp(record->memory, "external") == 0;
    }
    return internal && external ? "mixed" : internal ? "internal" : "external";
}

const char *snapshot_location(const struct snapshot *snapshot)
{
    return snapshot_record_location(&snapshot->record);
}
