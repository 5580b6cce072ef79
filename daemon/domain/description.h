/* The description of a domain in XML that goes with a snapshot of it, made from what is known. */
#ifndef SNAPVM_DOMAIN_DESCRIPTION_H
#define SNAPVM_DOMAIN_DESCRIPTION_H

struct domain;
struct record_snapshot;

/* A document (xml/snapshot-xml.h) with the domain's name, its UUID and its disks with the images
 * that they had when the snapshot was taken; owned by the caller. */
char *description_make(const struct domain *domain, const struct record_snapshot *record);

#endif
