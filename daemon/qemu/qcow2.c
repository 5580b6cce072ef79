/* The qcow2 header, both ways. All numbers are big-endian. In front stand the fixed fields, behind
 * them extensions (type, length, data padded to eight bytes) up to one of type 0, then the name of
 * the backing file; all of it lies in the first cluster. Clusters are counted in refcount blocks,
 * which the refcount table finds. The L1 table finds L2 tables, each of which maps one span of the
 * disk: an L1 table of zeroes is an image that reads through to its backing file. */
#include "qemu/qcow2.h"

#include <endian.h>
#include <string.h>

#include "base/memory.h"
#include "proto/snapvm-errors.h"

#define QCOW2_MAGIC UINT32_C(0x514649fb) /* "QFI\xfb" */
#define QCOW2_SIZE_V2 72
#define QCOW2_SIZE_V3 104
#define QCOW2_SIZE_OURS 112 /* with the type of compression, as qemu-img writes it since 5.1 */

#define QCOW2_CLUSTER_BITS 16
#define QCOW2_CLUSTER (UINT64_C(1) << QCOW2_CLUSTER_BITS)
#define QCOW2_L1_SPAN (QCOW2_CLUSTER * QCOW2_CLUSTER / 8) /* bytes of the disk in one L1 entry */
#define QCOW2_L1_BYTES_MAX (UINT64_C(32) << 20)           /* QEMU opens no larger table */
#define QCOW2_SIZE_MAX (QCOW2_L1_BYTES_MAX / 8 * QCOW2_L1_SPAN)
#define QCOW2_SECTOR 512

#define QCOW2_NAME_MAX 1023 /* bytes of a backing name */
#define QCOW2_FORMAT_MAX 15 /* bytes of a backing format */
#define QCOW2_EXT_END 0
#define QCOW2_EXT_BACKING_FORMAT UINT32_C(0xe2792aca)

#define QCOW2_INCOMPAT_DIRTY (UINT64_C(1) << 0)
#define QCOW2_INCOMPAT_CORRUPT (UINT64_C(1) << 1)
#define QCOW2_INCOMPAT_DATA_FILE (UINT64_C(1) << 2)
#define QCOW2_INCOMPAT_EXTENDED_L2 (UINT64_C(1) << 4)
#define QCOW2_INCOMPAT_KNOWN (UINT64_C(0x1f))

/* Offsets of the fixed fields. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 4,
    AT_BACKING_OFFSET = 8,
    AT_BACKING_SIZE = 16,
    AT_CLUSTER_BITS = 20,
    AT_SIZE = 24,
    AT_CRYPT = 32,
    AT_L1_SIZE = 36,
    AT_L1_OFFSET = 40,
    AT_REFCOUNT_OFFSET = 48,
    AT_REFCOUNT_CLUSTERS = 56,
    AT_SNAPSHOTS = 60,
    AT_SNAPSHOTS_OFFSET = 64,
    AT_INCOMPATIBLE = 72,
    AT_REFCOUNT_ORDER = 96,
    AT_HEADER_LENGTH = 100,
};

/* The same of a row in the table of snapshots. Behind the fixed fields stand further ones, then id
 * and name; the next row begins at a multiple of eight bytes. */
enum {
    ROW_L1_OFFSET = 0,
    ROW_L1_SIZE = 8,
    ROW_ID_SIZE = 12,
    ROW_NAME_SIZE = 14,
    ROW_STATE_SIZE = 32,
    ROW_FURTHER_SIZE = 36,
    ROW_FURTHER = 40,
    ROW_FURTHER_MAX = 1024,
};

static void put16(unsigned char *at, uint16_t value)
{
    value = htobe16(value);
    memcpy(at, &value, sizeof(value));
}

static void put32(unsigned char *at, uint32_t value)
{
    value = htobe32(value);
    memcpy(at, &value, sizeof(value));
}

static void put64(unsigned char *at, uint64_t value)
{
    value = htobe64(value);
    memcpy(at, &value, sizeof(value));
}

static uint16_t get16(const unsigned char *at)
{
    uint16_t value;

    memcpy(&value, at, sizeof(value));
    return be16toh(value);
}

static uint32_t get32(const unsigned char *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return be32toh(value);
}

