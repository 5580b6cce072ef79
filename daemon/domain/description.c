#include "domain/description.h"

#include <string.h>

#include "base/memory.h"
#include "domain/domain.h"
#include "xml/domain-xml.h"
#include "xml/snapshot-xml.h"

/* The image that the snapshot froze; NULL for a disk that it left out. */
static const char *frozen_image(const struct record_snapshot *record, const char *target)
{
    for (unsigned i = 0; i < record->n_disks; i++) {
        const struct record_snapshot_disk *disk = &record->disks[i];

        if (strcmp(disk->disk, target) != 0)
            continue;
        return strcmp(disk->mode, "internal") == 0 ? disk->file : disk->backing;
    }
    return NULL;
}

static const char *format_of(const struct record_disk *disk, const char *file)
{
    for (unsigned i = 0; i < disk->n_chain; i++)
        if (strcmp(disk->chain[i].file, file) == 0)
            return disk->chain[i].format;
    return NULL;
}

char *description_make(const struct domain *domain, const struct record_snapshot *record)
{
    _cleanup_(domain_def_deinit) struct domain_def def = {
        .name = xstrdup(domain->record.name),
        .uuid = xstrdup(domain->record.uuid),
    };

    for (unsigned i = 0; i < domain->record.n_disks; i++) {
        const struct record_disk *disk = &domain->record.disks[i];
        const char *file = frozen_image(record, disk->target);
        struct domain_def_disk *added;

        if (!file && disk->n_chain)
            file = disk->chain[0].file;
        if (!file)
            continue;
        added = domain_def_add_disk(&def, disk->target, file);
        added->format = xstrdup(format_of(disk, file));
        added->read_only = disk->read_only;
    }
    return snapshot_xml_describe(&def, domain->record.document);
}
