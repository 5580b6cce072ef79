/* The child is told from every other one by a pidfd, whose readiness is its end. Until it is the
 * tool it shares memory and open files of this process, among them the lock on the state directory:
 * a vfork keeps the parent waiting until they are closed, so that no child of a daemon that was
 * killed is taken for that daemon. (Files that close on exec are closed after the parent goes on.)
 */
#include "qemu/tool.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "proto/snapvm-errors.h"

#define TOOL_OUTPUT 2048
#define TOOL_NOT_STARTED 127

struct tool {
    pid_t pid;
    int pidfd, output;
    struct event *ended, *readable, *timeout;
    char text[TOOL_OUTPUT + 1]; /* the last that it printed */
    size_t length;
    char *command; /* "qemu-img commit", for messages */
    bool timed_out;
    tool_done_fn done;
    void *arg;
};

int tool_leash_open(const char *dir, int *ret_leash, struct error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/tools.lock", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return error_set_errno(err, SNAPVM_ERROR_INTERNAL, errno, "Cannot open %s", path);
    *ret_leash = fd;
    return 0;
}

void tool_leash_take(int leash)
{
    if (flock(leash, LOCK_EX | LOCK_NB) == 0)
        return;
    log_info("image tools of a daemon that was killed are still at work: waiting for their end");
    while (flock(leash, LOCK_EX) < 0 && errno == EINTR)
        ;
}

/* All but the standard ones and the leash, which is the parent's one: locked while one has it. */
static void tool_close_rest(int leash)
{
    if (leash <= STDERR_FILENO) {
        close_range(STDERR_FILENO + 1, ~0U, 0);
        return;
    }
    if (leash > STDERR_FILENO + 1)
        close_range(STDERR_FILENO + 1, (unsigned)leash - 1, 0);
    close_range((unsigned)leash + 1, ~0U, 0);
    fcntl(leash, F_SETFD, 0);
}

