/* The qcow2 header as bytes: written for new overlays, read for checks. Version 3, 64 KiB clusters,
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

/* The head of an empty overlay, allocated; the file is `file_size` long and zero behind it. The
 * disk's size is rounded up to 512 bytes as QEMU does it, 0 is allowed. Backing names are 1 to 1023
 * bytes, formats 1 to 15. Errors: InvalidParams, ImageError (size over 2 PiB). */
int qcow2_format(uint64_t virtual_size, const char *backing, const char *backing_format,
                 unsigned char **ret_head, struct qcow2_layout *ret_layout, struct error *err);

struct qcow2_header {
    uint32_t version, cluster_bits, l1_size;
    uint64_t virtual_size, l1_offset, incompatible;
    uint32_t n_snapshots;           /* internal ones */
    char *backing, *backing_format; /* NULL: none */
    bool dirty, corrupt, data_file, encrypted;
};

/* Reads a header from the first bytes of a file (64 KiB are enough for every valid one). Every
 * offset is checked: guests write here. Error: ImageError with `reason`. */
int qcow2_parse(const unsigned char *data, size_t size, struct qcow2_header *ret_header,
                struct error *err);
void qcow2_header_deinit(struct qcow2_header *header);

#endif
