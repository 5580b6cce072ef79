#include "notify.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "proto/snapvm-errors.h"

struct notify {
    struct event *watchdog; /* NULL: systemd watches nothing */
};

static void on_watchdog(evutil_socket_t fd _unused_, short what _unused_, void *arg _unused_)
{
    sd_notify(0, "WATCHDOG=1");
}

struct notify *notify_new(struct event_base *base)
{
    struct notify *notify = xzalloc(sizeof(*notify));
    struct timeval interval;
    uint64_t us = 0;

    if (sd_watchdog_enabled(0, &us) <= 0)
        return notify;
    interval = (struct timeval){.tv_sec = (time_t)(us / 2 / 1000000),
                                .tv_usec = (suseconds_t)(us / 2 % 1000000)};
    notify->watchdog = event_new(base, -1, EV_PERSIST, on_watchdog, NULL);
    if (!notify->watchdog || event_add(notify->watchdog, &interval) < 0)
        abort();
    return notify;
}

struct notify *notify_free(struct notify *notify)
{
    if (!notify)
        return NULL;
    if (notify->watchdog)
        event_free(notify->watchdog);
    free(notify);
    return NULL;
}

void notify_ready(void)
{
    sd_notify(0, "READY=1");
}

void notify_reloading(void)
{
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, clock_monotonic());
}

void notify_stopping(void)
{
    sd_notify(0, "STOPPING=1");
}

void notify_status(const char *format, ...)
{
    _cleanup_free_ char *text = NULL;
    va_list args;

    va_start(args, format);
    text = xvasprintf(format, args);
    va_end(args);
    sd_notifyf(0, "STATUS=%s", text);
}

int notify_listen_fd(int *ret_fd, struct error *err)
{
    int n = sd_listen_fds(1);

    if (n < 0)
        return error_set_errno(err, SNAPVM_ERROR_INTERNAL, -n, "the sockets of systemd");
    if (n > 1)
        return error_set(err, SNAPVM_ERROR_INTERNAL,
                         "systemd hands over %d sockets: one unit with one ListenStream is wanted",
                         n);
    if (n == 1 && sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_STREAM, 1, NULL, 0) <= 0)
        return error_set(err, SNAPVM_ERROR_INTERNAL,
                         "systemd hands over something else than a listening Unix stream socket");
    *ret_fd = n == 1 ? SD_LISTEN_FDS_START : -1;
    return 0;
}
