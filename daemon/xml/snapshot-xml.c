#include "xml/snapshot-xml.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "xml/domain-xml.h"
#include "xml/schema.h"
#include "xml/snapshot-words.h"
#include "xml/tree.h"

void snapshot_def_deinit(struct snapshot_def *def)
{
    for (size_t i = 0; i < def->n_disks; i++) {
        free(def->disks[i].name);
        free(def->disks[i].mode);
        free(def->disks[i].file);
        free(def->disks[i].format);
        free(def->disks[i].backing);
        free(def->disks[i].backing_format);
    }
    free(def->disks);
    free(def->name);
    free(def->description);
    free(def->parent);
    free(def->state);
    free(def->memory);
    free(def->memory_file);
    free(def->document);
    *def = (struct snapshot_def){0};
}

struct snapshot_def_disk *snapshot_def_add_disk(struct snapshot_def *def)
{
    def->disks = xrealloc(def->disks, def->n_disks + 1, sizeof(*def->disks));
    def->disks[def->n_disks] = (struct snapshot_def_disk){0};
    return &def->disks[def->n_disks++];
}

/* Every word of libvirt for the state of a guest, and the one that says it here. A disk-snapshot is
 * one of a guest that ran, without its memory. */
static const struct {
    const char *word, *state;
} states[] = {
    {"running", "running"},    {"paused", "paused"},    {"shutoff", "shutoff"},
    {"nostate", "unknown"},    {"blocked", "running"},  {"disk-snapshot", "running"},
    {"pmsuspended", "paused"}, {"shutdown", "running"}, {"crashed", "shutoff"},
    {"unknown", "unknown"},
};

const char *snapshot_state_of_word(const char *word)
{
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (strcmp(states[i].word, word) == 0)
            return states[i].state;
    return NULL;
}

static int read_time(xmlNode *root, struct snapshot_def *def, struct error *err)
{
    _cleanup_free_ char *text = tree_text(tree_child(root, "creationTime"));
    char *end;

    def->created = -1;
    if (!text)
        return 0;
    errno = 0;
    def->created = strtoll(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end || errno || def->created > INT64_MAX / 1000000)
        return tree_fail(err, "<creationTime> is not a number of seconds since 1970");
    return 0;
}

static int read_state(xmlNode *root, struct snapshot_def *def, struct error *err)
{
    _cleanup_free_ char *word = tree_text(tree_child(root, "state"));

    if (!word)
        return 0;
    def->state = xstrdup(snapshot_state_of_word(word));
    return def->state ? 0 : tree_fail(err, "<state> is none that libvirt knows");
}

static bool is_mode(const char *mode)
{
    return strcmp(mode, "no") == 0 || strcmp(mode, "internal") == 0 ||
           strcmp(mode, "external") == 0;
}

static int read_memory(xmlNode *root, struct snapshot_def *def, struct error *err)
{
    xmlNode *memory = tree_child(root, "memory");

    if (!memory)
        return 0;
    def->memory = tree_attribute(memory, "snapshot");
    def->memory_file = tree_attribute(memory, "file");
    if (!def->memory)
        def->memory = xstrdup(def->memory_file ? "external" : "no");
    if (!is_mode(def->memory))
        return tree_fail(err, "<memory snapshot=…> is none of no, internal, external");
    if (def->memory_file && strcmp(def->memory, "external") != 0)
        return tree_fail(err, "only external <memory> has a file");
    return def->memory_file ? tree_check_path(def->memory_file, "<memory>", err) : 0;
}

/* Where the source of a <disk> lies: NULL for none, and for one that is no path. */
static char *source_of(xmlNode *disk)
{
    xmlNode *source = tree_child(disk, "source");
    char *file = tree_attribute(source, "file");

    return file ? file : tree_attribute(source, "dev");
}

/* What the embedded <domain> says of the disk: the image that the snapshot froze. */
static int read_backing(xmlNode *root, struct snapshot_def_disk *disk, struct error *err)
{
    xmlNode *devices = tree_child(tree_child(root, "domain"), "devices");

    for (xmlNode *c = devices ? devices->children : NULL; c; c = c->next) {
        _cleanup_free_ char *source = NULL;

        if (!tree_is(c, "disk"))
            continue;
        source = source_of(c);
        if (!tree_attribute_is(tree_child(c, "target"), "dev", disk->name) &&
            (!source || strcmp(source, disk->name) != 0))
            continue;
        if (!source)
            return 0;
        if (tree_check_path(source, "a disk of the <domain>", err) < 0)
            return -1;
        disk->backing = TAKE_PTR(source);
        disk->backing_format = tree_attribute(tree_child(c, "driver"), "type");
        return 0;
    }
    return 0;
}

