/* Writing a <domainsnapshot>: the elements that the snapshot has are set in the document that is
 * kept of it, each at its place, and what says the same already is left as it stands. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "xml/domain-xml.h"
#include "xml/snapshot-words.h"
#include "xml/snapshot-xml.h"
#include "xml/tree.h"

/* libvirt's order. */
static const char *const places[] = {"name",           "description", "state", "parent",
                                     "creationTime",   "memory",      "disks", "domain",
                                     "inactiveDomain", "active",      "cookie"};

#define N_PLACES (sizeof(places) / sizeof(places[0]))

static size_t place_of(const xmlNode *node)
{
    for (size_t i = 0; i < N_PLACES; i++)
        if (tree_is(node, places[i]))
            return i;
    return N_PLACES;
}

static xmlNode *new_element(const char *name)
{
    xmlNode *node = xmlNewNode(NULL, (const xmlChar *)name);

    if (!node)
        abort();
    return node;
}

static xmlNode *add_element(xmlNode *parent, const char *name)
{
    return xmlAddChild(parent, new_element(name));
}

/* Whether an element of ours that is put there belongs before this node; unknown ones stay where
 * they are. */
static bool is_behind(const xmlNode *node, size_t place)
{
    size_t other = place_of(node);

    return other < N_PLACES && other > place;
}

/* The child of that name, made at its place. */
static xmlNode *need_child(xmlNode *root, const char *name)
{
    xmlNode *node = tree_child(root, name), *behind = root->children;

    if (node)
        return node;
    node = new_element(name);
    while (behind && !is_behind(behind, place_of(node)))
        behind = behind->next;
    return behind ? xmlAddPrevSibling(behind, node) : xmlAddChild(root, node);
}

static void drop(xmlNode *node)
{
    if (!node)
        return;
    xmlUnlinkNode(node);
    xmlFreeNode(node);
}

/* XML cannot say most control characters. */
static char *clean(const char *text)
{
    char *copy = xstrdup(text);

    for (char *p = copy; *p; p++)
        if ((unsigned char)*p < ' ' && !strchr("\t\r\n", *p))
            *p = '?';
    return copy;
}

static void set_text(xmlNode *node, const char *text)
{
    _cleanup_free_ char *old = tree_text(node), *new = clean(text);

    if (old && strcmp(old, new) == 0)
        return;
    xmlNodeSetContent(node, NULL);
    xmlNodeAddContent(node, (const xmlChar *)new);
}

static void set_attribute(xmlNode *node, const char *name, const char *value)
{
    _cleanup_free_ char *new = value ? clean(value) : NULL;

    if (new)
        xmlSetProp(node, (const xmlChar *)name, (const xmlChar *)new);
    else
        xmlUnsetProp(node, (const xmlChar *)name);
}

static void write_text(xmlNode *root, const char *name, const char *text)
{
    if (text)
        set_text(need_child(root, name), text);
    else
        drop(tree_child(root, name));
}

static bool same(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

/* The word that stands there is kept if it says the same. */
static void write_state(xmlNode *root, const struct snapshot_def *def)
{
    _cleanup_free_ char *word = tree_text(tree_child(root, "state"));
    bool no_memory = !def->memory || strcmp(def->memory, "no") == 0;

    if (word && same(snapshot_state_of_word(word), def->state))
        return;
    if (!def->state || strcmp(def->state, "unknown") == 0)
        write_text(root, "state", NULL);
    else
        write_text(root, "state",
                   no_memory && strcmp(def->state, "shutoff") != 0 ? "disk-snapshot" : def->state);
}

static void write_parent(xmlNode *root, const struct snapshot_def *def)
{
    if (def->parent)
        write_text(need_child(root, "parent"), "name", def->parent);
    else
        drop(tree_child(root, "parent"));
}

static void write_time(xmlNode *root, const struct snapshot_def *def)
{
    char text[32];

    snprintf(text, sizeof(text), "%" PRId64, def->created);
    write_text(root, "creationTime", def->created >= 0 ? text : NULL);
}

static void write_memory(xmlNode *root, const struct snapshot_def *def)
{
    xmlNode *memory = tree_child(root, "memory");

    if (!def->memory) {
        drop(memory);
        return;
    }
    memory = need_child(root, "memory");
    set_attribute(memory, "snapshot", def->memory);
    set_attribute(memory, "file", def->memory_file);
}

/* What libvirt takes for a disk's target. Another disk is named by its image. */
static bool is_target(const char *name)
{
    static const char *const kinds[] = {"fd", "hd", "sd", "vd", "xvd", "ubd"};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t size = strlen(kinds[i]);

        if (strncmp(name, kinds[i], size) == 0)
            return name[size] && name[size + strspn(name + size, TREE_LETTERS "_")] == '\0';
    }
    return false;
}

