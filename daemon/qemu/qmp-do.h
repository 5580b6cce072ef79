/* What the files of typed commands share. */
#ifndef SNAPVM_QEMU_QMP_DO_H
#define SNAPVM_QEMU_QMP_DO_H

#include "proto/json.h"
#include "qemu/qmp-command.h"

/* A command that changes something and whose result says no more than yes. The arguments are taken
 * over; NULL: none. */
void qmp_do(struct qmp *qmp, const char *command, json_object *arguments, qmp_done_fn fn,
            void *arg);

/* The same with a file descriptor, taken over, that goes to QEMU with the command. */
void qmp_do_with_fd(struct qmp *qmp, const char *command, json_object *arguments, int fd,
                    qmp_done_fn fn, void *arg);

#endif
