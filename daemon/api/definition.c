#include "api/definition.h"

#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "domain/description.h"
#include "domain/disk.h"
#include "domain/snapshot.h"
#include "proto/snapvm-errors.h"
#include "xml/domain-xml.h"
#include "xml/snapshot-xml.h"

#define US INT64_C(1000000)

void definition_deinit(struct definition *definition)
{
    free(definition->document);
    record_snapshot_deinit(&definition->record);
    *definition = (struct definition){0};
}

static int bad(struct error *err, const char *param, const char *sentence)
{
    error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "%s: %s", param, sentence);
    return error_text(err, "param", param);
}

static int bad_member(struct error *err, const char *path, const char *name, const char *sentence)
{
    _cleanup_free_ char *param = xasprintf("%s.%s", path, name);

    return bad(err, param, sentence);
}

static int check_name(const char *name, const char *param, struct error *err)
{
    if (name && snapshot_valid_name(name))
        return 0;
    return bad(err, param,
               "a snapshot's name is 1 to 255 bytes without '/', control characters or a leading "
               "'.'");
}

/* A disk by whatever name the description has for it; those that the domain does not have (any
 * more) keep that name. */
static struct record_snapshot_disk *add_disk(struct definition *definition, struct domain *domain,
                                             const char *name)
{
    const struct record_disk *known = disk_need(domain, name, NULL);

    return record_snapshot_add_disk(&definition->record, known ? known->target : name);
}

static int check_disks(const struct record_snapshot *record, const char *param, struct error *err)
{
    for (unsigned i = 0; i < record->n_disks; i++)
        for (unsigned k = 0; k < i; k++) {
            if (strcmp(record->disks[i].disk, record->disks[k].disk) != 0)
                continue;
            error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "%s: disk %s is named twice", param,
                      record->disks[i].disk);
            return error_text(err, "param", param);
        }
    return 0;
}

static int check_n_disks(size_t n, const char *param, struct error *err)
{
    if (n <= DOMAIN_XML_DISKS)
        return 0;
    error_set(err, SNAPVM_ERROR_LIMIT_EXCEEDED, "%s: a domain has at most %d disks", param,
              DOMAIN_XML_DISKS);
    error_text(err, "limit", "disks");
    return error_number(err, "value", DOMAIN_XML_DISKS);
}

/* An internal snapshot lies in the disk's own image. A manual one is what somebody else took: the
 * disk went on in its image, which therefore was not frozen. */
static void place_disk(struct domain *domain, struct record_snapshot_disk *disk)
{
    const struct record_disk *known = disk_find(domain, disk->disk);

    if (strcmp(disk->mode, "manual") == 0) {
        xstrset(&disk->backing, NULL);
        xstrset(&disk->backing_format, NULL);
    }
    if (strcmp(disk->mode, "internal") != 0)
        return;
    if (!disk->file)
        xstrset(&disk->file, disk->backing);
    if (!disk->file && known && known->n_chain)
        xstrset(&disk->file, known->chain[0].file);
    xstrset(&disk->format, "qcow2");
    xstrset(&disk->backing, NULL);
    xstrset(&disk->backing_format, NULL);
}

/* --- XML --- */

static int take_xml_disk(struct definition *definition, struct domain *domain,
                         const struct snapshot_def_disk *from, struct error *err)
{
    struct record_snapshot_disk *disk = add_disk(definition, domain, from->name);

    if (strcmp(from->mode, "external") == 0 && !from->file && !from->remote && !from->backing) {
        error_set(err, SNAPVM_ERROR_INVALID_PARAMS,
                  "disk %s: an external snapshot that exists froze an image; say which file that "
                  "is, or its overlay",
                  disk->disk);
        return error_text(err, "param", "xml");
    }
    xstrset(&disk->mode, from->mode);
    xstrset(&disk->file, from->file);
    xstrset(&disk->format, from->format);
    xstrset(&disk->backing, from->backing);
    xstrset(&disk->backing_format, from->backing_format);
    place_disk(domain, disk);
    return 0;
}

