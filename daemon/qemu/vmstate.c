#include "qemu/vmstate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/memory.h"
#include "proto/snapvm-errors.h"

#define VMSTATE_MAGIC 0x5145564d /* "QEVM" */
#define VMSTATE_DESCRIPTION 0x06 /* the section that ends it: this byte, the size, JSON */
#define VMSTATE_HEAD 5
#define VMSTATE_TAIL (8 << 20) /* bytes in which the description is looked for */
#define VMSTATE_PROBE (64 << 10)

static int vmstate_error(struct error *err, int errnum, const char *path)
{
    char buffer[128];

    error_set_errno(err, SNAPVM_ERROR_IMAGE, errnum, "cannot read the saved memory %s", path);
    error_text(err, "file", path);
    return error_text(err, "reason", strerror_r(errnum, buffer, sizeof(buffer)));
}

static uint32_t be32(const unsigned char *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

static bool read_all(int fd, unsigned char *data, size_t size, off_t at)
{
    while (size > 0) {
        ssize_t n = pread(fd, data, size, at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = EIO; /* it is being cut off */
        if (n <= 0)
            return false;
        data += n;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

/* The end of the stream: from the last byte back to the one that begins the description. */
static bool has_description(const unsigned char *tail, size_t size)
{
    if (size < VMSTATE_HEAD + 2 || tail[size - 1] != '}')
        return false;
    for (size_t at = size - 2; at >= VMSTATE_HEAD; at--)
        if (tail[at] == '{' && tail[at - VMSTATE_HEAD] == VMSTATE_DESCRIPTION &&
            be32(tail + at - 4) == size - at)
            return true;
    return false;
}

int vmstate_is_whole(const char *path, bool *ret_whole, struct error *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    _cleanup_free_ unsigned char *tail = NULL;
    unsigned char magic[4];
    struct stat st;
    size_t size;

    if (fd < 0 || fstat(fd, &st) < 0)
        return vmstate_error(err, errno, path);
    *ret_whole = false;
    if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(magic))
        return 0;
    size = st.st_size < VMSTATE_TAIL ? (size_t)st.st_size : VMSTATE_TAIL;
    tail = xzalloc(size);
    if (!read_all(fd, magic, sizeof(magic), 0) ||
        !read_all(fd, tail, size, st.st_size - (off_t)size))
        return vmstate_error(err, errno, path);
    *ret_whole = be32(magic) == VMSTATE_MAGIC && has_description(tail, size);
    return 0;
}

int vmstate_need_whole(const char *path, struct error *err)
{
    bool whole = false;

    if (vmstate_is_whole(path, &whole, err) < 0)
        return -1;
    if (whole)
        return 0;
    error_set(err, SNAPVM_ERROR_IMAGE, "%s is no memory of a guest, or not whole", path);
    error_text(err, "file", path);
    return error_text(err, "reason", "not whole");
}

bool vmstate_is_begun(const char *path, const struct image_id *id)
{
    struct image_id found;
    struct stat st;

    if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
        return false;
    found = (struct image_id){.dev = st.st_dev, .ino = st.st_ino};
    return image_same(&found, id);
}

bool vmstate_lacks_room(const char *path)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    _cleanup_free_ char *block = xzalloc(VMSTATE_PROBE);
    struct statvfs room;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return false;
    if (fstatvfs(fd, &room) == 0 && room.f_blocks > 0 && room.f_bavail == 0)
        return true; /* we may have what is kept for root, and QEMU may not */
    return pwrite(fd, block, VMSTATE_PROBE, st.st_size) < 0 && (errno == ENOSPC || errno == EDQUOT);
}
