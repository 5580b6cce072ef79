/* Opening a journal: older and newer schemas, strangers' files, damage, and who else holds it. */
#include <check.h>
#include <event2/event.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "journal/db.h"
#include "journal/journal.h"
#include "journal/migrate.h"
#include "proto/snapvm-errors.h"
#include "tests/unit/journal-fixture.h"
#include "tests/unit/scratch.h"

/* Runs SQL on the journal's file, over the plainest of connections. */
static void run_sql(const struct fixture *f, const char *sql)
{
    _cleanup_free_ char *path = fixture_path(f, "snapvm.db");
    sqlite3 *db = NULL;

    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

static char *read_file(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "r");
    char *text = NULL;
    size_t room = 0;

    ck_assert_msg(file != NULL, "%s", path);
    ck_assert_int_ge(getdelim(&text, &room, EOF, file), 0);
    *ret_size = (size_t)ftell(file);
    fclose(file);
    return text;
}

/* Makes the journal of an older version from its dump. */
static void make_version(const struct fixture *f, int version)
{
    _cleanup_free_ char *path = xasprintf("%s/journal/version-%d.sql", TEST_DATA, version);
    size_t size;
    _cleanup_free_ char *sql = read_file(path, &size);

    run_sql(f, sql);
}

/* Every column of every table, and every index, as text. */
static char *schema_of(const struct fixture *f)
{
    _cleanup_free_ char *path = fixture_path(f, "snapvm.db");
    _cleanup_(db_closep) sqlite3 *db = NULL;
    char *text = NULL;
    struct error err = {0};

    ck_assert_int_eq(db_open(path, DB_READ, &db, &err), 0);
    ck_assert_int_eq(
        db_get_text(db,
                    "SELECT group_concat(line, char(10)) FROM (SELECT m.type || ' ' || m.name ||"
                    " ' ' || ifnull(c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || c.pk,"
                    " m.sql) AS line FROM sqlite_schema m LEFT JOIN pragma_table_xinfo(m.name) c"
                    " ORDER BY m.name, c.cid)",
                    &text, &err),
        0);
    return text;
}

static void check_model(const struct journal_model *model, int64_t debt)
{
    const struct record_domain *web = &model->domains[1];

    ck_assert_uint_eq(model->n_domains, 2);
    ck_assert_str_eq(model->domains[0].name, "db");
    ck_assert(model->domains[0].found);
    ck_assert_uint_eq(web->n_disks, 2);
    ck_assert_str_eq(web->disks[0].target, "vda");
    ck_assert_uint_eq(web->disks[0].n_chain, 2);
    ck_assert_str_eq(web->disks[0].chain[0].file, "/images/web-vda.s1.qcow2");
    ck_assert_str_eq(web->disks[0].chain[1].file, "/images/web.raw");
    ck_assert_uint_eq(web->qemu.start, 123456);

    ck_assert_uint_eq(model->n_jobs, 1);
    ck_assert_int_eq(model->jobs_total, 2);
    ck_assert_int_eq(model->jobs[0].id, 17);
    ck_assert_str_eq(model->jobs[0].step, "freeze");
    ck_assert_uint_eq(model->jobs[0].flags, JOB_QUIESCE_REQUIRED);
    ck_assert_int_eq(model->jobs[0].error.code, SNAPVM_ERROR_IMAGE);
    ck_assert_str_eq(error_get(&model->jobs[0].error, "file"), "/images/x");
    ck_assert_uint_eq(model->jobs[0].n_images, 1);
    ck_assert(model->jobs[0].images[0].made);

    ck_assert_uint_eq(model->n_snapshots, 1);
    ck_assert_uint_eq(model->snapshots[0].n_disks, 2);
    ck_assert_uint_eq(model->n_debts, 1);
    ck_assert_int_eq(model->debts[0].job, debt);
    ck_assert_uint_eq(model->n_requests, 2);
    ck_assert_str_eq(model->requests[0].id, "r-17");
}

