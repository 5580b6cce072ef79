#include "bench/raw-qmp.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/memory.h"
#include "bench/guest.h"

#define ROOM (64 * 1024)

struct raw_qmp {
    int fd;
    char in[ROOM], out[ROOM];
    size_t start, end; /* what of `in` is unread */
};

/* The next line, valid until the next call. */
static char *raw_qmp_line(struct raw_qmp *qmp)
{
    char *line, *newline;
    ssize_t n;

    while (!(newline = memchr(qmp->in + qmp->start, '\n', qmp->end - qmp->start))) {
        memmove(qmp->in, qmp->in + qmp->start, qmp->end - qmp->start);
        qmp->end -= qmp->start;
        qmp->start = 0;
        n = recv(qmp->fd, qmp->in + qmp->end, ROOM - qmp->end, 0);
        if (n <= 0)
            die("the monitor is lost, or its line too long");
        qmp->end += (size_t)n;
    }
    *newline = '\0';
    line = qmp->in + qmp->start;
    qmp->start = (size_t)(newline + 1 - qmp->in);
    return line;
}

struct raw_qmp *raw_qmp_new(const char *path)
{
    struct raw_qmp *qmp = xzalloc(sizeof(*qmp));
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(address.sun_path))
        die("%s: too long for a socket's name", path);
    strcpy(address.sun_path, path);
    qmp->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(qmp->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        die("%s: %s", path, strerror(errno));
    raw_qmp_line(qmp);
    raw_qmp_send(qmp, "{\"execute\":\"qmp_capabilities\"}\n");
    raw_qmp_wait(qmp, 1, NULL);
    return qmp;
}

void raw_qmp_send(struct raw_qmp *qmp, const char *format, ...)
{
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(qmp->out, ROOM, format, args);
    va_end(args);
    if (size < 0 || size >= ROOM || send(qmp->fd, qmp->out, (size_t)size, MSG_NOSIGNAL) != size)
        die("the monitor takes no command");
}

static int64_t number_behind(const char *line, const char *name)
{
    const char *found = strstr(line, name);

    return found ? strtoll(found + strlen(name), NULL, 10) : 0;
}

static bool is_status(const char *line, const char *status)
{
    const char *found = strstr(line, "\"status\": \"");

    found = found && strstr(line, "\"JOB_STATUS_CHANGE\"") ? found + strlen("\"status\": \"")
                                                           : NULL;
    return found && strncmp(found, status, strlen(status)) == 0 && found[strlen(status)] == '"';
}

struct raw_event raw_qmp_wait(struct raw_qmp *qmp, unsigned n, const char *status)
{
    struct raw_event event = {0};

    while (n > 0 || status) {
        const char *line = raw_qmp_line(qmp);

        if (strstr(line, "\"event\": \"")) {
            if (!status || !is_status(line, status))
                continue;
            event.seen = clock_now();
            event.stamp = number_behind(line, "\"seconds\": ") * 1000000 +
                          number_behind(line, "\"microseconds\": ");
            status = NULL;
        } else if (strstr(line, "\"error\": ") || n == 0) {
            die("QEMU said: %s", line);
        } else {
            n--;
        }
    }
    return event;
}

void raw_qmp_drain(struct raw_qmp *qmp)
{
    qmp->start = qmp->end = 0;
    while (recv(qmp->fd, qmp->in, ROOM, MSG_DONTWAIT) > 0)
        ;
}
