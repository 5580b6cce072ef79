/* A walk over the tree of a <domain> that picks the few elements of it that matter here. */
#include "xml/domain-xml.h"

#include <ctype.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "xml/tree.h"

#define QEMU_NAMESPACE "http://libvirt.org/schemas/domain/qemu/1.0"
#define AGENT_CHANNEL "org.qemu.guest_agent.0"

/* Sixteen bytes in hexadecimal, with dashes or without, in the usual form with dashes. */
static int read_uuid(const char *text, char **ret_uuid, struct error *err)
{
    char uuid[37];
    size_t n = 0;

    for (const char *p = text; *p; p++) {
        if (*p == '-')
            continue;
        if (n == 8 || n == 13 || n == 18 || n == 23)
            uuid[n++] = '-';
        if (n == 36 || !isxdigit((unsigned char)*p))
            return tree_fail(err, "the <uuid> is not a UUID");
        uuid[n++] = (char)tolower((unsigned char)*p);
    }
    if (n != 36)
        return tree_fail(err, "the <uuid> is not a UUID");
    uuid[n] = '\0';
    *ret_uuid = xstrdup(uuid);
    return 0;
}

static int read_identity(xmlNode *root, struct domain_def *def, struct error *err)
{
    _cleanup_free_ char *uuid = tree_text(tree_child(root, "uuid"));

    def->name = tree_text(tree_child(root, "name"));
    if (!def->name || !def->name[0])
        return tree_fail(err, "the <domain> has no <name>");
    if (uuid)
        return read_uuid(uuid, &def->uuid, err);
    return 0;
}

/* The path in a QEMU address "unix:PATH,option,…", in which ",," is a comma; NULL for another one.
 */
static char *unix_path(const char *address)
{
    char *path, *to;

    if (strncmp(address, "unix:", 5) != 0)
        return NULL;
    path = to = xstrdup(address + 5);
    for (const char *from = path; *from; from++) {
        if (*from == ',' && *++from != ',')
            break;
        *to++ = *from;
    }
    *to = '\0';
    return path;
}

static int read_qmp(xmlNode *root, struct domain_def *def, struct error *err)
{
    bool wanted = false; /* the argument before this one was -qmp */

    for (xmlNode *line = root->children; line; line = line->next) {
        if (line->type != XML_ELEMENT_NODE || !line->ns ||
            strcmp((const char *)line->ns->href, QEMU_NAMESPACE) != 0 ||
            strcmp((const char *)line->name, "commandline") != 0)
            continue;
        for (xmlNode *arg = line->children; arg && !def->qmp; arg = arg->next) {
            _cleanup_free_ char *value = NULL;

            if (arg->type != XML_ELEMENT_NODE || strcmp((const char *)arg->name, "arg") != 0)
                continue;
            value = tree_attribute(arg, "value");
            if (wanted && value)
                def->qmp = unix_path(value);
            wanted = value && (strcmp(value, "-qmp") == 0 || strcmp(value, "--qmp") == 0);
        }
    }
    return def->qmp ? tree_check_path(def->qmp, "-qmp", err) : 0;
}

static int read_agent(xmlNode *devices, struct domain_def *def, struct error *err)
{
    for (xmlNode *c = devices ? devices->children : NULL; c; c = c->next) {
        _cleanup_free_ char *path = NULL;

        if (!tree_is(c, "channel") || !tree_attribute_is(c, "type", "unix") ||
            !tree_attribute_is(tree_child(c, "target"), "name", AGENT_CHANNEL))
            continue;
        /* A description of a guest that is shut off may leave the path to libvirt. */
        path = tree_attribute(tree_child(c, "source"), "path");
        if (!path)
            continue;
        if (tree_check_path(path, "the guest agent", err) < 0)
            return -1;
        def->agent = TAKE_PTR(path);
        return 0;
    }
    return 0;
}

static bool is_word(const char *text)
{
    size_t size = strspn(text, TREE_LETTERS "._-");

    return size > 0 && size <= 64 && !text[size];
}

