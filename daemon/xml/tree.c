/* A libxml2 parser that stops at what is not taken here: size, depth, document type.
 *
 * Every setting is on the parser's own context: libxml2's global handlers belong to nobody here, so
 * nothing is ever printed by it and threads cannot disturb each other. */
#include "xml/tree.h"

#include <ctype.h>
#include <libxml/SAX2.h>
#include <libxml/parser.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "proto/snapvm-errors.h"

int tree_fail(struct error *err, const char *format, ...)
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
        tree_fail(parse->err, "the XML %s (line %d)", what, xmlSAX2GetLineNumber(context));
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

    if (context->nodeNr >= TREE_DEPTH)
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

int tree_sentence(const char *message)
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
    tree_fail(parse->err, "the XML is wrong in line %d: %.*s", error->line,
              tree_sentence(error->message), error->message);
}

xmlDoc *tree_read(const char *xml, size_t size, struct error *err)
{
    struct parse parse = {.err = err};
    xmlParserCtxt *context;
    xmlDoc *doc;

    if (size > TREE_BYTES) {
        tree_fail(err, "the XML is larger than %d bytes", TREE_BYTES);
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
                            XML_PARSE_NONET | XML_PARSE_NOCDATA | XML_PARSE_NOBLANKS);
    if (!doc && !parse.failed)
        tree_fail(err, "the XML is not well formed");
    if (doc && parse.failed) {
        xmlFreeDoc(doc);
        doc = NULL;
    }
    xmlFreeParserCtxt(context);
    return doc;
}

bool tree_is(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && !node->ns &&
           strcmp((const char *)node->name, name) == 0;
}

xmlNode *tree_child(const xmlNode *node, const char *name)
{
    for (xmlNode *c = node ? node->children : NULL; c; c = c->next)
        if (tree_is(c, name))
            return c;
    return NULL;
}

char *tree_attribute(xmlNode *node, const char *name)
{
    xmlChar *value = node ? xmlGetNoNsProp(node, (const xmlChar *)name) : NULL;
    char *copy = xstrdup((const char *)value);

    xmlFree(value);
    return copy;
}

bool tree_attribute_is(xmlNode *node, const char *name, const char *wanted)
{
    _cleanup_free_ char *value = tree_attribute(node, name);

    return value && strcmp(value, wanted) == 0;
}

char *tree_text(xmlNode *node)
{
    xmlChar *value = node ? xmlNodeGetContent(node) : NULL;
    char *copy = xstrdup((const char *)value);

    xmlFree(value);
    return copy;
}

char *tree_print(xmlNode *node, bool indented)
{
    xmlBuffer *buffer = xmlBufferCreate();
    char *text;

    if (!buffer || xmlNodeDump(buffer, node->doc, node, 0, indented) < 0)
        abort();
    text = xasprintf("%s%s", (const char *)xmlBufferContent(buffer), indented ? "\n" : "");
    xmlBufferFree(buffer);
    return text;
}

int tree_check_path(const char *path, const char *what, struct error *err)
{
    if (strlen(path) >= PATH_MAX)
        return tree_fail(err, "the path of %s is too long", what);
    for (const char *p = path; *p; p++)
        if (iscntrl((unsigned char)*p))
            return tree_fail(err, "the path of %s holds a control character", what);
    if (path[0] != '/')
        return tree_fail(err, "the path of %s must be absolute: '%s'", what, path);
    return 0;
}
