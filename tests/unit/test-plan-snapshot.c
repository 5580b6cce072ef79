/* What the probes of a snapshot make of what QEMU shows, and when it freezes the guest. */
#include <string.h>

#include "base/memory.h"
#include "job/debt.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "tests/unit/plan-scene.h"

/* --- snapshots --- */

/* Where a disk's overlay is: nowhere, open, on its disk, on it below a filter, or below a layer
 * that somebody put on it. */
enum placed { NOWHERE, OPEN, ON_DISK, UNDER_FILTER, UNDER_LAYER };

static const struct snapshot_row {
    enum placed a, b;
    char overlays, switched;
} snapshot_rows[] = {
    {NOWHERE, NOWHERE, 'n', 'n'},
    {OPEN, OPEN, 'h', 'n'},
    {OPEN, NOWHERE, 'l', 'n'}, /* one was refused: going on would freeze the guest in vain */
    {NOWHERE, OPEN, 'l', 'n'},
    {ON_DISK, ON_DISK, 'h', 'h'},
    {UNDER_FILTER, ON_DISK, 'h', 'h'},
    {UNDER_FILTER, UNDER_FILTER, 'h', 'h'},
    {UNDER_LAYER, UNDER_LAYER, 'h', 'h'},
    /* One transaction: what one disk shows holds for all. */
    {ON_DISK, OPEN, 'h', 'h'},
    {OPEN, ON_DISK, 'h', 'h'},
};

static void scene_place(struct scene *s, unsigned i, enum placed placed)
{
    struct view *view = s->domain->view;
    _cleanup_free_ char *above = xasprintf("above-%u", i);

    if (placed == NOWHERE)
        return;
    scene_layer(view, s->name[i], "qcow2", placed == OPEN ? NULL : s->naming->top[i]);
    if (placed == OPEN)
        return;
    scene_root(s, i, s->name[i]);
    if (placed == ON_DISK)
        return;
    scene_layer(view, above, placed == UNDER_FILTER ? "throttle" : "qcow2", s->name[i]);
    scene_root(s, i, above);
}

START_TEST(snapshots)
{
    const struct snapshot_row *row = &snapshot_rows[_i];

    for (int i = 0; i < N(namings); i++) {
        struct scene s;

        scene_init(&s, SNAPSHOT, &namings[i], 2);
        /* Overlays of another job are none of ours. */
        scene_layer(s.domain->view, "snapvm-16-vda", "qcow2", NULL);
        scene_layer(s.domain->view, "snapvm-170-vda", "qcow2", NULL);
        scene_place(&s, 0, row->a);
        scene_place(&s, 1, row->b);
        ck_assert_int_eq(letter(scene_probe(&s, "overlays")), row->overlays);
        ck_assert_int_eq(letter(scene_probe(&s, "switch")), row->switched);
        ck_assert_int_eq(letter(scene_probe(&s, "freeze")), row->switched);
        scene_deinit(&s);
    }
}
END_TEST

/* A snapshot is not taken late: on only if it is there, else back. */
START_TEST(snapshots_after_a_restart)
{
    const struct snapshot_row *row = &snapshot_rows[_i];
    struct scene s;
    _cleanup_error_ struct error err = {0};
    bool on;

    scene_init(&s, SNAPSHOT, &namings[0], 2);
    scene_place(&s, 0, row->a);
    scene_place(&s, 1, row->b);
    plan_of_step("snapshot", "overlays", &s.jobs[0]->step);
    on = plan_snapshot.forward(s.jobs[0], s.domain->view, &err) == 0;
    ck_assert_int_eq(on, row->switched == 'h');
    ck_assert_int_eq(err.code, on ? 0 : SNAPVM_ERROR_QEMU_GONE);
    scene_deinit(&s);
}
END_TEST

/* --- snapshots inside images --- */

/* Which of two disks has it inside, and whether QEMU has said no. */
static const struct inside_row {
    bool a, b, refused;
    char switched;
} inside_rows[] = {
    {false, false, false, 'n'}, {true, false, false, 'n'}, {false, true, false, 'n'},
    {true, true, false, 'h'},   {true, true, true, 'n'}, /* they are a stranger's */
};

