/* The chain of one disk as its image headers tell it, held against what QEMU or the record says.
 * Headers are hostile: every name in them is looked at, none is believed, and no format is probed.
 * Blocks on the disk: for the worker's thread. */
#ifndef SNAPVM_JOB_CHECK_CHAIN_H
#define SNAPVM_JOB_CHECK_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "qemu/image.h"

struct findings;

struct check_layer {
    char *file, *format; /* as QEMU sees the file; format NULL: nobody said */
    char *path;          /* for this daemon; NULL: this is no plain file */
    bool writes;         /* the guest or a job writes into it */
    struct image_id id;  /* filled by the run, if `there` */
    bool there, read;    /* the file is there; `info` is its header */
    struct image_info info;
};

struct check_chain {
    char *domain, *target;
    char *root; /* what leads this daemon to "/" as QEMU sees it: "" or "/proc/PID/root" */
    struct check_layer *layers; /* from the active one down */
    unsigned n_layers;
    bool own;     /* of the domain that is checked, not of another that may share its images */
    bool known;   /* these are all layers; otherwise headers tell what lies below */
    bool running; /* a QEMU has the images open */
    bool busy;    /* a job changes the chain: a header may name any layer below, or these paths */
    char **others;
    unsigned n_others;
};

/* Adds a layer, with the path that leads to it. `file` NULL or no absolute path: no plain file. */
struct check_layer *check_chain_add(struct check_chain *chain, const char *file,
                                    const char *format);
void check_chain_deinit(struct check_chain *chain);

/* The path for this daemon of an absolute one of QEMU's; owned by the caller. */
char *check_chain_reach(const struct check_chain *chain, const char *file);

/* Finds the files, and reads nothing. */
void check_chain_identify(struct check_chain *chain);

/* Reads every header and adds what is wrong. */
void check_chain_run(struct check_chain *chain, struct findings *findings);

#endif
