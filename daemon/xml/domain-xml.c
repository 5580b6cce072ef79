/* Two parts: a libxml2 parser that stops at what we do not take (size, depth, document type), and a
 * walk over the tree that picks the few elements of a <domain> that matter here.
 *
 * Every setting is on the parser's own context: libxml2's global handlers belong to nobody here, so
 * nothing is ever printed by it and threads cannot disturb each other. */
#include "xml/domain-xml.h"

#include <ctype.h>
#include <libxml/SAX2.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "proto/snapvm-errors.h"

#define QEMU_NAMESPACE "http://libvirt.org/schemas/domain/qemu/1.0"
#define AGENT_CHANNEL "org.qemu.guest_agent.0"

static int xml_fail(struct error *err, const char *format, ...) _printf_(2, 3);

static int xml_fail(struct error *err, const char *format, ...)
{
    _cleanup_free_ char *text = NULL;
    va_list args;

    va_start(args, format);
    text = xvasprintf(format, args);
    va_end(args);
    error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "%s", text);
    return error_text(err, "param", "xml");
}

/* What a parser may tell us while it runs; hangs at its context. */
struct parse {
    struct error *err;
    bool failed;
};

static void parse_refuse(xmlParserCtxt *context, const char *what)
{
    struct parse *parse = context->_private;

    if (!parse->failed)
        xml_fail(parse->err, "the XML %s (line %d)", what, xmlSAX2GetLineNumber(context));
    parse->failed = true;
    xmlStopParser(context);
}

static void on_doctype(void *data, const xmlChar *name _unused_, const xmlChar *external _unused_,
                       const xmlChar *system _unused_)
{
    parse_refuse(data, "has a document type, which is not accepted");
}

static void on_start(void *data, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
                     int n_namespaces, const xmlChar **namespaces, int n_attributes,
                     int n_defaulted, const xmlChar **attributes)
{
    xmlParserCtxt *context = data;

    if (context->nodeNr >= DOMAIN_XML_DEPTH)
        parse_refuse(context, "is nested too deeply");
    else
        xmlSAX2StartElementNs(data, name, prefix, uri, n_namespaces, namespaces, n_attributes,
                              n_defaulted, attributes);
}

/* The newer releases of libxml2 pass a const error. */
#if LIBXML_VERSION >= 21200
typedef const xmlError *xml_error;
#else
typedef xmlErrorPtr xml_error;
#endif

/* Bytes of libxml2's message that are shown: one line, and not much of what the client sent, cut
 * between characters. */
static int sentence_size(const char *message)
{
    size_t size = strcspn(message, "\n");

    if (size <= 200)
        return (int)size;
    for (size = 200; size > 0 && (message[size] & 0xc0) == 0x80; size--)
        ;
    return (int)size;
}

static void on_error(void *data, xml_error error)
{
    xmlParserCtxt *context = data;
    struct parse *parse = context->_private;

    if (error->level < XML_ERR_ERROR || parse->failed || !error->message)
        return;
    parse->failed = true;
    xml_fail(parse->err, "the XML is wrong in line %d: %.*s", error->line,
             sentence_size(error->message), error->message);
}

static void doc_freep(xmlDoc **doc)
{
    xmlFreeDoc(*doc);
}

static xmlDoc *xml_parse(const char *xml, size_t size, struct error *err)
{
    struct parse parse = {.err = err};
    xmlParserCtxt *context;
    xmlDoc *doc;

    if (size > DOMAIN_XML_BYTES) {
        xml_fail(err, "the XML is larger than %d bytes", DOMAIN_XML_BYTES);
        return NULL;
    }
    context = xmlNewParserCtxt();
    if (!context)
        abort();
    context->_private = &parse;
    context->sax->internalSubset = on_doctype;
    context->sax->startElementNs = on_start;
    context->sax->serror = on_error;
    doc = xmlCtxtReadMemory(context, xml, (int)size, NULL, "UTF-8",
                            XML_PARSE_NONET | XML_PARSE_NOCDATA);
    if (!doc && !parse.failed)
        xml_fail(err, "the XML is not well formed");
    if (doc && parse.failed) {
        xmlFreeDoc(doc);
        doc = NULL;
    }
    xmlFreeParserCtxt(context);
    return doc;
}

static bool is_element(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && !node->ns &&
           strcmp((const char *)node->name, name) == 0;
}

/* The first child of that name, NULL for none. Children of children are not looked at: <mirror> and
 * <backingStore> hold a <source> of their own. */
static xmlNode *child(const xmlNode *node, const char *name)
{
    for (xmlNode *c = node ? node->children : NULL; c; c = c->next)
        if (is_element(c, name))
            return c;
    return NULL;
}

/* An attribute's value, owned by the caller; NULL where it or the element is missing. */
static char *attribute(xmlNode *node, const char *name)
{
    xmlChar *value = node ? xmlGetNoNsProp(node, (const xmlChar *)name) : NULL;
    char *copy = xstrdup((const char *)value);

    xmlFree(value);
    return copy;
}

static bool attribute_is(xmlNode *node, const char *name, const char *wanted)
{
    _cleanup_free_ char *value = attribute(node, name);

    return value && strcmp(value, wanted) == 0;
}

static char *content(xmlNode *node)
{
    xmlChar *value = node ? xmlNodeGetContent(node) : NULL;
    char *copy = xstrdup((const char *)value);

    xmlFree(value);
    return copy;
}

