#include "qemu/qmp-out.h"

#include <errno.h>
#include <event2/buffer.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"

struct qmp_out_fd {
    STAILQ_ENTRY(qmp_out_fd) link; /* qmp_out::fds, by their place */
    uint64_t at;                   /* of the first byte of its command */
    int fd;
};

void qmp_out_init(struct qmp_out *out)
{
    *out = (struct qmp_out){.bytes = evbuffer_new()};
    STAILQ_INIT(&out->fds);
}

static void qmp_out_drop(struct qmp_out *out)
{
    struct qmp_out_fd *first = STAILQ_FIRST(&out->fds);

    STAILQ_REMOVE_HEAD(&out->fds, link);
    close(first->fd);
    free(first);
}

void qmp_out_deinit(struct qmp_out *out)
{
    while (!STAILQ_EMPTY(&out->fds))
        qmp_out_drop(out);
    evbuffer_free(out->bytes);
    free(out->laid);
}

void qmp_out_lay(struct qmp_out *out, int sock, const char *line)
{
    ssize_t n;

    if (out->laid || evbuffer_get_length(out->bytes) > 0)
        return;
    n = send(sock, line, strlen(line) - 1, MSG_NOSIGNAL);
    if (n <= 0)
        return; /* what ails the socket shows when the command is sent */
    out->laid = xstrndup(line, (size_t)n);
    out->n_laid = (size_t)n;
}

bool qmp_out_differs(const struct qmp_out *out, const char *line, int fd)
{
    return out->laid && (fd >= 0 || strncmp(line, out->laid, out->n_laid) != 0);
}

static void qmp_out_forget(struct qmp_out *out)
{
    free(out->laid);
    out->laid = NULL;
    out->n_laid = 0;
}

uint64_t qmp_out_take_back(struct qmp_out *out)
{
    qmp_out_forget(out);
    evbuffer_add(out->bytes, "\xff", 1);
    return ++out->queued;
}

uint64_t qmp_out_put(struct qmp_out *out, const char *line, int fd)
{
    size_t size = strlen(line) - out->n_laid;
    struct qmp_out_fd *entry;

    if (fd >= 0) {
        entry = xzalloc(sizeof(*entry));
        *entry = (struct qmp_out_fd){.at = out->queued, .fd = fd};
        STAILQ_INSERT_TAIL(&out->fds, entry, link);
    }
    evbuffer_add(out->bytes, line + out->n_laid, size);
    qmp_out_forget(out);
    evbuffer_add(out->bytes, "\n", 1);
    out->queued += size + 1;
    return out->queued;
}

static ssize_t send_with(int sock, int fd, void *data, size_t size)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec piece = {.iov_base = data, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &piece,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control.bytes),
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(fd));
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    return sendmsg(sock, &message, MSG_NOSIGNAL);
}

/* One write: up to the next descriptor, or with the one that is due. */
static ssize_t qmp_out_piece(struct qmp_out *out, int sock)
{
    const struct qmp_out_fd *first = STAILQ_FIRST(&out->fds), *next;
    size_t size = evbuffer_get_length(out->bytes);
    bool due = first && first->at == out->left;
    void *data = evbuffer_pullup(out->bytes, -1);
    ssize_t n;

    next = due ? STAILQ_NEXT(first, link) : first;
    if (next)
        size = (size_t)(next->at - out->left);
    n = due ? send_with(sock, first->fd, data, size) : send(sock, data, size, MSG_NOSIGNAL);
    if (n > 0 && due)
        qmp_out_drop(out);
    return n;
}

int qmp_out_send(struct qmp_out *out, int sock)
{
    ssize_t n;

    while (evbuffer_get_length(out->bytes) > 0) {
        n = qmp_out_piece(out, sock);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 1 : -1;
        evbuffer_drain(out->bytes, (size_t)n);
        out->left += (uint64_t)n;
    }
    return 0;
}
