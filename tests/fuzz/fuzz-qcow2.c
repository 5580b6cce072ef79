/* Headers of qcow2 images: what is accepted is in range, and a new overlay over what it names reads
 * back the same. Sources: daemon/qemu/qcow2.c */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "proto/snapvm-errors.h"
#include "qemu/qcow2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void require_header(const struct qcow2_header *header)
{
    uint64_t l1_bytes = (uint64_t)header->l1_size * 8;

    require(header->version == 2 || header->version == 3);
    require(header->cluster_bits >= 9 && header->cluster_bits <= 21);
    require(header->virtual_size <= INT64_MAX && header->l1_offset <= INT64_MAX - l1_bytes);
    require(l1_bytes <= 32 << 20);
    require(!header->virtual_size || header->l1_size);
    require(!header->backing || strlen(header->backing) <= 1023);
    require(!header->backing_format || strlen(header->backing_format) <= 15);
}

static void round_trip(const struct qcow2_header *header)
{
    _cleanup_error_ struct error err = {0};
    struct qcow2_layout layout;
    struct qcow2_header again;
    unsigned char *head;

    if (!header->backing || !header->backing_format || header->virtual_size > INT64_C(1) << 51)
        return;
    require(qcow2_format(header->virtual_size, header->backing, header->backing_format, &head,
                         &layout, &err) == 0);
    require(qcow2_parse(head, layout.head_size, &again, &err) == 0);
    require_header(&again);
    require(again.virtual_size == (header->virtual_size + 511) / 512 * 512);
    require(strcmp(again.backing, header->backing) == 0);
    require(strcmp(again.backing_format, header->backing_format) == 0);
    qcow2_header_deinit(&again);
    free(head);
}

/* The same bytes as a table of internal snapshots. */
static void read_snapshots(const uint8_t *data, size_t size)
{
    _cleanup_error_ struct error err = {0};
    struct qcow2_snapshot row;
    size_t next;

    while (size > 0 && qcow2_parse_snapshot(data, size, &row, &next, &err) == 0) {
        require(next >= 40 && next <= size && next <= QCOW2_SNAPSHOT_BYTES);
        require((const uint8_t *)row.id >= data && row.id + row.id_size == row.name);
        require((const uint8_t *)row.name + row.name_size <= data + next);
        data += next;
        size -= next;
    }
    require(size == 0 || err.code == SNAPVM_ERROR_IMAGE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_error_ struct error err = {0};
    struct qcow2_header header;

    read_snapshots(data, size);
    if (qcow2_parse(data, size, &header, &err) < 0) {
        require(err.code == SNAPVM_ERROR_IMAGE && error_get(&err, "reason"));
        return 0;
    }
    require_header(&header);
    round_trip(&header);
    qcow2_header_deinit(&header);
    return 0;
}
