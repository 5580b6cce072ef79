/* A pid alone names a process only for as long as it lives. With the start time it names it for one
 * boot, with the boot's id for good. All of it is read from /proc, where the process shows its
 * directory and its root as well: names that it was given mean what they mean there. */
#include "qemu/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/memory.h"
#include "proto/snapvm-errors.h"

#define PROCESS_PATH 64 /* room for "/proc/PID/…" */

static void process_proc(const struct process *process, const char *what, char path[PROCESS_PATH])
{
    snprintf(path, PROCESS_PATH, "/proc/%ld/%s", (long)process->pid, what);
}

/* The beginning of a small file as text. Returns -1 with errno. */
static int read_text(const char *path, char *buffer, size_t size)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, buffer, size - 1);

    if (n < 0)
        return -1;
    buffer[n] = '\0';
    return 0;
}

static void read_boot_id(char boot_id[PROCESS_BOOT_ID])
{
    if (read_text("/proc/sys/kernel/random/boot_id", boot_id, PROCESS_BOOT_ID) < 0)
        boot_id[0] = '\0';
    boot_id[strcspn(boot_id, "\n")] = '\0';
}

struct process_stat {
    char state;
    unsigned long threads;
    uint64_t start;
};

/* The second field is the program's name in parentheses, which may hold anything: the fields behind
 * it are counted from its last parenthesis, field 3 comes first. */
static int process_stat(pid_t pid, struct process_stat *ret_stat)
{
    const struct process process = {.pid = pid};
    char path[PROCESS_PATH], text[1024], *field, *save = NULL;
    unsigned number = 3;

    process_proc(&process, "stat", path);
    if (read_text(path, text, sizeof(text)) < 0)
        return -1;
    field = strrchr(text, ')');
    if (!field)
        return -1;
    for (field = strtok_r(field + 1, " ", &save); field; field = strtok_r(NULL, " ", &save)) {
        if (number == 3)
            ret_stat->state = field[0];
        if (number == 20)
            ret_stat->threads = strtoul(field, NULL, 10);
        if (number++ == 22) {
            ret_stat->start = strtoull(field, NULL, 10);
            return 0;
        }
    }
    return -1;
}

static bool same_file(const char *a, const char *b)
{
    struct stat st_a, st_b;

    return stat(a, &st_a) == 0 && stat(b, &st_b) == 0 && st_a.st_dev == st_b.st_dev &&
           st_a.st_ino == st_b.st_ino;
}

/* The same directory as root is not enough: in another mount namespace other file systems may lie
 * below it. */
static bool process_shares_root(const struct process *process)
{
    char root[PROCESS_PATH], mounts[PROCESS_PATH];

    process_proc(process, "root", root);
    process_proc(process, "ns/mnt", mounts);
    return same_file(root, "/") && same_file(mounts, "/proc/self/ns/mnt");
}

int process_of_socket(int fd, struct process *ret_process, struct error *err)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    struct process process = {0};
    struct process_stat stat;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return error_set_errno(err, SNAPVM_ERROR_QEMU_GONE, errno,
                               "the process behind the monitor cannot be told");
    process.pid = peer.pid > 0 ? peer.pid : 0;
    read_boot_id(process.boot_id);
    if (process.pid && process_stat(process.pid, &stat) < 0)
        return error_set(err, SNAPVM_ERROR_QEMU_GONE,
                         "the process %ld behind the monitor has ended", (long)process.pid);
    process.start = process.pid ? stat.start : 0;
    process.our_root = process.pid && process_shares_root(&process);
    *ret_process = process;
    return 0;
}

bool process_of_this_boot(const struct process *process)
{
    char boot_id[PROCESS_BOOT_ID];

    read_boot_id(boot_id);
    return !process->boot_id[0] || strcmp(boot_id, process->boot_id) == 0;
}

bool process_same(const struct process *a, const struct process *b)
{
    return a->pid > 0 && a->pid == b->pid && a->start == b->start &&
           strcmp(a->boot_id, b->boot_id) == 0;
}