static uint64_t get64(const unsigned char *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return be64toh(value);
}

static size_t align8(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

static int qcow2_check_request(uint64_t size, const char *backing, const char *format,
                               struct error *err)
{
    size_t name = backing ? strlen(backing) : 1, type = backing ? strlen(format) : 1;

    if (name == 0 || name > QCOW2_NAME_MAX) {
        error_set(err, SNAPVM_ERROR_INVALID_PARAMS,
                  "the name of a backing file has 1 to %d bytes, this one has %zu", QCOW2_NAME_MAX,
                  name);
        return error_text(err, "param", "backing");
    }
    if (type == 0 || type > QCOW2_FORMAT_MAX) {
        error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "'%.32s' is not the name of an image format",
                  format);
        return error_text(err, "param", "format");
    }
    if (size > QCOW2_SIZE_MAX) {
        error_set(err, SNAPVM_ERROR_IMAGE, "a disk over 2 PiB does not fit into a qcow2 image");
        return error_text(err, "reason", "larger than 2 PiB");
    }
    return 0;
}

/* The fixed fields, the extension with the backing format, the end of extensions, the name. */
static void qcow2_put_header(unsigned char *head, uint64_t size, uint64_t l1_entries,
                             const char *backing, const char *format)
{
    size_t at = QCOW2_SIZE_OURS;

    put32(head + AT_MAGIC, QCOW2_MAGIC);
    put32(head + AT_VERSION, 3);
    put32(head + AT_CLUSTER_BITS, QCOW2_CLUSTER_BITS);
    put64(head + AT_SIZE, size);
    put32(head + AT_L1_SIZE, (uint32_t)l1_entries);
    put64(head + AT_L1_OFFSET, l1_entries ? 3 * QCOW2_CLUSTER : 0);
    put64(head + AT_REFCOUNT_OFFSET, QCOW2_CLUSTER);
    put32(head + AT_REFCOUNT_CLUSTERS, 1);
    put32(head + AT_REFCOUNT_ORDER, 4);
    put32(head + AT_HEADER_LENGTH, QCOW2_SIZE_OURS);
    if (!backing)
        return; /* QCOW2_EXT_END: zeroes */

    put32(head + at, QCOW2_EXT_BACKING_FORMAT);
    put32(head + at + 4, (uint32_t)strlen(format));
    memcpy(head + at + 8, format, strlen(format));
    at += 8 + align8(strlen(format));
    at += 8; /* QCOW2_EXT_END: zeroes */

    put64(head + AT_BACKING_OFFSET, at);
    put32(head + AT_BACKING_SIZE, (uint32_t)strlen(backing));
    memcpy(head + at, backing, strlen(backing));
}

int qcow2_format(uint64_t virtual_size, const char *backing, const char *backing_format,
                 unsigned char **ret_head, struct qcow2_layout *ret_layout, struct error *err)
{
    uint64_t l1_entries, clusters;
    struct qcow2_layout layout;
    unsigned char *head;

    if (qcow2_check_request(virtual_size, backing, backing_format, err) < 0)
        return -1;
    virtual_size = (virtual_size + QCOW2_SECTOR - 1) / QCOW2_SECTOR * QCOW2_SECTOR;
    l1_entries = (virtual_size + QCOW2_L1_SPAN - 1) / QCOW2_L1_SPAN;
    clusters = 3 + (l1_entries * 8 + QCOW2_CLUSTER - 1) / QCOW2_CLUSTER;

    /* One refcount block counts 32768 clusters, and the largest L1 table takes 512 of them. The
     * head ends behind the last count: the rest of that cluster is zero like the L1 table. */
    layout.head_size = (size_t)(2 * QCOW2_CLUSTER + 2 * clusters);
    layout.file_size = clusters * QCOW2_CLUSTER;
    head = xzalloc(layout.head_size);
    qcow2_put_header(head, virtual_size, l1_entries, backing, backing_format);
    put64(head + QCOW2_CLUSTER, 2 * QCOW2_CLUSTER);
    for (uint64_t i = 0; i < clusters; i++)
        put16(head + 2 * QCOW2_CLUSTER + 2 * i, 1);
    *ret_head = head;
    *ret_layout = layout;
    return 0;
}

