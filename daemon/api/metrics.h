/* Counters of the daemon's front, for daemon.metrics. */
#ifndef SNAPVM_API_METRICS_H
#define SNAPVM_API_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "proto/json.h"

struct daemon_context;
struct method;

struct metrics {
    uint64_t *answered, *failed; /* calls by row of the method table */
    uint64_t connections;        /* open now */
    uint64_t connections_total;  /* accepted so far */
    uint64_t refused;            /* over the bound, or strangers */
    uint64_t cut_off;            /* did not read what was sent to them */
    uint64_t malformed;          /* lines that were no request */
};

struct metrics *metrics_new(void);
struct metrics *metrics_free(struct metrics *metrics);

void metrics_count(struct metrics *metrics, const struct method *method, bool failed);

/* All of it, and what the context knows, in Prometheus' text format; owned by the caller. */
char *metrics_text(const struct daemon_context *context);

DEFINE_CLEANUP(struct metrics, metrics_free)

#endif