/* A zombie is dead once it is alone: until then a thread that sits in a write or a sync keeps the
 * process's files open and locked, and what it writes still comes. */
static bool process_is_over(const struct process_stat *stat)
{
    return (stat->state == 'Z' || stat->state == 'X') && stat->threads <= 1;
}

bool process_alive(const struct process *process)
{
    char boot_id[PROCESS_BOOT_ID];
    struct process_stat stat;

    if (process->pid <= 0 || process_stat(process->pid, &stat) < 0)
        return false;
    read_boot_id(boot_id);
    return stat.start == process->start && strcmp(boot_id, process->boot_id) == 0 &&
           !process_is_over(&stat);
}

int process_pidfd(const struct process *process)
{
    _cleanup_close_ int fd = -1;

    if (process->pid <= 0) {
        errno = EPERM;
        return -1;
    }
    fd = (int)syscall(SYS_pidfd_open, process->pid, 0);
    if (fd < 0)
        return -1;
    /* Looked at after the descriptor was made: it cannot stand for a later process of that pid. */
    if (!process_alive(process)) {
        errno = ESRCH;
        return -1;
    }
    return TAKE_FD(fd);
}

int process_has_open(const struct process *process, dev_t dev, ino_t ino)
{
    char path[PROCESS_PATH];
    const struct dirent *entry;
    struct stat st;
    int has = 0;
    DIR *dir;

    process_proc(process, "fd", path);
    dir = process_alive(process) ? opendir(path) : NULL;
    if (!dir)
        return -1;
    while (!has && (entry = readdir(dir)))
        has = fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && st.st_dev == dev &&
              st.st_ino == ino;
    closedir(dir);
    return has;
}

/* Where one of the links in /proc/PID leads, as this daemon's root has it; NULL when it cannot be
 * read. A directory that was removed has no name any more. */
static char *process_link(const struct process *process, const char *what)
{
    char path[PROCESS_PATH], target[PATH_MAX];
    struct stat st;
    ssize_t n;

    process_proc(process, what, path);
    n = readlink(path, target, sizeof(target));
    if (n <= 0 || n == (ssize_t)sizeof(target) || stat(path, &st) < 0 || st.st_nlink == 0)
        return NULL;
    return xstrndup(target, (size_t)n);
}

/* The working directory, named from the process's own root. */
static char *process_directory(const struct process *process)
{
    _cleanup_free_ char *directory = process_link(process, "cwd");
    _cleanup_free_ char *root = process_link(process, "root");
    size_t length;

    if (!directory || !root || directory[0] != '/')
        return NULL;
    length = strcmp(root, "/") == 0 ? 0 : strlen(root);
    if (strncmp(directory, root, length) != 0 || (directory[length] && directory[length] != '/'))
        return NULL;
    return xstrdup(directory[length] ? directory + length : "/");
}

char *process_absolute(const struct process *process, const char *name)
{
    _cleanup_free_ char *directory = NULL;

    if (!name)
        return NULL;
    if (strncmp(name, "file:", 5) == 0)
        name += 5;
    else if (name[strcspn(name, ":/")] == ':')
        return NULL;
    if (name[0] == '\0')
        return NULL;
    if (name[0] == '/')
        return xstrdup(name);
    directory = process_alive(process) ? process_directory(process) : NULL;
    if (!directory)
        return NULL;
    return xasprintf("%s/%s", strcmp(directory, "/") == 0 ? "" : directory, name);
}

char *process_root(const struct process *process)
{
    char root[PROCESS_PATH];

    if (process->our_root || !process_alive(process) || process_shares_root(process))
        return xstrdup("");
    process_proc(process, "root", root);
    return xstrdup(access(root, X_OK) == 0 ? root : "");
}

char *process_reach(const struct process *process, const char *path)
{
    _cleanup_free_ char *root = path[0] == '/' ? process_root(process) : xstrdup("");

    return xasprintf("%s%s", root, path);
}
