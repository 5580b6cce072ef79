/* Image files as files: made, looked at, compared, removed. Everything here blocks on the disk and
 * is called on the worker's thread (or before the loop runs). Nothing is ever probed for its
 * format: guests write into images, so the format is what the record or QEMU says. */
#ifndef SNAPVM_QEMU_IMAGE_H
#define SNAPVM_QEMU_IMAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* A file by identity: names lie (links, namespaces), device and inode do not. A block device is
 * told by its own number, with inode 0: it has an inode in every /dev. */
struct image_id {
    dev_t dev;
    ino_t ino;
};

/* Errors: ImageError with file and reason. */
int image_identify(const char *path, struct image_id *ret_id, struct error *err);
bool image_same(const struct image_id *a, const struct image_id *b);

struct image_new {
    const char *path;           /* for this daemon (through /proc/PID/root where needed) */
    const char *name;           /* for messages: as the guest's QEMU sees it */
    const char *like;           /* an image, for this daemon: owner and mode come from it */
    const char *format;         /* "qcow2" or "raw" */
    const char *backing;        /* absolute name written into the header; NULL: none */
    const char *backing_format; /* written into the header */
    int64_t size;               /* virtual size in bytes */
    bool unsynced;              /* image_sync() is called later: the caller has work meanwhile */
    bool secret;                /* its owner's alone: mode 0600, whatever the other's is */
};

/* Makes an empty image: O_EXCL, never follows a link, owner and read and write bits of another one
 * (its owner can always read and write it), header, fsync of the file and of its folder. On an
 * error nothing is left behind. Errors: AlreadyExists (object image), NoSpace, ImageError. */
int image_create(const struct image_new *image, struct image_id *ret_id, struct error *err);

/* Whether a file holds nothing but what image_create() writes, or a part of it: what the crash of a
 * host leaves of one that was not synced. False also where it cannot be read. */
bool image_is_half_made(const struct image_new *image);

/* Syncs a new file and its folder. Error: ImageError. */
int image_sync(const char *path, struct error *err);

/* Whether a file begins as a qcow2 image does, to hold against what a person claims of it: never to
 * decide how it is read. Error: ImageError. */
int image_has_magic(const char *path, bool *ret_has, struct error *err);

/* Syncs an image of somebody's, whatever kind of name it has. Error: ImageError. */
int image_sync_data(const char *path, struct error *err);

struct image_info {
    int64_t virtual_size, actual_size; /* bytes */
    char *backing, *backing_format;    /* NULL: none in the header */
    bool dirty, corrupt, data_file, encrypted;
};

/* Reads an image of a known format ("qcow2" or "raw") by its header. The size of a raw one is
 * rounded up to 512 bytes as QEMU does it. Errors: ImageError. */
int image_read(const char *path, const char *format, struct image_info *ret_info,
               struct error *err);
void image_info_deinit(struct image_info *info);

/* Removes a file if it is still the one with that identity, and syncs its folder. A file that is
 * gone already is no error; another file, a link or a device under the name is, and so is a folder
 * that cannot be reached: ImageError. */
int image_remove(const char *path, const struct image_id *id, struct error *err);

/* What a qcow2 image has inside: a snapshot of that name, and how the disk compares with it and
 * with all others. A disk that is written to gets other clusters than its snapshots, so that the
 * same ones mean the same content. While QEMU changes over to a snapshot the disk holds some
 * clusters of it and some of before, and last of all it unmarks those that both refer to: with
 * such marks left a guest would write into the snapshot. */
#define IMAGE_INSIDE_ID 32
struct image_inside {
    bool has;                 /* a snapshot of that name */
    bool memory;              /* that one has the guest's memory */
    bool resized;             /* that one is of a disk of another size */
    bool at;                  /* the disk is what that one holds, and marked so */
    bool saved;               /* all that the disk holds is in snapshots inside */
    char id[IMAGE_INSIDE_ID]; /* of the one of that name */
};

/* Error: ImageError. */
int image_look_inside(const char *path, const char *name, struct image_inside *ret_inside,
                      struct error *err);

/* Whether a qcow2 overlay holds no data of its own: every L1 entry is empty and there is no
 * internal snapshot. Error: ImageError, also for a file that ends inside the table. */
int image_is_empty(const char *path, bool *ret_empty, struct error *err);

#endif