static int read_overlay(xmlNode *node, struct snapshot_def_disk *disk, struct error *err)
{
    _cleanup_free_ char *type = tree_attribute(node, "type");

    disk->remote = type && strcmp(type, "file") != 0 && strcmp(type, "block") != 0;
    disk->format = tree_attribute(tree_child(node, "driver"), "type");
    if (!disk->format)
        disk->format = xstrdup("qcow2");
    disk->file = disk->remote ? NULL : source_of(node);
    return disk->file ? tree_check_path(disk->file, "an overlay", err) : 0;
}

static int read_disk(xmlNode *root, xmlNode *node, struct snapshot_def *def, struct error *err)
{
    struct snapshot_def_disk *disk;

    if (def->n_disks == DOMAIN_XML_DISKS)
        return tree_fail(err, "there are more than %d disks", DOMAIN_XML_DISKS);
    disk = snapshot_def_add_disk(def);
    disk->name = tree_attribute(node, "name");
    disk->mode = tree_attribute(node, "snapshot");
    if (!disk->name || !disk->name[0])
        return tree_fail(err, "a <disk> has no name");
    for (size_t i = 0; i + 1 < def->n_disks; i++)
        if (strcmp(def->disks[i].name, disk->name) == 0)
            return tree_fail(err, "the disk '%s' is named twice", disk->name);
    if (!disk->mode)
        disk->mode = xstrdup("external");
    if (!is_mode(disk->mode) && strcmp(disk->mode, "manual") != 0)
        return tree_fail(err, "the mode of the disk '%s' is none of no, internal, external, manual",
                         disk->name);
    if (strcmp(disk->mode, "external") == 0 && read_overlay(node, disk, err) < 0)
        return -1;
    return strcmp(disk->mode, "no") == 0 ? 0 : read_backing(root, disk, err);
}

static int read_disks(xmlNode *root, struct snapshot_def *def, struct error *err)
{
    xmlNode *disks = tree_child(root, "disks");

    def->lists_disks = disks != NULL;
    for (xmlNode *c = disks ? disks->children : NULL; c; c = c->next)
        if (tree_is(c, "disk") && read_disk(root, c, def, err) < 0)
            return -1;
    return 0;
}

static char *text_unless_empty(xmlNode *node)
{
    char *text = tree_text(node);

    if (text && !text[0]) {
        free(text);
        text = NULL;
    }
    return text;
}

static int read_snapshot(xmlNode *root, struct snapshot_def *def, struct error *err)
{
    _cleanup_free_ char *active = tree_text(tree_child(root, "active"));

    def->name = text_unless_empty(tree_child(root, "name"));
    def->description = text_unless_empty(tree_child(root, "description"));
    def->parent = text_unless_empty(tree_child(tree_child(root, "parent"), "name"));
    def->active = active && strcmp(active, "1") == 0;
    if (read_time(root, def, err) < 0 || read_state(root, def, err) < 0 ||
        read_memory(root, def, err) < 0)
        return -1;
    return read_disks(root, def, err);
}

/* Passwords of consoles are nobody's business here, and a reader may ask for the document. */
static void drop_passwords(xmlNode *domain)
{
    xmlNode *devices = tree_child(domain, "devices");

    for (xmlNode *c = devices ? devices->children : NULL; c; c = c->next) {
        if (!tree_is(c, "graphics"))
            continue;
        xmlUnsetProp(c, (const xmlChar *)"passwd");
        xmlUnsetProp(c, (const xmlChar *)"passwdValidTo");
    }
}

int snapshot_xml_read(const char *xml, size_t size, bool validate, struct snapshot_def *ret_def,
                      struct error *err)
{
    _cleanup_(snapshot_def_deinit) struct snapshot_def def = {0};
    _cleanup_tree_ xmlDoc *doc = tree_read(xml, size, err);
    xmlNode *root;

    if (!doc)
        return -1;
    root = xmlDocGetRootElement(doc);
    if (!root || !tree_is(root, "domainsnapshot"))
        return tree_fail(err, "the XML is not a <domainsnapshot>");
    if (validate && schema_check(doc, err) < 0)
        return -1;
    if (read_snapshot(root, &def, err) < 0)
        return -1;
    drop_passwords(tree_child(root, "domain"));
    drop_passwords(tree_child(root, "inactiveDomain"));
    def.document = tree_print(root, false);
    *ret_def = def;
    def = (struct snapshot_def){0};
    return 0;
}

char *snapshot_xml_of_domain(const char *xml, size_t size)
{
    _cleanup_tree_ xmlDoc *doc = tree_read(xml, size, NULL);
    xmlNode *domain = doc ? xmlDocGetRootElement(doc) : NULL, *root;

    if (!domain || !tree_is(domain, "domain"))
        return NULL;
    drop_passwords(domain);
    root = xmlNewNode(NULL, (const xmlChar *)"domainsnapshot");
    if (!root)
        abort();
    xmlDocSetRootElement(doc, root); /* takes the other one out of its place */
    xmlAddChild(root, domain);
    return tree_print(root, false);
}