static void scene_inside(struct scene *s, const struct inside_row *row)
{
    scene_init(s, INSIDE, &namings[0], 2);
    for (unsigned i = 0; i < 2; i++) {
        struct view_node *node = view_node(s->domain->view, s->naming->top[i]);

        view_node_add_snapshot(node, "s10");
        if (i ? row->b : row->a)
            view_node_add_snapshot(node, "s1");
    }
    if (row->refused)
        error_set(&s->jobs[0]->failure, SNAPVM_ERROR_QEMU, "exists");
}

START_TEST(inside)
{
    const struct inside_row *row = &inside_rows[_i];
    struct scene s;
    bool on;

    scene_inside(&s, row);
    ck_assert_int_eq(letter(scene_probe(&s, "switch")), row->switched);
    ck_assert_int_eq(letter(scene_probe(&s, "freeze")), row->switched);
    /* There is nothing to be made and opened; nothing that could stay behind either. */
    ck_assert_int_eq(letter(scene_probe(&s, "overlays")), 'h');
    on = plan_snapshot.forward(s.jobs[0], s.domain->view, NULL) == 0;
    ck_assert_int_eq(on, row->switched == 'h');
    s.jobs[0]->record.flags |= JOB_UNDOING;
    ck_assert_int_eq(letter(scene_probe(&s, "overlays")), 'n');
    scene_deinit(&s);
}
END_TEST

/* Whose names were not seen to be free yet takes nothing for its own. */
START_TEST(inside_before_the_names)
{
    const struct inside_row all = {.a = true, .b = true};
    struct scene s;

    scene_inside(&s, &all);
    plan_of_step("snapshot", "names", &s.jobs[0]->step);
    ck_assert_int_eq(plan_snapshot.forward(s.jobs[0], s.domain->view, NULL), -1);
    scene_deinit(&s);
}
END_TEST

static bool skips(const struct job *job, const char *name)
{
    unsigned index;
    const struct plan *plan = plan_of_step("snapshot", name, &index);

    return plan->steps[index].skip(job);
}

START_TEST(only_quiesced_snapshots_freeze)
{
    struct scene s;
    struct journal_txn *txn;

    scene_init(&s, SNAPSHOT, &namings[0], 2);
    ck_assert(skips(s.jobs[0], "freeze"));
    ck_assert(skips(s.jobs[0], "thaw"));
    s.jobs[0]->record.flags = JOB_QUIESCE_PREFERRED;
    ck_assert(!skips(s.jobs[0], "freeze"));
    ck_assert(skips(s.jobs[0], "thaw")); /* nothing is owed */
    s.jobs[0]->record.flags = JOB_QUIESCE_REQUIRED;
    ck_assert(!skips(s.jobs[0], "freeze"));
    txn = journal_begin(s.stage.f.journal);
    debt_incur(s.domain, 16, 0, txn);
    ck_assert(skips(s.jobs[0], "thaw")); /* another one's debt */
    s.domain->debt->job = s.jobs[0]->record.id;
    ck_assert(!skips(s.jobs[0], "thaw"));
    debt_strike(s.domain, txn);
    ck_assert(skips(s.jobs[0], "thaw"));
    journal_txn_free(txn);
    scene_deinit(&s);
}
END_TEST

static TCase *snapshot_case(void)
{
    TCase *tcase = tcase_create("snapshot");

    tcase_add_loop_test(tcase, snapshots, 0, N(snapshot_rows));
    tcase_add_loop_test(tcase, snapshots_after_a_restart, 0, N(snapshot_rows));
    tcase_add_loop_test(tcase, inside, 0, N(inside_rows));
    tcase_add_test(tcase, inside_before_the_names);
    tcase_add_test(tcase, only_quiesced_snapshots_freeze);
    return tcase;
}

int main(void)
{
    static TCase *(*const cases[])(void) = {snapshot_case};

    return stage_main("plan-snapshot", cases, N(cases));
}
