/* Finds guests: watches the guests folder and the folders of all monitors by inotify, so that a
 * QEMU that starts is connected at once and nobody polls. */
#ifndef SNAPVM_DOMAIN_FINDER_H
#define SNAPVM_DOMAIN_FINDER_H

#include "base/error.h"

struct domains;
struct finder;

/* Makes the guests folder if it is missing, watches it and takes in what is there.
 * Error: InternalError, InvalidParams. */
struct finder *finder_new(struct domains *domains, struct error *err);
struct finder *finder_free(struct finder *finder);

/* Watches the folder in which a monitor's socket is, or will be. */
void finder_watch(struct finder *finder, const char *socket_path);

#endif