static int qcow2_bad(struct error *err, const char *reason)
{
    error_set(err, SNAPVM_ERROR_IMAGE, "the qcow2 header cannot be used: %s", reason);
    return error_text(err, "reason", reason);
}

/* The L1 table: of a size that QEMU would open, in the file's range, and enough for the disk. */
static int qcow2_check_l1(const struct qcow2_header *header, struct error *err)
{
    unsigned entry_bits = header->extended_l2 ? 4 : 3;
    unsigned span_bits = 2 * header->cluster_bits - entry_bits;
    uint64_t bytes = (uint64_t)header->l1_size * 8;
    uint64_t cluster = UINT64_C(1) << header->cluster_bits;

    if (header->virtual_size > INT64_MAX)
        return qcow2_bad(err, "the size of the disk is out of range");
    if (bytes > QCOW2_L1_BYTES_MAX)
        return qcow2_bad(err, "the L1 table is too large");
    if (header->l1_offset % cluster || header->l1_offset > INT64_MAX - bytes)
        return qcow2_bad(err, "the L1 table lies at a wrong place");
    if (header->l1_size && header->l1_offset == 0)
        return qcow2_bad(err, "the L1 table lies over the header");
    if (header->virtual_size && ((header->virtual_size - 1) >> span_bits) >= header->l1_size)
        return qcow2_bad(err, "the L1 table is too small for the disk");
    return 0;
}

/* The fixed fields. `ret_length` is where the extensions begin. */
static int qcow2_parse_fixed(const unsigned char *data, size_t size, struct qcow2_header *header,
                             size_t *ret_length, struct error *err)
{
    uint32_t length = QCOW2_SIZE_V2, order = 4;

    if (size < QCOW2_SIZE_V2 || get32(data + AT_MAGIC) != QCOW2_MAGIC)
        return qcow2_bad(err, "this is not a qcow2 image");
    header->version = get32(data + AT_VERSION);
    if (header->version != 2 && header->version != 3)
        return qcow2_bad(err, "unknown version of qcow2");
    if (header->version == 3) {
        if (size < QCOW2_SIZE_V3)
            return qcow2_bad(err, "the header is cut off");
        header->incompatible = get64(data + AT_INCOMPATIBLE);
        order = get32(data + AT_REFCOUNT_ORDER);
        length = get32(data + AT_HEADER_LENGTH);
    }
    header->cluster_bits = get32(data + AT_CLUSTER_BITS);
    header->virtual_size = get64(data + AT_SIZE);
    header->l1_size = get32(data + AT_L1_SIZE);
    header->l1_offset = get64(data + AT_L1_OFFSET);
    header->n_snapshots = get32(data + AT_SNAPSHOTS);
    header->snapshots_offset = get64(data + AT_SNAPSHOTS_OFFSET);

    if (header->cluster_bits < 9 || header->cluster_bits > 21)
        return qcow2_bad(err, "the size of the clusters is out of range");
    if (header->incompatible & ~QCOW2_INCOMPAT_KNOWN)
        return qcow2_bad(err, "the image uses a feature that is not known here");
    if (order > 6)
        return qcow2_bad(err, "the width of the reference counts is out of range");
    if (header->version == 3 &&
        (length < QCOW2_SIZE_V3 || length > (UINT32_C(1) << header->cluster_bits) ||
         length > size || length % 8))
        return qcow2_bad(err, "the length of the header is out of range");
    header->dirty = header->incompatible & QCOW2_INCOMPAT_DIRTY;
    header->corrupt = header->incompatible & QCOW2_INCOMPAT_CORRUPT;
    header->data_file = header->incompatible & QCOW2_INCOMPAT_DATA_FILE;
    header->extended_l2 = header->incompatible & QCOW2_INCOMPAT_EXTENDED_L2;
    header->encrypted = get32(data + AT_CRYPT) != 0;
    *ret_length = length;
    return qcow2_check_l1(header, err);
}

/* A text of the header as a string; NULL where it holds a NUL byte. */
static char *qcow2_text(const unsigned char *at, size_t size)
{
    return memchr(at, '\0', size) ? NULL : xstrndup((const char *)at, size);
}

