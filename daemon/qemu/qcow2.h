/* The qcow2 header as bytes: written for new images, read for checks. Version 3, 64 KiB clusters,
 * 16-bit refcounts: what qemu-img makes by default. Pure: no files here. */
#ifndef SNAPVM_QEMU_QCOW2_H
#define SNAPVM_QEMU_QCOW2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Layout of an empty image: clusters 0 header, 1 refcount table, 2 first refcount block, then L1.
 */
struct qcow2_layout {
    size_t head_size;   /* bytes of the part that has content: header, refcount table and block */
    uint64_t file_size; /* bytes of the whole file; the L1 table behind the head is zeroes */
};

/* The head of an empty image, allocated; the file is `file_size` long and zero behind it. The
 * disk's size is rounded up to 512 bytes as QEMU does it, 0 is allowed. Backing names are 1 to 1023
 * bytes, formats 1 to 15; without a backing file both are NULL. Errors: InvalidParams, ImageError
 * (size over 2 PiB). */
int qcow2_format(uint64_t virtual_size, const char *backing, const char *backing_format,
                 unsigned char **ret_head, struct qcow2_layout *ret_layout, struct error *err);

struct qcow2_header {
    uint32_t version, cluster_bits, l1_size;
    uint64_t virtual_size, l1_offset, incompatible;
    uint32_t n_snapshots;           /* internal ones */
    uint64_t snapshots_offset;      /* of their table */
    char *backing, *backing_format; /* NULL: none */
    bool dirty, corrupt, data_file, encrypted;
    bool extended_l2; /* entries of 16 bytes, with a bitmap of subclusters */
};

/* Reads a header from the first bytes of a file (64 KiB are enough for every valid one). Every
 * offset is checked: guests write here. Error: ImageError with `reason`. */
int qcow2_parse(const unsigned char *data, size_t size, struct qcow2_header *ret_header,
                struct error *err);
void qcow2_header_deinit(struct qcow2_header *header);

/* QEMU opens no image with more internal snapshots, or a larger table of them. */
#define QCOW2_SNAPSHOTS_MAX 65536
#define QCOW2_SNAPSHOTS_BYTES (UINT64_C(64) << 20)
/* The longest row: fixed fields, 1 KiB of further ones, id and name. */
#define QCOW2_SNAPSHOT_BYTES (40 + 1024 + 2 * 65535 + 7)

/* A row of the table of internal snapshots; the texts are no strings, and belong to the data. */
struct qcow2_snapshot {
    const char *id, *name;
    size_t id_size, name_size;
    uint64_t vm_state_size; /* bytes of memory and device state; 0: the disk alone */
    uint64_t disk_size;     /* bytes; 0: that of the image */
    uint64_t l1_offset;     /* its own copy of the table that finds its clusters */
    uint32_t l1_size;       /* entries */
};

/* Reads the row at the beginning of `size` bytes of the table, which are the rest of it or at least
 * QCOW2_SNAPSHOT_BYTES, and where the next one begins. Error: ImageError with `reason`. */
int qcow2_parse_snapshot(const unsigned char *data, size_t size, struct qcow2_snapshot *ret_row,
                         size_t *ret_next, struct error *err);

#endif
