/* What goes out to a monitor: bytes in order, and file descriptors among them. A descriptor goes
 * with the first byte of the command that needs it (SCM_RIGHTS): QEMU keeps the last one that came,
 * so nothing that was written before may be in the same write.
 *
 * QEMU reads a monitor byte by byte, with a handful of system calls each, so that a long command
 * takes longer to be read than to be executed. One that is about to be sent may be laid out before:
 * QEMU has all of it but the brace at its end, and executes nothing that is not whole. */
#ifndef SNAPVM_QEMU_QMP_OUT_H
#define SNAPVM_QEMU_QMP_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct evbuffer;
struct qmp_out_fd;

struct qmp_out {
    struct evbuffer *bytes;
    uint64_t queued, left; /* bytes ever put, and taken by the kernel */
    STAILQ_HEAD(, qmp_out_fd) fds;
    char *laid;    /* what the kernel has taken of a command that was laid out; NULL: none was */
    size_t n_laid; /* bytes */
};

void qmp_out_init(struct qmp_out *out);
void qmp_out_deinit(struct qmp_out *out);

/* Sends a line but for its last byte, at once; does nothing while something else is on its way, or
 * laid out already. */
void qmp_out_lay(struct qmp_out *out, int sock, const char *line);

/* Whether something is laid out that is not the beginning of that line (fd: as for qmp_out_put). It
 * has to be taken back before the line is put. */
bool qmp_out_differs(const struct qmp_out *out, const char *line, int fd);

/* Makes QEMU forget what was laid out, which it answers with an error that has no id: "Forcing the
 * JSON parser into known-good state" in the specification of QMP. Returns as qmp_out_put does. */
uint64_t qmp_out_take_back(struct qmp_out *out);

/* Puts a line, whose end is added, with a descriptor (taken over; -1: none); of one that was laid
 * out the rest. Returns where it ends, counted over all that was ever put. */
uint64_t qmp_out_put(struct qmp_out *out, const char *line, int fd);

/* Sends as much as the socket takes: 0 when all has left, 1 when the socket has to be waited for,
 * -1 with errno. */
int qmp_out_send(struct qmp_out *out, int sock);

#endif
