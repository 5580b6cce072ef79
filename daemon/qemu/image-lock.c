/* The bytes are part of QEMU's contract with itself (block/file-posix.c): who has a permission
 * holds a shared lock on byte 100 + its number, who does not share it with others one on byte 200 +
 * its number. Whoever wants to open a file takes its own locks first, and then looks whether
 * somebody else's stand against them, by asking for an exclusive lock without taking it. */
#include "qemu/image-lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "proto/snapvm-errors.h"

#define LOCK_HAS 100
#define LOCK_KEEPS 200
#define PERMISSION_READ 0
#define PERMISSION_WRITE 1

static int lock_errno(struct error *err, const char *name, const char *what)
{
    char buffer[128];
    int errnum = errno;

    error_set_errno(err, SNAPVM_ERROR_IMAGE, errnum, "cannot %s image '%s'", what, name);
    error_text(err, "file", name);
    return error_text(err, "reason", strerror_r(errnum, buffer, sizeof(buffer)));
}

int image_in_use(struct error *err, const char *name)
{
    error_set(err, SNAPVM_ERROR_IMAGE,
              "%s is held by another process: the guest runs although its monitor does not answer, "
              "or a tool works on the image; end it and try again",
              name);
    error_text(err, "file", name);
    return error_text(err, "reason", "in use");
}

static int lock_open(const char *path, const char *name, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    return fd < 0 ? lock_errno(err, name, "open") : fd;
}

/* Whether another open file has a lock on that byte. Returns -1 with errno. */
static int lock_stands(int fd, int byte)
{
    struct flock lock = {
        .l_type = F_WRLCK,
        .l_whence = SEEK_SET,
        .l_start = byte,
        .l_len = 1,
    };

    if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
        return -1;
    return lock.l_type != F_UNLCK;
}

int image_holders(const char *path, struct image_holders *ret, struct error *err)
{
    _cleanup_close_ int fd = lock_open(path, path, err);
    int readers, writers;

    if (fd < 0)
        return -1;
    readers = lock_stands(fd, LOCK_HAS + PERMISSION_READ);
    writers = lock_stands(fd, LOCK_HAS + PERMISSION_WRITE);
    if (readers < 0 || writers < 0)
        return lock_errno(err, path, "see the locks of");
    *ret = (struct image_holders){.readers = readers, .writers = writers};
    return 0;
}

int image_keep_writers_out(const char *path, const char *name, int *ret_fd, struct error *err)
{
    _cleanup_close_ int fd = lock_open(path, name, err);
    struct flock lock = {
        .l_type = F_RDLCK,
        .l_whence = SEEK_SET,
        .l_start = LOCK_KEEPS + PERMISSION_WRITE,
        .l_len = 1,
    };
    int writers;

    if (fd < 0)
        return -1;
    if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
        return errno == EAGAIN || errno == EACCES ? image_in_use(err, name)
                                                  : lock_errno(err, name, "lock");
    writers = lock_stands(fd, LOCK_HAS + PERMISSION_WRITE);
    if (writers < 0)
        return lock_errno(err, name, "see the locks of");
    if (writers)
        return image_in_use(err, name);
    *ret_fd = TAKE_FD(fd);
    return 0;
}