struct domain_def_disk *domain_def_add_disk(struct domain_def *def, const char *target,
                                            const char *file)
{
    struct domain_def_disk *disk;

    def->disks = xrealloc(def->disks, def->n_disks + 1, sizeof(*disk));
    disk = &def->disks[def->n_disks++];
    *disk = (struct domain_def_disk){.target = xstrdup(target), .file = xstrdup(file)};
    return disk;
}

static int add_disk(struct domain_def *def, const char *target, const char *file,
                    const char *format, bool read_only, struct error *err)
{
    struct domain_def_disk *disk;

    if (tree_check_path(file, "a disk", err) < 0)
        return -1;
    if (!target || !is_word(target))
        return tree_fail(err, "the disk with '%s' has no usable <target dev>", file);
    if (format && !is_word(format))
        return tree_fail(err, "the format of '%s' is not one", target);
    if (def->n_disks == DOMAIN_XML_DISKS)
        return tree_fail(err, "there are more than %d disks", DOMAIN_XML_DISKS);
    for (size_t i = 0; i < def->n_disks; i++)
        if (strcmp(def->disks[i].target, target) == 0)
            return tree_fail(err, "two disks have the target '%s'", target);
    disk = domain_def_add_disk(def, target, file);
    disk->format = xstrdup(format ? format : "raw");
    disk->read_only = read_only;
    return 0;
}

static int read_disk(xmlNode *disk, struct domain_def *def, struct error *err)
{
    bool is_file = tree_attribute_is(disk, "type", "file"),
         is_block = tree_attribute_is(disk, "type", "block");
    _cleanup_free_ char *device = tree_attribute(disk, "device");
    _cleanup_free_ char *target = tree_attribute(tree_child(disk, "target"), "dev");
    _cleanup_free_ char *format = tree_attribute(tree_child(disk, "driver"), "type");
    _cleanup_free_ char *file =
        tree_attribute(tree_child(disk, "source"), is_file ? "file" : "dev");
    bool fixed = !device || strcmp(device, "disk") == 0;

    if (!is_file && !is_block)
        return 0;
    if (!fixed && strcmp(device, "cdrom") != 0 && strcmp(device, "floppy") != 0)
        return 0;
    if (!file && fixed)
        return tree_fail(err, "a disk of type '%s' has no source", is_file ? "file" : "block");
    if (!file)
        return 0;
    return add_disk(def, target, file, format, !fixed || tree_child(disk, "readonly"), err);
}

static int read_domain(xmlNode *root, struct domain_def *def, struct error *err)
{
    xmlNode *devices = tree_child(root, "devices");

    if (read_identity(root, def, err) < 0 || read_qmp(root, def, err) < 0 ||
        read_agent(devices, def, err) < 0)
        return -1;
    for (xmlNode *c = devices ? devices->children : NULL; c; c = c->next)
        if (tree_is(c, "disk") && read_disk(c, def, err) < 0)
            return -1;
    return 0;
}

void domain_def_init(struct domain_def *def)
{
    *def = (struct domain_def){0};
}

void domain_def_deinit(struct domain_def *def)
{
    for (size_t i = 0; i < def->n_disks; i++) {
        free(def->disks[i].target);
        free(def->disks[i].file);
        free(def->disks[i].format);
        free(def->disks[i].node);
    }
    free(def->disks);
    free(def->agent);
    free(def->qmp);
    free(def->uuid);
    free(def->name);
    domain_def_init(def);
}

int domain_xml_read(const char *xml, size_t size, struct domain_def *ret_def, struct error *err)
{
    _cleanup_(domain_def_deinit) struct domain_def def = {0};
    _cleanup_tree_ xmlDoc *doc = tree_read(xml, size, err);
    xmlNode *root;

    if (!doc)
        return -1;
    root = xmlDocGetRootElement(doc);
    if (!root || !tree_is(root, "domain"))
        return tree_fail(err, "the XML is not a <domain>");
    if (read_domain(root, &def, err) < 0)
        return -1;
    *ret_def = def;
    domain_def_init(&def);
    return 0;
}
