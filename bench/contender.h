/* What is measured, once for each contender. Both find the guest's disks on their bases and the
 * commit leaves them there; times are in microseconds. */
#ifndef SNAPVM_BENCH_CONTENDER_H
#define SNAPVM_BENCH_CONTENDER_H

#include <stdint.h>

struct guest;

struct contender {
    /* A quiesced snapshot of all disks; the time of the whole call. */
    int64_t (*snapshot)(void *self, struct guest *guest);

    /* The active commit of one disk's overlay with its pivot, from the start to the closed overlay;
     * the time of the whole. */
    int64_t (*commit)(void *self, struct guest *guest, unsigned disk);

    /* The same, with a client that hears that the job is ready: how long after QEMU's stamp it
     * hears of it first, and how long after it the event that is recorded. */
    void (*ready)(void *self, struct guest *guest, unsigned disk, int64_t samples[2]);

    void *self;
};

/* The floor: QEMU's commands in the best order, over plain sockets, with nothing recorded or
 * synced. Connects to the monitor and the agent of each guest. */
struct contender floor_contender(struct guest *guests, unsigned n);

/* The daemon, asked through libsnapvm over connections that stay open. */
struct contender daemon_contender(const char *socket);

#endif
