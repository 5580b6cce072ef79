#include "tests/unit/journal-fault.h"

#include <check.h>
#include <pthread.h>
#include <sqlite3.h>

/* SQLite's interface for VFSs has no place for a context that all of its functions see. */
static struct {
    pthread_mutex_t lock; /* guards all but the first three, which never change */
    pthread_cond_t changed;
    sqlite3_vfs *real, vfs;
    sqlite3_io_methods methods;
    const sqlite3_io_methods *real_methods;
    bool broken, unsynced, hold;
    int64_t room;
    unsigned syncs;
} fault = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .room = INT64_MAX};

static int fault_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    bool full, broken;

    pthread_mutex_lock(&fault.lock);
    full = offset + size > fault.room;
    broken = fault.broken;
    pthread_mutex_unlock(&fault.lock);
    if (full)
        return SQLITE_FULL;
    if (broken)
        return SQLITE_IOERR_WRITE;
    return fault.real_methods->xWrite(file, data, size, offset);
}

static int fault_sync(sqlite3_file *file, int flags)
{
    bool unsynced;

    pthread_mutex_lock(&fault.lock);
    fault.syncs++;
    pthread_cond_broadcast(&fault.changed);
    while (fault.hold)
        pthread_cond_wait(&fault.changed, &fault.lock);
    unsynced = fault.unsynced;
    pthread_mutex_unlock(&fault.lock);
    return unsynced ? SQLITE_IOERR_FSYNC : fault.real_methods->xSync(file, flags);
}

static int fault_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                      int *ret_flags)
{
    int rc = fault.real->xOpen(fault.real, name, file, flags, ret_flags);

    (void)vfs;
    if (rc != SQLITE_OK || !(flags & SQLITE_OPEN_WAL))
        return rc;
    pthread_mutex_lock(&fault.lock);
    if (!fault.real_methods) {
        fault.real_methods = file->pMethods;
        fault.methods = *file->pMethods;
        fault.methods.xWrite = fault_write;
        fault.methods.xSync = fault_sync;
    }
    pthread_mutex_unlock(&fault.lock);
    file->pMethods = &fault.methods;
    return rc;
}

void fault_install(void)
{
    if (fault.real)
        return;
    fault.real = sqlite3_vfs_find(NULL);
    fault.vfs = *fault.real;
    fault.vfs.zName = "fault";
    fault.vfs.pNext = NULL;
    fault.vfs.xOpen = fault_open;
    ck_assert_int_eq(sqlite3_vfs_register(&fault.vfs, 1), SQLITE_OK);
}

static void fault_set(bool *what, bool value)
{
    pthread_mutex_lock(&fault.lock);
    *what = value;
    pthread_cond_broadcast(&fault.changed);
    pthread_mutex_unlock(&fault.lock);
}

void fault_set_room(int64_t bytes)
{
    pthread_mutex_lock(&fault.lock);
    fault.room = bytes < 0 ? INT64_MAX : bytes;
    pthread_mutex_unlock(&fault.lock);
}

void fault_set_full(bool full)
{
    fault_set_room(full ? 0 : -1);
}

void fault_set_broken(bool broken)
{
    fault_set(&fault.broken, broken);
}

void fault_set_unsynced(bool unsynced)
{
    fault_set(&fault.unsynced, unsynced);
}

void fault_hold(bool hold)
{
    fault_set(&fault.hold, hold);
}

unsigned fault_syncs(void)
{
    unsigned syncs;

    pthread_mutex_lock(&fault.lock);
    syncs = fault.syncs;
    pthread_mutex_unlock(&fault.lock);
    return syncs;
}

void fault_wait_syncs(unsigned syncs)
{
    pthread_mutex_lock(&fault.lock);
    while (fault.syncs < syncs)
        pthread_cond_wait(&fault.changed, &fault.lock);
    pthread_mutex_unlock(&fault.lock);
}
