/* libvirt's <domain> description, read for what this daemon needs of it: who the guest is, where
 * its monitor and its agent listen, and which files its disks lie in. The text comes from a client:
 * it is bounded, may bring no document type and no entities, and fetches nothing. */
#ifndef SNAPVM_XML_DOMAIN_XML_H
#define SNAPVM_XML_DOMAIN_XML_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct error;

#define DOMAIN_XML_DISKS 256

struct domain_def_disk {
    char *target; /* "vda"; letters, digits, '.', '_' and '-' */
    char *file;   /* absolute path of the active layer or of a block device */
    char *format; /* "raw" where the description says nothing: libvirt probes no format */
    char *node;   /* NULL: libvirt's descriptions name no node */
    bool read_only;
};

struct domain_def {
    char *name;  /* as it stands there, not empty: the caller holds it against its own rules */
    char *uuid;  /* lower case, with dashes; NULL */
    char *qmp;   /* path of the first "-qmp unix:PATH" of <qemu:commandline>; NULL */
    char *agent; /* path of the guest agent's channel; NULL */
    struct domain_def_disk *disks;
    size_t n_disks;
};

void domain_def_init(struct domain_def *def);
void domain_def_deinit(struct domain_def *def);

/* Appends a disk; its format is not known yet. */
struct domain_def_disk *domain_def_add_disk(struct domain_def *def, const char *target,
                                            const char *file);

/* Reads a description of `size` bytes of UTF-8. Disks that are no file and no block device are left
 * out, and so are empty CD-ROM and floppy drives. Any fault is InvalidParams with param "xml",
 * where libxml2 found it with its line, and leaves *ret_def alone. */
int domain_xml_read(const char *xml, size_t size, struct domain_def *ret_def, struct error *err);

#endif
