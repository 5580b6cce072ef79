/* Watching a job while its verb waits: the progress events of the connection draw the bar. */
#ifndef SNAPVM_CLIENT_SNAPVMCTL_WATCH_H
#define SNAPVM_CLIENT_SNAPVMCTL_WATCH_H

#include <stdint.h>

#include "client/snapvmctl-bar.h"

struct args;
struct json_object;
struct snapvm;

struct watch {
    struct bar bar;
    int64_t job;      /* 0: not known yet */
    char *request_id; /* by which a new job is known */
    char *label;
};

/* Whether somebody waits for the verb in front of a terminal. */
int watch_is_wanted(const struct args *args);

/* Subscribes and finds out which job to watch; a new one is known by a request_id, which is added
 * to params where the caller gave none. What fails here only costs the bar. */
void watch_start(struct watch *watch, struct snapvm *conn, const struct args *args);

void watch_stop(struct watch *watch);

#endif
