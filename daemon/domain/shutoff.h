/* The disks of a domain that is shut off: what the record says is the active layer, what lies below
 * it stands in the headers. The files are read on the worker's thread. */
#ifndef SNAPVM_DOMAIN_SHUTOFF_H
#define SNAPVM_DOMAIN_SHUTOFF_H

#include <stdbool.h>

#include "base/error.h"
#include "qemu/image-chain.h"

struct domain;
struct domains;
struct record_disk;
struct record_domain;

/* What the files show of one disk. */
struct shutoff_disk {
    char *target, *file, *format; /* the active layer that was looked at */
    struct image_chain chain;     /* without layers when `error` says why */
    struct error error;
};

struct shutoff {
    struct domains *domains;
    char *domain;
    struct shutoff_disk *disks;
    unsigned n_disks;
    void (*done)(void *arg, struct shutoff *files);
    void *arg;
};

/* Refuses what needs a guest that is shut off: InvalidState (state), with `what` as in "the layers
 * can be merged only while it is shut off". */
int shutoff_need(const struct domain *domain, const char *what, struct error *err);

/* Reads the chains of all disks of a domain and calls `done`, with a struct that lives as long as
 * the call: by then the domain may run, may have jobs, or may be gone. */
void shutoff_look(struct domain *domain, void (*done)(void *arg, struct shutoff *files), void *arg);

/* The same for a domain that is only about to be defined. */
void shutoff_look_at(struct domains *domains, const struct record_domain *record,
                     void (*done)(void *arg, struct shutoff *files), void *arg);

/* Puts what was read below the active layers into the record that was looked at; disks whose files
 * cannot be read stay as they were said to be. */
void shutoff_fill_all(const struct shutoff *files, struct record_domain *record);

/* What was read of a disk, checked against its record and put into it: the chain below the active
 * layer. The disk is of a domain that is shut off, and free. Errors: ImageError; Mismatch
 * (expected, found) when the headers tell of other layers than QEMU had open; InvalidState when the
 * disk has changed since the files were read. */
const struct shutoff_disk *shutoff_take(const struct shutoff *files, struct record_disk *disk,
                                        struct error *err);

#endif
