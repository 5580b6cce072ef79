/* Who uses an image: the chains of all domains against each other, by device and inode, and the
 * files that a domain's snapshots are made of. Blocks on the disk: for the worker's thread. */
#ifndef SNAPVM_JOB_CHECK_USE_H
#define SNAPVM_JOB_CHECK_USE_H

#include <stdbool.h>

struct check_chain;
struct findings;

/* Finds layers of the checked domain that another disk uses. All chains have been run. */
void check_shared_run(const struct check_chain *chains, unsigned n, struct findings *findings);

/* A file that a snapshot of the checked domain names. */
struct check_kept {
    char *domain, *snapshot, *file, *path;
    char *disk;   /* NULL: the file is the guest's memory */
    bool overlay; /* it was the new layer; otherwise the layer that holds the snapshot */
};

void check_kept_run(const struct check_kept *kept, struct findings *findings);
void check_kept_deinit(struct check_kept *kept);

#endif