static void take_xml(struct definition *definition, struct snapshot_def *def)
{
    struct record_snapshot *record = &definition->record;

    record->name = TAKE_PTR(def->name);
    record->parent = TAKE_PTR(def->parent);
    record->description = TAKE_PTR(def->description);
    record->state = TAKE_PTR(def->state);
    record->memory = TAKE_PTR(def->memory);
    record->memory_file = TAKE_PTR(def->memory_file);
    record->created = def->created >= 0 ? def->created * US : 0;
    definition->document = TAKE_PTR(def->document);
    definition->by_second = true;
    definition->says_parent = definition->says_description = true;
    definition->says_created = def->created >= 0;
    definition->says_state = record->state != NULL;
    definition->says_memory = record->memory != NULL;
    definition->says_disks = def->lists_disks;
}

int definition_from_xml(struct domain *domain, const char *xml, bool validate,
                        struct definition *ret_definition, struct error *err)
{
    _cleanup_(definition_deinit) struct definition definition = {0};
    _cleanup_(snapshot_def_deinit) struct snapshot_def def = {0};

    if (snapshot_xml_read(xml, strlen(xml), validate, &def, err) < 0 ||
        check_name(def.name, "xml", err) < 0)
        return -1;
    take_xml(&definition, &def);
    definition.record.domain = xstrdup(domain->record.name);
    for (size_t i = 0; i < def.n_disks; i++)
        if (take_xml_disk(&definition, domain, &def.disks[i], err) < 0)
            return -1;
    if (check_disks(&definition.record, "xml", err) < 0)
        return -1;
    *ret_definition = definition;
    definition = (struct definition){0};
    return 0;
}

/* --- JSON --- */

/* Texts, or null, of an object: the rest of what it may have is named in `others`. */
struct text_member {
    const char *name;
    char **text;
};

static bool is_other(const char *const *others, const char *name)
{
    for (; *others; others++)
        if (strcmp(*others, name) == 0)
            return true;
    return false;
}

static int take_text(json_object *value, const char *name, char **ret_text, const char *path,
                     struct error *err)
{
    if (!value)
        return 0;
    if (!json_object_is_type(value, json_type_string))
        return bad_member(err, path, name, "this has to be a text or null");
    xstrset(ret_text, json_object_get_string(value));
    return 0;
}

static int take_texts(json_object *object, const struct text_member *members,
                      const char *const *others, const char *path, struct error *err)
{
    if (!json_object_is_type(object, json_type_object))
        return bad(err, path, "this has to be an object");
    json_object_object_foreach (object, name, value) {
        const struct text_member *member = members;

        while (member->name && strcmp(member->name, name) != 0)
            member++;
        if (member->name) {
            if (take_text(value, name, member->text, path, err) < 0)
                return -1;
            continue;
        }
        if (!is_other(others, name))
            return bad_member(err, path, name, "this member is not known here");
    }
    return 0;
}

static int check_word(const char *word, const char *words, const char *path, const char *name,
                      struct error *err)
{
    _cleanup_free_ char *param = NULL;
    size_t size = word ? strlen(word) : 0;

    for (const char *p = words; word && *p; p += strcspn(p, "|"), p += *p == '|')
        if (strcspn(p, "|") == size && strncmp(p, word, size) == 0)
            return 0;
    param = xasprintf("%s.%s", path, name);
    error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "%s is one of %s", param, words);
    return error_text(err, "param", param);
}

static int check_file(const char *file, const char *path, const char *name, struct error *err)
{
    if (!file || file[0] == '/')
        return 0;
    return bad_member(err, path, name, "this has to be an absolute path");
}

