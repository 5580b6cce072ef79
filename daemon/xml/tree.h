/* XML from a client as a tree: bounded, without document type and entities, and nothing is fetched.
 * Every fault is InvalidParams with param "xml". */
#ifndef SNAPVM_XML_TREE_H
#define SNAPVM_XML_TREE_H

#include <libxml/tree.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct error;

#define TREE_BYTES (1024 * 1024)
#define TREE_DEPTH 64

/* A document of `size` bytes of UTF-8, owned by the caller; NULL with the line of the fault. Blanks
 * between elements are dropped. */
xmlDoc *tree_read(const char *xml, size_t size, struct error *err);

static inline void tree_freep(xmlDoc **doc)
{
    xmlFreeDoc(*doc);
}

#define _cleanup_tree_ _cleanup_(tree_freep)

int tree_fail(struct error *err, const char *format, ...) _printf_(2, 3);

/* Bytes of libxml2's message that are shown: one line, and not much of what the client sent, cut
 * between characters. */
int tree_sentence(const char *message);

/* Whether a node is an element of that name and of no namespace. */
bool tree_is(const xmlNode *node, const char *name);

/* The first child of that name, NULL for none. Children of children are not looked at: <mirror> and
 * <backingStore> hold a <source> of their own. */
xmlNode *tree_child(const xmlNode *node, const char *name);

/* An attribute's value, owned by the caller; NULL where it or the element is missing. */
char *tree_attribute(xmlNode *node, const char *name);
bool tree_attribute_is(xmlNode *node, const char *name, const char *wanted);

/* All text in an element, owned by the caller; NULL without an element. */
char *tree_text(xmlNode *node);

/* An element with all that is in it as text, owned by the caller; indented for people. */
char *tree_print(xmlNode *node, bool indented);

#define TREE_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

/* A path must be absolute, of a length that a system call takes, and fit for a log line. `what` is
 * whose it is. */
int tree_check_path(const char *path, const char *what, struct error *err);

#endif
