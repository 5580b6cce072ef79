/* libvirt's <domainsnapshot>, both ways. What means something here is read into a struct; the whole
 * document is kept beside it, so that what other programs put there comes out again. */
#ifndef SNAPVM_XML_SNAPSHOT_XML_H
#define SNAPVM_XML_SNAPSHOT_XML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct domain_def;
struct error;

struct snapshot_def_disk {
    char *name; /* target, or the path of its image */
    char *mode; /* "no", "internal", "external", "manual" */
    char *file; /* of an external one: its overlay; NULL: not said, or no file */
    char *format;
    char *backing, *backing_format; /* the disk's image in the embedded <domain>; NULL: not said */
    bool remote;                    /* the overlay is on another host */
};

struct snapshot_def {
    char *name, *description, *parent; /* NULL: none */
    char *state;       /* the contract's word: "running", "paused", "shutoff"; NULL: not said */
    char *memory;      /* "no", "internal", "external"; NULL: not said */
    char *memory_file; /* of an external one */
    int64_t created;   /* seconds since 1970; -1: not said */
    bool active;       /* it says that it is the current one */
    struct snapshot_def_disk *disks;
    size_t n_disks;
    bool lists_disks;
    char *document; /* all of it, without passwords */
};

void snapshot_def_deinit(struct snapshot_def *def);

/* Appends a zeroed disk and returns it; the pointer moves with the next one. */
struct snapshot_def_disk *snapshot_def_add_disk(struct snapshot_def *def);

/* Reads a document of `size` bytes of UTF-8; with `validate` it is held against the schema first.
 * Any fault is InvalidParams with param "xml", and leaves *ret_def alone. */
int snapshot_xml_read(const char *xml, size_t size, bool validate, struct snapshot_def *ret_def,
                      struct error *err);

/* The description of a snapshot (def->document is not looked at), owned by the caller. What it does
 * not say is taken from `document`, that snapshot_xml_read or snapshot_xml_describe made; NULL
 * without one. */
char *snapshot_xml_write(const struct snapshot_def *def, const char *document);

/* A document with its paths changed: `map` returns another one, owned by the caller, or NULL to
 * keep it. Owned by the caller. */
char *snapshot_xml_map_paths(const char *document, char *(*map)(void *arg, const char *path),
                             void *arg);

/* The document of a snapshot of which only the domain as it was is known; owned by the caller. What
 * it does not say of the domain is taken from `document`, that snapshot_xml_of_domain made; NULL
 * without one. */
char *snapshot_xml_describe(const struct domain_def *domain, const char *document);

/* A description of a domain, as domain_xml_read takes it, as the document of a snapshot that says
 * nothing else; without passwords, owned by the caller. NULL for what is no <domain>. */
char *snapshot_xml_of_domain(const char *xml, size_t size);

#endif