/* What a mode leaves no place for is not dropped: whoever says it means something else. */
static int check_place(const char *mode, const char *file, const char *backing, const char *path,
                       struct error *err)
{
    if (strcmp(mode, "no") == 0 && (file || backing))
        return bad_member(err, path, file ? "file" : "backing",
                          "a disk that the snapshot does not have has no file and no backing");
    if (strcmp(mode, "manual") == 0 && backing)
        return bad_member(err, path, "backing",
                          "a manual snapshot was taken by somebody else, and froze no layer: say "
                          "where it is by file, or leave that out as well");
    return 0;
}

static int take_json_disk(struct definition *definition, struct domain *domain, json_object *object,
                          const char *path, struct error *err)
{
    static const char *const others[] = {NULL};
    _cleanup_free_ char *name = NULL, *mode = NULL, *file = NULL, *format = NULL, *backing = NULL,
                        *backing_format = NULL;
    const struct text_member members[] = {
        {"disk", &name},     {"mode", &mode},       {"file", &file},
        {"format", &format}, {"backing", &backing}, {"backing_format", &backing_format},
        {NULL, NULL}};
    struct record_snapshot_disk *disk;

    if (take_texts(object, members, others, path, err) < 0)
        return -1;
    if (!name || !name[0])
        return bad(err, path, "a disk has to be named (disk)");
    if (check_word(mode, "no|internal|external|manual", path, "mode", err) < 0 ||
        check_file(file, path, "file", err) < 0 || check_file(backing, path, "backing", err) < 0 ||
        check_place(mode, file, backing, path, err) < 0)
        return -1;
    disk = add_disk(definition, domain, name);
    disk->mode = TAKE_PTR(mode);
    disk->file = TAKE_PTR(file);
    disk->format = TAKE_PTR(format);
    disk->backing = TAKE_PTR(backing);
    disk->backing_format = TAKE_PTR(backing_format);
    place_disk(domain, disk);
    return 0;
}

static int take_json_disks(struct definition *definition, struct domain *domain,
                           json_object *object, const char *path, struct error *err)
{
    json_object *disks = json_member(object, "disks");
    _cleanup_free_ char *list = xasprintf("%s.disks", path);

    definition->says_disks = disks != NULL;
    if (disks && !json_object_is_type(disks, json_type_array))
        return bad(err, list, "this has to be an array");
    if (disks && check_n_disks(json_object_array_length(disks), list, err) < 0)
        return -1;
    for (size_t i = 0; disks && i < json_object_array_length(disks); i++) {
        _cleanup_free_ char *element = xasprintf("%s[%zu]", list, i);

        if (take_json_disk(definition, domain, json_object_array_get_idx(disks, i), element, err) <
            0)
            return -1;
    }
    return check_disks(&definition->record, list, err);
}

static int take_json_words(struct definition *definition, json_object *object, const char *created,
                           const char *path, struct error *err)
{
    struct record_snapshot *record = &definition->record;
    json_object *quiesced = json_member(object, "quiesced");

    record->created = created ? clock_parse(created) : 0;
    if (record->created < 0)
        return bad_member(err, path, "created",
                          "this has to be a time in UTC, as 2026-11-21T01:30:00Z is");
    if (quiesced && !json_object_is_type(quiesced, json_type_boolean))
        return bad_member(err, path, "quiesced", "this has to be true or false");
    record->quiesced = quiesced && json_object_get_boolean(quiesced);
    definition->says_quiesced = quiesced != NULL;
    definition->says_parent = json_object_object_get_ex(object, "parent", NULL);
    definition->says_description = json_object_object_get_ex(object, "description", NULL);
    definition->says_created = created != NULL;
    definition->says_state = record->state != NULL;
    definition->says_memory = record->memory != NULL;
    if (record->state &&
        check_word(record->state, "running|paused|shutoff|unknown", path, "state", err) < 0)
        return -1;
    if (record->memory &&
        check_word(record->memory, "no|internal|external", path, "memory", err) < 0)
        return -1;
    return check_file(record->memory_file, path, "memory_file", err);
}

