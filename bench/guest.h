/* One guest of the bench, of which each contender has its own twins: a real QEMU that runs without
 * work to do, with an agent that answers at once, and a second monitor on which nobody asks. */
#ifndef SNAPVM_BENCH_GUEST_H
#define SNAPVM_BENCH_GUEST_H

#include <stdint.h>

#define GUEST_DISKS 8

struct guest {
    const char *name;
    unsigned n_disks;         /* 1 to GUEST_DISKS */
    char *sockets, *images;   /* its folders */
    struct fake_agent *agent; /* behind SOCKETS/agent.sock */
    struct raw_qmp *witness;  /* hears the events and their stamps */
    unsigned snapshot;        /* number of the last one */
};

/* Ends the bench with a sentence: a figure beside a failure would be worth nothing. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "vda" to "vdh", in a buffer of the caller's. */
const char *guest_target(unsigned disk, char buffer[4]);

/* The image that the disk's node `disk-TARGET` opens; owned by the caller. */
char *guest_base(const struct guest *guest, unsigned disk);

/* Where the last snapshot's overlay of a disk lies for both contenders: the name that the daemon
 * gives by itself. Owned by the caller. */
char *guest_overlay(const struct guest *guest, unsigned disk);

/* Listens for the agent's client, and connects the second monitor. */
void guest_open(struct guest *guest);

/* Removes the overlays of the last snapshot, which must have been committed. */
void guest_clean(const struct guest *guest);

/* Before a measurement: lets everything that the last one left behind come to rest, and leaves the
 * file system without unwritten data, so that nobody pays for what the other one wrote. */
void guest_rest(struct guest *guest);

#endif
