/* A file system that forgets what was not synced, for tests of what a host's crash leaves.
 *
 *     dropfs [FUSE options] FOLDER MOUNTPOINT
 *
 * It serves a copy of FOLDER from memory. Making MOUNTPOINT/.sync is sync(2). Making
 * MOUNTPOINT/.cut-SHARE-SEED is the end of power (see disk.h); from then on every call fails. */
#define FUSE_USE_VERSION 31

#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "disk.h"

#define DISK_BLOCKS (UINT64_C(1) << 22) /* what statfs tells: 16 GiB */

static struct disk *disk(void)
{
    return fuse_get_context()->private_data;
}

static struct node *node_find(const char *path, const struct fuse_file_info *fi)
{
    const char *name;
    struct node *folder;
    struct entry *entry;

    if (fi && fi->fh)
        return (struct node *)(uintptr_t)fi->fh;
    if (strcmp(path, "/") == 0)
        return disk()->root;
    folder = node_folder(disk()->root, path, &name);
    entry = folder ? list_find(&folder->now, name, strlen(name)) : NULL;
    return entry ? entry->node : NULL;
}

/* Whether a new file's name is a command to the file system itself. */
static bool is_command(const char *path)
{
    unsigned share, seed;

    if (strcmp(path, "/.sync") == 0)
        node_sync_all(disk()->root);
    else if (sscanf(path, "/.cut-%u-%u", &share, &seed) == 2)
        disk_cut(disk(), share, seed);
    else
        return false;
    return true;
}

static int drop_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
    const struct node *node = disk()->cut ? NULL : node_find(path, fi);

    if (!node)
        return disk()->cut ? -EIO : -ENOENT;
    *st = (struct stat){.st_ino = node->number,
                        .st_mode = node->mode,
                        .st_nlink = 1,
                        .st_uid = node->uid,
                        .st_gid = node->gid,
                        .st_blksize = DISK_BLOCK,
                        .st_mtim = node->changed,
                        .st_ctim = node->changed};
    if (node->data >= 0) {
        struct stat data;

        if (fstat(node->data, &data) < 0)
            return -errno;
        st->st_size = data.st_size;
        st->st_blocks = data.st_blocks;
    }
    return 0;
}

static int make(const char *path, mode_t mode, struct node **ret_node)
{
    const char *name;
    struct node *folder, *node;

    if (disk()->cut || is_command(path))
        return -EIO;
    folder = node_folder(disk()->root, path, &name);
    if (!folder)
        return -ENOENT;
    if (list_find(&folder->now, name, strlen(name)))
        return -EEXIST;
    node = node_new(disk(), mode);
    node->uid = fuse_get_context()->uid;
    node->gid = fuse_get_context()->gid;
    list_add(&folder->now, name, node);
    if (ret_node)
        *ret_node = node;
    return 0;
}

static int drop_mknod(const char *path, mode_t mode, dev_t device)
{
    (void)device;
    return make(path, mode, NULL);
}

static int drop_mkdir(const char *path, mode_t mode)
{
    return make(path, S_IFDIR | mode, NULL);
}

static int drop_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    struct node *node;
    int result = make(path, S_IFREG | mode, &node);

    if (result == 0)
        fi->fh = (uintptr_t)node;
    return result;
}

static int drop_open(const char *path, struct fuse_file_info *fi)
{
    struct node *node = disk()->cut ? NULL : node_find(path, NULL);

    if (!node)
        return disk()->cut ? -EIO : -ENOENT;
    fi->fh = (uintptr_t)node;
    return 0;
}

static int remove_entry(const char *path, bool folder)
{
    const char *name;
    struct node *parent = disk()->cut ? NULL : node_folder(disk()->root, path, &name);
    struct entry *entry = parent ? list_find(&parent->now, name, strlen(name)) : NULL;

    if (!entry)
        return disk()->cut ? -EIO : -ENOENT;
    if (folder && entry->node->now.n > 0)
        return -ENOTEMPTY;
    list_drop(&parent->now, entry);
    return 0;
}

static int drop_unlink(const char *path)
{
    return remove_entry(path, false);
}

static int drop_rmdir(const char *path)
{
    return remove_entry(path, true);
}

static int drop_rename(const char *from, const char *to, unsigned flags)
{
    const char *name;
    struct node *node = disk()->cut ? NULL : node_find(from, NULL), *folder;

    if (!node)
        return disk()->cut ? -EIO : -ENOENT;
    if (flags)
        return -EINVAL;
    folder = node_folder(disk()->root, to, &name);
    if (!folder)
        return -ENOENT;
    if (node_find(to, NULL))
        remove_entry(to, false);
    remove_entry(from, false);
    list_add(&folder->now, name, node);
    return 0;
}

static int drop_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    struct node *node = disk()->cut ? NULL : node_find(path, fi);

    if (!node)
        return disk()->cut ? -EIO : -ENOENT;
    node->mode = (node->mode & S_IFMT) | (mode & 07777);
    return 0;
}

