/* The daemon as a whole: everything that main() starts, in the order of the layers, and stops in
 * the mirrored order. */
#ifndef SNAPVM_DAEMON_H
#define SNAPVM_DAEMON_H

#include "base/cleanup.h"

struct conf;
struct conf_overrides;
struct daemon;
struct error;

/* Starts all of it: state, domains, socket. Takes over what is in *conf, which is empty afterwards.
 * For reloads it keeps the path (NULL: the default file) and the overrides, which must outlive it.
 * Returns NULL with an error that says what stands in the way. */
struct daemon *daemon_new(struct conf *conf, const char *config_path,
                          const struct conf_overrides *overrides, struct error *err);

/* Runs until SIGTERM or SIGINT. 0 after an ordered stop, -1 when the loop itself failed. */
int daemon_run(struct daemon *daemon);

/* Stops what is left running of it. */
struct daemon *daemon_free(struct daemon *daemon);

DEFINE_CLEANUP(struct daemon, daemon_free)

#endif
