/* A connection: bytes in become requests, answers and events become bytes out.
 *
 * It takes on a share of what it has read, then lets others have their turn. It stops reading while
 * its bound of unanswered requests is reached, so that a client's haste stays in the client. What
 * it has to say goes to the socket at once; what the socket does not take is kept up to a bound,
 * behind which the client is called too slow and cut off.
 *
 * A client that goes away takes nothing back: its calls run on without it. One that only closes its
 * own direction still gets its answers. */
#ifndef SNAPVM_RPC_CONN_H
#define SNAPVM_RPC_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "api/hub.h"
#include "proto/frame.h"
#include "rpc/role.h"

struct batch;
struct conn;
struct daemon_context;
struct evbuffer;
struct event;
struct reply;

typedef void (*conn_gone_fn)(void *arg, struct conn *conn);

struct conn {
    TAILQ_ENTRY(conn) link; /* server::conns */
    struct daemon_context *context;
    int fd; /* -1: dead, and freed on its next turn */
    struct peer peer;
    struct frame in;
    struct evbuffer *out;
    struct event *readable, *writable;
    struct event *turn; /* goes on with what is left to do, or ends it */
    bool reading;       /* `readable` waits */
    bool working;       /* requests are being taken on */
    bool more;          /* what was read may hold another request */
    bool eof;           /* the client sends no more */
    bool ending;        /* nothing more is taken on; closed once all is said */
    unsigned in_flight; /* unanswered requests */
    TAILQ_HEAD(, reply) replies;
    TAILQ_HEAD(, batch) batches;
    struct batch *batch; /* the one that still has requests to be taken on */
    struct subscriber subscriber;
    conn_gone_fn gone;
    void *gone_arg;
};

/* Takes over the descriptor (non-blocking) and the peer. `gone` is called when the connection has
 * ended by itself, and frees it. */
struct conn *conn_new(struct daemon_context *context, int fd, struct peer *peer, conn_gone_fn gone,
                      void *arg);
struct conn *conn_free(struct conn *conn);

/* What was read from the client. */
void conn_feed(struct conn *conn, const char *data, size_t size);

/* A line with its '\n' for the client. The connection may be dead afterwards. */
void conn_send(struct conn *conn, const char *line, size_t size);

/* Ends it at once. */
void conn_kill(struct conn *conn, const char *why);

/* A request was answered: there may be room for the next. */
void conn_answered(struct conn *conn);

/* Answers what has no answer yet with ShuttingDown and closes when that is sent. */
void conn_stop(struct conn *conn);

#endif
