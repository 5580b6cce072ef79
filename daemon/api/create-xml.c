#include "api/create-xml.h"

#include <string.h>

#include "domain/disk.h"
#include "proto/snapvm-errors.h"
#include "xml/snapshot-xml.h"

static int check_beside(json_object *params, struct error *err)
{
    static const char *const said_by_xml[] = {"name", "description", "disks", "memory"};

    for (size_t i = 0; i < sizeof(said_by_xml) / sizeof(said_by_xml[0]); i++) {
        if (!json_member(params, said_by_xml[i]))
            continue;
        error_set(err, SNAPVM_ERROR_INVALID_PARAMS,
                  "%s is said by the XML: leave one of the two out", said_by_xml[i]);
        return error_text(err, "param", said_by_xml[i]);
    }
    return 0;
}

static json_object *disk_object(const char *name, const struct snapshot_def_disk *disk)
{
    json_object *object = json_object_new_object();

    json_add_string(object, "disk", name);
    if (!disk)
        return object;
    json_add_string(object, "mode", disk->mode);
    if (disk->file)
        json_add_string(object, "file", disk->file);
    if (disk->format)
        json_add_string(object, "format", disk->format);
    return object;
}

static bool is_named(struct domain *domain, const struct snapshot_def *def,
                     const struct record_disk *disk)
{
    for (size_t i = 0; i < def->n_disks; i++)
        if (disk_need(domain, def->disks[i].name, NULL) == disk)
            return true;
    return false;
}

static int take_disks(struct domain *domain, json_object *params, const struct snapshot_def *def,
                      struct error *err)
{
    json_object *disks;

    for (size_t i = 0; i < def->n_disks; i++) {
        if (!def->disks[i].remote)
            continue;
        error_set(err, SNAPVM_ERROR_UNSUPPORTED, "disk %s: an overlay is a local file",
                  def->disks[i].name);
        return error_text(err, "feature", "overlays on other hosts");
    }
    if (def->n_disks == 0)
        return 0;
    disks = json_object_new_array();
    for (size_t i = 0; i < def->n_disks; i++)
        json_object_array_add(disks, disk_object(def->disks[i].name, &def->disks[i]));
    for (unsigned i = 0; i < domain->record.n_disks; i++) {
        const struct record_disk *disk = &domain->record.disks[i];

        if (!disk->read_only && !disk->firmware && disk->n_chain && !is_named(domain, def, disk))
            json_object_array_add(disks, disk_object(disk->target, NULL));
    }
    json_object_object_add(params, "disks", disks);
    return 0;
}

static void take_memory(json_object *params, const struct snapshot_def *def)
{
    json_object *memory;

    if (!def->memory || strcmp(def->memory, "no") == 0)
        return;
    memory = json_object_new_object();
    json_add_string(memory, "mode", def->memory);
    if (def->memory_file)
        json_add_string(memory, "file", def->memory_file);
    json_object_object_add(params, "memory", memory);
}

int create_xml_take(struct domain *domain, json_object *params, struct error *err)
{
    _cleanup_(snapshot_def_deinit) struct snapshot_def def = {0};
    const char *xml = json_string(params, "xml");

    if (check_beside(params, err) < 0 ||
        snapshot_xml_read(xml, strlen(xml), json_flag(params, "validate", 0), &def, err) < 0 ||
        take_disks(domain, params, &def, err) < 0)
        return -1;
    if (def.name)
        json_add_string(params, "name", def.name);
    if (def.description)
        json_add_string(params, "description", def.description);
    take_memory(params, &def);
    json_object_object_del(params, "xml");
    return 0;
}
