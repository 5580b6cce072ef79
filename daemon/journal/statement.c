#include "journal/statement.h"

#include <sqlite3.h>
#include <string.h>

#include "journal/db.h"

/* A row that is put whole: made if its key is new, else brought to these fields, and left alone
 * when it has them already, so that nothing is written for a list of which one row changed. */
#define PUT(table, key, key_values, fields, values)                                   \
    "INSERT INTO " table " (" key ", " fields ") VALUES (" key_values ", " values ")" \
    " ON CONFLICT (" key ") DO UPDATE SET (" fields ") = (" values ")"                \
    " WHERE (" fields ") IS NOT (" values ")"

/* The columns behind the key, in the order in which txn.c binds and row.c reads them. */
#define QEMU_FIELDS "qemu_pid, qemu_start, qemu_boot"
#define DOMAIN_FIELDS "uuid, found, qmp, agent, current_snapshot, " QEMU_FIELDS
#define DISK_FIELDS "target, qdev, device, node, format, defined, read_only, firmware"
#define LAYER_FIELDS "file, format, node, virtual_size"
#define JOB_FIELDS                                                                              \
    "disk, kind, state, step, flags, leader, bandwidth, created, updated, ended, done, total, " \
    "request_id, " QEMU_FIELDS ", snapshot, description, guest_state, quiesce_error, result, "  \
    "active, evidence, error, paused_us, frozen_us, left_out"
#define JOB_VALUES                                                                             \
    "?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, " \
    "?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29"
#define IMAGE_FIELDS "disk, role, file, format, node, virtual_size, dev, ino, made, state, was_at"
#define SNAPSHOT_FIELDS \
    "parent, description, state, memory, quiesced, quiesce_error, created, memory_file"
#define SNAPSHOT_DISK_FIELDS "disk, mode, file, format, backing, backing_format"
#define DEBT_FIELDS QEMU_FIELDS ", since, deadline, job, count, listed"
#define REQUEST_FIELDS "method, params, job, result, time"
#define EVENT_FIELDS "time, kind, domain, body"

