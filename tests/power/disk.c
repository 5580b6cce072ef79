#include "disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

struct node *node_new(struct disk *disk, mode_t mode)
{
    struct node *node = must(calloc(1, sizeof(*node)));

    node->mode = mode;
    node->number = ++disk->last;
    node->data = node->old = -1;
    clock_gettime(CLOCK_REALTIME, &node->changed);
    if (S_ISREG(mode)) {
        node->data = memfd_create("data", 0);
        node->old = memfd_create("old", 0);
        if (node->data < 0 || node->old < 0)
            abort();
    }
    return node;
}

struct entry *list_find(const struct list *list, const char *name, size_t length)
{
    for (size_t i = 0; i < list->n; i++)
        if (strlen(list->entries[i].name) == length &&
            memcmp(list->entries[i].name, name, length) == 0)
            return &list->entries[i];
    return NULL;
}

void list_add(struct list *list, const char *name, struct node *node)
{
    list->entries = must(realloc(list->entries, (list->n + 1) * sizeof(*list->entries)));
    list->entries[list->n++] = (struct entry){must(strdup(name)), node};
}

void list_drop(struct list *list, struct entry *entry)
{
    free(entry->name);
    *entry = list->entries[--list->n];
}

static void list_copy(struct list *to, const struct list *from)
{
    while (to->n > 0)
        list_drop(to, &to->entries[to->n - 1]);
    for (size_t i = 0; i < from->n; i++)
        list_add(to, from->entries[i].name, from->entries[i].node);
}

struct node *node_folder(struct node *root, const char *path, const char **ret_name)
{
    struct node *at = root;

    for (;;) {
        size_t length = strcspn(++path, "/");
        struct entry *entry;

        if (!path[length]) {
            *ret_name = path;
            return S_ISDIR(at->mode) ? at : NULL;
        }
        entry = list_find(&at->now, path, length);
        if (!entry)
            return NULL;
        at = entry->node;
        path += length;
    }
}

off_t data_size(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? st.st_size : 0;
}

void node_soil(struct node *node, off_t from, off_t to)
{
    for (off_t block = from / DISK_BLOCK; block * DISK_BLOCK < to; block++) {
        size_t byte = (size_t)(block / 8);

        if (byte >= node->n_dirty) {
            node->dirty = must(realloc(node->dirty, byte + 1));
            memset(node->dirty + node->n_dirty, 0, byte + 1 - node->n_dirty);
            node->n_dirty = byte + 1;
        }
        node->dirty[byte] |= (uint8_t)(1u << (block % 8));
    }
    clock_gettime(CLOCK_REALTIME, &node->changed);
}

static bool node_is_dirty(const struct node *node, off_t block)
{
    return (size_t)(block / 8) < node->n_dirty && (node->dirty[block / 8] >> (block % 8) & 1);
}

/* A block of what is there goes into what will be left. */
static void node_keep_block(const struct node *node, off_t block, off_t end)
{
    char buffer[DISK_BLOCK] = {0};
    off_t at = block * DISK_BLOCK;
    size_t size = at + DISK_BLOCK > end ? (size_t)(end - at) : DISK_BLOCK;

    if (at < end && (pread(node->data, buffer, size, at) < 0 ||
                     pwrite(node->old, buffer, size, at) != (ssize_t)size))
        abort();
}

void node_sync(struct node *node)
{
    off_t size;

    if (S_ISDIR(node->mode))
        list_copy(&node->synced, &node->now);
    if (node->data < 0)
        return;
    size = data_size(node->data);
    for (off_t block = 0; block < (off_t)node->n_dirty * 8; block++)
        if (node_is_dirty(node, block))
            node_keep_block(node, block, size);
    if (ftruncate(node->old, size) < 0)
        abort();
    node->n_dirty = 0;
}

void node_sync_all(struct node *node)
{
    node_sync(node);
    for (size_t i = 0; i < node->now.n; i++)
        node_sync_all(node->now.entries[i].node);
}

/* --- the end of power --- */

struct chance {
    unsigned share;
    unsigned short state[3];
};

static bool chance_hits(struct chance *chance)
{
    return (unsigned)nrand48(chance->state) % 100 < chance->share;
}

static void cut_file(const struct node *node, struct chance *chance)
{
    off_t size = data_size(node->data), kept = data_size(node->old);
    bool all = true;

    for (off_t block = 0; block < (off_t)node->n_dirty * 8; block++) {
        if (!node_is_dirty(node, block))
            continue;
        if (!chance_hits(chance))
            all = false;
        else
            node_keep_block(node, block, size);
    }
    /* What was cut off is gone, or not. */
    if ((all || (size < kept && chance_hits(chance))) && ftruncate(node->old, size) < 0)
        abort();
}