START_TEST(version_1)
{
    struct journal_model model;
    struct error err = {0};
    struct fixture f;

    fixture_init(&f);
    make_version(&f, 1);
    fixture_open(&f);
    ck_assert_str_eq(journal_instance(f.journal), "0123456789abcdef0123456789abcdef");
    ck_assert_int_eq(journal_first_seq(f.journal), 3);
    ck_assert_int_eq(journal_last_seq(f.journal), 4);
    ck_assert_int_eq(journal_next_job(f.journal), 19);
    ck_assert_int_eq(journal_load(f.journal, &model, &err), 0);
    check_model(&model, 17);
    journal_model_deinit(&model);
    fixture_deinit(&f);
}
END_TEST

static void check_document(void *arg, const struct journal_document *documents, unsigned n,
                           const struct error *err)
{
    ck_assert_ptr_null(err);
    ck_assert_uint_eq(n, 1);
    ck_assert_str_eq(documents[0].snapshot, "before-upgrade");
    ck_assert_str_eq(documents[0].xml, "<domainsnapshot/>");
    *(bool *)arg = true;
}

START_TEST(version_3)
{
    struct journal_model model;
    struct error err = {0};
    bool checked = false;
    struct fixture f;

    fixture_init(&f);
    make_version(&f, 3);
    fixture_open(&f);
    ck_assert_int_eq(journal_load(f.journal, &model, &err), 0);
    check_model(&model, 0);
    ck_assert_str_eq(model.snapshots[0].memory_file, "/images/web.mem");
    journal_query_documents(f.journal, "web", NULL, check_document, &checked);
    while (!checked)
        event_base_loop(f.base, EVLOOP_ONCE);
    journal_model_deinit(&model);
    fixture_deinit(&f);
}
END_TEST

/* However old the journal was, in the end it has the tables of a new one. */
START_TEST(all_versions_become_the_same)
{
    struct fixture f, fresh;
    _cleanup_free_ char *want = NULL;

    fixture_init(&fresh);
    fixture_open(&fresh);
    want = schema_of(&fresh);
    ck_assert_ptr_nonnull(strstr(want, "freeze_debt deadline INTEGER"));
    for (int version = 1; version <= migrate_plan_current()->version; version++) {
        _cleanup_free_ char *got = NULL;

        fixture_init(&f);
        make_version(&f, version);
        fixture_open(&f);
        got = schema_of(&f);
        ck_assert_str_eq(got, want);
        fixture_deinit(&f);
    }
    fixture_deinit(&fresh);
}
END_TEST

/* A plan of three versions, of which the last step can be made to fail. */
static sqlite3 *open_for_plan(struct fixture *f)
{
    _cleanup_free_ char *path = fixture_path(f, "snapvm.db");
    struct error err = {0};
    sqlite3 *db;

    ck_assert_int_eq(db_create(path, &err), 0);
    ck_assert_int_eq(db_open(path, DB_WRITE, &db, &err), 0);
    return db;
}

static int64_t number(sqlite3 *db, const char *sql)
{
    struct error err = {0};
    int64_t value;

    ck_assert_int_eq(db_get_int(db, sql, &value, &err), 0);
    return value;
}

#define PLAN_SCHEMA "PRAGMA application_id = 0x736e766d; CREATE TABLE t (a INTEGER"
#define STEP_2 "ALTER TABLE t ADD COLUMN b INTEGER; UPDATE t SET b = a + 1"
#define STEP_3 "ALTER TABLE t ADD COLUMN c INTEGER; UPDATE t SET c = b * 10"
#define STEP_3_BAD "ALTER TABLE t ADD COLUMN c INTEGER; UPDATE t SET c = nothing"

