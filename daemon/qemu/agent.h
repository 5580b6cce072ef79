/* One connection to one guest agent: qemu-ga, or the guest kernel's freeze driver, which speaks the
 * same wire. The guest is not trusted: lines and nesting are bounded, replies are typed and ranged,
 * what nobody asked for is dropped, every call ends by itself.
 *
 * Calls are answered in order and may be pipelined. Before a call on a connection that is not known
 * to be in step (a fresh one, or one on which a call ran out of time) a guest-sync-delimited with a
 * random id goes first, and everything before its answer is stale and dropped. */
#ifndef SNAPVM_QEMU_AGENT_H
#define SNAPVM_QEMU_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct agent;
struct event_base;

struct agent_handlers {
    /* The socket is connected. It proves nothing of the guest: a call does. */
    void (*up)(void *arg);
    /* Lost or never made: said once, after all outstanding calls were answered. */
    void (*down)(void *arg, const struct error *why);
};

/* Begins to connect (non-blocking); handlers are called from the loop only. */
struct agent *agent_new(struct event_base *base, const char *path,
                        const struct agent_handlers *handlers, void *arg);

/* Closes silently; may be called from a callback. Bytes that QEMU has not taken yet (see
 * agent_unsent) are cancelled for certain by this. */
struct agent *agent_free(struct agent *agent);

/* The same, but outstanding calls are answered with that error first; returns NULL, takes NULL. */
struct agent *agent_drop(struct agent *agent, const struct error *why);

bool agent_is_up(const struct agent *agent);

/* Whether anything that was asked on this connection was answered, and it was not lost for what it
 * sent besides: what only talks is connected anew with a growing delay. */
bool agent_has_answered(const struct agent *agent);

enum agent_call {
    AGENT_PING,   /* guest-ping */
    AGENT_INFO,   /* guest-info */
    AGENT_STATUS, /* guest-fsfreeze-status */
    AGENT_FREEZE, /* guest-fsfreeze-freeze, or -freeze-list with mountpoints */
    AGENT_THAW,   /* guest-fsfreeze-thaw */
    AGENT_FSINFO, /* guest-get-fsinfo; refused by a frozen agent */
};

/* A disk below a file system, as the guest sees it. */
struct agent_disk {
    char *dev;                   /* "/dev/vda"; empty where the agent does not tell */
    int64_t bus, slot, function; /* of its PCI controller in domain 0; -1 where it has none */
};

struct agent_fs {
    /* Valid UTF-8 without control characters, at most 256 bytes; empty where none was given. */
    char *mountpoint, *type, *name;
    int64_t total, used; /* bytes; -1 unknown */
    struct agent_disk *disks;
    unsigned n_disks;
};

struct agent_reply {
    int64_t count;       /* freeze and thaw: file systems, 0 to 65536 */
    bool frozen;         /* status */
    int64_t thaw_in_ms;  /* status: frozen, and thaws by itself after so much silence of ours; at
                          * most a day, 0: it does not */
    char *version;       /* info; NULL unknown */
    bool kernel;         /* info: it is the guest's kernel (guest/), not qemu-ga */
    bool can_freeze;     /* info: guest-fsfreeze-freeze is there and enabled; not while frozen */
    struct agent_fs *fs; /* fsinfo, at most 1024 */
    unsigned n_fs;
};

/* The reply lives as long as the call of the callback. Errors: AgentUnavailable with `reason`
 * (not connected, "no answer" after the time-out, closed, an answer of the wrong shape or over the
 * bound: no list of file systems of more than 64 KiB is known), or
 * QuiesceFailed with `reason` where the agent itself refused (its words, cleaned). */
typedef void (*agent_fn)(void *arg, const struct agent_reply *reply, const struct error *err);

/* Sends a call; the time-out counts from now and covers the sync before it. Mountpoints (NULL: all
 * file systems) matter to AGENT_FREEZE alone. The callback comes from the loop, exactly once unless
 * the connection is freed. After a time-out the connection stays open and out of step. */
void agent_call(struct agent *agent, enum agent_call call, const char *const *mountpoints,
                unsigned n_mountpoints, unsigned timeout_ms, agent_fn fn, void *arg);

/* Asks for a fresh sync to be put before the next call. */
void agent_desync(struct agent *agent);

/* As qmp_cork: calls in between leave in one write. */
void agent_cork(struct agent *agent);
void agent_uncork(struct agent *agent);

/* Bytes that were written and that QEMU has not taken (SIOCOUTQ); while a guest is stopped QEMU
 * does not read. 0: QEMU has everything, and what is in flight can no longer be cancelled. */
size_t agent_unsent(const struct agent *agent);

DEFINE_CLEANUP(struct agent, agent_free)

#endif