/* What snapshot.export keeps beside the members. */
static int take_document(struct definition *definition, const char *xml, const char *path,
                         struct error *err)
{
    _cleanup_(snapshot_def_deinit) struct snapshot_def def = {0};
    _cleanup_error_ struct error why = {0};

    if (!xml)
        return 0;
    if (snapshot_xml_read(xml, strlen(xml), false, &def, &why) < 0)
        return bad_member(err, path, "xml", why.message);
    if (def.name && strcmp(def.name, definition->record.name) != 0)
        return bad_member(err, path, "xml", "it describes a snapshot of another name");
    definition->document = TAKE_PTR(def.document);
    return 0;
}

int definition_from_json(struct domain *domain, json_object *object, const char *path,
                         struct definition *ret_definition, struct error *err)
{
    /* What snapshot.get tells of the tree around it is told by the tree. */
    static const char *const others[] = {"children", "current", "location",
                                         "quiesced", "disks",   NULL};
    _cleanup_(definition_deinit) struct definition definition = {0};
    struct record_snapshot *record = &definition.record;
    _cleanup_free_ char *created = NULL, *of = NULL, *xml = NULL;
    const struct text_member members[] = {{"name", &record->name},
                                          {"parent", &record->parent},
                                          {"description", &record->description},
                                          {"state", &record->state},
                                          {"memory", &record->memory},
                                          {"memory_file", &record->memory_file},
                                          {"quiesce_error", &record->quiesce_error},
                                          {"created", &created},
                                          {"domain", &of},
                                          {"xml", &xml},
                                          {NULL, NULL}};
    _cleanup_free_ char *param = xasprintf("%s.name", path);

    if (take_texts(object, members, others, path, err) < 0)
        return -1;
    if (check_name(record->name, param, err) < 0)
        return -1;
    if (of && strcmp(of, domain->record.name) != 0)
        return bad_member(err, path, "domain", "the snapshot is of another domain");
    record->domain = xstrdup(domain->record.name);
    if (take_json_words(&definition, object, created, path, err) < 0 ||
        take_json_disks(&definition, domain, object, path, err) < 0 ||
        take_document(&definition, xml, path, err) < 0)
        return -1;
    *ret_definition = definition;
    definition = (struct definition){0};
    return 0;
}

/* --- compared with what is there --- */

static void complete_disks(struct definition *definition, const struct record_snapshot *there)
{
    for (unsigned i = 0; i < there->n_disks; i++) {
        struct record_snapshot_disk *disk =
            record_snapshot_add_disk(&definition->record, there->disks[i].disk);

        xstrset(&disk->mode, there->disks[i].mode);
        xstrset(&disk->file, there->disks[i].file);
        xstrset(&disk->format, there->disks[i].format);
        xstrset(&disk->backing, there->disks[i].backing);
        xstrset(&disk->backing_format, there->disks[i].backing_format);
    }
}

/* Without disks and a word about memory, all of it is in the images. */
static void complete_anew(struct record_snapshot *record)
{
    if (!record->created)
        record->created = clock_now();
    if (!record->state)
        xstrset(&record->state, "shutoff");
    if (!record->memory)
        xstrset(&record->memory, "no");
}

void definition_complete(struct definition *definition, const struct record_snapshot *there)
{
    struct record_snapshot *record = &definition->record;

    if (!there) {
        complete_anew(record);
        return;
    }
    if (!definition->says_created ||
        (definition->by_second && record->created / US == there->created / US))
        record->created = there->created;
    if (!definition->says_parent)
        xstrset(&record->parent, there->parent);
    if (!definition->says_description)
        xstrset(&record->description, there->description);
    if (!definition->says_state)
        xstrset(&record->state, there->state);
    if (!definition->says_memory) {
        xstrset(&record->memory, there->memory);
        xstrset(&record->memory_file, there->memory_file);
    }
    if (!definition->says_quiesced) {
        record->quiesced = there->quiesced;
        xstrset(&record->quiesce_error, there->quiesce_error);
    }
    if (!definition->says_disks)
        complete_disks(definition, there);
}