START_TEST(steps_are_walked)
{
    static const char *const steps[] = {STEP_2, STEP_3}, *const bad[] = {STEP_2, STEP_3_BAD};
    struct migrate_plan v1 = {1, PLAN_SCHEMA ")", NULL};
    struct migrate_plan v3 = {3, PLAN_SCHEMA ", b INTEGER, c INTEGER)", steps};
    struct migrate_plan v3_bad = {3, v3.schema, bad};
    struct error err = {0};
    struct fixture f;
    sqlite3 *db;

    fixture_init(&f);
    db = open_for_plan(&f);
    ck_assert_int_eq(migrate_run(db, &v1, &err), 0);
    ck_assert_int_eq(db_exec(db, "INSERT INTO t VALUES (4)", &err), 0);
    /* A step that fails is taken back whole; those before it stand. */
    ck_assert_int_eq(migrate_run(db, &v3_bad, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_INTERNAL);
    error_clear(&err);
    ck_assert_int_eq(number(db, "PRAGMA user_version"), 2);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM pragma_table_info('t')"), 2);
    ck_assert_int_eq(migrate_run(db, &v3, &err), 0);
    ck_assert_int_eq(number(db, "PRAGMA user_version"), 3);
    ck_assert_int_eq(number(db, "SELECT c FROM t"), 50);
    ck_assert_int_eq(migrate_run(db, &v3, &err), 0);
    /* And there is no way back. */
    ck_assert_int_eq(migrate_run(db, &v1, &err), -1);
    error_clear(&err);
    ck_assert_int_eq(number(db, "PRAGMA user_version"), 3);
    db_close(db);
    fixture_deinit(&f);
}
END_TEST

/* Opening fails with this code and a sentence that has the word in it. */
static void check_refused(struct fixture *f, int code, const char *word)
{
    _cleanup_free_ char *message = NULL;

    ck_assert_int_eq(fixture_try(f, &message), code);
    ck_assert_msg(strstr(message, word) != NULL, "no '%s' in: %s", word, message);
    ck_assert_msg(strstr(message, f->dir) != NULL, "no folder in: %s", message);
}

START_TEST(newer_schema_is_refused)
{
    _cleanup_free_ char *ours =
        xasprintf("PRAGMA user_version = %d", (int)migrate_plan_current()->version);
    struct fixture f;

    fixture_init(&f);
    fixture_open(&f);
    fixture_close(&f);
    run_sql(&f, "PRAGMA user_version = 99");
    check_refused(&f, SNAPVM_ERROR_INTERNAL, "schema 99");
    run_sql(&f, ours);
    fixture_open(&f);
    fixture_deinit(&f);
}
END_TEST

START_TEST(strange_databases_are_refused)
{
    struct fixture f;

    fixture_init(&f);
    run_sql(&f, "CREATE TABLE songs (name TEXT)");
    check_refused(&f, SNAPVM_ERROR_INTERNAL, "is not a journal");
    run_sql(&f, "PRAGMA user_version = 1");
    check_refused(&f, SNAPVM_ERROR_INTERNAL, "is not a journal");
    run_sql(&f, "SELECT name FROM songs");
    fixture_deinit(&f);
}
END_TEST

/* Overwrites some bytes of the database. */
static void damage(const struct fixture *f, off_t from, size_t size)
{
    _cleanup_free_ char *path = fixture_path(f, "snapvm.db"), *garbage = xzalloc(size);
    _cleanup_close_ int fd = open(path, O_WRONLY);

    memset(garbage, 0xa5, size);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, garbage, size, from), (ssize_t)size);
}

static void check_damage(off_t from, size_t size)
{
    _cleanup_free_ char *path = NULL, *before = NULL, *after = NULL;
    size_t size_before, size_after;
    struct fixture f;

    fixture_init(&f);
    fixture_open(&f);
    fixture_close(&f);
    damage(&f, from, size);
    path = fixture_path(&f, "snapvm.db");
    before = read_file(path, &size_before);
    check_refused(&f, SNAPVM_ERROR_INTERNAL, "restore it");
    /* It is kept as it was found. */
    after = read_file(path, &size_after);
    ck_assert_uint_eq(size_after, size_before);
    ck_assert_int_eq(memcmp(before, after, size_before), 0);
    fixture_deinit(&f);
}

START_TEST(damaged_files_are_refused)
{
    check_damage(0, 100);
    check_damage(100, 200);
    check_damage(4096 * 3, 4096);
    check_damage(4096 * 6, 20);
}
END_TEST

START_TEST(second_daemon_is_refused)
{
    _cleanup_free_ char *pid = xasprintf("process %d uses", (int)getpid());
    _cleanup_free_ char *lock = NULL;
    struct fixture f;

    fixture_init(&f);
    fixture_open(&f);
    /* From the same process and from another one. */
    check_refused(&f, SNAPVM_ERROR_BUSY, pid);
    lock = xasprintf("flock -n %s/snapvm.lock true", f.dir);
    ck_assert_int_ne(scratch_run(lock), 0);
    fixture_close(&f);
    ck_assert_int_eq(scratch_run(lock), 0);
    fixture_open(&f);
    fixture_deinit(&f);
}
END_TEST