static const char *disk_name(const struct snapshot_def_disk *disk)
{
    const char *path = disk->backing ? disk->backing : disk->file;

    return is_target(disk->name) || !path ? disk->name : path;
}

static xmlNode *disk_element(xmlNode *disks, const char *name)
{
    for (xmlNode *c = disks ? disks->children : NULL; c; c = c->next)
        if (tree_is(c, "disk") && tree_attribute_is(c, "name", name))
            return c;
    return NULL;
}

static bool is_named(const struct snapshot_def *def, const xmlNode *node)
{
    _cleanup_free_ char *name = tree_attribute((xmlNode *)node, "name");

    for (size_t i = 0; name && i < def->n_disks; i++)
        if (strcmp(name, def->disks[i].name) == 0 || strcmp(name, disk_name(&def->disks[i])) == 0)
            return true;
    return false;
}

/* A disk that the document knew by another name stands in the same row of the list. */
static xmlNode *disk_in_row(const struct snapshot_def *def, xmlNode *disks, size_t row)
{
    size_t i = 0;

    for (xmlNode *c = disks ? disks->children : NULL; c; c = c->next)
        if (tree_is(c, "disk") && i++ == row)
            return is_named(def, c) ? NULL : c;
    return NULL;
}

static void write_overlay(xmlNode *node, const struct snapshot_def_disk *disk)
{
    _cleanup_free_ char *type = tree_attribute(node, "type");
    bool block = type && strcmp(type, "block") == 0;

    if (type && !block && strcmp(type, "file") != 0)
        return;
    if (!disk->file) {
        drop(tree_child(node, "source"));
        return;
    }
    if (!type)
        set_attribute(node, "type", "file");
    if (disk->format)
        set_attribute(need_child(node, "driver"), "type", disk->format);
    set_attribute(need_child(node, "source"), block ? "dev" : "file", disk->file);
}

/* The <domain> names the image that the snapshot froze, which may lie in another one by now. */
static void write_backing(xmlNode *disks, const struct snapshot_def_disk *disk)
{
    for (xmlNode *c = disks ? disks->children : NULL; c; c = c->next) {
        xmlNode *source = tree_child(c, "source");
        bool block = source && xmlHasProp(source, (const xmlChar *)"dev");

        if (!tree_is(c, "disk") || !source ||
            !tree_attribute_is(tree_child(c, "target"), "dev", disk->name) ||
            tree_attribute_is(source, block ? "dev" : "file", disk->backing))
            continue;
        set_attribute(source, block ? "dev" : "file", disk->backing);
        set_attribute(need_child(c, "driver"), "type", disk->backing_format);
    }
}

static void write_backings(xmlNode *root, const struct snapshot_def *def)
{
    xmlNode *devices = tree_child(tree_child(root, "domain"), "devices");

    for (size_t i = 0; i < def->n_disks; i++)
        if (def->disks[i].backing)
            write_backing(devices, &def->disks[i]);
}

/* One disk, behind the others in its new list; `node` is a copy of its old element, or NULL, and is
 * taken over. */
static void write_disk(xmlNode *list, xmlNode *node, const struct snapshot_def_disk *disk)
{
    if (node && !tree_attribute_is(node, "snapshot", disk->mode) &&
        (xmlHasProp(node, (const xmlChar *)"snapshot") || strcmp(disk->mode, "external") != 0)) {
        drop(node);
        node = NULL;
    }
    if (node) {
        xmlAddChild(list, node);
    } else {
        node = add_element(list, "disk");
        set_attribute(node, "name", disk_name(disk));
    }
    set_attribute(node, "snapshot", disk->mode);
    if (strcmp(disk->mode, "external") == 0)
        write_overlay(node, disk);
}

static void write_disks(xmlNode *root, const struct snapshot_def *def)
{
    xmlNode *old = tree_child(root, "disks"), *list = new_element("disks");

    for (size_t i = 0; i < def->n_disks; i++) {
        const struct snapshot_def_disk *disk = &def->disks[i];
        xmlNode *node = disk_element(old, disk->name);

        if (!node)
            node = disk_element(old, disk_name(disk));
        if (!node)
            node = disk_in_row(def, old, i);
        /* A copy: the rows of the list are counted on. */
        write_disk(list, node ? xmlCopyNode(node, 1) : NULL, disk);
    }
    drop(old);
    if (def->n_disks == 0) {
        xmlFreeNode(list);
        return;
    }
    xmlFreeNode(xmlReplaceNode(need_child(root, "disks"), list));
}

