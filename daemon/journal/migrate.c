#include "journal/migrate.h"

#include <inttypes.h>
#include <sqlite3.h>

#include "base/memory.h"
#include "journal/db.h"
#include "journal/schema.h"
#include "proto/snapvm-errors.h"

/* Set by schema.sql: tells a journal from any other database. */
#define APPLICATION_ID 0x736e766d

static const char *const steps[] = {
    /* 2: what a lease's freeze counted, to hold its thaw against. */
    "ALTER TABLE freeze_debt ADD COLUMN count INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE freeze_debt ADD COLUMN listed INTEGER NOT NULL DEFAULT 0",
    /* 3: where a snapshot's memory lies, and its description in XML. */
    "ALTER TABLE snapshot ADD COLUMN memory_file TEXT;"
    "CREATE TABLE snapshot_document (domain TEXT NOT NULL, snapshot TEXT NOT NULL,"
    " xml TEXT NOT NULL, PRIMARY KEY (domain, snapshot), FOREIGN KEY (domain, snapshot)"
    " REFERENCES snapshot (domain, name) ON DELETE CASCADE)",
    /* 4: the format of what a snapshot froze, which its overlay does not tell any more once it was
     * merged; the disks that it left out; what a domain was defined by. */
    "ALTER TABLE snapshot_disk ADD COLUMN backing_format TEXT;"
    "ALTER TABLE disk ADD COLUMN firmware INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE job ADD COLUMN left_out TEXT;"
    "CREATE TABLE domain_document (domain TEXT PRIMARY KEY REFERENCES domain (name)"
    " ON DELETE CASCADE, xml TEXT NOT NULL)",
    /* 5: which disks a job found to be what it goes back to. */
    "ALTER TABLE image ADD COLUMN was_at INTEGER NOT NULL DEFAULT 0",
};

static const struct migrate_plan plan_current = {
    .version = 1 + sizeof(steps) / sizeof(steps[0]),
    .schema = schema_sql,
    .steps = steps,
};

const struct migrate_plan *migrate_plan_current(void)
{
    return &plan_current;
}

/* Runs the SQL and sets the version, both or neither. */
static int migrate_step(sqlite3 *db, const char *sql, int64_t version, struct error *err)
{
    _cleanup_free_ char *set_version = xasprintf("PRAGMA user_version = %" PRId64, version);

    if (db_exec(db, "BEGIN IMMEDIATE", err) < 0)
        return -1;
    if (db_exec(db, sql, err) == 0 && db_exec(db, set_version, err) == 0 &&
        db_exec(db, "COMMIT", err) == 0)
        return 0;
    if (!sqlite3_get_autocommit(db))
        db_exec(db, "ROLLBACK", NULL);
    return -1;
}

/* Whether the file may be ours at all: ours, or empty. */
static int migrate_check(sqlite3 *db, int64_t version, int64_t newest, struct error *err)
{
    const char *path = sqlite3_db_filename(db, "main");
    int64_t id, objects;

    if (db_get_int(db, "PRAGMA application_id", &id, err) < 0 ||
        db_get_int(db, "SELECT count(*) FROM sqlite_schema", &objects, err) < 0)
        return -1;
    if (version == 0 ? objects != 0 : id != APPLICATION_ID)
        return error_set(err, SNAPVM_ERROR_INTERNAL,
                         "%s is not a journal of snapvmd: move it away, or name another state "
                         "directory",
                         path);
    if (version > newest)
        return error_set(err, SNAPVM_ERROR_INTERNAL,
                         "The journal %s was written by a newer snapvmd (schema %" PRId64
                         ", this one knows %" PRId64 "): install that version again, or restore a "
                         "journal from before it",
                         path, version, newest);
    return 0;
}

int migrate_run(sqlite3 *db, const struct migrate_plan *plan, struct error *err)
{
    int64_t version;

    if (db_get_int(db, "PRAGMA user_version", &version, err) < 0 ||
        migrate_check(db, version, plan->version, err) < 0)
        return -1;
    if (version == 0)
        return migrate_step(db, plan->schema, plan->version, err);
    for (; version < plan->version; version++)
        if (migrate_step(db, plan->steps[version - 1], version + 1, err) < 0)
            return -1;
    return 0;
}
