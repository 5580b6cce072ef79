/* Crash points: the boundaries at which the daemon may be killed without a lie or a loss. Tests
 * kill it at each of them; nothing else uses this. The environment says where, and it is read once:
 *   SNAPVM_CRASH_AT=N        die by SIGKILL at the N-th boundary, counted from 1
 *   SNAPVM_CRASH_AT=NAME[:K] die when the boundary NAME is passed for the K-th time
 *   SNAPVM_CRASH_LIST=FILE   append the name of every boundary passed, one a line
 * A boundary's name is WHERE:WHAT, as in journal.done:decide or effect.sent:job-finalize. */
#ifndef SNAPVM_BASE_CRASH_H
#define SNAPVM_BASE_CRASH_H

#include "base/cleanup.h"

struct crash;

/* NULL when the environment asks for nothing; every function here takes NULL. */
struct crash *crash_new(void);
struct crash *crash_free(struct crash *crash);

/* Passes a boundary, and perhaps does not return. Only the loop's thread passes boundaries. */
void crash_point(struct crash *crash, const char *where, const char *what);

#endif
