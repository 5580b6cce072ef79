/* A monitor spoken to with as little as possible: commands are text of the caller's, replies are
 * counted, events recognised by what QEMU prints. It is what every client of QEMU has to pay. */
#ifndef SNAPVM_BENCH_RAW_QMP_H
#define SNAPVM_BENCH_RAW_QMP_H

#include <stdint.h>

/* An event JOB_STATUS_CHANGE, in microseconds since 1970. */
struct raw_event {
    int64_t stamp; /* QEMU's own */
    int64_t seen;  /* recognised here */
};

struct raw_qmp;

/* Connects and leaves the negotiation mode. */
struct raw_qmp *raw_qmp_new(const char *path);

/* Sends a printf-like text in one write, whatever number of commands it holds. */
void raw_qmp_send(struct raw_qmp *qmp, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Waits for n replies that are no errors, and, where `status` is not NULL, for the event that a job
 * came to this status; they may come in any order. */
struct raw_event raw_qmp_wait(struct raw_qmp *qmp, unsigned n, const char *status);

/* Forgets what has arrived so far. */
void raw_qmp_drain(struct raw_qmp *qmp);

#endif
