/* Snapshots of a domain: metadata, in the order of their creation, as a forest by their parents.
 * The record names a parent; in memory the two are linked, so that 10,000 snapshots are walked and
 * found without a search. */
#ifndef SNAPVM_DOMAIN_SNAPSHOT_H
#define SNAPVM_DOMAIN_SNAPSHOT_H

#include <stdbool.h>

#include "base/error.h"
#include "domain/domain.h"

struct snapshot {
    struct record_snapshot record;
    TAILQ_ENTRY(snapshot) link; /* domain::snapshots */
    UT_hash_handle hh;          /* domain::snapshot_map, by record.name */
    struct snapshot *parent;    /* NULL: a root */
    struct snapshot_list children;
    TAILQ_ENTRY(snapshot) sibling; /* parent::children */
    unsigned n_children;
};

/* 1 to 255 bytes of UTF-8 without '/', control characters, or a leading '.'. */
bool snapshot_valid_name(const char *name);

struct snapshot *snapshot_find(const struct domain *domain, const char *name);

/* NotFound (object snapshot). */
struct snapshot *snapshot_need(const struct domain *domain, const char *name, struct error *err);

/* Negative, 0 or positive: the order in which they are held and told. */
int snapshot_order(const struct record_snapshot *a, const struct record_snapshot *b);

/* Adds one at its place in that order, and takes the record over. It is linked to its parent if
 * that is there. Many are added in order: the place is looked for from the end. */
struct snapshot *snapshot_add(struct domain *domain, struct record_snapshot *record);

/* Links those that were added before their parents. */
void snapshots_link(struct domain *domain);

/* Frees one; its children become those of its parent. */
struct snapshot *snapshot_remove(struct domain *domain, struct snapshot *snapshot);

unsigned snapshot_children(const struct domain *domain, const char *name);
unsigned snapshot_count(const struct domain *domain);

/* How many have a disk inside this image. */
unsigned snapshot_count_inside(const struct domain *domain, const char *file);
bool snapshot_is_current(const struct domain *domain, const struct snapshot *snapshot);

/* Whether it descends from `ancestor`, or is it. */
bool snapshot_descends(const struct domain *domain, const struct snapshot *snapshot,
                       const char *ancestor);

/* A walk of everything below `top`, parents first: the next one behind `at` (begin with `top`),
 * NULL at the end. With top NULL it is the whole forest, begun with at NULL. */
struct snapshot *snapshot_next(const struct domain *domain, const struct snapshot *top,
                               struct snapshot *at);

/* "internal", "external" or "mixed". */
const char *snapshot_location(const struct snapshot *snapshot);
const char *snapshot_record_location(const struct record_snapshot *record);

#endif
