/* What is looked at on disk before a copy is begun: whether the file that the caller prepared can
 * be its target, and whether it has room enough. Texts belong to the struct; nothing here is shared
 * with the loop, since it is done on the worker's thread. */
#ifndef SNAPVM_API_TARGET_H
#define SNAPVM_API_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct needed;

struct target_layer {
    char *path, *format;
};

struct target {
    char *path, *name, *format; /* name: as the guest's QEMU has it, for messages */
    bool reuse;
    int64_t virtual_size;
    struct target_layer *layers; /* whose data is copied, the active one first */
    unsigned n_layers;
    char *backing, *backing_name; /* path and name of what the target lies on; NULL: nothing */
    struct needed *needed;        /* by some domain; NULL: nothing is */
};

void target_deinit(struct target *target);
void target_add_layer(struct target *target, const char *path, const char *format);

/* Errors: ImageError, Mismatch (expected, found), NoSpace. Blocks. */
int target_check(struct target *target, struct error *err);

#endif
