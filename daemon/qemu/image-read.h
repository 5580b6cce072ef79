/* Reading an image file: shared by what looks at headers and what looks at tables. */
#ifndef SNAPVM_QEMU_IMAGE_READ_H
#define SNAPVM_QEMU_IMAGE_READ_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct qcow2_header;
struct stat;

/* Large tables are read in pieces of that size. */
#define IMAGE_PIECE (64 * 1024)

/* ImageError with that reason; of an errno, where a full disk has a kind of its own. Both return
 * -1. */
int image_error(struct error *err, const char *file, const char *reason);
int image_errno(struct error *err, int errnum, const char *file, const char *what);

/* Opens a file or a block device, and nothing else; the descriptor is the caller's. */
int image_open(const char *path, struct stat *ret_st, struct error *err);

/* Fewer bytes than asked for are the end of the file; -1 with errno. */
ssize_t image_pread(int fd, unsigned char *data, size_t size, uint64_t at);

/* The header of a qcow2 image, to be freed by qcow2_header_deinit(). */
int image_read_header(int fd, const char *path, struct qcow2_header *ret_header, struct error *err);

#endif