/* A path must be absolute, of a length that a system call takes, and fit for a log line. */
static int check_path(const char *path, const char *what, struct error *err)
{
    if (strlen(path) >= PATH_MAX)
        return xml_fail(err, "the path of %s is too long", what);
    for (const char *p = path; *p; p++)
        if (iscntrl((unsigned char)*p))
            return xml_fail(err, "the path of %s holds a control character", what);
    if (path[0] != '/')
        return xml_fail(err, "the path of %s must be absolute: '%s'", what, path);
    return 0;
}

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
            return xml_fail(err, "the <uuid> is not a UUID");
        uuid[n++] = (char)tolower((unsigned char)*p);
    }
    if (n != 36)
        return xml_fail(err, "the <uuid> is not a UUID");
    uuid[n] = '\0';
    *ret_uuid = xstrdup(uuid);
    return 0;
}

static int read_identity(xmlNode *root, struct domain_def *def, struct error *err)
{
    _cleanup_free_ char *uuid = content(child(root, "uuid"));

    def->name = content(child(root, "name"));
    if (!def->name || !def->name[0])
        return xml_fail(err, "the <domain> has no <name>");
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
            value = attribute(arg, "value");
            if (wanted && value)
                def->qmp = unix_path(value);
            wanted = value && (strcmp(value, "-qmp") == 0 || strcmp(value, "--qmp") == 0);
        }
    }
    return def->qmp ? check_path(def->qmp, "-qmp", err) : 0;
}

static int read_agent(xmlNode *devices, struct domain_def *def, struct error *err)
{
    for (xmlNode *c = devices ? devices->children : NULL; c; c = c->next) {
        _cleanup_free_ char *path = NULL;

        if (!is_element(c, "channel") || !attribute_is(c, "type", "unix") ||
            !attribute_is(child(c, "target"), "name", AGENT_CHANNEL))
            continue;
        /* A description of a guest that is shut off may leave the path to libvirt. */
        path = attribute(child(c, "source"), "path");
        if (!path)
            continue;
        if (check_path(path, "the guest agent", err) < 0)
            return -1;
        def->agent = TAKE_PTR(path);
        return 0;
    }
    return 0;
}

static bool is_word(const char *text)
{
    size_t size = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

    return size > 0 && size <= 64 && !text[size];
}

static int add_disk(struct domain_def *def, const char *target, const char *file,
                    const char *format, bool read_only, struct error *err)
{
    if (check_path(file, "a disk", err) < 0)
        return -1;
    if (!target || !is_word(target))
        return xml_fail(err, "the disk with '%s' has no usable <target dev>", file);
    if (format && !is_word(format))
        return xml_fail(err, "the format of '%s' is not one", target);
    if (def->n_disks == DOMAIN_XML_DISKS)
        return xml_fail(err, "there are more than %d disks", DOMAIN_XML_DISKS);
    for (size_t i = 0; i < def->n_disks; i++)
        if (strcmp(def->disks[i].target, target) == 0)
            return xml_fail(err, "two disks have the target '%s'", target);
    def->disks = xrealloc(def->disks, def->n_disks + 1, sizeof(def->disks[0]));
    def->disks[def->n_disks++] = (struct domain_def_disk){
        .target = xstrdup(target),
        .file = xstrdup(file),
        .format = xstrdup(format ? format : "raw"),
        .read_only = read_only,
    };
    return 0;
}

static int read_disk(xmlNode *disk, struct domain_def *def, struct error *err)
{
    bool is_file = attribute_is(disk, "type", "file"),
         is_block = attribute_is(disk, "type", "block");
    _cleanup_free_ char *device = attribute(disk, "device");
    _cleanup_free_ char *target = attribute(child(disk, "target"), "dev");
    _cleanup_free_ char *format = attribute(child(disk, "driver"), "type");
    _cleanup_free_ char *file = attribute(child(disk, "source"), is_file ? "file" : "dev");
    bool fixed = !device || strcmp(device, "disk") == 0;

    if (!is_file && !is_block)
        return 0;
    if (!fixed && strcmp(device, "cdrom") != 0 && strcmp(device, "floppy") != 0)
        return 0;
    if (!file && fixed)
        return xml_fail(err, "a disk of type '%s' has no source", is_file ? "file" : "block");
    if (!file)
        return 0;
    return add_disk(def, target, file, format, !fixed || child(disk, "readonly"), err);
}

static int read_domain(xmlNode *root, struct domain_def *def, struct error *err)
{
    xmlNode *devices = child(root, "devices");

    if (read_identity(root, def, err) < 0 || read_qmp(root, def, err) < 0 ||
        read_agent(devices, def, err) < 0)
        return -1;
    for (xmlNode *c = devices ? devices->children : NULL; c; c = c->next)
        if (is_element(c, "disk") && read_disk(c, def, err) < 0)
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
    _cleanup_(doc_freep) xmlDoc *doc = xml_parse(xml, size, err);
    xmlNode *root;

    if (!doc)
        return -1;
    root = xmlDocGetRootElement(doc);
    if (!root || !is_element(root, "domain"))
        return xml_fail(err, "the XML is not a <domain>");
    if (read_domain(root, &def, err) < 0)
        return -1;
    *ret_def = def;
    domain_def_init(&def);
    return 0;
}
