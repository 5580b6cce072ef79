/* What goes out to a monitor: bytes in order, and file descriptors among them. A descriptor goes
 * with the first byte of the command that needs it (SCM_RIGHTS): QEMU keeps the last one that came,
 * so nothing that was written before may be in the same write. */
#ifndef SNAPVM_QEMU_QMP_OUT_H
#define SNAPVM_QEMU_QMP_OUT_H

#include <stdint.h>
#include <sys/queue.h>

struct evbuffer;
struct qmp_out_fd;

struct qmp_out {
    struct evbuffer *bytes;
    uint64_t queued, left; /* bytes ever put, and taken by the kernel */
    STAILQ_HEAD(, qmp_out_fd) fds;
};

void qmp_out_init(struct qmp_out *out);
void qmp_out_deinit(struct qmp_out *out);

/* Puts a line, whose end is added, with a descriptor (taken over; -1: none). Returns where it ends,
 * counted over all that was ever put. */
uint64_t qmp_out_put(struct qmp_out *out, const char *line, int fd);

/* Sends as much as the socket takes: 0 when all has left, 1 when the socket has to be waited for,
 * -1 with errno. */
int qmp_out_send(struct qmp_out *out, int sock);

#endif
