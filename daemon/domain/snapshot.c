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
    struct snapshot *snapshot;

    TAILQ_FOREACH (snapshot, &domain->snapshots, link) {
        if (name && strcmp(snapshot->record.name, name) == 0)
            return snapshot;
    }
    return NULL;
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

struct snapshot *snapshot_add(struct domain *domain, struct record_snapshot *record)
{
    struct snapshot *snapshot = xzalloc(sizeof(*snapshot));

    snapshot->record = *record;
    memset(record, 0, sizeof(*record));
    TAILQ_INSERT_TAIL(&domain->snapshots, snapshot, link);
    return snapshot;
}

struct snapshot *snapshot_remove(struct domain *domain, struct snapshot *snapshot)
{
    TAILQ_REMOVE(&domain->snapshots, snapshot, link);
    record_snapshot_deinit(&snapshot->record);
    free(snapshot);
    return NULL;
}

unsigned snapshot_children(const struct domain *domain, const char *name)
{
    const struct snapshot *snapshot;
    unsigned n = 0;

    TAILQ_FOREACH (snapshot, &domain->snapshots, link) {
        if (snapshot->record.parent && strcmp(snapshot->record.parent, name) == 0)
            n++;
    }
    return n;
}

unsigned snapshot_count(const struct domain *domain)
{
    const struct snapshot *snapshot;
    unsigned n = 0;

    TAILQ_FOREACH (snapshot, &domain->snapshots, link) {
        n++;
    }
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
    for (; snapshot; snapshot = snapshot_find(domain, snapshot->record.parent))
        if (strcmp(snapshot->record.name, ancestor) == 0)
            return true;
    return false;
}

const char *snapshot_location(const struct snapshot *snapshot)
{
    bool internal = false, external = false;

    for (unsigned i = 0; i < snapshot->record.n_disks; i++) {
        const char *mode = snapshot->record.disks[i].mode;

        internal |= strcmp(mode, "internal") == 0;
        external |= strcmp(mode, "external") == 0 || strcmp(mode, "manual") == 0;
    }
    if (snapshot->record.memory && strcmp(snapshot->record.memory, "no") != 0) {
        internal |= strcmp(snapshot->record.memory, "internal") == 0;
        external |= strcmp(snapshot->record.memory, "external") == 0;
    }
    return internal && external ? "mixed" : internal ? "internal" : "external";
}