static xmlDoc *new_document(const char *document)
{
    xmlDoc *doc = document ? tree_read(document, strlen(document), NULL) : NULL;

    if (doc)
        return doc;
    doc = xmlNewDoc((const xmlChar *)"1.0");
    xmlDocSetRootElement(doc, new_element("domainsnapshot"));
    return doc;
}

char *snapshot_xml_write(const struct snapshot_def *def, const char *document)
{
    _cleanup_tree_ xmlDoc *doc = new_document(document);
    xmlNode *root = xmlDocGetRootElement(doc);

    write_text(root, "name", def->name);
    write_text(root, "description", def->description);
    write_state(root, def);
    write_parent(root, def);
    write_time(root, def);
    write_memory(root, def);
    write_disks(root, def);
    write_backings(root, def);
    write_text(root, "active", def->active ? "1" : "0");
    return tree_print(root, true);
}

/* --- elsewhere --- */

static void map_attribute(xmlNode *node, const char *name,
                          char *(*map)(void *arg, const char *path), void *arg)
{
    _cleanup_free_ char *old = tree_attribute(node, name), *new = old ? map(arg, old) : NULL;

    if (new)
        set_attribute(node, name, new);
}

/* Sources of disks, and memory, of the snapshot and of the descriptions of the domain in it. The
 * document's depth is bounded. */
static void map_paths(xmlNode *node, char *(*map)(void *arg, const char *path), void *arg)
{
    if (tree_is(node, "source")) {
        map_attribute(node, "file", map, arg);
        map_attribute(node, "dev", map, arg);
    } else if (tree_is(node, "memory")) {
        map_attribute(node, "file", map, arg);
    }
    for (xmlNode *c = node->children; c; c = c->next)
        if (c->type == XML_ELEMENT_NODE)
            map_paths(c, map, arg);
}

char *snapshot_xml_map_paths(const char *document, char *(*map)(void *arg, const char *path),
                             void *arg)
{
    _cleanup_tree_ xmlDoc *doc = new_document(document);

    map_paths(xmlDocGetRootElement(doc), map, arg);
    return tree_print(xmlDocGetRootElement(doc), false);
}

/* --- the domain as it was --- */

static void describe_disk(xmlNode *devices, const struct domain_def_disk *disk)
{
    xmlNode *node = add_element(devices, "disk"), *driver;

    set_attribute(node, "type", "file");
    set_attribute(node, "device", "disk");
    driver = add_element(node, "driver");
    set_attribute(driver, "name", "qemu");
    set_attribute(driver, "type", disk->format);
    set_attribute(add_element(node, "source"), "file", disk->file);
    set_attribute(add_element(node, "target"), "dev", disk->target);
    if (disk->read_only)
        add_element(node, "readonly");
}

/* The disk where the description has it, on another image by now; false if it does not have it. */
static bool describe_known_disk(xmlNode *devices, const struct domain_def_disk *disk)
{
    const struct snapshot_def_disk frozen = {
        .name = disk->target, .backing = disk->file, .backing_format = disk->format};

    for (xmlNode *c = devices->children; c; c = c->next)
        if (tree_is(c, "disk") && tree_attribute_is(tree_child(c, "target"), "dev", disk->target)) {
            write_backing(devices, &frozen);
            return true;
        }
    return false;
}

static xmlNode *describe_nothing(xmlNode *root)
{
    xmlNode *node = add_element(root, "domain");

    set_attribute(node, "type", "qemu");
    add_element(node, "name");
    set_text(add_element(add_element(node, "os"), "type"), "hvm");
    return node;
}

char *snapshot_xml_describe(const struct domain_def *domain, const char *document)
{
    _cleanup_tree_ xmlDoc *doc = new_document(document);
    xmlNode *root = xmlDocGetRootElement(doc), *node = tree_child(root, "domain"), *devices;

    if (!node)
        node = describe_nothing(root);
    write_text(node, "name", domain->name);
    if (domain->uuid && !tree_child(node, "uuid"))
        xmlAddNextSibling(tree_child(node, "name"), new_element("uuid"));
    if (domain->uuid)
        write_text(node, "uuid", domain->uuid);
    devices = tree_child(node, "devices");
    if (!devices)
        devices = add_element(node, "devices");
    for (size_t i = 0; i < domain->n_disks; i++)
        if (!describe_known_disk(devices, &domain->disks[i]))
            describe_disk(devices, &domain->disks[i]);
    return tree_print(root, false);
}
