#include "rpc/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "proto/snapvm-errors.h"

static void make_folder(const char *path)
{
    _cleanup_free_ char *folder = xstrdup(path);
    char *end = strrchr(folder, '/');

    if (!end || end == folder)
        return;
    *end = '\0';
    /* Whether it is there is what bind() tells. */
    (void)mkdir(folder, 0755);
}

/* Whether somebody answers at the address. A full queue is an answer too. */
static bool is_live(const struct sockaddr_un *address)
{
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
        return true;
    return errno != ECONNREFUSED && errno != ENOENT;
}

/* Clears the path of what a dead daemon left there. */
static int remove_stale(const struct sockaddr_un *address, struct error *err)
{
    struct stat st;

    if (lstat(address->sun_path, &st) < 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return error_set(err, SNAPVM_ERROR_INVALID_STATE,
                         "%s is no socket: move it away, or choose another path",
                         address->sun_path);
    if (is_live(address))
        return error_set(err, SNAPVM_ERROR_BUSY,
                         "another daemon answers at %s: stop it, or choose another socket",
                         address->sun_path);
    if (unlink(address->sun_path) < 0 && errno != ENOENT)
        return error_set_errno(err, SNAPVM_ERROR_INTERNAL, errno,
                               "%s, left by a dead daemon, cannot be removed", address->sun_path);
    return 0;
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    return address;
}

int listener_open(struct listener *listener, const char *path, struct error *err)
{
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = address_of(path);

    if (strlen(path) >= sizeof(address.sun_path))
        return error_set(err, SNAPVM_ERROR_INVALID_PARAMS,
                         "%s is longer than a socket's path may be (107 bytes)", path);
    make_folder(path);
    if (remove_stale(&address, err) < 0)
        return -1;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        chmod(path, 0666) < 0 || listen(fd, SOMAXCONN) < 0)
        return error_set_errno(err, SNAPVM_ERROR_INTERNAL, errno, "cannot listen at %s", path);
    *listener = (struct listener){.fd = TAKE_FD(fd), .path = xstrdup(path)};
    return 0;
}

void listener_adopt(struct listener *listener, int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    *listener = (struct listener){.fd = fd};
}

void listener_close(struct listener *listener)
{
    struct sockaddr_un address;

    if (listener->fd < 0)
        return;
    close(listener->fd);
    if (listener->path) {
        address = address_of(listener->path);
        (void)remove_stale(&address, NULL);
    }
    free(listener->path);
    *listener = (struct listener){.fd = -1};
}
