/* Disks of a domain: how a person's word, QEMU's devices and the record find each other, and the
 * chain of images that is kept of each. */
#ifndef SNAPVM_DOMAIN_DISK_H
#define SNAPVM_DOMAIN_DISK_H

#include <stdbool.h>

#include "base/error.h"
#include "domain/domain.h"
#include "qemu/view.h"

/* The disk by its target, QEMU's device id, the drive's id, the active layer's node name, or the
 * unambiguous path of one of its images. NotFound (object disk); InvalidParams when ambiguous. */
struct record_disk *disk_need(struct domain *domain, const char *name, struct error *err);

/* By target alone; NULL when there is none. */
struct record_disk *disk_find(struct domain *domain, const char *target);

/* QEMU's side of a recorded disk in the present view; NULL when QEMU has no such disk. */
struct view_disk *disk_in_view(const struct domain *domain, const struct record_disk *disk);

/* The active layer's node in the present view; NULL without one. */
struct view_node *disk_top(const struct domain *domain, const struct record_disk *disk);

/* Brings the record to what the view shows: new disks get a target, chains follow, except those
 * that a job holds. Returns whether anything changed. */
bool disks_update(struct domain *domain);

#endif
