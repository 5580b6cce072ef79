/* Snapshots of a domain: metadata, in the order of their creation, with parents by name. */
#ifndef SNAPVM_DOMAIN_SNAPSHOT_H
#define SNAPVM_DOMAIN_SNAPSHOT_H

#include <stdbool.h>

#include "base/error.h"
#include "domain/domain.h"

struct snapshot {
    struct record_snapshot record;
    TAILQ_ENTRY(snapshot) link; /* domain::snapshots */
};

/* 1 to 255 bytes of UTF-8 without '/', control characters, or a leading '.'. */
bool snapshot_valid_name(const char *name);

struct snapshot *snapshot_find(const struct domain *domain, const char *name);

/* NotFound (object snapshot). */
struct snapshot *snapshot_need(const struct domain *domain, const char *name, struct error *err);

/* Adds one and takes the record over. */
struct snapshot *snapshot_add(struct domain *domain, struct record_snapshot *record);
struct snapshot *snapshot_remove(struct domain *domain, struct snapshot *snapshot);

unsigned snapshot_children(const struct domain *domain, const char *name);
unsigned snapshot_count(const struct domain *domain);
bool snapshot_is_current(const struct domain *domain, const struct snapshot *snapshot);

/* Whether it descends from `ancestor`, or is it. */
bool snapshot_descends(const struct domain *domain, const struct snapshot *snapshot,
                       const char *ancestor);

/* "internal", "external" or "mixed". */
const char *snapshot_location(const struct snapshot *snapshot);

#endif
