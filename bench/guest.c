#include "bench/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "bench/fake-agent.h"
#include "bench/raw-qmp.h"

#define REST_MS 10

void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

const char *guest_target(unsigned disk, char buffer[4])
{
    memcpy(buffer, "vda", 4);
    buffer[2] = (char)('a' + disk);
    return buffer;
}

char *guest_base(const struct guest *guest, unsigned disk)
{
    char target[4];

    return xasprintf("%s/%s.qcow2", guest->images, guest_target(disk, target));
}

char *guest_overlay(const struct guest *guest, unsigned disk)
{
    char target[4];

    return xasprintf("%s/%s-%s.s%u.qcow2", guest->images, guest->name, guest_target(disk, target),
                     guest->snapshot);
}

void guest_open(struct guest *guest)
{
    _cleanup_free_ char *agent = xasprintf("%s/agent.sock", guest->sockets);
    _cleanup_free_ char *witness = xasprintf("%s/witness.sock", guest->sockets);

    guest->agent = fake_agent_new(agent);
    guest->witness = raw_qmp_new(witness);
}

void guest_clean(const struct guest *guest)
{
    for (unsigned i = 0; i < guest->n_disks; i++) {
        _cleanup_free_ char *overlay = guest_overlay(guest, i);

        if (unlink(overlay) < 0)
            die("%s: %s", overlay, strerror(errno));
    }
}

void guest_rest(struct guest *guest)
{
    struct timespec rest = {.tv_nsec = REST_MS * 1000000};
    _cleanup_close_ int folder = open(guest->images, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (folder < 0 || syncfs(folder) < 0)
        die("%s: %s", guest->images, strerror(errno));
    nanosleep(&rest, NULL);
    raw_qmp_drain(guest->witness);
}
