#include "base/crash.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

struct crash {
    char *name;     /* NULL: count all boundaries */
    long countdown; /* 0: never */
    int list;       /* -1: none */
};

struct crash *crash_new(void)
{
    const char *at = getenv("SNAPVM_CRASH_AT"), *list = getenv("SNAPVM_CRASH_LIST");
    struct crash *crash;
    char *colon;

    if (!at && !list)
        return NULL;
    crash = xzalloc(sizeof(*crash));
    crash->list = list ? open(list, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (!at)
        return crash;
    crash->countdown = strtol(at, &colon, 10);
    if (*colon == '\0')
        return crash;
    crash->name = xstrdup(at);
    crash->countdown = 1;
    /* A name holds one colon itself; a second one is followed by the count. */
    colon = strrchr(crash->name, ':');
    if (colon && colon != strchr(crash->name, ':')) {
        crash->countdown = atol(colon + 1);
        *colon = '\0';
    }
    return crash;
}

struct crash *crash_free(struct crash *crash)
{
    if (!crash)
        return NULL;
    if (crash->list >= 0)
        close(crash->list);
    free(crash->name);
    free(crash);
    return NULL;
}

void crash_point(struct crash *crash, const char *where, const char *what)
{
    char name[128];

    if (!crash)
        return;
    snprintf(name, sizeof(name), "%s:%s", where, what);
    if (crash->list >= 0)
        dprintf(crash->list, "%s\n", name);
    if (crash->countdown <= 0 || (crash->name && strcmp(crash->name, name) != 0))
        return;
    if (--crash->countdown == 0)
        kill(getpid(), SIGKILL);
}
