#include "rpc/role.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/memory.h"
#include "conf/conf.h"

int peer_read(int fd, struct peer *ret_peer)
{
    _cleanup_free_ gid_t *groups = NULL;
    struct ucred credentials;
    socklen_t size = sizeof(credentials), room = 0;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
        return -1;
    /* Too small a buffer makes the kernel tell the right size. */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &room) < 0 && errno != ERANGE)
        return -1;
    groups = xrealloc(NULL, (size_t)room + sizeof(*groups), 1);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &room) < 0)
        return -1;
    *ret_peer = (struct peer){.pid = credentials.pid,
                              .uid = credentials.uid,
                              .gid = credentials.gid,
                              .groups = TAKE_PTR(groups),
                              .n_groups = room / sizeof(*groups)};
    return 0;
}

void peer_deinit(struct peer *peer)
{
    free(peer->groups);
    *peer = (struct peer){0};
}

static bool peer_in_group(const struct peer *peer, gid_t group)
{
    if (group == CONF_NO_GROUP)
        return false;
    if (peer->gid == group)
        return true;
    for (size_t i = 0; i < peer->n_groups; i++)
        if (peer->groups[i] == group)
            return true;
    return false;
}

enum call_role peer_role(const struct peer *peer, const struct conf *conf)
{
    if (peer->uid == 0 || peer->uid == geteuid() || peer_in_group(peer, conf->admin_group))
        return ROLE_ADMIN;
    if (peer_in_group(peer, conf->operator_group))
        return ROLE_OPERATOR;
    return peer_in_group(peer, conf->reader_group) ? ROLE_READER : ROLE_NONE;
}
