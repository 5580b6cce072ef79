/* The schema's versions. A new database is made whole from the newest schema; an older one walks
 * the steps from its version to the newest, each in a transaction of its own. The version stands in
 * the database as PRAGMA user_version. */
#ifndef SNAPVM_JOURNAL_MIGRATE_H
#define SNAPVM_JOURNAL_MIGRATE_H

#include <stdint.h>

#include "base/error.h"

struct sqlite3;

struct migrate_plan {
    int64_t version;          /* of the schema, at least 1 */
    const char *schema;       /* makes an empty database */
    const char *const *steps; /* version - 1 of them: steps[i] leads from version i + 1 to i + 2 */
};

/* The plan of this program. */
const struct migrate_plan *migrate_plan_current(void);

/* Brings the database to the plan's version. InternalError: it is newer, or no journal at all; then
 * nothing was changed. A step that fails leaves the version before it. */
int migrate_run(struct sqlite3 *db, const struct migrate_plan *plan, struct error *err);

#endif
