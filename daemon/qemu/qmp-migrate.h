/* A migration into a file, which is how QEMU saves the memory of a guest: the file is ours and QEMU
 * gets a descriptor of it, so that it needs no right to open it. */
#ifndef SNAPVM_QEMU_QMP_MIGRATE_H
#define SNAPVM_QEMU_QMP_MIGRATE_H

#include "qemu/qmp-command.h"

/* Hands QEMU a descriptor (taken over) under a name, which it keeps over lost connections until the
 * migration to that name begins, or it is closed. */
void qmp_getfd(struct qmp *qmp, const char *name, int fd, qmp_done_fn fn, void *arg);
void qmp_closefd(struct qmp *qmp, const char *name, qmp_done_fn fn, void *arg);

/* Whether the guest can be migrated into a plain file as it is set up: Busy while a block job
 * works, InvalidState while another migration runs or a capability is on with which that goes
 * wrong, QemuError where a device or the like forbids it. QEMU is then told to send an event
 * whenever the state of a migration changes. */
void qmp_migrate_prepare(struct qmp *qmp, qmp_done_fn fn, void *arg);

/* Begins the migration; success means "accepted". It uses the descriptor up. */
void qmp_migrate(struct qmp *qmp, const char *name, qmp_done_fn fn, void *arg);

/* Asks QEMU to give the migration up, whosever it is; one that has ended is no error. */
void qmp_migrate_cancel(struct qmp *qmp, qmp_done_fn fn, void *arg);

#endif
