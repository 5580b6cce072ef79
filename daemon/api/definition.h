/* A snapshot as a client describes it, in libvirt's XML or as the contract's object, made into a
 * record. What the description leaves open is told apart from what it says, so that a snapshot that
 * is there can be compared with it. */
#ifndef SNAPVM_API_DEFINITION_H
#define SNAPVM_API_DEFINITION_H

#include <stdbool.h>

#include "base/error.h"
#include "journal/record.h"
#include "proto/json.h"

struct domain;

struct definition {
    struct record_snapshot record; /* disks by target where the domain has them */
    char *document;                /* the whole XML; NULL: not said */
    bool by_second;                /* XML knows seconds, and words that say less than ours */
    bool says_parent, says_description, says_created, says_state, says_memory, says_quiesced;
    bool says_disks;
};

void definition_deinit(struct definition *definition);

/* Both leave *ret_definition alone on an error. InvalidParams: param is "xml", or the path of the
 * member below `path` ("snapshot.created"). */
int definition_from_xml(struct domain *domain, const char *xml, bool validate,
                        struct definition *ret_definition, struct error *err);
int definition_from_json(struct domain *domain, json_object *object, const char *path,
                         struct definition *ret_definition, struct error *err);

/* Fills what was left open: from the snapshot that is there, or, with NULL, as of now. */
void definition_complete(struct definition *definition, const struct record_snapshot *there);

/* Whether a complete definition says what the record does; else the name of a member that differs.
 */
const char *definition_difference(const struct definition *definition,
                                  const struct record_snapshot *there);

/* The description in XML of a snapshot, whose kept document (NULL: none) the caller has read; owned
 * by the caller. */
char *definition_xml(const struct domain *domain, const struct record_snapshot *record,
                     const char *document);

#endif