static int drop_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *fi)
{
    struct node *node = disk()->cut ? NULL : node_find(path, fi);

    if (!node)
        return disk()->cut ? -EIO : -ENOENT;
    node->uid = uid == (uid_t)-1 ? node->uid : uid;
    node->gid = gid == (gid_t)-1 ? node->gid : gid;
    return 0;
}

static int drop_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *fi)
{
    (void)path, (void)times, (void)fi;
    return disk()->cut ? -EIO : 0;
}

static int drop_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
    struct node *node = disk()->cut ? NULL : node_find(path, fi);
    off_t before;

    if (!node || node->data < 0)
        return disk()->cut ? -EIO : -ENOENT;
    before = data_size(node->data);
    if (ftruncate(node->data, size) < 0)
        return -errno;
    node_soil(node, size < before ? size : before, size < before ? before : size);
    return 0;
}

static int drop_read(const char *path, char *buffer, size_t size, off_t offset,
                     struct fuse_file_info *fi)
{
    const struct node *node = node_find(path, fi);
    ssize_t n = disk()->cut ? -1 : pread(node->data, buffer, size, offset);

    return n < 0 ? -EIO : (int)n;
}

static int drop_write(const char *path, const char *buffer, size_t size, off_t offset,
                      struct fuse_file_info *fi)
{
    struct node *node = node_find(path, fi);
    ssize_t n = disk()->cut ? -1 : pwrite(node->data, buffer, size, offset);

    if (n < 0)
        return -EIO;
    node_soil(node, offset, offset + n);
    return (int)n;
}

static int drop_fallocate(const char *path, int mode, off_t offset, off_t length,
                          struct fuse_file_info *fi)
{
    struct node *node = node_find(path, fi);

    if (disk()->cut)
        return -EIO;
    if (fallocate(node->data, mode, offset, length) < 0)
        return -errno;
    node_soil(node, offset, offset + length);
    return 0;
}

static off_t drop_lseek(const char *path, off_t offset, int whence, struct fuse_file_info *fi)
{
    off_t at = disk()->cut ? -1 : lseek(node_find(path, fi)->data, offset, whence);

    return at < 0 ? -(off_t)(disk()->cut ? EIO : errno) : at;
}

static int drop_fsync(const char *path, int data_only, struct fuse_file_info *fi)
{
    struct node *node = disk()->cut ? NULL : node_find(path, fi);

    (void)data_only;
    if (!node)
        return -EIO;
    node_sync(node);
    return 0;
}

static int drop_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset,
                        struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
    const struct node *node = disk()->cut ? NULL : node_find(path, fi);

    (void)offset, (void)flags;
    if (!node)
        return -EIO;
    for (size_t i = 0; i < node->now.n; i++)
        fill(buffer, node->now.entries[i].name, NULL, 0, (enum fuse_fill_dir_flags)0);
    return 0;
}

static int drop_statfs(const char *path, struct statvfs *st)
{
    (void)path;
    *st = (struct statvfs){.f_bsize = DISK_BLOCK,
                           .f_frsize = DISK_BLOCK,
                           .f_blocks = DISK_BLOCKS,
                           .f_bfree = DISK_BLOCKS,
                           .f_bavail = DISK_BLOCKS,
                           .f_namemax = NAME_MAX};
    return 0;
}

static void *drop_init(struct fuse_conn_info *conn, struct fuse_config *config)
{
    (void)conn;
    config->use_ino = 1;
    config->hard_remove = 1; /* open files live on by their handle */
    return disk();
}

static const struct fuse_operations calls = {
    .init = drop_init,
    .getattr = drop_getattr,
    .mknod = drop_mknod,
    .mkdir = drop_mkdir,
    .create = drop_create,
    .open = drop_open,
    .unlink = drop_unlink,
    .rmdir = drop_rmdir,
    .rename = drop_rename,
    .chmod = drop_chmod,
    .chown = drop_chown,
    .utimens = drop_utimens,
    .truncate = drop_truncate,
    .read = drop_read,
    .write = drop_write,
    .fallocate = drop_fallocate,
    .lseek = drop_lseek,
    .fsync = drop_fsync,
    .fsyncdir = drop_fsync,
    .opendir = drop_open,
    .readdir = drop_readdir,
    .statfs = drop_statfs,
};

int main(int argc, char **argv)
{
    struct rlimit files = {1 << 16, 1 << 16};
    struct disk served = {0};

    if (argc < 3) {
        fprintf(stderr, "usage: dropfs [FUSE options] FOLDER MOUNTPOINT\n");
        return 2;
    }
    setrlimit(RLIMIT_NOFILE, &files);
    served.folder = realpath(argv[argc - 2], NULL);
    if (!served.folder) {
        perror(argv[argc - 2]);
        return 1;
    }
    disk_load(&served);
    argv[argc - 2] = argv[argc - 1];
    return fuse_main(argc - 1, argv, &calls, &served);
}