static const char *const texts[STATEMENT_END] = {
    /* IMMEDIATE: the lock is taken here, where nothing has to be taken back if that fails. */
    [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_ROLLBACK] = "ROLLBACK",
    [STATEMENT_SAVEPOINT] = "SAVEPOINT txn",
    [STATEMENT_RELEASE] = "RELEASE txn",
    [STATEMENT_ROLLBACK_TO] = "ROLLBACK TO txn",

    [STATEMENT_PUT_DOMAIN] =
        PUT("domain", "name", "?1", DOMAIN_FIELDS, "?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9"),
    [STATEMENT_DROP_DOMAIN] = "DELETE FROM domain WHERE name = ?1",
    [STATEMENT_SET_CURRENT] = "UPDATE domain SET current_snapshot = ?2 WHERE name = ?1",
    [STATEMENT_PUT_DOMAIN_DOCUMENT] = PUT("domain_document", "domain", "?1", "xml", "?2"),
    [STATEMENT_PUT_DISK] =
        PUT("disk", "domain, position", "?1, ?2", DISK_FIELDS, "?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10"),
    [STATEMENT_TRIM_DISKS] = "DELETE FROM disk WHERE domain = ?1 AND position >= ?2",
    [STATEMENT_PUT_LAYER] =
        PUT("layer", "domain, disk, height", "?1, ?2, ?3", LAYER_FIELDS, "?4, ?5, ?6, ?7"),
    [STATEMENT_TRIM_LAYERS] = "DELETE FROM layer WHERE domain = ?1 AND disk = ?2 AND height >= ?3",

    /* A job keeps its domain, so the index over it is not written again with every step. */
    [STATEMENT_PUT_JOB] = "INSERT INTO job (id, domain, " JOB_FIELDS ") VALUES (?1, ?2, " JOB_VALUES
                          ") ON CONFLICT (id) DO UPDATE SET (" JOB_FIELDS ") = (" JOB_VALUES ")",
    [STATEMENT_DROP_JOB] = "DELETE FROM job WHERE id = ?1",
    [STATEMENT_PUT_IMAGE] = PUT("image", "job, position", "?1, ?2", IMAGE_FIELDS,
                                "?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13"),
    [STATEMENT_TRIM_IMAGES] = "DELETE FROM image WHERE job = ?1 AND position >= ?2",

    [STATEMENT_PUT_SNAPSHOT] = PUT("snapshot", "domain, name", "?1, ?2", SNAPSHOT_FIELDS,
                                   "?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10"),
    [STATEMENT_MOVE_CHILDREN] = "UPDATE snapshot SET parent = ?3 WHERE domain = ?1 AND parent = ?2",
    [STATEMENT_PUT_DOCUMENT] = PUT("snapshot_document", "domain, snapshot", "?1, ?2", "xml", "?3"),
    [STATEMENT_DROP_SNAPSHOT] = "DELETE FROM snapshot WHERE domain = ?1 AND name = ?2",
    [STATEMENT_PUT_SNAPSHOT_DISK] = PUT("snapshot_disk", "domain, snapshot, position", "?1, ?2, ?3",
                                        SNAPSHOT_DISK_FIELDS, "?4, ?5, ?6, ?7, ?8, ?9"),
    [STATEMENT_TRIM_SNAPSHOT_DISKS] =
        "DELETE FROM snapshot_disk WHERE domain = ?1 AND snapshot = ?2 AND position >= ?3",

    [STATEMENT_PUT_DEBT] =
        PUT("freeze_debt", "domain", "?1", DEBT_FIELDS, "?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9"),
    [STATEMENT_DROP_DEBT] = "DELETE FROM freeze_debt WHERE domain = ?1",
    [STATEMENT_PUT_REQUEST] = PUT("request", "id", "?1", REQUEST_FIELDS, "?2, ?3, ?4, ?5, ?6"),
    [STATEMENT_ADD_EVENT] = "INSERT INTO event (" EVENT_FIELDS ") VALUES (?1, ?2, ?3, ?4)",

    [STATEMENT_PRUNE_JOBS] = "DELETE FROM job WHERE ended <> 0 AND ended < ?1",
    [STATEMENT_PRUNE_REQUESTS] = "DELETE FROM request WHERE time < ?1",
    [STATEMENT_PRUNE_EVENTS] = "DELETE FROM event WHERE seq <= (SELECT max(seq) FROM event) - ?1",
    [STATEMENT_FIRST_EVENT] = "SELECT min(seq) FROM event",

    [STATEMENT_BEGIN_READ] = "BEGIN",
    [STATEMENT_END_READ] = "COMMIT",
    [STATEMENT_LIST_DOMAINS] = "SELECT name, " DOMAIN_FIELDS " FROM domain ORDER BY name",
    [STATEMENT_GET_DOMAIN_DOCUMENT] = "SELECT xml FROM domain_document WHERE domain = ?1",
    [STATEMENT_LIST_DISKS] = "SELECT " DISK_FIELDS
                             ", position FROM disk WHERE domain = ?1 ORDER BY position",
    [STATEMENT_LIST_LAYERS] = "SELECT " LAYER_FIELDS
                              " FROM layer WHERE domain = ?1 AND disk = ?2 ORDER BY height DESC",
    [STATEMENT_LIST_ACTIVE_JOBS] = "SELECT id, domain, " JOB_FIELDS
                                   " FROM job WHERE ended = 0 ORDER BY id",
    [STATEMENT_LIST_IMAGES] = "SELECT " IMAGE_FIELDS " FROM image WHERE job = ?1 ORDER BY position",
    [STATEMENT_LIST_SNAPSHOTS] = "SELECT domain, name, " SNAPSHOT_FIELDS
                                 " FROM snapshot ORDER BY domain, created, name",
    [STATEMENT_LIST_SNAPSHOT_DISKS] = "SELECT " SNAPSHOT_DISK_FIELDS " FROM snapshot_disk"
                                      " WHERE domain = ?1 AND snapshot = ?2 ORDER BY position",
    [STATEMENT_LIST_DOCUMENTS] = "SELECT snapshot, xml FROM snapshot_document"
                                 " WHERE domain = ?1 AND (?2 IS NULL OR snapshot = ?2)"
                                 " ORDER BY snapshot",
    [STATEMENT_LIST_DEBTS] = "SELECT domain, " DEBT_FIELDS " FROM freeze_debt ORDER BY domain",
    [STATEMENT_LIST_REQUESTS] = "SELECT id, " REQUEST_FIELDS " FROM request ORDER BY time, id",
    [STATEMENT_COUNT_JOBS] = "SELECT count(*) FROM job",
    [STATEMENT_GET_JOB] = "SELECT id, domain, " JOB_FIELDS " FROM job WHERE id = ?1",
    [STATEMENT_LIST_ENDED_JOBS] = "SELECT id, domain, " JOB_FIELDS " FROM job"
                                  " WHERE ended <> 0 AND id > ?1 ORDER BY id LIMIT ?2",
    [STATEMENT_LIST_ENDED_JOBS_OF] =
        "SELECT id, domain, " JOB_FIELDS " FROM job"
        " WHERE ended <> 0 AND id > ?1 AND domain = ?3 ORDER BY id LIMIT ?2",
    /* Of the rows of one file SQLite takes the columns of the one that has the maximum. */
    [STATEMENT_LIST_TOUCHED] = "SELECT max(job), " IMAGE_FIELDS " FROM image"
                               " WHERE job IN (SELECT id FROM job WHERE ended <> 0 AND domain = ?1)"
                               " GROUP BY file ORDER BY max(job) DESC LIMIT ?2",
    [STATEMENT_LIST_EVENTS] = "SELECT seq, " EVENT_FIELDS
                              " FROM event WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3",
};

