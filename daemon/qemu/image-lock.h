/* QEMU's locks on image files: every program of QEMU's that opens an image says by locks on single
 * bytes what it does with it and what it lets others do. They go when the file is closed or the
 * process ends, so that they tell who holds an image even where no monitor answers. */
#ifndef SNAPVM_QEMU_IMAGE_LOCK_H
#define SNAPVM_QEMU_IMAGE_LOCK_H

#include <stdbool.h>

#include "base/error.h"

/* Who holds an image, as far as locks tell. */
struct image_holders {
    bool readers; /* reads it and relies on what it reads, also as a backing file */
    bool writers;
};

/* Asks without taking anything. Blocks on the disk. Error: ImageError. */
int image_holders(const char *path, struct image_holders *ret, struct error *err);

/* Keeps writers out for as long as the descriptor in *ret_fd is open: a QEMU that would write is
 * refused at its start, readers go on. Errors: ImageError (reason "in use"; `name` is how the
 * message calls the file). */
int image_keep_writers_out(const char *path, const char *name, int *ret_fd, struct error *err);

/* Fills the error for an image that somebody holds, and returns -1. */
int image_in_use(struct error *err, const char *name);

#endif