static bool same(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static const struct record_snapshot_disk *disk_of(const struct record_snapshot *record,
                                                  const char *name)
{
    for (unsigned i = 0; i < record->n_disks; i++)
        if (strcmp(record->disks[i].disk, name) == 0)
            return &record->disks[i];
    return NULL;
}

static bool is_left_out(const struct record_snapshot_disk *disk)
{
    return !disk || strcmp(disk->mode, "no") == 0;
}

/* XML says a backing only in its <domain>. */
static bool same_disk(const struct record_snapshot_disk *disk,
                      const struct record_snapshot_disk *there, bool by_xml)
{
    if (is_left_out(disk) || is_left_out(there))
        return is_left_out(disk) && is_left_out(there);
    return same(disk->mode, there->mode) && same(disk->file, there->file) &&
           same(disk->format, there->format) &&
           ((by_xml && !disk->backing) || same(disk->backing, there->backing));
}

static bool same_disks(const struct definition *definition, const struct record_snapshot *there)
{
    const struct record_snapshot *record = &definition->record;

    for (unsigned i = 0; i < record->n_disks; i++)
        if (!same_disk(&record->disks[i], disk_of(there, record->disks[i].disk),
                       definition->by_second))
            return false;
    for (unsigned i = 0; i < there->n_disks; i++)
        if (!is_left_out(&there->disks[i]) && !disk_of(record, there->disks[i].disk))
            return false;
    return true;
}

/* A paused guest is a running one to libvirt's disk-snapshot. */
static bool same_state(const struct definition *definition, const struct record_snapshot *there)
{
    const char *state = definition->record.state;

    return same(state, there->state) || (definition->by_second && same(state, "running") &&
                                         same(there->state, "paused") && same(there->memory, "no"));
}

const char *definition_difference(const struct definition *definition,
                                  const struct record_snapshot *there)
{
    const struct record_snapshot *record = &definition->record;

    if (!same(record->parent, there->parent))
        return "parent";
    if (!same(record->description, there->description))
        return "description";
    if (record->created != there->created)
        return "created";
    if (!same_state(definition, there))
        return "state";
    if (!same(record->memory, there->memory) || !same(record->memory_file, there->memory_file))
        return "memory";
    if (record->quiesced != there->quiesced || !same(record->quiesce_error, there->quiesce_error))
        return "quiesced";
    return same_disks(definition, there) ? NULL : "disks";
}

/* --- XML out --- */

char *definition_xml(const struct domain *domain, const struct record_snapshot *record,
                     const char *document)
{
    const char *current = domain->record.current_snapshot;
    _cleanup_free_ char *described = document ? NULL : description_make(domain, record);
    _cleanup_free_ struct snapshot_def_disk *disks =
        xzalloc((record->n_disks + 1) * sizeof(*disks));
    struct snapshot_def def = {.name = record->name,
                               .description = record->description,
                               .parent = record->parent,
                               .state = record->state,
                               .memory = record->memory,
                               .memory_file = record->memory_file,
                               .created = record->created / US,
                               .active = current && strcmp(current, record->name) == 0,
                               .disks = disks,
                               .n_disks = record->n_disks};

    for (unsigned i = 0; i < record->n_disks; i++) {
        const struct record_snapshot_disk *disk = &record->disks[i];

        disks[i] = (struct snapshot_def_disk){.name = disk->disk,
                                              .mode = disk->mode,
                                              .file = disk->file,
                                              .format = disk->format,
                                              .backing = disk->backing,
                                              .backing_format = disk->backing_format};
    }
    return snapshot_xml_write(&def, document ? document : described);
}
