/* Image files. A folder is opened once and files are reached through it, so that what is made,
 * removed and synced lies in one and the same folder. Nothing is opened for writing but what was
 * made here a moment before, and nothing is removed without a look at its inode. */
#include "qemu/image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "proto/snapvm-errors.h"
#include "qemu/image-read.h"
#include "qemu/qcow2.h"

#define IMAGE_HEADER_BYTES (64 * 1024)
#define IMAGE_SECTOR 512

int image_error(struct error *err, const char *file, const char *reason)
{
    error_set(err, SNAPVM_ERROR_IMAGE, "image '%s': %s", file, reason);
    error_text(err, "file", file);
    return error_text(err, "reason", reason);
}

/* errno as the contract tells it: a full disk has a kind of its own. */
int image_errno(struct error *err, int errnum, const char *file, const char *what)
{
    char buffer[128];

    if (errnum == ENOSPC || errnum == EDQUOT)
        return error_set_errno(err, SNAPVM_ERROR_NO_SPACE, errnum, "cannot %s image '%s'", what,
                               file);
    error_set_errno(err, SNAPVM_ERROR_IMAGE, errnum, "cannot %s image '%s'", what, file);
    error_text(err, "file", file);
    return error_text(err, "reason", strerror_r(errnum, buffer, sizeof(buffer)));
}

/* Block devices are told by their number: the same one has an inode in every container's /dev. */
static struct image_id image_id_of(const struct stat *st)
{
    if (S_ISBLK(st->st_mode))
        return (struct image_id){.dev = st->st_rdev, .ino = 0};
    return (struct image_id){.dev = st->st_dev, .ino = st->st_ino};
}

int image_identify(const char *path, struct image_id *ret_id, struct error *err)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return image_errno(err, errno, path, "find");
    *ret_id = image_id_of(&st);
    return 0;
}

bool image_same(const struct image_id *a, const struct image_id *b)
{
    return a->dev == b->dev && a->ino == b->ino;
}

/* Opens the folder of a path and says where the file's own name begins in it. */
static int image_open_folder(const char *path, const char **ret_name, int *ret_fd,
                             struct error *err)
{
    _cleanup_free_ char *folder = NULL;
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : "";
    int fd;

