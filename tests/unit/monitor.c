#include "tests/unit/monitor.h"

#include <check.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "proto/json.h"

#define GREETING                                                              \
    "{\"QMP\":{\"version\":{\"qemu\":{\"micro\":22,\"minor\":2,\"major\":7}," \
    "\"package\":\"\"},\"capabilities\":[]}}\r\n"

void monitor_say(struct monitor *monitor, const char *text)
{
    /* The other end may have left: the next read tells. */
    send(monitor->fd, text, strlen(text), MSG_NOSIGNAL);
}

static const char *monitor_answer(struct monitor *monitor, const char *command)
{
    const struct {
        const char *command, *answer;
    } answers[] = {
        {"qmp_capabilities", "{}"},
        {"query-status", monitor->status},
        {"query-named-block-nodes", monitor->nodes},
        {"query-blockstats", monitor->blockstats},
        {"query-block", monitor->block},
        {"query-jobs", monitor->jobs},
        {"query-block-jobs", "[]"},
        {"query-chardev", "[]"},
    };

    if (strcmp(command, "query-block") == 0)
        monitor->views++;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
        if (strcmp(answers[i].command, command) == 0)
            return answers[i].answer;
    return NULL;
}

static void monitor_handle(struct monitor *monitor, const char *line, size_t size)
{
    _cleanup_json_ json_object *request = NULL;
    _cleanup_free_ char *text = NULL;
    const char *answer;

    ck_assert_int_eq(json_read(line, size, 32, &request), JSON_OK);
    answer = monitor_answer(monitor, json_string(request, "execute"));
    if (answer)
        text = xasprintf("{\"return\":%s,\"id\":%lld}\r\n", answer, json_int(request, "id", 0));
    else
        text = xasprintf("{\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"none\"},"
                         "\"id\":%lld}\r\n",
                         json_int(request, "id", 0));
    monitor_say(monitor, text);
}

void monitor_hang_up(struct monitor *monitor)
{
    if (monitor->reads)
        event_free(monitor->reads);
    monitor->reads = NULL;
    cleanup_close(&monitor->fd);
    monitor->fd = -1;
    monitor->n_line = 0;
}

static void monitor_readable(evutil_socket_t fd, short what _unused_, void *arg)
{
    struct monitor *monitor = arg;
    ssize_t n =
        read(fd, monitor->line + monitor->n_line, sizeof(monitor->line) - 1 - monitor->n_line);
    char *begin = monitor->line, *end;

    if (n <= 0) {
        monitor_hang_up(monitor);
        return;
    }
    monitor->n_line += (size_t)n;
    monitor->line[monitor->n_line] = '\0';
    for (; (end = strchr(begin, '\n')); begin = end + 1) {
        *end = '\0';
        monitor_handle(monitor, begin, (size_t)(end - begin));
    }
    monitor->n_line = strlen(begin);
    memmove(monitor->line, begin, monitor->n_line);
}

static void monitor_accept(evutil_socket_t fd, short what _unused_, void *arg)
{
    struct monitor *monitor = arg;

    monitor_hang_up(monitor);
    monitor->fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(monitor->fd, 0);
    monitor->accepted++;
    if (monitor->silent)
        return;
    monitor->reads =
        event_new(monitor->base, monitor->fd, EV_READ | EV_PERSIST, monitor_readable, monitor);
    event_add(monitor->reads, NULL);
    monitor_say(monitor, GREETING);
}

static void monitor_bind(struct monitor *monitor, struct event_base *base, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *monitor = (struct monitor){
        .base = base,
        .path = xstrdup(path),
        .fd = -1,
        .status = "{\"status\":\"running\",\"running\":true}",
        .nodes = "[{\"node-name\":\"top\",\"drv\":\"qcow2\",\"file\":\"/i/top\","
                 "\"image\":{\"virtual-size\":1024}},"
                 "{\"node-name\":\"base\",\"drv\":\"raw\",\"file\":\"/i/base\","
                 "\"image\":{\"virtual-size\":1024}}]",
        .blockstats = "[{\"node-name\":\"top\",\"backing\":{\"node-name\":\"base\"}}]",
        .block = "[{\"device\":\"\",\"qdev\":\"/machine/peripheral/vd0/virtio-backend\","
                 "\"inserted\":{\"node-name\":\"top\",\"ro\":false}}]",
        .jobs = "[]",
    };
    ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path));
    monitor->listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(monitor->listening, (struct sockaddr *)&address, sizeof(address)), 0);
    monitor->accepts =
        event_new(base, monitor->listening, EV_READ | EV_PERSIST, monitor_accept, monitor);
}

void monitor_open(struct monitor *monitor, struct event_base *base, const char *path)
{
    monitor_bind(monitor, base, path);
    ck_assert_int_eq(listen(monitor->listening, 8), 0);
    event_add(monitor->accepts, NULL);
}

void monitor_open_elsewhere(struct monitor *monitor, struct event_base *base, const char *path)
{
    int listens[2];
    char byte;

    monitor_bind(monitor, base, path);
    ck_assert_int_eq(pipe(listens), 0);
    monitor->process = fork();
    if (monitor->process == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (listen(monitor->listening, 8) < 0 || write(listens[1], "", 1) != 1)
            _exit(1);
        close(monitor->listening); /* the test's own descriptor holds it open */
        for (;;)
            pause();
    }
    close(listens[1]);
    ck_assert_int_eq(read(listens[0], &byte, 1), 1);
    close(listens[0]);
    event_add(monitor->accepts, NULL);
}

void monitor_close(struct monitor *monitor)
{
    monitor_hang_up(monitor);
    if (!monitor->path)
        return;
    event_free(monitor->accepts);
    close(monitor->listening);
    unlink(monitor->path);
    free(monitor->path);
    monitor->path = NULL;
}

void monitor_kill(struct monitor *monitor)
{
    if (monitor->process > 0) {
        kill(monitor->process, SIGKILL);
        waitpid(monitor->process, NULL, 0);
    }
    monitor->process = 0;
    monitor_close(monitor);
}
