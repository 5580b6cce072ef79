/* How much room a copy needs: what the layers hold, as a copy of them will. The size of their files
 * does not tell: layers hide each other's clusters, are compressed, were allocated beforehand, or
 * keep internal snapshots. */
#ifndef SNAPVM_QEMU_MEASURE_H
#define SNAPVM_QEMU_MEASURE_H

#include <stdint.h>

#include "base/error.h"

struct measure_layer {
    const char *path, *format; /* for this daemon */
};

/* Bytes of data that the layers (top first) hold together of a disk of that size, in units of 64
 * KiB and more; -1 where that is not to be told. Reads their tables, also of images that QEMU
 * writes to: what it has not stored yet is missing. Blocks. */
int64_t measure_data(const struct measure_layer *layers, unsigned n, int64_t virtual_size);

/* The fewest bytes that an image of a format takes up with so much data, its own tables included:
 * data that lies apart needs some more of them. */
int64_t measure_image(const char *format, int64_t virtual_size, int64_t data);

/* Bytes that are free for a new file, by any path in its file system; -1 where that is not to be
 * told. */
int64_t measure_free(const char *path);

#endif
