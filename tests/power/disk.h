/* The disk of dropfs.c: files and folders as they are, and as they were when they were synced last.
 *
 * What a real file system promises beyond POSIX, as to keep the order of changes in several
 * folders, is not promised here. Nodes are never freed: a disk lives as long as a test's try. */
#ifndef SNAPVM_TESTS_POWER_DISK_H
#define SNAPVM_TESTS_POWER_DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

struct entry {
    char *name;
    struct node *node;
};

struct list {
    struct entry *entries;
    size_t n;
};

struct node {
    mode_t mode;
    uid_t uid;
    gid_t gid;
    struct timespec changed;
    ino_t number;
    struct list now, synced; /* of a folder */
    int data, old;           /* of a file: memory files, as it is and as it was synced */
    uint8_t *dirty;          /* bit n: block n has changed since */
    size_t n_dirty;          /* bytes there */
};

struct disk {
    struct node *root;
    char *folder;
    ino_t last;
    bool cut;
};

#define DISK_BLOCK 4096

/* Fills a disk with a copy of its folder: all is synced. */
void disk_load(struct disk *disk);

/* The end of power: writes what is left to FOLDER.after. Of what was not synced `share` percent of
 * the blocks and of the folders' changes are kept, and `seed` says which. */
void disk_cut(struct disk *disk, unsigned share, unsigned seed);

struct node *node_new(struct disk *disk, mode_t mode);

/* The folder that a path lies in, and its last name; NULL when there is no such folder. */
struct node *node_folder(struct node *root, const char *path, const char **ret_name);

/* Bytes in a memory file. */
off_t data_size(int fd);

/* Bytes of a file have changed. */
void node_soil(struct node *node, off_t from, off_t to);

/* fsync of a file or a folder, and of all below a folder. */
void node_sync(struct node *node);
void node_sync_all(struct node *node);

struct entry *list_find(const struct list *list, const char *name, size_t length);
void list_add(struct list *list, const char *name, struct node *node);
void list_drop(struct list *list, struct entry *entry);

#endif
