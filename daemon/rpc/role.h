/* Who is at the other end of a connection, as the kernel knows it from the moment of connect(), and
 * the role that the configuration gives to that. Nothing that the client says plays a part. */
#ifndef SNAPVM_RPC_ROLE_H
#define SNAPVM_RPC_ROLE_H

#include <stddef.h>
#include <sys/types.h>

#include "api/call.h"

struct conf;

struct peer {
    pid_t pid; /* for the log alone: a number that may have passed to another process */
    uid_t uid;
    gid_t gid;
    gid_t *groups; /* supplementary ones */
    size_t n_groups;
};

/* Returns -1 when the kernel does not say. */
int peer_read(int fd, struct peer *ret_peer);
void peer_deinit(struct peer *peer);

/* uid 0 and the daemon's own uid are admin; otherwise the highest role of the peer's groups;
 * ROLE_NONE for a stranger. Asked for each request, so that a reload counts at once. */
enum call_role peer_role(const struct peer *peer, const struct conf *conf);

#endif
