#include "xml/schema.h"

#include <libxml/relaxng.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/domainsnapshot.h"
#include "xml/tree.h"

/* The newer releases of libxml2 pass a const error. */
#if LIBXML_VERSION >= 21200
typedef const xmlError *schema_error;
#else
typedef xmlErrorPtr schema_error;
#endif

struct check {
    struct error *err;
    bool failed;
};

/* The first one tells most: those behind it follow from it. */
static void on_error(void *arg, schema_error error)
{
    struct check *check = arg;
    const char *message = error->message ? error->message : "it does not fit";

    if (check->failed)
        return;
    check->failed = true;
    tree_fail(check->err, "the XML does not fit the schema in line %d: %.*s", error->line,
              tree_sentence(message), message);
}

/* The schema is our own: it can only fail to be read without memory, or by a change that no test
 * has seen. */
static xmlRelaxNG *schema_read(void)
{
    xmlRelaxNGParserCtxt *parser =
        xmlRelaxNGNewMemParserCtxt(domainsnapshot_rng, sizeof(domainsnapshot_rng) - 1);
    xmlRelaxNG *schema = parser ? xmlRelaxNGParse(parser) : NULL;

    if (!schema)
        abort();
    xmlRelaxNGFreeParserCtxt(parser);
    return schema;
}

int schema_check(xmlDoc *doc, struct error *err)
{
    struct check check = {.err = err};
    xmlRelaxNG *schema = schema_read();
    xmlRelaxNGValidCtxt *context = xmlRelaxNGNewValidCtxt(schema);
    int r;

    if (!context)
        abort();
    xmlRelaxNGSetValidStructuredErrors(context, on_error, &check);
    r = xmlRelaxNGValidateDoc(context, doc);
    xmlRelaxNGFreeValidCtxt(context);
    xmlRelaxNGFree(schema);
    if (r == 0)
        return 0;
    return check.failed ? -1 : tree_fail(err, "the XML does not fit the schema");
}