/* Walks the extensions, which end at `end`, for the backing format. */
static int qcow2_parse_extensions(const unsigned char *data, size_t at, size_t end,
                                  struct qcow2_header *header, struct error *err)
{
    while (end - at >= 8) {
        uint32_t type = get32(data + at), length = get32(data + at + 4);

        at += 8;
        if (type == QCOW2_EXT_END)
            return 0;
        if (length > end - at)
            return qcow2_bad(err, "an extension of the header reaches out of it");
        if (type == QCOW2_EXT_BACKING_FORMAT) {
            if (length == 0 || length > QCOW2_FORMAT_MAX || header->backing_format)
                return qcow2_bad(err, "the backing format is out of range");
            header->backing_format = qcow2_text(data + at, length);
            if (!header->backing_format)
                return qcow2_bad(err, "the backing format is no text");
        }
        at = align8(length) < end - at ? at + align8(length) : end;
    }
    return 0;
}

static int qcow2_parse_backing(const unsigned char *data, size_t end, uint64_t offset,
                               struct qcow2_header *header, struct error *err)
{
    uint32_t length = get32(data + AT_BACKING_SIZE);

    if (length == 0)
        return 0;
    if (length > QCOW2_NAME_MAX || offset > end || length > end - offset)
        return qcow2_bad(err, "the backing file's name is out of range");
    header->backing = qcow2_text(data + offset, length);
    if (!header->backing)
        return qcow2_bad(err, "the backing file's name is no text");
    return 0;
}

int qcow2_parse(const unsigned char *data, size_t size, struct qcow2_header *ret_header,
                struct error *err)
{
    struct qcow2_header header = {0};
    size_t at = 0, end, extensions_end;
    uint64_t backing;

    if (qcow2_parse_fixed(data, size, &header, &at, err) < 0)
        return -1;
    end = (size_t)1 << header.cluster_bits;
    if (end > size)
        end = size;
    backing = get64(data + AT_BACKING_OFFSET);
    extensions_end = backing && backing < end ? (size_t)backing : end;
    if (backing && backing < at) {
        qcow2_bad(err, "the backing file's name lies inside the header");
        goto fail;
    }
    if (qcow2_parse_extensions(data, at, extensions_end, &header, err) < 0)
        goto fail;
    if (backing && qcow2_parse_backing(data, end, backing, &header, err) < 0)
        goto fail;
    *ret_header = header;
    return 0;

fail:
    qcow2_header_deinit(&header);
    return -1;
}

void qcow2_header_deinit(struct qcow2_header *header)
{
    free(header->backing);
    free(header->backing_format);
    *header = (struct qcow2_header){0};
}

int qcow2_parse_snapshot(const unsigned char *data, size_t size, struct qcow2_snapshot *ret_row,
                         size_t *ret_next, struct error *err)
{
    struct qcow2_snapshot row = {0};
    size_t at = ROW_FURTHER;
    uint32_t further;

    if (size < ROW_FURTHER)
        return qcow2_bad(err, "the table of snapshots is cut off");
    further = get32(data + ROW_FURTHER_SIZE);
    if (further > ROW_FURTHER_MAX)
        return qcow2_bad(err, "a row in the table of snapshots is out of range");
    row.l1_offset = get64(data + ROW_L1_OFFSET);
    row.l1_size = get32(data + ROW_L1_SIZE);
    if ((uint64_t)row.l1_size * 8 > QCOW2_L1_BYTES_MAX || row.l1_offset > INT64_MAX / 2)
        return qcow2_bad(err, "the table of a snapshot is out of range");
    row.id_size = get16(data + ROW_ID_SIZE);
    row.name_size = get16(data + ROW_NAME_SIZE);
    if (size - at < further + row.id_size + row.name_size)
        return qcow2_bad(err, "the table of snapshots is cut off");
    /* Since version 3 the size has 64 bits, and stands in the further fields as well. */
    row.vm_state_size = get32(data + ROW_STATE_SIZE);
    if (further >= 8)
        row.vm_state_size = get64(data + at);
    if (further >= 16)
        row.disk_size = get64(data + at + 8);
    at += further;
    row.id = (const char *)data + at;
    at += row.id_size;
    row.name = (const char *)data + at;
    at = align8(at + row.name_size);
    *ret_row = row;
    *ret_next = at < size ? at : size;
    return 0;
}
