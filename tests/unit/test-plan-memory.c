/* What the probes of a save make of run state and migration, forward and on the way back. */
#include <string.h>

#include "base/memory.h"
#include "job/memory.h"
#include "tests/unit/plan-scene.h"

/* What is known of the job beside the view: QEMU took its migration, its file was begun, the one
 * that is under way is another's. */
enum known { NOTHING, ACCEPTED, BEGUN, FOREIGN };

static const struct row {
    enum view_migration_status migration;
    const char *status;
    enum known known;
    char save, save_back, hold, hold_back, release;
} rows[] = {
    /* The guest runs, and nothing was begun. */
    {VIEW_MIGRATION_NONE, "running", NOTHING, 'n', 'n', 'n', 'n', 'h'},
    /* Held. */
    {VIEW_MIGRATION_NONE, "paused", NOTHING, 'n', 'n', 'h', 'h', 'n'},
    /* What an older migration left says nothing. */
    {VIEW_MIGRATION_COMPLETED, "paused", NOTHING, 'n', 'n', 'h', 'h', 'n'},
    {VIEW_MIGRATION_FAILED, "paused", NOTHING, 'n', 'n', 'h', 'h', 'n'},
    /* Ours. */
    {VIEW_MIGRATION_ACTIVE, "paused", ACCEPTED, 'm', 'm', 'h', 'h', 'n'},
    {VIEW_MIGRATION_ACTIVE, "finish-migrate", ACCEPTED, 'm', 'm', 'h', 'n', 'h'},
    {VIEW_MIGRATION_COMPLETED, "finish-migrate", ACCEPTED, 'm', 'm', 'h', 'n', 'h'},
    {VIEW_MIGRATION_COMPLETED, "postmigrate", ACCEPTED, 'h', 'n', 'h', 'h', 'n'},
    {VIEW_MIGRATION_FAILED, "paused", ACCEPTED, 'l', 'n', 'h', 'h', 'n'},
    {VIEW_MIGRATION_FAILED, "postmigrate", ACCEPTED, 'l', 'n', 'h', 'h', 'n'},
    /* Somebody has let the guest go on behind it, and perhaps stopped it again. */
    {VIEW_MIGRATION_COMPLETED, "running", ACCEPTED, 'l', 'n', 'n', 'n', 'h'},
    {VIEW_MIGRATION_COMPLETED, "paused", ACCEPTED, 'l', 'n', 'h', 'h', 'n'},
    /* Somebody has let it go on while it is saved: it is stopped at the end by QEMU. */
    {VIEW_MIGRATION_ACTIVE, "running", ACCEPTED, 'm', 'm', 'n', 'n', 'h'},
    /* After a restart: the file tells whose migration has ended, or is under way. */
    {VIEW_MIGRATION_COMPLETED, "postmigrate", BEGUN, 'n', 'n', 'h', 'h', 'n'},
    {VIEW_MIGRATION_COMPLETED, "postmigrate", NOTHING, 'n', 'n', 'h', 'n', 'n'},
    {VIEW_MIGRATION_ACTIVE, "paused", NOTHING, 'n', 'm', 'h', 'h', 'n'},
    {VIEW_MIGRATION_ACTIVE, "running", FOREIGN, 'n', 'n', 'n', 'n', 'h'},
    /* Stopped by itself, which is nobody's to let go on. */
    {VIEW_MIGRATION_COMPLETED, "io-error", ACCEPTED, 'l', 'n', 'h', 'n', 'h'},
    {VIEW_MIGRATION_COMPLETED, "shutdown", ACCEPTED, 'l', 'n', 'h', 'n', 'h'},
};

static struct job *set(struct scene *s, const struct row *row)
{
    struct view *view = s->domain->view;
    struct job *job = s->jobs[0];

    job->record.flags = JOB_HELD;
    job->memory.accepted = row->known == ACCEPTED;
    job->memory.begun = row->known == BEGUN;
    job->memory.foreign = row->known == FOREIGN;
    view->migration.status = row->migration;
    xstrset(&view->status, row->status);
    view->running = strcmp(row->status, "running") == 0;
    return job;
}

START_TEST(probes)
{
    const struct row *row = &rows[_i];
    const struct view *view;
    struct scene s;
    struct job *job;

    scene_init(&s, SNAPSHOT, &namings[0], 2);
    job = set(&s, row);
    view = s.domain->view;
    ck_assert_int_eq(letter(memory_save_probe(job, view)), row->save);
    ck_assert_int_eq(letter(memory_hold_probe(job, view)), row->hold);
    ck_assert_int_eq(letter(memory_release_probe(job, view)), row->release);
    job->record.flags |= JOB_UNDOING;
    ck_assert_int_eq(letter(memory_save_probe(job, view)), row->save_back);
    ck_assert_int_eq(letter(memory_hold_probe(job, view)), row->hold_back);
    scene_deinit(&s);
}
END_TEST

/* Once the disks are switched the memory was saved, whatever became of the migration since. */
START_TEST(switched)
{
    struct scene s;
    struct job *job;

    scene_init(&s, SNAPSHOT, &namings[0], 2);
    job = set(&s, &rows[_i]);
    for (unsigned i = 0; i < 2; i++) {
        scene_layer(s.domain->view, s.name[i], "qcow2", s.naming->top[i]);
        scene_root(&s, i, s.name[i]);
    }
    ck_assert_int_eq(letter(memory_save_probe(job, s.domain->view)), 'h');
    scene_deinit(&s);
}
END_TEST

/* A guest that we have not stopped is not let go on. */
START_TEST(not_held)
{
    struct scene s;
    struct job *job;

    scene_init(&s, SNAPSHOT, &namings[0], 2);
    job = set(&s, &rows[_i]);
    job->record.flags = 0;
    ck_assert_int_eq(letter(memory_release_probe(job, s.domain->view)), 'h');
    job->record.flags = JOB_UNDOING;
    ck_assert_int_eq(letter(memory_hold_probe(job, s.domain->view)), 'n');
    scene_deinit(&s);
}
END_TEST

static TCase *memory_case(void)
{
    TCase *tcase = tcase_create("memory");

    tcase_add_loop_test(tcase, probes, 0, N(rows));
    tcase_add_loop_test(tcase, switched, 0, N(rows));
    tcase_add_loop_test(tcase, not_held, 0, N(rows));
    return tcase;
}

int main(void)
{
    static TCase *(*const cases[])(void) = {memory_case};

    return stage_main("plan-memory", cases, N(cases));
}
