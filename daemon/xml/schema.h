/* The RELAX NG schema of a <domainsnapshot>, which the daemon carries inside itself. */
#ifndef SNAPVM_XML_SCHEMA_H
#define SNAPVM_XML_SCHEMA_H

#include <libxml/tree.h>

struct error;

/* InvalidParams with param "xml", the line and what does not fit there. */
int schema_check(xmlDoc *doc, struct error *err);

#endif
