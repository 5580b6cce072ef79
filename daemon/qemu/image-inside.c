/* What is inside a qcow2 image: its table of snapshots, and whether the disk is what one of them
 * holds. A snapshot is a copy of the disk's first table; both refer to the same clusters until one
 * of these is written to, which gives the disk another one. */
#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "qemu/image-read.h"
#include "qemu/image.h"
#include "qemu/qcow2.h"

/* The mark of a cluster that nobody else refers to, which is written to where it lies. */
#define QCOW2_COPIED (UINT64_C(1) << 63)
#define INSIDE_ENTRIES (IMAGE_PIECE / 8)
#define INSIDE_BYTES_MAX (UINT64_C(1) << 30)

/* Where a snapshot inside has its copy of the table that finds the disk's clusters. */
struct inside_table {
    uint64_t offset;
    uint32_t size; /* entries */
};

struct inside_scan {
    int fd;
    const char *path, *name;
    const struct qcow2_header *header;
    struct inside_table *tables; /* of the snapshots that have the disk's size */
    unsigned n_tables, meant;    /* the one of that name; n_tables or more: of another size, none */
    struct image_inside inside;
};

/* Part of a table as it lies in the file; zeroes behind its end. */
static int inside_read(const struct inside_scan *scan, uint64_t offset, uint32_t size,
                       uint32_t first, uint64_t *entries)
{
    uint32_t n = first >= size ? 0 : size - first;
    ssize_t got;

    if (n > INSIDE_ENTRIES)
        n = INSIDE_ENTRIES;
    got = image_pread(scan->fd, (unsigned char *)entries, (size_t)n * 8,
                      offset + (uint64_t)first * 8);
    if (got < 0)
        return -1;
    memset((unsigned char *)entries + got, 0, IMAGE_PIECE - (size_t)got);
    return 0;
}

/* One piece of the disk's table against those of all snapshots. */
static int inside_compare(struct inside_scan *scan, uint32_t first, uint32_t n, uint64_t *own,
                          uint64_t *kept)
{
    const uint64_t copied = htobe64(QCOW2_COPIED);
    bool found[INSIDE_ENTRIES] = {0};

    if (inside_read(scan, scan->header->l1_offset, scan->header->l1_size, first, own) < 0)
        return -1;
    for (unsigned i = 0; i < scan->n_tables; i++) {
        const struct inside_table *table = &scan->tables[i];

        if (inside_read(scan, table->offset, table->size, first, kept) < 0)
            return -1;
        for (uint32_t k = 0; k < n; k++) {
            bool same = ((own[k] ^ kept[k]) & ~copied) == 0;

            found[k] |= same;
            if (i == scan->meant)
                scan->inside.at &= same && !(own[k] & copied);
        }
    }
    for (uint32_t k = 0; k < n; k++)
        scan->inside.saved &= found[k];
    return 0;
}

/* The memory of a guest lies behind the disk, where its table has entries of their own. */
static uint32_t inside_entries(const struct qcow2_header *header)
{
    unsigned bits = 2 * header->cluster_bits - (header->extended_l2 ? 4 : 3);
    uint64_t n = (header->virtual_size >> bits) + !!(header->virtual_size & ((1ULL << bits) - 1));

    return n > header->l1_size ? header->l1_size : (uint32_t)n;
}

static int inside_compare_all(struct inside_scan *scan, struct error *err)
{
    _cleanup_free_ uint64_t *own = xzalloc(IMAGE_PIECE), *kept = xzalloc(IMAGE_PIECE);
    uint32_t n = inside_entries(scan->header);

    scan->inside.at = scan->meant < scan->n_tables;
    scan->inside.saved = scan->n_tables > 0;
    if ((uint64_t)n * 8 * scan->n_tables > INSIDE_BYTES_MAX)
        return image_error(err, scan->path, "its snapshots have too large tables");
    for (uint32_t first = 0; first < n; first += INSIDE_ENTRIES) {
        uint32_t piece = n - first < INSIDE_ENTRIES ? n - first : INSIDE_ENTRIES;

        if (inside_compare(scan, first, piece, own, kept) < 0)
            return image_errno(err, errno, scan->path, "read");
    }
    return 0;
}

static int inside_take_row(struct inside_scan *scan, const struct qcow2_snapshot *row,
                           struct error *err)
{
    bool meant = !scan->inside.has && row->name_size == strlen(scan->name) &&
                 memcmp(row->name, scan->name, row->name_size) == 0;
    bool sized = row->disk_size == 0 || row->disk_size == scan->header->virtual_size;

    if (meant && row->id_size >= IMAGE_INSIDE_ID)
        return image_error(err, scan->path, "the number of a snapshot is out of range");
    if (meant) {
        scan->meant = sized ? scan->n_tables : UINT_MAX;
        scan->inside.has = true;
        scan->inside.resized = !sized;
        scan->inside.memory = row->vm_state_size > 0;
        memcpy(scan->inside.id, row->id, row->id_size);
        scan->inside.id[row->id_size] = '\0';
    }
    if (!sized)
        return 0;
    scan->tables = xrealloc(scan->tables, scan->n_tables + 1, sizeof(*scan->tables));
    scan->tables[scan->n_tables++] =
        (struct inside_table){.offset = row->l1_offset, .size = row->l1_size};
    return 0;
}

/* Walks the table with a window that always holds a whole row. */
static int inside_scan_rows(struct inside_scan *scan, struct error *err)
{
    _cleanup_free_ unsigned char *window = xzalloc(QCOW2_SNAPSHOT_BYTES);
    uint64_t at = scan->header->snapshots_offset, end = at + QCOW2_SNAPSHOTS_BYTES;

    if (scan->header->n_snapshots > QCOW2_SNAPSHOTS_MAX || at > INT64_MAX / 2)
        return image_error(err, scan->path, "the table of snapshots is out of range");
    for (uint32_t i = 0; i < scan->header->n_snapshots; i++) {
        ssize_t n = image_pread(scan->fd, window, QCOW2_SNAPSHOT_BYTES, at);
        _cleanup_error_ struct error why = {0};
        struct qcow2_snapshot row;
        size_t next;

        if (n < 0)
            return image_errno(err, errno, scan->path, "read");
        if (qcow2_parse_snapshot(window, (size_t)n, &row, &next, &why) < 0)
            return image_error(err, scan->path, error_get(&why, "reason"));
        if (inside_take_row(scan, &row, err) < 0)
            return -1;
        at += next;
        if (at > end)
            return image_error(err, scan->path, "the table of snapshots is too large");
    }
    return 0;
}

int image_look_inside(const char *path, const char *name, struct image_inside *ret_inside,
                      struct error *err)
{
    _cleanup_close_ int fd = -1;
    struct qcow2_header header;
    struct inside_scan scan;
    struct stat st;
    int r;

    fd = image_open(path, &st, err);
    if (fd < 0 || image_read_header(fd, path, &header, err) < 0)
        return -1;
    scan = (struct inside_scan){
        .fd = fd, .path = path, .name = name, .header = &header, .meant = UINT_MAX};
    r = inside_scan_rows(&scan, err);
    if (r == 0)
        r = inside_compare_all(&scan, err);
    free(scan.tables);
    qcow2_header_deinit(&header);
    if (r == 0)
        *ret_inside = scan.inside;
    return r;
}