static void copy_out(int from, const char *path, mode_t mode)
{
    int to = open(path, O_WRONLY | O_CREAT | O_EXCL, mode & 07777);
    off_t size = data_size(from), at = 0, hole;
    char buffer[1 << 16];

    if (to < 0 || ftruncate(to, size) < 0)
        abort();
    while ((at = lseek(from, at, SEEK_DATA)) >= 0 && at < size) {
        hole = lseek(from, at, SEEK_HOLE);
        while (at < hole) {
            size_t wanted = hole - at < (off_t)sizeof(buffer) ? (size_t)(hole - at)
                                                              : sizeof(buffer);
            ssize_t n = pread(from, buffer, wanted, at);

            if (n <= 0 || pwrite(to, buffer, (size_t)n, at) != n)
                abort();
            at += n;
        }
    }
    close(to);
}

/* A file is known by its number, also after a new start. */
static void keep_number(const struct node *node, const char *path)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = (time_t)node->number}};

    if (utimensat(AT_FDCWD, path, times, 0) < 0)
        abort();
}

static void cut_folder(const struct node *node, const char *path, struct chance *chance)
{
    const struct list *list = chance_hits(chance) ? &node->now : &node->synced;

    if (mkdir(path, node->mode & 07777) < 0 || chown(path, node->uid, node->gid) < 0)
        abort();
    for (size_t i = 0; i < list->n; i++) {
        const struct node *below = list->entries[i].node;
        char name[PATH_MAX];

        if ((size_t)snprintf(name, sizeof(name), "%s/%s", path, list->entries[i].name) >=
            sizeof(name))
            abort();
        if (S_ISDIR(below->mode)) {
            cut_folder(below, name, chance);
        } else if (S_ISREG(below->mode)) {
            cut_file(below, chance);
            copy_out(below->old, name, below->mode);
            if (chown(name, below->uid, below->gid) < 0)
                abort();
            keep_number(below, name);
        }
    }
    keep_number(node, path);
}

void disk_cut(struct disk *disk, unsigned share, unsigned seed)
{
    struct chance chance = {share, {0x330e, (unsigned short)seed, (unsigned short)(seed >> 16)}};
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s.after", disk->folder);
    cut_folder(disk->root, path, &chance);
    disk->cut = true;
}

/* --- start --- */

/* A time of modification before this one is a number that keep_number wrote. */
#define MADE_UP 1000000

static void load_file(struct node *node, const char *path)
{
    int from = open(path, O_RDONLY);
    char buffer[1 << 16];
    off_t at = 0;
    ssize_t n;

    if (from < 0 || ftruncate(node->data, data_size(from)) < 0)
        abort();
    while ((n = pread(from, buffer, sizeof(buffer), at)) > 0) {
        static const char zeroes[sizeof(buffer)];

        if (memcmp(buffer, zeroes, (size_t)n) != 0 &&
            (pwrite(node->data, buffer, (size_t)n, at) != n ||
             pwrite(node->old, buffer, (size_t)n, at) != n))
            abort();
        at += n;
    }
    if (ftruncate(node->old, at) < 0)
        abort();
    close(from);
}

static struct node *load(struct disk *disk, const char *path)
{
    struct stat st;
    struct node *node;
    struct dirent *found;
    DIR *dir;

    if (lstat(path, &st) < 0)
        abort();
    node = node_new(disk, st.st_mode);
    if (st.st_mtim.tv_sec < MADE_UP)
        node->number = (ino_t)st.st_mtim.tv_sec;
    if (node->number > disk->last)
        disk->last = node->number;
    node->uid = st.st_uid;
    node->gid = st.st_gid;
    if (S_ISREG(st.st_mode))
        load_file(node, path);
    if (!S_ISDIR(st.st_mode))
        return node;
    dir = must(opendir(path));
    while ((found = readdir(dir))) {
        char name[PATH_MAX];

        if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0)
            continue;
        snprintf(name, sizeof(name), "%s/%s", path, found->d_name);
        list_add(&node->now, found->d_name, load(disk, name));
    }
    closedir(dir);
    list_copy(&node->synced, &node->now);
    return node;
}

void disk_load(struct disk *disk)
{
    disk->root = load(disk, disk->folder);
}
