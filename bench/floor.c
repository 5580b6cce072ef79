/* The least that the operations cost: all that takes time comes before the freeze, overlays are
 * formatted by the client instead of by a job in QEMU, commands that need no answer of each other
 * leave in one write. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "bench/contender.h"
#include "bench/guest.h"
#include "bench/raw-qmp.h"
#include "qemu/qcow2.h"

#define TEXT (16 * 1024)

struct floor {
    struct floor_guest {
        const struct guest *guest;
        struct raw_qmp *qmp;
        int agent;
        uint64_t disk_size;
    } * guests;
    unsigned n;
};

static struct floor_guest *floor_find(struct floor *floor, const struct guest *guest)
{
    for (unsigned i = 0; i < floor->n; i++)
        if (floor->guests[i].guest == guest)
            return &floor->guests[i];
    die("no such guest: %s", guest->name);
}

static void agent_ask(int fd, const char *command)
{
    char text[256];
    int size = snprintf(text, sizeof(text), "{\"execute\":\"%s\"}\n", command);

    if (send(fd, text, (size_t)size, MSG_NOSIGNAL) != size || recv(fd, text, sizeof(text), 0) <= 0)
        die("no answer from the agent");
}

static void floor_format(const struct floor_guest *own, unsigned disk, const char *path)
{
    _cleanup_free_ char *base = guest_base(own->guest, disk);
    _cleanup_free_ unsigned char *head = NULL;
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    struct qcow2_layout layout;

    if (fd < 0 || qcow2_format(own->disk_size, base, "qcow2", &head, &layout, NULL) < 0 ||
        write(fd, head, layout.head_size) != (ssize_t)layout.head_size ||
        ftruncate(fd, (off_t)layout.file_size) < 0)
        die("%s: %s", path, strerror(errno));
}

static void floor_open_overlays(const struct floor_guest *own)
{
    char text[TEXT], target[4];
    size_t size = 0;

    for (unsigned i = 0; i < own->guest->n_disks; i++) {
        _cleanup_free_ char *path = guest_overlay(own->guest, i);

        floor_format(own, i, path);
        size +=
            (size_t)snprintf(text + size, sizeof(text) - size,
                             "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\","
                             "\"node-name\":\"%s-%u\",\"backing\":null,"
                             "\"file\":{\"driver\":\"file\",\"filename\":\"%s\"}}}\n",
                             guest_target(i, target), own->guest->snapshot, path);
    }
    raw_qmp_send(own->qmp, "%s", text);
    raw_qmp_wait(own->qmp, own->guest->n_disks, NULL);
}

static void floor_switch(const struct floor_guest *own)
{
    char text[TEXT], target[4];
    size_t size = 0;

    for (unsigned i = 0; i < own->guest->n_disks; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size,
                                 "%s{\"type\":\"blockdev-snapshot\",\"data\":{"
                                 "\"node\":\"disk-%s\",\"overlay\":\"%s-%u\"}}",
                                 i ? "," : "", guest_target(i, target), target,
                                 own->guest->snapshot);
    raw_qmp_send(own->qmp, "{\"execute\":\"transaction\",\"arguments\":{\"actions\":[%s]}}\n",
                 text);
    raw_qmp_wait(own->qmp, 1, NULL);
}

static int64_t floor_snapshot(void *self, struct guest *guest)
{
    const struct floor_guest *own = floor_find(self, guest);
    int64_t start;

    raw_qmp_drain(own->qmp);
    guest->snapshot++;
    start = clock_monotonic();
    floor_open_overlays(own);
    agent_ask(own->agent, "guest-fsfreeze-freeze");
    floor_switch(own);
    agent_ask(own->agent, "guest-fsfreeze-thaw");
    return clock_monotonic() - start;
}

static struct raw_event floor_begin(const struct floor_guest *own, const char *target)
{
    raw_qmp_send(own->qmp,
                 "{\"execute\":\"block-commit\",\"arguments\":{\"job-id\":\"commit\","
                 "\"device\":\"%s-%u\",\"base-node\":\"disk-%s\","
                 "\"auto-finalize\":false,\"auto-dismiss\":false}}\n",
                 target, own->guest->snapshot, target);
    return raw_qmp_wait(own->qmp, 1, "ready");
}

static void floor_pivot(const struct floor_guest *own, const char *target)
{
    raw_qmp_send(own->qmp, "{\"execute\":\"job-complete\",\"arguments\":{\"id\":\"commit\"}}\n");
    raw_qmp_wait(own->qmp, 1, "pending");
    raw_qmp_send(own->qmp, "{\"execute\":\"job-finalize\",\"arguments\":{\"id\":\"commit\"}}\n");
    raw_qmp_wait(own->qmp, 1, "concluded");
    raw_qmp_send(own->qmp,
                 "{\"execute\":\"job-dismiss\",\"arguments\":{\"id\":\"commit\"}}\n"
                 "{\"execute\":\"blockdev-del\",\"arguments\":{\"node-name\":\"%s-%u\"}}\n",
                 target, own->guest->snapshot);
    raw_qmp_wait(own->qmp, 2, NULL);
}

static int64_t floor_commit(void *self, struct guest *guest, unsigned disk)
{
    const struct floor_guest *own = floor_find(self, guest);
    char target[4];
    int64_t start;

    raw_qmp_drain(own->qmp);
    start = clock_monotonic();
    floor_begin(own, guest_target(disk, target));
    floor_pivot(own, target);
    return clock_monotonic() - start;
}

static void floor_ready(void *self, struct guest *guest, unsigned disk, int64_t samples[2])
{
    const struct floor_guest *own = floor_find(self, guest);
    struct raw_event event;
    char target[4];

    raw_qmp_drain(own->qmp);
    event = floor_begin(own, guest_target(disk, target));
    raw_qmp_wait(guest->witness, 0, "ready");
    floor_pivot(own, target);
    samples[0] = samples[1] = event.seen - event.stamp;
}

static int agent_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, path);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        die("%s: %s", path, strerror(errno));
    return fd;
}

static uint64_t disk_size(const struct guest *guest)
{
    _cleanup_free_ char *base = guest_base(guest, 0);
    _cleanup_close_ int fd = open(base, O_RDONLY | O_CLOEXEC);
    struct qcow2_header header;
    unsigned char data[64 * 1024];
    ssize_t n = fd < 0 ? -1 : read(fd, data, sizeof(data));
    uint64_t size;

    if (n < 0 || qcow2_parse(data, (size_t)n, &header, NULL) < 0)
        die("%s cannot be read", base);
    size = header.virtual_size;
    qcow2_header_deinit(&header);
    return size;
}

struct contender floor_contender(struct guest *guests, unsigned n)
{
    struct floor *floor = xzalloc(sizeof(*floor));

    floor->n = n;
    floor->guests = xzalloc(n * sizeof(*floor->guests));
    for (unsigned i = 0; i < n; i++) {
        _cleanup_free_ char *qmp = xasprintf("%s/qmp.sock", guests[i].sockets);
        _cleanup_free_ char *agent = xasprintf("%s/agent.sock", guests[i].sockets);

        floor->guests[i] = (struct floor_guest){
            .guest = &guests[i],
            .qmp = raw_qmp_new(qmp),
            .agent = agent_connect(agent),
            .disk_size = disk_size(&guests[i]),
        };
    }
    return (struct contender){floor_snapshot, floor_commit, floor_ready, floor};
}
