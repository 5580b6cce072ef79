#include "rpc/server.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "api/context.h"
#include "api/metrics.h"
#include "base/log.h"
#include "base/memory.h"
#include "conf/conf.h"
#include "proto/snapvm-errors.h"
#include "rpc/conn.h"
#include "rpc/listener.h"
#include "rpc/reply.h"

/* Connections that are accepted in one turn of the loop. */
#define TURN_ACCEPTS 16
/* Strangers may connect to be told so, but not fill the daemon. */
#define MAX_STRANGERS 8

struct server {
    struct daemon_context *context;
    struct listener listener;
    struct event *acceptable;
    int spare; /* given up for a moment when descriptors run out, to refuse who waits */
    TAILQ_HEAD(, conn) conns;
};

static void server_gone(void *arg, struct conn *conn)
{
    struct server *server = arg;

    TAILQ_REMOVE(&server->conns, conn, link);
    server->context->metrics->connections--;
    conn_free(conn);
}

static unsigned count_strangers(const struct server *server)
{
    const struct conn *conn;
    unsigned n = 0;

    TAILQ_FOREACH (conn, &server->conns, link)
        n += peer_role(&conn->peer, server->context->conf) == ROLE_NONE;
    return n;
}

/* Why a connection of that peer is not taken. */
static int check_room(const struct server *server, const struct peer *peer, struct error *err)
{
    int bound = server->context->conf->connections;

    if (server->context->metrics->connections >= (uint64_t)bound) {
        error_set(err, SNAPVM_ERROR_LIMIT_EXCEEDED,
                  "there are %d connections already: close one, or raise connections in "
                  "snapvmd.conf",
                  bound);
        error_text(err, "limit", "connections");
        return error_number(err, "value", bound);
    }
    if (peer_role(peer, server->context->conf) == ROLE_NONE &&
        count_strangers(server) >= MAX_STRANGERS) {
        error_set(err, SNAPVM_ERROR_ACCESS_DENIED,
                  "you are in none of the groups of [access] in snapvmd.conf");
        return error_text(err, "needs", "reader");
    }
    return 0;
}

/* The line fits into an empty socket; if it does not, there is nobody to tell. */
static void refuse(int fd, const struct error *err)
{
    _cleanup_free_ char *line = reply_error_line(err);

    (void)!send(fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

static void server_take(struct server *server, int fd)
{
    struct metrics *metrics = server->context->metrics;
    _cleanup_(peer_deinit) struct peer peer = {0};
    _cleanup_error_ struct error err = {0};
    struct conn *conn;

    if (peer_read(fd, &peer) < 0) {
        log_info("the kernel does not tell who connects: %s", strerror(errno));
        close(fd);
        return;
    }
    metrics->connections_total++;
    if (check_room(server, &peer, &err) < 0) {
        log_debug("refused pid %d, uid %u: %s", (int)peer.pid, peer.uid, err.message);
        metrics->refused++;
        refuse(fd, &err);
        return;
    }
    conn = conn_new(server->context, fd, &peer, server_gone, server);
    TAILQ_INSERT_TAIL(&server->conns, conn, link);
    metrics->connections++;
}

/* Out of descriptors: who waits would keep the loop awake without end. */
static void server_shed(struct server *server)
{
    int fd;

    log_warning("no descriptor is left for a client: it is turned away");
    close(server->spare);
    fd = accept4(server->listener.fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    server->context->metrics->refused++;
    server->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void server_accept(evutil_socket_t listening, short what _unused_, void *arg)
{
    struct server *server = arg;

    for (int i = 0; i < TURN_ACCEPTS; i++) {
        int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd >= 0) {
            server_take(server, fd);
        } else if (errno == EMFILE || errno == ENFILE) {
            server_shed(server);
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return;
        }
    }
}

struct server *server_new(struct daemon_context *context, int fd, struct error *err)
{
    struct server *server = xzalloc(sizeof(*server));

    server->context = context;
    server->listener.fd = -1;
    server->spare = -1;
    TAILQ_INIT(&server->conns);
    if (fd >= 0)
        listener_adopt(&server->listener, fd);
    else if (listener_open(&server->listener, context->conf->socket, err) < 0)
        return server_free(server);
    server->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    server->acceptable = event_new(context->event_base, server->listener.fd, EV_READ | EV_PERSIST,
                                   server_accept, server);
    return server;
}

void server_start(struct server *server)
{
    event_add(server->acceptable, NULL);
}

void server_stop(struct server *server)
{
    struct conn *conn;

    event_del(server->acceptable);
    listener_close(&server->listener);
    TAILQ_FOREACH (conn, &server->conns, link)
        conn_stop(conn);
}

struct server *server_free(struct server *server)
{
    struct conn *conn;

    if (!server)
        return NULL;
    while ((conn = TAILQ_FIRST(&server->conns)))
        server_gone(server, conn);
    if (server->acceptable)
        event_free(server->acceptable);
    listener_close(&server->listener);
    if (server->spare >= 0)
        close(server->spare);
    free(server);
    return NULL;
}
