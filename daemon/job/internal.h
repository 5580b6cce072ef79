/* Snapshots inside images, as part of a job: its images of role "internal", each with the name of
 * the snapshot that is meant (record_image::node). QEMU writes the table of an image's snapshots
 * through at once, last of all and by one write of the header: there is no half a snapshot in an
 * image, at most clusters that nothing refers to. Between the images of several disks there is one.
 */
#ifndef SNAPVM_JOB_INTERNAL_H
#define SNAPVM_JOB_INTERNAL_H

#include <stdbool.h>

#include "base/error.h"

struct job;
struct record_image;
struct view;

typedef void (*internal_fn)(struct job *job, const struct error *err);

bool internal_is(const struct record_image *image);
bool internal_has(const struct job *job);

/* Whether QEMU shows all of them, each in the active layer of its disk. */
bool internal_all_in_view(const struct job *job, const struct view *view);

/* The same with an error: Mismatch. Tells the image that has the guest's memory too, NULL: none. */
int internal_need_in_view(const struct job *job, const char **ret_memory, struct error *err);

/* An image has the snapshot no more: Mismatch. */
int internal_missing(const struct record_image *image, struct error *err);

/* The view follows what QEMU said yes to. */
void internal_put_in_view(const struct job *job);

/* The same by the files, as last seen (job/evidence.h); `none` is certain only of files that could
 * be read, or are gone. */
bool internal_all_inside(const struct job *job);
bool internal_none_inside(const struct job *job);

/* Reads the tables: AlreadyExists (object snapshot) when an image has a snapshot of that name. */
void internal_check_free(struct job *job, internal_fn done);

/* Takes those that are not there yet, one after another, by image tools: no QEMU runs. Harmless to
 * repeat. */
void internal_make(struct job *job, internal_fn done);

/* Whether it is known who has the images open: the guest is shut off, or its QEMU can be asked. */
bool internal_can_drop(const struct job *job);

/* Deletes those that are there, one after another: by QEMU where it has the image open, by image
 * tools where no QEMU runs, which have the images locked against one that is started. Harmless to
 * repeat. */
void internal_drop(struct job *job, internal_fn done);

/* --- going back to them, while no QEMU runs --- */

/* For a job that has not begun, on the worker: Mismatch when an image does not have its snapshot,
 * ImageError when somebody else uses it, InvalidState when what the disk holds is in no snapshot
 * inside, unless JOB_FORCE. */
void internal_survey(struct job *job, void (*done)(void *arg, const struct error *err), void *arg);

/* By the files as last seen: whether all disks are what the snapshots hold; whether one of them
 * cannot be any more, as the guest runs, or it was written to since the survey, or its snapshot is
 * gone; and whether somebody has one open just now, such as a tool that is about to end. */
bool internal_all_at(const struct job *job);
bool internal_is_lost(const struct job *job);
bool internal_is_busy(const struct job *job);

/* Going back in QEMU: notes which disks are that before it, and tells behind a failure whether it
 * may have changed the guest. QEMU reads the memory when all disks are there: so it has where one
 * has become that, where all are, as they may have been before, or where one cannot be read. */
void internal_note_at(struct job *job);
bool internal_may_have_gone(const struct job *job);

/* Makes those that are not yet what their snapshots hold, one after another, by image tools.
 * Harmless to repeat; an error if one is lost or busy. */
void internal_apply(struct job *job, internal_fn done);

#endif