/* Runs in the parent's memory with all signals blocked, makes system calls alone, never returns. */
static void tool_child(const char *const *argv, pid_t parent, int output, int leash)
{
    const char *why;
    sigset_t none;
    int null = open("/dev/null", O_RDONLY);

    for (int signum = 1; signum < NSIG; signum++)
        signal(signum, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent &&
        dup2(null, STDIN_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0 &&
        dup2(output, STDERR_FILENO) >= 0) {
        tool_close_rest(leash);
        execvp(argv[0], (char *const *)argv);
        why = strerrordesc_np(errno);
        if (why && write(STDERR_FILENO, why, strlen(why)) < 0)
            _exit(TOOL_NOT_STARTED);
    }
    _exit(TOOL_NOT_STARTED);
}

static pid_t tool_fork(const char *const *argv, int output, int leash)
{
    pid_t parent = getpid(), pid;
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pid = vfork();
    if (pid == 0)
        tool_child(argv, parent, output, leash);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return pid;
}

static void tool_keep(struct tool *tool, const char *data, size_t size)
{
    size_t drop;

    if (size > TOOL_OUTPUT) {
        data += size - TOOL_OUTPUT;
        size = TOOL_OUTPUT;
    }
    drop = tool->length + size > TOOL_OUTPUT ? tool->length + size - TOOL_OUTPUT : 0;
    memmove(tool->text, tool->text + drop, tool->length - drop);
    tool->length -= drop;
    memcpy(tool->text + tool->length, data, size);
    tool->length += size;
}

/* One bite at a time: a tool that prints without an end does not keep the loop. */
static bool tool_read(struct tool *tool)
{
    char data[4096];
    ssize_t n = read(tool->output, data, sizeof(data));

    if (n > 0)
        tool_keep(tool, data, (size_t)n);
    return n > 0;
}

static void tool_readable(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    struct tool *tool = arg;

    if (!tool_read(tool))
        event_del(tool->readable);
}

/* What it printed becomes one line of printable text. */
static const char *tool_text(struct tool *tool)
{
    size_t last = 0;

    for (size_t i = 0; i < tool->length; i++) {
        unsigned char c = (unsigned char)tool->text[i];

        if (c < 0x20 || c == 0x7f)
            tool->text[i] = ' ';
        else if (c > 0x7f)
            tool->text[i] = '?';
        if (tool->text[i] != ' ')
            last = i + 1;
    }
    tool->text[last] = '\0';
    return tool->text;
}

static int tool_error(struct tool *tool, const siginfo_t *info, struct error *err)
{
    const char *text = tool_text(tool);

    if (info->si_code == CLD_EXITED && info->si_status == 0)
        return 0;
    if (tool->timed_out)
        return error_set(err, SNAPVM_ERROR_TIMEOUT, "%s did not end in time and was killed",
                         tool->command);
    if (info->si_code != CLD_EXITED)
        text = "it was killed";
    else if (*text == '\0')
        text = "no reason given";
    error_set(err, SNAPVM_ERROR_QEMU, "%s failed: %s", tool->command, text);
    error_text(err, "class", info->si_code == CLD_EXITED ? "exit" : "signal");
    error_text(err, "desc", text);
    return error_text(err, "command", tool->command);
}

static void tool_drop(struct tool *tool)
{
    struct event *events[] = {tool->ended, tool->readable, tool->timeout};

    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        if (events[i])
            event_free(events[i]);
    if (tool->pidfd >= 0)
        close(tool->pidfd);
    if (tool->output >= 0)
        close(tool->output);
    free(tool->command);
    free(tool);
}

static void tool_ended(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    struct tool *tool = arg;
    _cleanup_error_ struct error err = {0};
    siginfo_t info = {0};
    tool_done_fn done = tool->done;
    void *done_arg = tool->arg;

    for (unsigned n = 0; n < 64 && tool_read(tool); n++)
        ;
    if (tool->pid > 0)
        waitid(P_PID, (id_t)tool->pid, &info, WEXITED);
    else
        info = (siginfo_t){.si_code = CLD_EXITED, .si_status = TOOL_NOT_STARTED};
    tool_error(tool, &info, &err);
    tool_drop(tool);
    done(done_arg, err.code ? &err : NULL);
}

static void tool_timeout(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    struct tool *tool = arg;

    tool->timed_out = true;
    tool_stop(tool);
}

static void tool_start(struct tool *tool, const char *const *argv, int leash)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return;
    tool->pid = tool_fork(argv, ends[1], leash);
    close(ends[1]);
    tool->output = ends[0];
    fcntl(tool->output, F_SETFL, O_NONBLOCK);
    if (tool->pid > 0)
        tool->pidfd = (int)syscall(SYS_pidfd_open, tool->pid, 0);
}

static void tool_watch(struct tool *tool, struct event_base *base, unsigned timeout_ms)
{
    struct timeval delay = clock_timeval_ms(timeout_ms);

    tool->ended = event_new(base, tool->pidfd, EV_READ, tool_ended, tool);
    if (tool->pidfd < 0) { /* it could not be started: that too is told from the loop */
        event_active(tool->ended, EV_TIMEOUT, 0);
        return;
    }
    event_add(tool->ended, NULL);
    tool->readable = event_new(base, tool->output, EV_READ | EV_PERSIST, tool_readable, tool);
    event_add(tool->readable, NULL);
    if (timeout_ms == 0)
        return;
    tool->timeout = event_new(base, -1, 0, tool_timeout, tool);
    event_add(tool->timeout, &delay);
}

struct tool *tool_run(struct event_base *base, int leash, const char *const *argv,
                      unsigned timeout_ms, tool_done_fn done, void *arg)
{
    struct tool *tool = xzalloc(sizeof(*tool));
    const char *slash = strrchr(argv[0], '/');

    *tool = (struct tool){.pid = -1, .pidfd = -1, .output = -1, .done = done, .arg = arg};
    tool->command = xasprintf("%s%s%s", slash ? slash + 1 : argv[0], argv[1] ? " " : "",
                              argv[1] ? argv[1] : "");
    tool_start(tool, argv, leash);
    tool_watch(tool, base, timeout_ms);
    return tool;
}

void tool_stop(struct tool *tool)
{
    if (tool->pid > 0)
        kill(tool->pid, SIGKILL); /* not yet waited for: the pid is still its own */
}

struct tool *tool_free(struct tool *tool)
{
    if (!tool)
        return NULL;
    tool_stop(tool);
    if (tool->pid > 0)
        waitpid(tool->pid, NULL, 0);
    tool_drop(tool);
    return NULL;
}
