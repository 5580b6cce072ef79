/* A chain of images as the files themselves tell it, for guests that are shut off: from the active
 * layer down, each header names the next one. */
#ifndef SNAPVM_QEMU_IMAGE_CHAIN_H
#define SNAPVM_QEMU_IMAGE_CHAIN_H

#include <stdint.h>

#include "base/error.h"
#include "qemu/image-lock.h"
#include "qemu/image.h"

struct image_layer {
    char *file, *format; /* file: absolute */
    int64_t virtual_size;
    struct image_id id;
    struct image_holders holders;
};

struct image_chain {
    struct image_layer *layers; /* [0] is the one that was asked for */
    unsigned n_layers;
};

/* Reads headers from `file` down. Nothing is probed: the format of the first is the given one, that
 * of the others stands in the header above. Blocks on the disk. Error: ImageError, for what is
 * missing, of an unknown or unsaid format, no local file, a loop, or marked corrupt. */
int image_chain_read(const char *file, const char *format, struct image_chain *ret_chain,
                     struct error *err);
void image_chain_deinit(struct image_chain *chain);

/* The name in a header as an absolute one: relative ones start from the folder of the overlay. NULL
 * for what is no local file. Owned by the caller. */
char *image_backing_path(const char *overlay, const char *backing);

#endif
