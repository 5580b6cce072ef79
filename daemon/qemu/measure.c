/* Layers are looked through from the top: what a layer holds, or says is zero, hides what is below.
 * A qcow2 layer says it by its L2 tables, a raw one by the holes in its file. */
#include "qemu/measure.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/memory.h"
#include "qemu/qcow2.h"

#define UNIT_MIN (INT64_C(64) * 1024)
#define UNITS_MAX (INT64_C(1) << 27)     /* a bitmap of 16 MiB */
#define TABLES_MAX (UINT64_C(256) << 20) /* no more bytes of L2 tables are read */
#define HEADER_BYTES 65536
#define QCOW2_CLUSTER INT64_C(65536) /* of the images that are made here */
#define L1_OFFSET UINT64_C(0x00fffffffffffe00)
#define L2_OFFSET UINT64_C(0x00fffffffffffe00)
#define L2_COMPRESSED (UINT64_C(1) << 62)
#define L2_ZERO UINT64_C(1)

struct measure {
    unsigned char *seen; /* a bit a unit: some layer has told what is there */
    int64_t unit, size, data;
    uint64_t tables; /* bytes of L2 tables that were read */
};

/* A layer's word on a span of the disk. Data counts wherever it touches a unit; zeroes hide what is
 * below only where they fill one. */
static void measure_mark(struct measure *m, int64_t from, int64_t length, bool data)
{
    int64_t end = from + length, first, last;

    if (from < 0 || length <= 0 || from >= m->size)
        return;
    if (end > m->size)
        end = m->size;
    first = data ? from / m->unit : (from + m->unit - 1) / m->unit;
    last = data || end == m->size ? (end + m->unit - 1) / m->unit : end / m->unit;
    for (int64_t i = first; i < last; i++) {
        unsigned char bit = (unsigned char)(1u << (i % 8));

        if (data && !(m->seen[i / 8] & bit))
            m->data += m->unit;
        m->seen[i / 8] |= bit;
    }
}

static bool read_at(int fd, void *data, size_t size, uint64_t at)
{
    unsigned char *p = data;
    size_t done = 0;

    while (done < size) {
        ssize_t n = pread(fd, p + done, size - done, (off_t)(at + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        if (n == 0)
            break; /* what is behind the end reads as zeroes */
        done += (size_t)n;
    }
    memset(p + done, 0, size - done);
    return true;
}

static void measure_l2(struct measure *m, const struct qcow2_header *header, const uint64_t *table,
                       int64_t from)
{
    unsigned words = header->extended_l2 ? 2 : 1;
    int64_t cluster = INT64_C(1) << header->cluster_bits;

    for (int64_t i = 0; i < cluster / 8; i += words, from += cluster) {
        uint64_t entry = be64toh(table[i]);

        if (header->extended_l2 && !(entry & L2_COMPRESSED)) {
            if (be64toh(table[i + 1]) & UINT32_MAX) /* a subcluster is allocated */
                measure_mark(m, from, cluster, true);
        } else if (entry & L2_COMPRESSED) {
            measure_mark(m, from, cluster, true);
        } else if (entry & L2_ZERO) {
            measure_mark(m, from, cluster, false);
        } else if (entry & L2_OFFSET) {
            measure_mark(m, from, cluster, true);
        }
    }
}

static bool measure_tables(struct measure *m, int fd, const struct qcow2_header *header)
{
    size_t cluster = (size_t)1 << header->cluster_bits;
    _cleanup_free_ uint64_t *l1 = xzalloc((size_t)header->l1_size * 8 + 8);
    _cleanup_free_ uint64_t *l2 = xzalloc(cluster);
    int64_t span = (int64_t)(cluster / (header->extended_l2 ? 16 : 8) * cluster);

    if (!read_at(fd, l1, (size_t)header->l1_size * 8, header->l1_offset))
        return false;
    for (uint32_t i = 0; i < header->l1_size && (int64_t)i * span < m->size; i++) {
        uint64_t at = be64toh(l1[i]) & L1_OFFSET;

        if (at == 0)
            continue;
        m->tables += cluster;
        if (m->tables > TABLES_MAX || !read_at(fd, l2, cluster, at))
            return false;
        measure_l2(m, header, l2, (int64_t)i * span);
    }
    return true;
}

static bool measure_qcow2(struct measure *m, int fd)
{
    _cleanup_free_ unsigned char *data = xzalloc(HEADER_BYTES);
    struct qcow2_header header;
    bool told;

    if (!read_at(fd, data, HEADER_BYTES, 0) || qcow2_parse(data, HEADER_BYTES, &header, NULL) < 0)
        return false;
    told = !header.data_file && measure_tables(m, fd, &header);
    qcow2_header_deinit(&header);
    return told;
}

static bool measure_raw(struct measure *m, int fd)
{
    struct stat st;
    off_t at = 0, end;

    if (fstat(fd, &st) < 0)
        return false;
    if (!S_ISREG(st.st_mode)) {
        measure_mark(m, 0, m->size, true);
        return true;
    }
    while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
        end = lseek(fd, at, SEEK_HOLE);
        if (end < 0)
            return false;
        measure_mark(m, at, end - at, true);
        at = end;
    }
    return errno == ENXIO;
}

static bool measure_layer(struct measure *m, const struct measure_layer *layer)
{
    _cleanup_close_ int fd = open(layer->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return false;
    if (strcmp(layer->format, "qcow2") == 0)
        return measure_qcow2(m, fd);
    return strcmp(layer->format, "raw") == 0 && measure_raw(m, fd);
}

int64_t measure_data(const struct measure_layer *layers, unsigned n, int64_t virtual_size)
{
    struct measure m = {.unit = UNIT_MIN, .size = virtual_size};
    bool told = true;

    if (virtual_size < 0)
        return -1;
    while (virtual_size / m.unit >= UNITS_MAX)
        m.unit *= 2;
    m.seen = xzalloc((size_t)(virtual_size / m.unit / 8 + 1));
    for (unsigned i = 0; i < n && told; i++)
        told = measure_layer(&m, &layers[i]);
    free(m.seen);
    if (!told)
        return -1;
    return m.data < virtual_size ? m.data : virtual_size;
}

static int64_t clusters(int64_t bytes)
{
    return (bytes + QCOW2_CLUSTER - 1) / QCOW2_CLUSTER;
}

/* Of qcow2: header, refcount table and L1 table, then 8 bytes of L2 table and 2 of refcounts a
 * cluster of data. */
int64_t measure_image(const char *format, int64_t virtual_size, int64_t data)
{
    int64_t n = clusters(data);

    if (strcmp(format, "qcow2") != 0)
        return data;
    n += 2 + clusters(clusters(virtual_size) / (QCOW2_CLUSTER / 8) * 8 + 8) + clusters(8 * n) +
         clusters(2 * n);
    return n * QCOW2_CLUSTER;
}

int64_t measure_free(const char *path)
{
    struct statvfs fs;

    if (statvfs(path, &fs) < 0)
        return -1;
    return (int64_t)(fs.f_bavail * fs.f_frsize);
}
