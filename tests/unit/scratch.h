/* A folder of its own for a test, and whether a program is here. */
#ifndef SNAPVM_TESTS_UNIT_SCRATCH_H
#define SNAPVM_TESTS_UNIT_SCRATCH_H

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

/* Made new; owned by the caller. */
static inline _unused_ char *scratch_new(void)
{
    const char *where = getenv("TMPDIR");
    char *folder = xasprintf("%s/snapvm-test-XXXXXX", where ? where : "/tmp");

    ck_assert_ptr_nonnull(mkdtemp(folder));
    return folder;
}

static inline int scratch_remove_one(const char *path, _unused_ const struct stat *st,
                                     _unused_ int type, _unused_ struct FTW *ftw)
{
    return remove(path);
}

/* Removes it with all that is in it. */
static inline _unused_ void scratch_free(char *folder)
{
    nftw(folder, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(folder);
}

/* Runs a shell command, quietly; its exit status. */
static inline _unused_ int scratch_run(const char *command)
{
    char *quiet = xasprintf("( %s ) >/dev/null 2>&1", command);
    int r = system(quiet);

    free(quiet);
    return r;
}

/* Whether a program is here; says SKIP with the reason otherwise. */
static inline _unused_ int scratch_has(const char *program)
{
    char *command = xasprintf("command -v %s", program);
    int r = scratch_run(command);

    free(command);
    if (r != 0)
        printf("SKIP: what needs %s, which is not here\n", program);
    return r == 0;
}

#endif