START_TEST(lock_goes_with_the_process)
{
    char *dir = scratch_new();
    struct fixture f;
    int status;
    pid_t pid = fork();

    fixture_init_in(&f, dir);
    if (pid == 0) {
        fixture_open(&f);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    fixture_open(&f);
    fixture_deinit(&f);
}
END_TEST

static mode_t mode_of(const struct fixture *f, const char *name)
{
    _cleanup_free_ char *path = fixture_path(f, name);
    struct stat st;

    ck_assert_msg(stat(path, &st) == 0, "%s", path);
    return st.st_mode & 07777;
}

START_TEST(nobody_else_may_look)
{
    struct fixture f;
    _cleanup_free_ char *inner = NULL;

    umask(0);
    fixture_init(&f);
    inner = fixture_path(&f, "state");
    f.options.dir = inner;
    fixture_open(&f);
    ck_assert_uint_eq(mode_of(&f, "state"), 0700);
    ck_assert_uint_eq(mode_of(&f, "state/snapvm.db"), 0600);
    ck_assert_uint_eq(mode_of(&f, "state/snapvm.db-wal"), 0600);
    ck_assert_uint_eq(mode_of(&f, "state/snapvm.db-shm"), 0600);
    ck_assert_uint_eq(mode_of(&f, "state/snapvm.lock"), 0600);
    fixture_close(&f);
    ck_assert_int_eq(chmod(inner, 0777), 0);
    check_refused(&f, SNAPVM_ERROR_INTERNAL, "others cannot write");
    fixture_deinit(&f);
}
END_TEST

START_TEST(no_place_for_a_journal)
{
    struct fixture f;
    _cleanup_free_ char *inner = NULL;

    fixture_init(&f);
    inner = fixture_path(&f, "none/state");
    f.options.dir = inner;
    check_refused(&f, SNAPVM_ERROR_INTERNAL, "No such file");
    fixture_deinit(&f);
}
END_TEST

/* What a writer may rely on: asked of a connection like its own. */
START_TEST(writer_is_durable_and_strict)
{
    _cleanup_free_ char *mode = NULL;
    struct error err = {0};
    struct fixture f;
    sqlite3 *db;

    fixture_init(&f);
    db = open_for_plan(&f);
    ck_assert_int_eq(number(db, "PRAGMA synchronous"), 2);
    ck_assert_int_eq(number(db, "PRAGMA foreign_keys"), 1);
    ck_assert_int_eq(number(db, "PRAGMA trusted_schema"), 0);
    ck_assert_int_eq(db_get_text(db, "PRAGMA journal_mode", &mode, &err), 0);
    ck_assert_str_eq(mode, "wal");
    /* Defensive: nobody changes the schema's own table. */
    sqlite3_exec(db, "PRAGMA writable_schema = ON", NULL, NULL, NULL);
    ck_assert_int_ne(sqlite3_exec(db, "DELETE FROM sqlite_schema", NULL, NULL, NULL), SQLITE_OK);
    db_close(db);
    fixture_deinit(&f);
}
END_TEST

static TCase *cases(void)
{
    TCase *tcase = tcase_create("migrate");

    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, version_1);
    tcase_add_test(tcase, version_3);
    tcase_add_test(tcase, all_versions_become_the_same);
    tcase_add_test(tcase, steps_are_walked);
    tcase_add_test(tcase, newer_schema_is_refused);
    tcase_add_test(tcase, strange_databases_are_refused);
    tcase_add_test(tcase, damaged_files_are_refused);
    tcase_add_test(tcase, second_daemon_is_refused);
    tcase_add_test(tcase, lock_goes_with_the_process);
    tcase_add_test(tcase, nobody_else_may_look);
    tcase_add_test(tcase, no_place_for_a_journal);
    tcase_add_test(tcase, writer_is_durable_and_strict);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("migrate");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, cases());
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
