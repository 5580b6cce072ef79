/* Where devices sit on QEMU's PCI buses, by the numbers that the guest gave the buses: what a guest
 * says of its disks is held against it. */
#ifndef SNAPVM_QEMU_QMP_PCI_H
#define SNAPVM_QEMU_QMP_PCI_H

#include <stdint.h>

#include "base/error.h"

struct json_object;
struct qmp;

struct qmp_pci {
    char *qdev; /* the device's id; those without one are left out */
    int64_t bus, slot, function;
};

/* The devices live as long as the call of the callback. */
typedef void (*qmp_pci_fn)(void *arg, const struct qmp_pci *devices, unsigned n,
                           const struct error *err);
void qmp_query_pci(struct qmp *qmp, qmp_pci_fn fn, void *arg);

/* Reads the reply: how many; the list is the caller's. */
unsigned qmp_pci_read(struct json_object *reply, struct qmp_pci **ret_devices);
struct qmp_pci *qmp_pci_free(struct qmp_pci *devices, unsigned n);

#endif
