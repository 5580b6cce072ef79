/* What is between systemd and the daemon: readiness, status and watchdog out, the listening socket
 * in. Without systemd (no NOTIFY_SOCKET, no LISTEN_FDS in the environment) all of it does nothing.
 */
#ifndef SNAPVM_NOTIFY_H
#define SNAPVM_NOTIFY_H

#include "base/cleanup.h"

struct error;
struct event_base;
struct notify;

/* Answers systemd's watchdog from the loop, twice as often as it asks for, so that a loop that
 * hangs is noticed. Owned by the caller, who frees it before the loop. */
struct notify *notify_new(struct event_base *base);
struct notify *notify_free(struct notify *notify);

/* The socket accepts and what was left undone by the last run has been taken up. */
void notify_ready(void);

/* A reload has begun; notify_ready() ends it, whether it was taken or refused. */
void notify_reloading(void);

void notify_stopping(void);

/* The line that `systemctl status` shows. */
void notify_status(const char *format, ...) _printf_(1, 2);

/* The listening socket that systemd opened, which the caller owns and which nobody unlinks; -1
 * where there is none. An error when it handed over several, or something else than a listening
 * Unix stream socket. Asked once: the environment forgets it. */
int notify_listen_fd(int *ret_fd, struct error *err);

DEFINE_CLEANUP(struct notify, notify_free)

#endif