    if (*path != '/' || *name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return image_error(err, path, "this is no absolute name of a file");
    folder = slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return image_errno(err, errno, path, "reach the folder of");
    *ret_name = name;
    *ret_fd = fd;
    return 0;
}

/* Gives a new file the owner and the read and write bits of another image. Its owner can always
 * read and write it: a layer may have been made read-only as a base. */
static int image_give(int fd, const struct stat *like, bool secret, struct stat *ret_own)
{
    mode_t mode = (secret ? 0 : like->st_mode & 0666) | 0600;

    if (fstat(fd, ret_own) < 0)
        return -1;
    if ((ret_own->st_uid != like->st_uid || ret_own->st_gid != like->st_gid) &&
        fchown(fd, like->st_uid, like->st_gid) < 0)
        return -1;
    return (ret_own->st_mode & 07777) == mode ? 0 : fchmod(fd, mode);
}

static int image_write(int fd, const unsigned char *data, size_t size)
{
    off_t at = 0;

    while (size > 0) {
        ssize_t n = pwrite(fd, data, size, at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

static bool all_zero(const unsigned char *data, size_t size)
{
    return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

/* What an empty image has in front of its zeroes: of a raw one, nothing. */
static int image_head(const struct image_new *image, unsigned char **ret_head,
                      struct qcow2_layout *ret_layout, struct error *err)
{
    if (strcmp(image->format, "raw") != 0)
        return qcow2_format((uint64_t)image->size, image->backing, image->backing_format, ret_head,
                            ret_layout, err);
    *ret_layout = (struct qcow2_layout){.file_size = (uint64_t)image->size};
    return 0;
}

/* Fills and syncs the new file; what is done by then is undone by the caller. */
static int image_fill(int fd, int folder, const struct image_new *image, const struct stat *like,
                      struct image_id *ret_id, struct error *err)
{
    _cleanup_free_ unsigned char *head = NULL;
    struct qcow2_layout layout;
    struct stat own;

    if (image_head(image, &head, &layout, err) < 0)
        return error_text(err, "file", image->name);
    if (image_give(fd, like, image->secret, &own) < 0)
        return image_errno(err, errno, image->name, "set owner and mode of");
    if (image_write(fd, head, layout.head_size) < 0 || ftruncate(fd, (off_t)layout.file_size) < 0)
        return image_errno(err, errno, image->name, "write");
    if (!image->unsynced && (fsync(fd) < 0 || fsync(folder) < 0))
        return image_errno(err, errno, image->name, "sync");
    *ret_id = image_id_of(&own);
    return 0;
}

int image_create(const struct image_new *image, struct image_id *ret_id, struct error *err)
{
    _cleanup_close_ int folder = -1, fd = -1;
    const char *name;
    struct stat like;

    if (image->size < 0)
        return image_error(err, image->name, "the size of the disk is out of range");
    if (stat(image->like, &like) < 0)
        return image_errno(err, errno, image->backing ? image->backing : image->like, "find");
    if (image_open_folder(image->path, &name, &folder, err) < 0)
        return -1;
    fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST) {
        error_set(err, SNAPVM_ERROR_ALREADY_EXISTS,
                  "'%s' exists already: choose another name for the new image", image->name);
        error_text(err, "object", "image");
        return error_text(err, "name", image->name);
    }
    if (fd < 0)
        return image_errno(err, errno, image->name, "make");
    if (image_fill(fd, folder, image, &like, ret_id, err) < 0) {
        unlinkat(folder, name, 0);
        return -1;
    }
    return 0;
}

/* A sector reaches the disk whole, or not at all. */
static bool piece_is_of_head(const unsigned char *piece, size_t size, const unsigned char *head,
                             size_t head_size)
{
    for (size_t at = 0; at < size; at += IMAGE_SECTOR) {
        size_t n = size - at < IMAGE_SECTOR ? size - at : IMAGE_SECTOR;
        size_t m = at >= head_size ? 0 : head_size - at < n ? head_size - at : n;

        if (!all_zero(piece + at, n) &&
            (memcmp(piece + at, head + at, m) != 0 || !all_zero(piece + at + m, n - m)))
            return false;
    }
    return true;
}

static bool file_is_of_head(int fd, const unsigned char *head, size_t head_size)
{
    _cleanup_free_ unsigned char *piece = xzalloc(IMAGE_PIECE);
    off_t at = 0;

    while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
        ssize_t n;
        size_t begin;

        at -= at % IMAGE_SECTOR;
        begin = (uint64_t)at < head_size ? (size_t)at : head_size;
        n = pread(fd, piece, IMAGE_PIECE, at);
        if (n <= 0 || !piece_is_of_head(piece, (size_t)n, head + begin, head_size - begin))
            return n == 0;
        at += n;
    }
    return errno == ENXIO; /* no more data */
}

bool image_is_half_made(const struct image_new *image)
{
    _cleanup_close_ int fd = open(image->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    _cleanup_free_ unsigned char *head = NULL;
    struct qcow2_layout layout = {0};
    struct stat st;

    return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
           image_head(image, &head, &layout, NULL) == 0 &&
           (uint64_t)st.st_size <= layout.file_size && file_is_of_head(fd, head, layout.head_size);
}

int image_sync(const char *path, struct error *err)
{
    _cleanup_close_ int folder = -1, fd = -1;
    const char *name;

    if (image_open_folder(path, &name, &folder, err) < 0)
        return -1;
    fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fsync(fd) < 0 || fsync(folder) < 0)
        return image_errno(err, errno, path, "sync");
    return 0;
}

int image_sync_data(const char *path, struct error *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    return fd < 0 || fsync(fd) < 0 ? image_errno(err, errno, path, "sync") : 0;
}

static bool image_is_disk(const struct stat *st)
{
    return S_ISREG(st->st_mode) || S_ISBLK(st->st_mode);
}

/* Opens what may be an image for reading. A header may name any file: there are devices that do
 * something when they are opened, so it is looked at before; and a FIFO that takes its place must
 * not hang us. */
int image_open(const char *path, struct stat *ret_st, struct error *err)
{
    _cleanup_close_ int fd = -1;

    if (stat(path, ret_st) < 0)
        return image_errno(err, errno, path, "open");
    if (image_is_disk(ret_st)) {
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0 || fstat(fd, ret_st) < 0)
            return image_errno(err, errno, path, "open");
    }
    if (!image_is_disk(ret_st))
        return image_error(err, path, "this is neither a file nor a block device");
    return TAKE_FD(fd);
}

/* Reads up to `size` bytes; fewer only at the end of the file. -1 with errno. */
ssize_t image_pread(int fd, unsigned char *data, size_t size, uint64_t at)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = pread(fd, data + done, size - done, (off_t)(at + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

int image_has_magic(const char *path, bool *ret_has, struct error *err)
{
    static const unsigned char magic[] = {'Q', 'F', 'I', 0xfb};
    unsigned char data[sizeof(magic)];
    _cleanup_close_ int fd = -1;
    struct stat st;
    ssize_t n;

    fd = image_open(path, &st, err);
    if (fd < 0)
        return -1;
    n = image_pread(fd, data, sizeof(data), 0);
    if (n < 0)
        return image_errno(err, errno, path, "read");
    *ret_has = n == sizeof(data) && memcmp(data, magic, sizeof(magic)) == 0;
    return 0;
}

int image_read_header(int fd, const char *path, struct qcow2_header *ret_header, struct error *err)
{
    _cleanup_free_ unsigned char *data = xzalloc(IMAGE_HEADER_BYTES);
    _cleanup_error_ struct error why = {0};
    ssize_t n = image_pread(fd, data, IMAGE_HEADER_BYTES, 0);

    if (n < 0)
        return image_errno(err, errno, path, "read");
    if (qcow2_parse(data, (size_t)n, ret_header, &why) < 0)
        return image_error(err, path, error_get(&why, "reason"));
    return 0;
}

static int image_read_qcow2(int fd, const char *path, struct image_info *info, struct error *err)
{
    struct qcow2_header header;

    if (image_read_header(fd, path, &header, err) < 0)
        return -1;
    info->virtual_size = (int64_t)header.virtual_size;
    info->backing = TAKE_PTR(header.backing);
    info->backing_format = TAKE_PTR(header.backing_format);
    info->dirty = header.dirty;
    info->corrupt = header.corrupt;
    info->data_file = header.data_file;
    info->encrypted = header.encrypted;
    qcow2_header_deinit(&header);
    return 0;
}

/* A raw disk has whole sectors: QEMU shows a file that ends inside one as filled up with zeroes. */
static int image_read_raw(int fd, const char *path, const struct stat *st, struct image_info *info,
                          struct error *err)
{
    uint64_t size = (uint64_t)st->st_size;

    if (S_ISBLK(st->st_mode) && ioctl(fd, BLKGETSIZE64, &size) < 0)
        return image_errno(err, errno, path, "find the size of");
    if (size > INT64_MAX - IMAGE_SECTOR)
        return image_error(err, path, "the size of the disk is out of range");
    info->virtual_size = (int64_t)((size + IMAGE_SECTOR - 1) / IMAGE_SECTOR * IMAGE_SECTOR);
    return 0;
}

int image_read(const char *path, const char *format, struct image_info *ret_info, struct error *err)
{
    struct image_info info = {0};
    _cleanup_close_ int fd = -1;
    struct stat st;
    int r;

    if (strcmp(format, "qcow2") != 0 && strcmp(format, "raw") != 0)
        return image_error(err, path, "images of this format cannot be read here");
    fd = image_open(path, &st, err);
    if (fd < 0)
        return -1;
    info.actual_size = (int64_t)st.st_blocks * IMAGE_SECTOR;
    r = strcmp(format, "raw") == 0 ? image_read_raw(fd, path, &st, &info, err)
                                   : image_read_qcow2(fd, path, &info, err);
    if (r == 0)
        *ret_info = info;
    return r;
}

void image_info_deinit(struct image_info *info)
{
    free(info->backing);
    free(info->backing_format);
    *info = (struct image_info){0};
}

int image_remove(const char *path, const struct image_id *id, struct error *err)
{
    _cleanup_close_ int folder = -1;
    const char *name;
    struct image_id found;
    struct stat st;

    if (image_open_folder(path, &name, &folder, err) < 0)
        return -1;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT)
            return image_errno(err, errno, path, "find");
    } else {
        found = image_id_of(&st);
        if (!S_ISREG(st.st_mode) || !image_same(&found, id))
            return image_error(err, path, "another file has this name now, it is left alone");
        if (unlinkat(folder, name, 0) < 0 && errno != ENOENT)
            return image_errno(err, errno, path, "remove");
    }
    /* Also for a file that was gone: whoever removed it may not have synced the folder. */
    if (fsync(folder) < 0)
        return image_errno(err, errno, path, "sync the folder of");
    return 0;
}

static int image_scan_l1(int fd, const char *path, const struct qcow2_header *header,
                         bool *ret_empty, struct error *err)
{
    _cleanup_free_ unsigned char *piece = xzalloc(IMAGE_PIECE);
    uint64_t at = header->l1_offset, end = at + (uint64_t)header->l1_size * 8;

    for (; at < end; at += IMAGE_PIECE) {
        size_t size = end - at < IMAGE_PIECE ? (size_t)(end - at) : IMAGE_PIECE;
        ssize_t n = image_pread(fd, piece, size, at);

        if (n < 0)
            return image_errno(err, errno, path, "read");
        /* What lies behind the end reads as zeroes: a new overlay is made long only when filled. */
        if (!all_zero(piece, (size_t)n)) {
            *ret_empty = false;
            return 0;
        }
    }
    *ret_empty = true;
    return 0;
}

int image_is_empty(const char *path, bool *ret_empty, struct error *err)
{
    struct qcow2_header header;
    _cleanup_close_ int fd = -1;
    struct stat st;
    int r = 0;

    fd = image_open(path, &st, err);
    if (fd < 0 || image_read_header(fd, path, &header, err) < 0)
        return -1;
    /* What an internal snapshot holds is data too, and not in this table. */
    if (header.n_snapshots > 0)
        *ret_empty = false;
    else
        r = image_scan_l1(fd, path, &header, ret_empty, err);
    qcow2_header_deinit(&header);
    return r;
}
