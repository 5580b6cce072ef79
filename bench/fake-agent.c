#include "bench/fake-agent.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "bench/guest.h"

#define ROOM 4096

struct fake_agent {
    int listener;
    bool frozen;
    int64_t since;
    _Atomic int64_t window; /* -1: none since it was read */
};

static void answer(int fd, const char *text)
{
    size_t size = strlen(text);

    if (send(fd, text, size, MSG_NOSIGNAL) != (ssize_t)size)
        die("the agent's client does not read");
}

static void answer_sync(int fd, const char *line)
{
    const char *id = strstr(line, "\"id\":");
    char text[64];

    snprintf(text, sizeof(text), "\xff{\"return\":%lld}\n", id ? strtoll(id + 5, NULL, 10) : 0);
    answer(fd, text);
}

static void handle(struct fake_agent *agent, int fd, const char *line)
{
    if (strstr(line, "guest-sync-delimited")) {
        answer_sync(fd, line);
    } else if (strstr(line, "guest-fsfreeze-status")) {
        answer(fd, agent->frozen ? "{\"return\":\"frozen\"}\n" : "{\"return\":\"thawed\"}\n");
    } else if (strstr(line, "guest-fsfreeze-freeze")) {
        agent->frozen = true;
        agent->since = clock_monotonic();
        answer(fd, "{\"return\":1}\n");
    } else if (strstr(line, "guest-fsfreeze-thaw")) {
        atomic_store(&agent->window, clock_monotonic() - agent->since);
        agent->frozen = false;
        answer(fd, "{\"return\":1}\n");
    } else {
        answer(fd, "{\"return\":{}}\n");
    }
}

static void serve(struct fake_agent *agent, int fd)
{
    char buffer[ROOM], *end;
    size_t size = 0, used;
    ssize_t n;

    while ((n = recv(fd, buffer + size, sizeof(buffer) - size, 0)) > 0) {
        size += (size_t)n;
        for (used = 0; (end = memchr(buffer + used, '\n', size - used));
             used = (size_t)(end + 1 - buffer)) {
            *end = '\0';
            handle(agent, fd, buffer + used);
        }
        memmove(buffer, buffer + used, size - used);
        size -= used;
        if (size == sizeof(buffer))
            die("the agent was sent a line of over %d bytes", ROOM);
    }
    close(fd);
}

static void *agent_main(void *arg)
{
    struct fake_agent *agent = arg;

    for (;;) {
        int fd = accept(agent->listener, NULL, NULL);

        if (fd < 0)
            die("no client of the agent: %s", strerror(errno));
        serve(agent, fd);
    }
    return NULL;
}

struct fake_agent *fake_agent_new(const char *path)
{
    struct fake_agent *agent = xzalloc(sizeof(*agent));
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    pthread_t thread;

    if (strlen(path) >= sizeof(address.sun_path))
        die("%s: too long for a socket's name", path);
    strcpy(address.sun_path, path);
    atomic_store(&agent->window, -1);
    agent->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(agent->listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(agent->listener, 4) < 0)
        die("%s: %s", path, strerror(errno));
    if (pthread_create(&thread, NULL, agent_main, agent) != 0)
        die("no thread for the agent");
    return agent;
}

int64_t fake_agent_window(struct fake_agent *agent)
{
    int64_t window = atomic_exchange(&agent->window, -1);

    if (window < 0)
        die("the guest was not frozen");
    return window;
}
