/* Which QEMU it is: a process is told from every other one, also over restarts of this daemon and
 * of the host, by its pid, its start time and the boot. A new QEMU on the same socket is never
 * taken for the old one. */
#ifndef SNAPVM_QEMU_PROCESS_H
#define SNAPVM_QEMU_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

#define PROCESS_BOOT_ID 37

struct process {
    pid_t pid;                     /* 0: none */
    uint64_t start;                /* clock ticks since boot, /proc/PID/stat field 22 */
    char boot_id[PROCESS_BOOT_ID]; /* /proc/sys/kernel/random/boot_id */
    bool our_root;                 /* its paths were seen to be ours; false: not looked at */
};

/* The process at the other end of a connected Unix socket (SO_PEERCRED). A QEMU that has come so
 * far changes its root no more. Error: QemuGone. */
int process_of_socket(int fd, struct process *ret_process, struct error *err);

/* Whether it was seen since the host was started; true for one that was never seen. */
bool process_of_this_boot(const struct process *process);

bool process_same(const struct process *a, const struct process *b);

/* Whether it still runs: its pid exists with the same start time, in this boot, and is no zombie,
 * or one whose other threads have not ended yet. */
bool process_alive(const struct process *process);

/* A descriptor that becomes readable when the process ends; -1 when it is gone already. Where the
 * system has no pidfd_open, or the peer was reached in another pid namespace: -1 with errno ENOSYS
 * or EPERM, and the closed monitor has to tell instead. */
int process_pidfd(const struct process *process);

/* Whether the process has a file open, by device and inode, as far as this daemon may look: where
 * it may not, -1. */
int process_has_open(const struct process *process, dev_t dev, ino_t ino);

/* A file name as the process gave it, made absolute by its working directory, in its own root;
 * owned by the caller. Names that are no plain paths ("json:{…}", "nbd:…", "blkdebug:…") are NULL.
 * A leading "file:" is taken off as QEMU does. */
char *process_absolute(const struct process *process, const char *name);

/* What leads this daemon to the process's "/": "/proc/PID/root" where that is another one than the
 * daemon's, "" otherwise (also when the process is gone or 0). Owned by the caller. */
char *process_root(const struct process *process);

/* The way for this daemon to a path of the process: through /proc/PID/root where the process has
 * another root than the daemon, the path itself otherwise (also when the process is gone or 0).
 * Owned by the caller. */
char *process_reach(const struct process *process, const char *path);

#endif
