/* A guest agent that needs no time: a thread that answers each command as soon as it has read it,
 * and notes how long the guest's file systems would have stood still. */
#ifndef SNAPVM_BENCH_FAKE_AGENT_H
#define SNAPVM_BENCH_FAKE_AGENT_H

#include <stdint.h>

struct fake_agent;

/* Listens at the path, for one client after another, until the process ends. */
struct fake_agent *fake_agent_new(const char *path);

/* The last frozen window, in microseconds: from just before the answer to the freeze left to the
 * moment at which the thaw was read. Dies where there was none since the last call. */
int64_t fake_agent_window(struct fake_agent *agent);

#endif
