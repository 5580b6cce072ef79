#include "qemu/qmp-pci.h"

#include <stdlib.h>

#include "base/memory.h"
#include "proto/json.h"
#include "qemu/qmp.h"

/* Bridges in bridges: more than any machine has. */
#define PCI_DEPTH 8

struct pci_list {
    struct qmp_pci *devices;
    unsigned n;
};

struct pci_query {
    qmp_pci_fn fn;
    void *arg;
};

static void pci_read_bus(struct pci_list *list, json_object *bus, unsigned depth);

static void pci_read_device(struct pci_list *list, json_object *object, unsigned depth)
{
    const char *qdev = json_string(object, "qdev_id");
    json_object *bridge = json_sub(object, "pci_bridge");

    if (qdev && qdev[0]) {
        list->devices = xrealloc(list->devices, list->n + 1, sizeof(*list->devices));
        list->devices[list->n++] = (struct qmp_pci){
            .qdev = xstrdup(qdev),
            .bus = json_int(object, "bus", -1),
            .slot = json_int(object, "slot", -1),
            .function = json_int(object, "function", -1),
        };
    }
    if (bridge && depth > 0)
        pci_read_bus(list, bridge, depth - 1);
}

static void pci_read_bus(struct pci_list *list, json_object *bus, unsigned depth)
{
    json_object *devices = json_array(bus, "devices");

    for (size_t i = 0; devices && i < json_object_array_length(devices); i++)
        pci_read_device(list, json_object_array_get_idx(devices, i), depth);
}

unsigned qmp_pci_read(json_object *reply, struct qmp_pci **ret_devices)
{
    struct pci_list list = {0};

    if (json_object_is_type(reply, json_type_array))
        for (size_t i = 0; i < json_object_array_length(reply); i++)
            pci_read_bus(&list, json_object_array_get_idx(reply, i), PCI_DEPTH);
    *ret_devices = list.devices;
    return list.n;
}

struct qmp_pci *qmp_pci_free(struct qmp_pci *devices, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        free(devices[i].qdev);
    free(devices);
    return NULL;
}

static void pci_replied(void *arg, json_object *result, const struct error *err)
{
    _cleanup_free_ struct pci_query *query = arg;
    struct qmp_pci *devices;
    unsigned n = qmp_pci_read(result, &devices);

    query->fn(query->arg, devices, n, err);
    qmp_pci_free(devices, n);
}

void qmp_query_pci(struct qmp *qmp, qmp_pci_fn fn, void *arg)
{
    struct pci_query *query = xzalloc(sizeof(*query));

    *query = (struct pci_query){.fn = fn, .arg = arg};
    qmp_send(qmp, &(struct qmp_request){
                      .command = "query-pci", .fn = pci_replied, .drop = free, .arg = query});
}
