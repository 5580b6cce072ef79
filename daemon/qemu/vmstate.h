/* The file with a guest's memory: the stream of a migration, as -incoming reads it. It begins with
 * a magic number and ends with a description of itself in JSON, whose size stands before it, so
 * that a file which was cut off, or is still being written, shows by itself. */
#ifndef SNAPVM_QEMU_VMSTATE_H
#define SNAPVM_QEMU_VMSTATE_H

#include <stdbool.h>

#include "base/error.h"
#include "qemu/image.h"

/* Whether a file holds the stream from its first byte to the last. Machines of types before QEMU
 * 2.3 write no description: theirs are not told to be whole. Error: ImageError. */
int vmstate_is_whole(const char *path, bool *ret_whole, struct error *err);

/* ImageError when it does not. */
int vmstate_need_whole(const char *path, struct error *err);

/* Whether a file has anything in it, and is the one of that identity. */
bool vmstate_is_begun(const char *path, const struct image_id *id);

/* Whether no room is left for a file: found out by what the file system says, and by writing behind
 * the end of the file, which is of no use any more. */
bool vmstate_lacks_room(const char *path);

#endif
