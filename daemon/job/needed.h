/* The files that something needs, and that are therefore never removed: what the chains, snapshots
 * and open nodes of domains name, and every layer that the headers of these lead to. The layers
 * below one that a snapshot froze may stand in no chain any more. */
#ifndef SNAPVM_JOB_NEEDED_H
#define SNAPVM_JOB_NEEDED_H

#include <stdbool.h>

struct domain;
struct image_id;

/* A set by path; empty is NULL. */
struct needed;

/* Adds what a domain names. Called on the loop's thread. */
void needed_add_domain(struct needed **set, const struct domain *domain);

/* Adds a file by the path that this daemon reaches it by. */
void needed_add_path(struct needed **set, const char *path);

/* Adds all layers below those in the set. Blocks on the disk: for the worker's thread. A header may
 * be the guest's lie: it can only keep files, never have one removed. */
void needed_follow(struct needed **set);

/* Whether a file is in the set, by device and inode. Blocks on the disk. */
bool needed_has(const struct needed *set, const struct image_id *id);

struct needed *needed_free(struct needed *set);

#endif
