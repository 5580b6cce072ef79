/* The reader of <domainsnapshot>: what it accepts keeps the promises of its header, and what is
 * written from it is read as the same again. */
/* Sources: daemon/xml/snapshot-xml.c daemon/xml/snapshot-xml-write.c daemon/xml/schema.c */
/* Sources: daemon/xml/domain-xml.c daemon/xml/tree.c */
/* Embedded: proto/domainsnapshot.rng */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "proto/snapvm-errors.h"
#include "xml/domain-xml.h"
#include "xml/snapshot-xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void require_accepted(const struct snapshot_def *def)
{
    require(def->document && def->n_disks <= DOMAIN_XML_DISKS);
    require(def->created >= -1 && def->created <= INT64_MAX / 1000000);
    require(!def->memory_file ||
            (def->memory_file[0] == '/' && strcmp(def->memory, "external") == 0));
    for (size_t i = 0; i < def->n_disks; i++) {
        require(def->disks[i].name[0] && def->disks[i].mode);
        require(!def->disks[i].file || def->disks[i].file[0] == '/');
        require(!def->disks[i].backing || def->disks[i].backing[0] == '/');
    }
}

static void require_same(const struct snapshot_def *a, const struct snapshot_def *b)
{
    require(same(a->name, b->name) && same(a->parent, b->parent));
    require(same(a->description, b->description) && same(a->state, b->state));
    require(same(a->memory, b->memory) && same(a->memory_file, b->memory_file));
    require(a->created == b->created && a->n_disks == b->n_disks);
    for (size_t i = 0; i < a->n_disks; i++)
        require(same(a->disks[i].mode, b->disks[i].mode) &&
                same(a->disks[i].file, b->disks[i].file) &&
                same(a->disks[i].format, b->disks[i].format));
}

static void round_trip(const struct snapshot_def *def)
{
    _cleanup_(snapshot_def_deinit) struct snapshot_def again = {0};
    _cleanup_error_ struct error err = {0};
    _cleanup_free_ char *once = snapshot_xml_write(def, def->document), *twice = NULL;

    /* Indented it is longer: what was near the bound may be over it now. */
    if (strlen(once) > 512 * 1024)
        return;
    require(snapshot_xml_read(once, strlen(once), false, &again, &err) == 0);
    require_same(def, &again);
    again.active = def->active;
    twice = snapshot_xml_write(&again, again.document);
    require(strcmp(once, twice) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(snapshot_def_deinit) struct snapshot_def def = {0}, valid = {0};
    _cleanup_error_ struct error err = {0}, why = {0};

    if (snapshot_xml_read((const char *)data, size, false, &def, &err) == 0) {
        require_accepted(&def);
        round_trip(&def);
    } else {
        require(err.code == SNAPVM_ERROR_INVALID_PARAMS && err.message && error_get(&err, "param"));
    }
    if (snapshot_xml_read((const char *)data, size, true, &valid, &why) == 0)
        require(def.document != NULL);
    else
        require(why.code == SNAPVM_ERROR_INVALID_PARAMS);
    return 0;
}
