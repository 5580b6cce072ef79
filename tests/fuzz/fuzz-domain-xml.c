/* The reader of <domain> descriptions. It may refuse anything, but what it accepts keeps the
 * promises of its header. Sources: daemon/xml/domain-xml.c daemon/xml/tree.c */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "proto/snapvm-errors.h"
#include "xml/domain-xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void require_accepted(const struct domain_def *def)
{
    require(def->name && def->name[0]);
    require(!def->uuid || strlen(def->uuid) == 36);
    require(!def->qmp || def->qmp[0] == '/');
    require(!def->agent || def->agent[0] == '/');
    require(def->n_disks <= DOMAIN_XML_DISKS);
    for (size_t i = 0; i < def->n_disks; i++)
        require(def->disks[i].target[0] && def->disks[i].file[0] == '/' && def->disks[i].format[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(domain_def_deinit) struct domain_def def = {0};
    _cleanup_error_ struct error err = {0};

    if (domain_xml_read((const char *)data, size, &def, &err) == 0)
        require_accepted(&def);
    else
        require(err.code == SNAPVM_ERROR_INVALID_PARAMS && err.message && error_get(&err, "param"));
    return 0;
}