int statement_prepare(struct statement_set *set, sqlite3 *db, enum statement first,
                      enum statement end, struct error *err)
{
    set->db = db;
    for (enum statement s = first; s < end; s++)
        if (sqlite3_prepare_v3(db, texts[s], -1, SQLITE_PREPARE_PERSISTENT, &set->stmt[s], NULL) !=
            SQLITE_OK)
            return db_error(db, err);
    return 0;
}

void statement_deinit(struct statement_set *set)
{
    for (int s = 0; s < STATEMENT_END; s++)
        sqlite3_finalize(set->stmt[s]);
    memset(set, 0, sizeof(*set));
}

/* Binding fails only for a parameter that a statement does not have or without memory, and both
 * end in `statement_takes` or in a failed run. */
void statement_bind_int(struct statement_set *set, enum statement statement, int index,
                        int64_t value)
{
    sqlite3_bind_int64(set->stmt[statement], index, value);
}

void statement_bind_text(struct statement_set *set, enum statement statement, int index,
                         const char *value)
{
    sqlite3_bind_text(set->stmt[statement], index, value, -1, SQLITE_STATIC);
}

bool statement_takes(const struct statement_set *set, enum statement statement, int n_values)
{
    return sqlite3_bind_parameter_count(set->stmt[statement]) == n_values;
}

int statement_run(struct statement_set *set, enum statement statement)
{
    sqlite3_stmt *stmt = set->stmt[statement];
    int rc;

    do {
        rc = sqlite3_step(stmt);
    } while (rc == SQLITE_ROW);
    sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int statement_number(struct statement_set *set, enum statement statement, int64_t absent,
                     int64_t *ret_number)
{
    sqlite3_stmt *stmt = set->stmt[statement];
    int64_t number = absent;
    int rc = sqlite3_step(stmt);

    if (rc == SQLITE_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL)
        number = sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return rc;
    *ret_number = number;
    return SQLITE_OK;
}
