/* A job's work by qemu-img. One tool of a job runs at a time; formats are always said. The results
 * are synced before `done` is called. */
#ifndef SNAPVM_JOB_IMAGE_TOOL_H
#define SNAPVM_JOB_IMAGE_TOOL_H

#include "base/error.h"

struct job;
struct record_image;

typedef void (*image_tool_fn)(struct job *job, const struct error *err);

/* Copies what `top` and the layers between hold into `base`. The chain above reads the same at
 * every instant of it, and afterwards from the base as well. Harmless to repeat. */
void image_tool_commit(struct job *job, const struct record_image *top,
                       const struct record_image *base, image_tool_fn done);

/* Writes another layer into the header of `above` as its backing file, by one write. */
void image_tool_rebase(struct job *job, const struct record_image *above,
                       const struct record_image *base, image_tool_fn done);

/* Takes a snapshot inside an image (role "internal"), or deletes it. qemu-img takes a second one of
 * a name that is there, and refuses to delete one that is not. */
void image_tool_snapshot(struct job *job, const struct record_image *image, image_tool_fn done);
void image_tool_drop(struct job *job, const struct record_image *image, image_tool_fn done);

/* Makes the disk what the snapshot inside with that number holds. (A name might be the number of
 * another one, which qemu-img would take.) What it was is gone. */
void image_tool_apply(struct job *job, const struct record_image *image, const char *number,
                      image_tool_fn done);

/* Kills the tool that runs, if one does: its step fails then. */
void image_tool_stop(struct job *job);

#endif
