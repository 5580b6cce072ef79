/* Where a new image may lie: in a folder that already holds images of the domain which are files,
 * or below one that the configuration allows, under a name that is free. Devices do not make a
 * folder one for images: /dev is in memory, and holds the disks of everybody. */
#ifndef SNAPVM_API_OVERLAY_H
#define SNAPVM_API_OVERLAY_H

#include <stdbool.h>

#include "base/error.h"

struct conf;
struct domain;
struct record_disk;

/* DOMAIN-TARGET.SNAPSHOT.qcow2 beside the active layer, or in the first of image_dirs if that is a
 * device; owned by the caller. */
char *overlay_default_file(const struct conf *conf, const struct domain *domain,
                           const struct record_disk *disk, const char *snapshot);

/* DOMAIN.SNAPSHOT.mem beside that overlay, for the guest's memory; owned by the caller. */
char *overlay_default_memory(const struct domain *domain, const char *overlay,
                             const char *snapshot);

/* Whether an image of that name may belong to the domain: it does already, or may as far as its
 * folder goes. Errors: ImageError (outside the allowed directories; missing, where there is no such
 * folder). */
int overlay_check_claim(const struct conf *conf, const struct domain *domain, const char *file,
                        struct error *err);

/* Errors: InvalidParams (relative), AlreadyExists (object image), ImageError (outside the allowed
 * folders; for `reuse`: missing, or in use by a disk of the domain). */
int overlay_check_file(const struct conf *conf, const struct domain *domain, const char *file,
                       bool reuse, struct error *err);

#endif
