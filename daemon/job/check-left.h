/* Files that are left over: those that an ended job touched and that nothing needs any more, and
 * those that are named like overlays of ours. Blocks on the disk: for the worker's thread. */
#ifndef SNAPVM_JOB_CHECK_LEFT_H
#define SNAPVM_JOB_CHECK_LEFT_H

#include <stdbool.h>
#include <stdint.h>

#include "qemu/image.h"

struct findings;
struct needed;

/* A file that a job is done with. */
struct left_file {
    char *file, *path, *disk;
    char *state; /* what its outcome said: "invalid", "valid" or "removed" */
    int64_t job;
    struct image_id id; /* as recorded; ino 0: not */
};

/* A folder that holds images of a disk, and how the names of its overlays begin. */
struct left_folder {
    char *disk, *name, *path, *prefix;
};

struct left {
    struct left_file *files;
    struct left_folder *folders;
    unsigned n_files, n_folders;
    struct needed *needed; /* of all domains, and of the jobs that are active */
};

struct left_file *left_add_file(struct left *left);

/* Once for each disk and folder. */
void left_add_folder(struct left *left, const char *domain, const char *disk, const char *file,
                     const char *root);
void left_deinit(struct left *left);

void left_run(struct left *left, struct findings *findings);

#endif
