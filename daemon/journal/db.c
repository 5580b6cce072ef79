#include "journal/db.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "proto/snapvm-errors.h"

/* How long another program (a backup, a shell of sqlite3) may hold the database. */
#define BUSY_MS 5000

/* The folder's entry of a new file is durable only once the folder is synced. */
static int db_sync_folder(const char *path)
{
    _cleanup_free_ char *folder = xstrdup(path);
    _cleanup_close_ int fd = -1;

    *strrchr(folder, '/') = '\0';
    fd = open(*folder ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : fsync(fd);
}

int db_create(const char *path, struct error *err)
{
    _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 && errno == EEXIST)
        return 0;
    if (fd < 0 || db_sync_folder(path) < 0)
        return error_set_errno(err, errno == ENOSPC ? SNAPVM_ERROR_NO_SPACE : SNAPVM_ERROR_INTERNAL,
                               errno, "The journal %s cannot be made", path);
    return 0;
}

static int db_configure(sqlite3 *db, enum db_mode mode, struct error *err)
{
    _cleanup_free_ char *journal_mode = NULL;

    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, BUSY_MS);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, (int *)NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, (int *)NULL);
    if (db_exec(db, "PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY", err) < 0)
        return -1;
    if (mode == DB_READ)
        return 0;
    if (db_get_text(db, "PRAGMA journal_mode = WAL", &journal_mode, err) < 0 ||
        db_exec(db, "PRAGMA synchronous = FULL", err) < 0)
        return -1;
    if (!journal_mode || strcmp(journal_mode, "wal") != 0)
        return error_set(err, SNAPVM_ERROR_INTERNAL,
                         "The file system of %s cannot hold the journal, because it lacks shared "
                         "memory maps: put the state directory on a local file system",
                         sqlite3_db_filename(db, "main"));
    return 0;
}

int db_open(const char *path, enum db_mode mode, sqlite3 **ret_db, struct error *err)
{
    int flags = SQLITE_OPEN_NOMUTEX |
                (mode == DB_WRITE ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY);
    _cleanup_(db_closep) sqlite3 *db = NULL;

    if (sqlite3_open_v2(path, &db, flags, NULL) != SQLITE_OK)
        return error_set(err, SNAPVM_ERROR_INTERNAL, "The journal %s cannot be opened: %s", path,
                         db ? sqlite3_errmsg(db) : "no memory");
    if (db_configure(db, mode, err) < 0)
        return -1;
    *ret_db = TAKE_PTR(db);
    return 0;
}

sqlite3 *db_close(sqlite3 *db)
{
    sqlite3_close(db);
    return NULL;
}

void db_lay_out_log(sqlite3 *db, int64_t bytes)
{
    static const char zeros[64 * 1024];
    sqlite3_file *log = NULL;
    sqlite3_int64 size = 0;
    int rc = sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, (void *)&log);

    if (rc != SQLITE_OK || !log || !log->pMethods || log->pMethods->xFileSize(log, &size) != rc)
        return;
    for (; size < bytes && rc == SQLITE_OK; size += (int)sizeof(zeros))
        rc = log->pMethods->xWrite(log, zeros, sizeof(zeros), size);
    log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
}

static int db_damaged(const char *path, const char *what, struct error *err)
{
    return error_set(err, SNAPVM_ERROR_INTERNAL,
                     "The journal %s is damaged (%s). Nothing was changed in it: restore it from a "
                     "backup, or move it and the files beside it (-wal, -shm) away to begin with "
                     "an empty one",
                     path, what);
}

int db_check(sqlite3 *db, struct error *err)
{
    _cleanup_free_ char *verdict = NULL;

    if (db_get_text(db, "PRAGMA quick_check(1)", &verdict, err) < 0)
        return -1;
    if (!verdict || strcmp(verdict, "ok") != 0)
        return db_damaged(sqlite3_db_filename(db, "main"), verdict ? verdict : "no verdict", err);
    return 0;
}

int db_exec(sqlite3 *db, const char *sql, struct error *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_error(db, err);
}

/* Steps constant SQL to its first row and hands it to one of the two outputs. */
static int db_get(sqlite3 *db, const char *sql, int64_t *ret_int, char **ret_text,
                  struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        db_error(db, err);
        sqlite3_finalize(stmt);
        return -1;
    }
    if (ret_int)
        *ret_int = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    if (ret_text)
        *ret_text = rc == SQLITE_ROW ? xstrdup((const char *)sqlite3_column_text(stmt, 0)) : NULL;
    sqlite3_finalize(stmt);
    return 0;
}

int db_get_int(sqlite3 *db, const char *sql, int64_t *ret_value, struct error *err)
{
    return db_get(db, sql, ret_value, NULL, err);
}

int db_get_text(sqlite3 *db, const char *sql, char **ret_value, struct error *err)
{
    return db_get(db, sql, NULL, ret_value, err);
}

static bool db_is_full(sqlite3 *db, int code)
{
    int errnum = sqlite3_system_errno(db);

    return code == SQLITE_FULL ||
           ((code & 0xff) == SQLITE_IOERR && (errnum == ENOSPC || errnum == EDQUOT));
}

int db_error(sqlite3 *db, struct error *err)
{
    const char *path = sqlite3_db_filename(db, "main"), *what = sqlite3_errmsg(db);
    int code = sqlite3_extended_errcode(db);

    if (db_is_full(db, code))
        return error_set(err, SNAPVM_ERROR_NO_SPACE,
                         "There is no space for the journal %s: make room on its file system",
                         path);
    switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return db_damaged(path, what, err);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return error_set(err, SNAPVM_ERROR_INTERNAL,
                         "Another program holds the journal %s locked: end that program", path);
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return error_set(err, SNAPVM_ERROR_INTERNAL,
                         "The journal %s cannot be read or written (%s, error %d of the system): "
                         "check its disk and its permissions",
                         path, what, sqlite3_system_errno(db));
    default:
        return error_set(err, SNAPVM_ERROR_INTERNAL, "The journal %s refused a record: %s", path,
                         what);
    }
}

bool db_blames_record(int code)
{
    switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_MISUSE:
    case SQLITE_TOOBIG:
        return true;
    default:
        return false;
    }
}

bool db_leaves_doubt(int code)
{
    /* The mark of a whole transaction is in the last frame that is written, so a write that failed
     * left none. After that comes the sync, and when that fails the mark may be there or not. */
    return code != SQLITE_FULL && code != SQLITE_IOERR_WRITE && (code & 0xff) != SQLITE_BUSY &&
           (code & 0xff) != SQLITE_CONSTRAINT;
}
