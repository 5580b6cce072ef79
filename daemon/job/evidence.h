/* What the image files of a job show: the evidence where no QEMU can be asked, or need not be: its
 * tables of snapshots QEMU writes through at once. Read on the worker's thread; probes look at the
 * result alone. */
#ifndef SNAPVM_JOB_EVIDENCE_H
#define SNAPVM_JOB_EVIDENCE_H

#include <stdbool.h>

#include "qemu/image-lock.h"
#include "qemu/image.h"

struct job;
struct record_image;

/* One image of a job, by its place in the record. */
struct evidence {
    bool there; /* and readable in the recorded format, with a header if it has one */
    bool gone;  /* there is no file of that name */
    struct image_id id;
    char *backing; /* the layer below as an absolute name; NULL: none, or no local file */
    bool empty;    /* a qcow2 image without data of its own */
    struct image_inside inside; /* of role "internal": how it is with the snapshot that is meant */
    struct image_holders holders;
};

/* Reads all images of the job, and lets the engine judge: plan::look. */
void evidence_look(struct job *job);

/* Reads them for an act: `done` comes from the loop, unless the job is gone by then. */
void evidence_fetch(struct job *job, void (*done)(struct job *job));

/* Of one image of the job, as last seen; never NULL. */
const struct evidence *evidence_of(const struct job *job, const struct record_image *image);

/* Whether the image is there and lies on `below` (NULL: on nothing). Names are compared: headers
 * that a job writes or relies on hold absolute ones. */
bool evidence_lies_on(const struct job *job, const struct record_image *image,
                      const struct record_image *below);

/* Frees what was seen. */
void evidence_drop(struct job *job);

#endif
