/* The daemon's front: accepts connections, counts them, and ends them. */
#ifndef SNAPVM_RPC_SERVER_H
#define SNAPVM_RPC_SERVER_H

#include "base/cleanup.h"

struct daemon_context;
struct error;
struct server;

/* Listens at the configured socket, or at `fd` when systemd hands one over (-1: it does not), which
 * is taken over. Clients may connect from now on; they are answered after server_start(). */
struct server *server_new(struct daemon_context *context, int fd, struct error *err);
void server_start(struct server *server);

/* Accepts and reads no more, removes the socket, answers what is open with ShuttingDown. */
void server_stop(struct server *server);

/* Whatever is still connected is cut off; calls that run go on without an answer. */
struct server *server_free(struct server *server);

DEFINE_CLEANUP(struct server, server_free)

#endif
