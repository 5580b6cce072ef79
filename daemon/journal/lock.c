#include "journal/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "proto/snapvm-errors.h"

static int lock_errno(struct error *err, int errnum, const char *what, const char *path)
{
    int code = errnum == ENOSPC || errnum == EDQUOT ? SNAPVM_ERROR_NO_SPACE : SNAPVM_ERROR_INTERNAL;

    return error_set_errno(err, code, errnum, "%s %s", what, path);
}

static int lock_make_folder(const char *dir, struct error *err)
{
    struct stat st;

    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return lock_errno(err, errno, "Cannot make the state directory", dir);
    if (stat(dir, &st) < 0)
        return lock_errno(err, errno, "Cannot look at the state directory", dir);
    /* Whoever may put files here could put another journal here. */
    if (!S_ISDIR(st.st_mode) || (st.st_mode & S_IWOTH))
        return error_set(err, SNAPVM_ERROR_INTERNAL,
                         "The state directory %s must be a directory that others cannot write: "
                         "chmod o-w it, or name another one",
                         dir);
    return 0;
}

static int lock_busy(int fd, const char *dir, struct error *err)
{
    char pid[24] = "";
    ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);

    pid[n > 0 ? n : 0] = '\0';
    pid[strspn(pid, "0123456789")] = '\0';
    return error_set(err, SNAPVM_ERROR_BUSY,
                     "Another snapvmd%s%s uses the state directory %s: stop that one, or give this "
                     "one its own with --state-dir",
                     *pid ? ", process " : "", pid, dir);
}

int lock_take(const char *dir, int *ret_fd, struct error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/snapvm.lock", dir);
    _cleanup_close_ int fd = -1;

    if (lock_make_folder(dir, err) < 0)
        return -1;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return lock_errno(err, errno, "Cannot open the lock file", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return lock_busy(fd, dir, err);
    if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0)
        return lock_errno(err, errno, "Cannot write the lock file", path);
    *ret_fd = TAKE_FD(fd);
    return 0;
}
