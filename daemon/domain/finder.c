#include "domain/finder.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/memory.h"
#include "domain/domains.h"
#include "domain/link.h"
#include "proto/snapvm-errors.h"

#define FINDER_MASK (IN_CREATE | IN_MOVED_TO | IN_ONLYDIR)

/* A folder that is watched: the guests folder itself, or one with a monitor's socket. */
struct watched {
    int wd;
    char *path;
    UT_hash_handle hh;
};

struct finder {
    struct domains *domains;
    int fd, guests_wd;
    struct event *event;
    struct watched *watched; /* by wd */
};

static int finder_add(struct finder *finder, const char *path)
{
    int wd = inotify_add_watch(finder->fd, path, FINDER_MASK);
    struct watched *watched;

    if (wd < 0)
        return wd;
    HASH_FIND_INT(finder->watched, &wd, watched);
    /* inotify gives one number a folder, however it is named, and keeps it when it is renamed. */
    if (watched && access(watched->path, F_OK) < 0)
        xstrset(&watched->path, path);
    if (watched)
        return wd;
    watched = xzalloc(sizeof(*watched));
    watched->wd = wd;
    watched->path = xstrdup(path);
    HASH_ADD_INT(finder->watched, wd, watched);
    return wd;
}

void finder_watch(struct finder *finder, const char *socket_path)
{
    _cleanup_free_ char *copy = xstrdup(socket_path);

    if (finder && finder_add(finder, dirname(copy)) < 0)
        log_debug("%s is not watched: %s", socket_path, strerror(errno));
}

static void finder_look_at(struct finder *finder, const char *name)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", finder->domains->options.guests_dir, name);
    _cleanup_free_ char *socket = xasprintf("%s/qmp.sock", path);
    struct stat st;

    if (name[0] == '.' || stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return;
    if (!domains_valid_name(name)) {
        log_warning("%s: the folder's name is no domain's name; the guest is not taken in", path);
        return;
    }
    finder_add(finder, path);
    if (stat(socket, &st) == 0)
        domains_found(finder->domains, name);
}

static void finder_scan(struct finder *finder)
{
    DIR *dir = opendir(finder->domains->options.guests_dir);
    struct dirent *entry;

    if (!dir)
        return;
    while ((entry = readdir(dir)))
        finder_look_at(finder, entry->d_name);
    closedir(dir);
}

/* Something appeared in a folder with a monitor: the domains whose socket it is try at once. */
static void finder_kick(struct finder *finder, const char *folder, const char *name)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", folder, name);
    _cleanup_free_ char *copy = xstrdup(folder);
    struct domain *domain, *next;

    HASH_ITER (hh, finder->domains->map, domain, next) {
        if (strcmp(domain->record.qmp, path) == 0 ||
            (domain->record.agent && strcmp(domain->record.agent, path) == 0))
            link_kick(domain->link);
    }
    if (strcmp(dirname(copy), finder->domains->options.guests_dir) == 0 &&
        (strcmp(name, "qmp.sock") == 0 || strcmp(name, "agent.sock") == 0))
        finder_look_at(finder, strrchr(folder, '/') + 1);
}

static void finder_event(struct finder *finder, const struct inotify_event *event)
{
    struct watched *watched;

    if (event->mask & IN_Q_OVERFLOW) {
        finder_scan(finder);
        return;
    }
    HASH_FIND_INT(finder->watched, &event->wd, watched);
    if (!watched)
        return;
    if (event->mask & IN_IGNORED) {
        HASH_DEL(finder->watched, watched);
        free(watched->path);
        free(watched);
    } else if (event->wd == finder->guests_wd && event->len) {
        finder_look_at(finder, event->name);
    } else if (event->len) {
        finder_kick(finder, watched->path, event->name);
    }
}

static void finder_readable(evutil_socket_t fd, short what _unused_, void *arg)
{
    struct finder *finder = arg;
    char buffer[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n = read(fd, buffer, sizeof(buffer));

    for (char *p = buffer; n > 0 && p < buffer + n;) {
        const struct inotify_event *event = (const struct inotify_event *)p;

        finder_event(finder, event);
        p += sizeof(*event) + event->len;
    }
}

struct finder *finder_new(struct domains *domains, struct error *err)
{
    const char *dir = domains->options.guests_dir;
    struct finder *finder;

    if (mkdir(dir, 0755) < 0 && errno != EEXIST) {
        error_set_errno(err, SNAPVM_ERROR_INTERNAL, errno,
                        "cannot make the guests folder %s; make it, or name another one", dir);
        return NULL;
    }
    finder = xzalloc(sizeof(*finder));
    finder->domains = domains;
    finder->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    finder->guests_wd = finder->fd < 0 ? -1 : finder_add(finder, dir);
    if (finder->guests_wd < 0) {
        error_set_errno(err, SNAPVM_ERROR_INTERNAL, errno, "cannot watch the guests folder %s",
                        dir);
        return finder_free(finder);
    }
    finder->event =
        event_new(domains->base, finder->fd, EV_READ | EV_PERSIST, finder_readable, finder);
    event_add(finder->event, NULL);
    finder_scan(finder);
    return finder;
}

struct finder *finder_free(struct finder *finder)
{
    struct watched *watched, *next;

    if (!finder)
        return NULL;
    if (finder->event)
        event_free(finder->event);
    if (finder->fd >= 0)
        close(finder->fd);
    HASH_ITER (hh, finder->watched, watched, next) {
        HASH_DEL(finder->watched, watched);
        free(watched->path);
        free(watched);
    }
    free(finder);
    return NULL;
}
