/* What the probes of commits, of ways back and of ends without pivot make of what QEMU shows.
 * Expectations are words of letters, one for each job status in the order of its enum: n not yet,
 * m moving, h holds, l lost. */
#include <string.h>

#include "base/memory.h"
#include "job/pivot.h"
#include "tests/unit/plan-scene.h"

/* --- one disk, every status --- */

static const struct status_row {
    const char *step;
    uint32_t flags;
    enum where where;
    const char *seen; /* null created running paused ready standby waiting pending aborting
                       * concluded unknown */
} status_rows[] = {
    {"start", 0, ON_TOP, "nhhhhhhhmlh"},
    {"start", 0, ON_FILTER, "nhhhhhhhmlh"},
    {"start", JOB_UNDOING, ON_FILTER, "nhhhhhhhmlh"},
    {"converge", 0, ON_FILTER, "lmmmmmmlmlm"}, /* pending by a stranger: given up */
    {"converge", JOB_PIVOT, ON_FILTER, "lmmmhmmhmlm"},
    {"converge", JOB_AUTO_PIVOT, ON_FILTER, "lmmmhmmhmlm"},
    {"prepare", JOB_PIVOT, ON_FILTER, "llllnmmhmll"},
    {"decide", JOB_PIVOT, ON_FILTER, "nnnnnnnnnnn"},
    {"decide", JOB_DECIDED, ON_FILTER, "hhhhhhhhhhh"},
    {"switch", JOB_DECIDED, ON_FILTER, "lmmmmmmnmlm"},
    {"switch", JOB_DECIDED, ON_TOP, "lmmmmmmnmlm"},
    {"switch", JOB_DECIDED, ON_BASE, "hmmmmmmnmhm"},
    {"switch", JOB_DECIDED, GONE, "lmmmmmmnmlm"},
    {"reverse", JOB_DECIDED, ON_TOP, "hhhhhhhhhhh"},
};

static void check_statuses(enum kind kind, const struct naming *naming,
                           const struct status_row *row)
{
    struct scene s;

    scene_init(&s, kind, naming, 1);
    s.jobs[0]->record.flags = row->flags;
    for (int status = 0; status < N_STATUS; status++) {
        scene_view(&s);
        scene_status(&s, 0, (enum view_job_status)status);
        see_job(s.domain->view, "snapvm-170-vda", VIEW_JOB_READY); /* a stranger's */
        scene_root(&s, 0, root_of(naming, 0, row->where));
        ck_assert_msg(letter(scene_probe(&s, row->step)) == row->seen[status],
                      "%s, status %s, plan %d", row->step,
                      view_job_status_name((enum view_job_status)status), kind);
    }
    scene_deinit(&s);
}

START_TEST(commits_and_ways_back)
{
    for (int i = 0; i < N(namings); i++) {
        check_statuses(COMMIT, &namings[i], &status_rows[_i]);
        check_statuses(COPY, &namings[i], &status_rows[_i]);
        check_statuses(BACK, &namings[i], &status_rows[_i]);
    }
}
END_TEST

static const struct status_row keep_rows[] = {
    {"keep", JOB_KEEP, ON_FILTER, "lnnnnnmhmln"},
    {"let-go", JOB_KEEP | JOB_DECIDED, ON_FILTER, "hmmmmmmnmhm"},
    {"dismiss", JOB_KEEP | JOB_DECIDED, ON_TOP, "hnnnnnnnnnn"},
};

START_TEST(ends_without_pivot)
{
    for (int i = 0; i < N(namings); i++)
        check_statuses(KEEP, &namings[i], &keep_rows[_i]);
}
END_TEST

static const struct status_row copied_rows[] = {
    {"keep", JOB_KEEP, ON_FILTER, "lnnnnnmhmln"},
    {"let-go", JOB_KEEP | JOB_DECIDED, ON_FILTER, "hmmmmmmnmhm"},
    {"close", JOB_KEEP | JOB_DECIDED, ON_TOP, "nnnnnnnnnnn"}, /* the target is open */
};

START_TEST(copies_without_pivot)
{
    for (int i = 0; i < N(namings); i++)
        check_statuses(COPIED, &namings[i], &copied_rows[_i]);
}
END_TEST

/* A target that cannot be closed is left open. */
START_TEST(copies_closed)
{
    struct scene s;

    scene_init(&s, COPIED, &namings[0], 1);
    ck_assert_int_eq(letter(scene_probe(&s, "close")), 'n');
    s.jobs[0]->retry_ms = PIVOT_PATIENCE_MS;
    ck_assert_int_eq(letter(scene_probe(&s, "close")), 'h');
    s.jobs[0]->retry_ms = 0;
    view_remove_node(s.domain->view, s.naming->base[0]);
    ck_assert_int_eq(letter(scene_probe(&s, "close")), 'h');
    scene_status(&s, 0, VIEW_JOB_CONCLUDED);
    ck_assert_int_eq(letter(scene_probe(&s, "close")), 'n');
    scene_deinit(&s);
}
END_TEST

/* A copy that QEMU has begun goes on, one that it has not goes back. */
START_TEST(copies_after_a_restart)
{
    static const char *const early[] = {"target", "open", "start"};
    struct scene s;

    for (int i = 0; i < N(early); i++) {
        scene_init(&s, COPY, &namings[0], 1);
        plan_of_step("copy", early[i], &s.jobs[0]->step);
        ck_assert_int_eq(plan_copy.forward(s.jobs[0], s.domain->view, NULL), -1);
        scene_status(&s, 0, VIEW_JOB_CREATED);
        ck_assert_int_eq(plan_copy.forward(s.jobs[0], s.domain->view, NULL), 0);
        scene_deinit(&s);
    }
    scene_init(&s, COPY, &namings[0], 1);
    plan_of_step("copy", "converge", &s.jobs[0]->step);
    ck_assert_int_eq(plan_copy.forward(s.jobs[0], s.domain->view, NULL), 0);
    scene_deinit(&s);
}
END_TEST

/* --- two disks that pivot as one --- */

static const struct pair_row {
    const char *step;
    uint32_t flags;
    enum view_job_status a, b;
    enum where where_a, where_b;
    char seen;
} pair_rows[] = {
    {"start", 0, VIEW_JOB_RUNNING, VIEW_JOB_RUNNING, ON_FILTER, ON_FILTER, 'h'},
    {"start", 0, VIEW_JOB_NONE, VIEW_JOB_RUNNING, ON_TOP, ON_FILTER, 'n'},
    {"start", 0, VIEW_JOB_RUNNING, VIEW_JOB_NONE, ON_FILTER, ON_TOP, 'n'},
    {"start", 0, VIEW_JOB_NONE, VIEW_JOB_CONCLUDED, ON_TOP, ON_TOP, 'l'},
    {"start", 0, VIEW_JOB_NONE, VIEW_JOB_ABORTING, ON_TOP, ON_FILTER, 'm'},
    /* Taken back is taken back when nothing is left. */
    {"start", JOB_UNDOING, VIEW_JOB_NONE, VIEW_JOB_NONE, ON_TOP, ON_TOP, 'n'},
    {"start", JOB_UNDOING, VIEW_JOB_NONE, VIEW_JOB_READY, ON_TOP, ON_FILTER, 'h'},
    {"start", JOB_UNDOING, VIEW_JOB_PENDING, VIEW_JOB_NONE, ON_FILTER, ON_TOP, 'h'},
    {"start", JOB_UNDOING, VIEW_JOB_NONE, VIEW_JOB_ABORTING, ON_TOP, ON_FILTER, 'm'},
    {"start", JOB_UNDOING, VIEW_JOB_NONE, VIEW_JOB_CONCLUDED, ON_TOP, ON_TOP, 'l'},
    {"converge", JOB_PIVOT, VIEW_JOB_READY, VIEW_JOB_READY, ON_FILTER, ON_FILTER, 'h'},
    {"converge", JOB_PIVOT, VIEW_JOB_READY, VIEW_JOB_RUNNING, ON_FILTER, ON_FILTER, 'm'},
    {"converge", JOB_PIVOT, VIEW_JOB_RUNNING, VIEW_JOB_READY, ON_FILTER, ON_FILTER, 'm'},
    {"converge", JOB_PIVOT, VIEW_JOB_PENDING, VIEW_JOB_READY, ON_FILTER, ON_FILTER, 'h'},
    {"converge", JOB_PIVOT, VIEW_JOB_RUNNING, VIEW_JOB_CONCLUDED, ON_FILTER, ON_TOP, 'l'},
    {"converge", 0, VIEW_JOB_READY, VIEW_JOB_READY, ON_FILTER, ON_FILTER, 'm'},
    {"prepare", JOB_PIVOT, VIEW_JOB_PENDING, VIEW_JOB_PENDING, ON_FILTER, ON_FILTER, 'h'},
    {"prepare", JOB_PIVOT, VIEW_JOB_PENDING, VIEW_JOB_READY, ON_FILTER, ON_FILTER, 'n'},
    {"prepare", JOB_PIVOT, VIEW_JOB_READY, VIEW_JOB_WAITING, ON_FILTER, ON_FILTER, 'n'},
    {"prepare", JOB_PIVOT, VIEW_JOB_WAITING, VIEW_JOB_READY, ON_FILTER, ON_FILTER, 'n'},
    {"prepare", JOB_PIVOT, VIEW_JOB_WAITING, VIEW_JOB_PENDING, ON_FILTER, ON_FILTER, 'm'},
    {"prepare", JOB_PIVOT, VIEW_JOB_PENDING, VIEW_JOB_STANDBY, ON_FILTER, ON_FILTER, 'm'},
    {"prepare", JOB_PIVOT | JOB_STALLED, VIEW_JOB_STANDBY, VIEW_JOB_PENDING, ON_FILTER, ON_FILTER,
     'l'},
    {"prepare", JOB_PIVOT, VIEW_JOB_PENDING, VIEW_JOB_ABORTING, ON_FILTER, ON_FILTER, 'm'},
    {"prepare", JOB_PIVOT, VIEW_JOB_PENDING, VIEW_JOB_CONCLUDED, ON_FILTER, ON_TOP, 'l'},
    {"prepare", JOB_PIVOT, VIEW_JOB_READY, VIEW_JOB_NONE, ON_FILTER, ON_TOP, 'l'},
    {"switch", JOB_DECIDED, VIEW_JOB_CONCLUDED, VIEW_JOB_CONCLUDED, ON_BASE, ON_BASE, 'h'},
    {"switch", JOB_DECIDED, VIEW_JOB_NONE, VIEW_JOB_CONCLUDED, ON_BASE, ON_BASE, 'h'},
    {"switch", JOB_DECIDED, VIEW_JOB_CONCLUDED, VIEW_JOB_PENDING, ON_BASE, ON_FILTER, 'n'},
    {"switch", JOB_DECIDED, VIEW_JOB_PENDING, VIEW_JOB_CONCLUDED, ON_FILTER, ON_BASE, 'n'},
    {"switch", JOB_DECIDED, VIEW_JOB_CONCLUDED, VIEW_JOB_WAITING, ON_TOP, ON_FILTER, 'm'},
    {"switch", JOB_DECIDED, VIEW_JOB_CONCLUDED, VIEW_JOB_CONCLUDED, ON_BASE, ON_TOP, 'l'},
    {"switch", JOB_DECIDED, VIEW_JOB_CONCLUDED, VIEW_JOB_CONCLUDED, ON_TOP, ON_BASE, 'l'},
    /* One that failed does not keep the other from its finalize. */
    {"switch", JOB_DECIDED, VIEW_JOB_CONCLUDED, VIEW_JOB_PENDING, ON_TOP, ON_FILTER, 'n'},
    {"switch", JOB_DECIDED, VIEW_JOB_PENDING, VIEW_JOB_CONCLUDED, ON_FILTER, ON_TOP, 'n'},
};

static void check_pair(enum kind kind, const struct naming *naming, const struct pair_row *row)
{
    struct scene s;

    scene_init(&s, kind, naming, 2);
    s.jobs[0]->record.flags = row->flags;
    scene_status(&s, 0, row->a);
    scene_status(&s, 1, row->b);
    scene_root(&s, 0, root_of(naming, 0, row->where_a));
    scene_root(&s, 1, root_of(naming, 1, row->where_b));
    ck_assert_int_eq(letter(scene_probe(&s, row->step)), row->seen);
    scene_deinit(&s);
}

START_TEST(pairs)
{
    for (int i = 0; i < N(namings); i++) {
        check_pair(COMMIT, &namings[i], &pair_rows[_i]);
        check_pair(COPY, &namings[i], &pair_rows[_i]);
        check_pair(BACK, &namings[i], &pair_rows[_i]);
    }
}
END_TEST

/* --- what comes after the switch --- */

static const struct tidy_row {
    enum view_job_status a, b;
    bool open;
    unsigned retry_ms;
    char seen;
} tidy_rows[] = {
    {VIEW_JOB_NONE, VIEW_JOB_NONE, false, 0, 'h'},
    {VIEW_JOB_NONE, VIEW_JOB_NONE, true, 0, 'n'},
    {VIEW_JOB_NONE, VIEW_JOB_NONE, true, PIVOT_PATIENCE_MS - 1, 'n'},
    {VIEW_JOB_NONE, VIEW_JOB_NONE, true, PIVOT_PATIENCE_MS, 'h'}, /* somebody else uses it */
    {VIEW_JOB_NONE, VIEW_JOB_CONCLUDED, false, PIVOT_PATIENCE_MS, 'n'},
    {VIEW_JOB_CONCLUDED, VIEW_JOB_NONE, false, 0, 'n'},
    {VIEW_JOB_NONE, VIEW_JOB_RUNNING, false, 0, 'n'},
};

static void scene_close(struct scene *s, unsigned leg)
{
    view_remove_node(s->domain->view, s->naming->top[leg]);
    view_remove_node(s->domain->view, s->naming->middle[leg]);
}

START_TEST(tidied)
{
    const struct tidy_row *row = &tidy_rows[_i];
    const enum kind kinds[] = {COMMIT, COPY, BACK};

    for (int i = 0; i < N(kinds); i++) {
        struct scene s;

        scene_init(&s, kinds[i], &namings[0], 2);
        scene_root(&s, 0, s.naming->base[0]);
        scene_root(&s, 1, s.naming->base[1]);
        scene_close(&s, 0);
        if (!row->open)
            scene_close(&s, 1);
        s.jobs[0]->retry_ms = row->retry_ms;
        scene_status(&s, 0, row->a);
        scene_status(&s, 1, row->b);
        ck_assert_int_eq(letter(scene_probe(&s, "tidy")), row->seen);
        scene_deinit(&s);
    }
}
END_TEST

static const struct release_row {
    uint32_t flags;
    const char *status;
    char seen;
} release_rows[] = {
    {JOB_HELD, "paused", 'n'},   {JOB_HELD, "running", 'h'},   {JOB_HELD, "shutdown", 'h'},
    {JOB_HELD, "io-error", 'h'}, {JOB_HELD, "prelaunch", 'h'}, {JOB_HELD, NULL, 'h'},
    {0, "paused", 'h'}, /* somebody else's stop */
    {0, "running", 'h'},
};

START_TEST(vcpus_that_are_ours_are_let_go)
{
    const struct release_row *row = &release_rows[_i];
    const enum kind kinds[] = {COMMIT, BACK};

    for (int i = 0; i < 2; i++) {
        struct scene s;

        scene_init(&s, kinds[i], &namings[0], 1);
        scene_close(&s, 0);
        s.jobs[0]->record.flags = row->flags;
        xstrset(&s.domain->view->status, row->status);
        ck_assert_int_eq(letter(scene_probe(&s, "tidy")), row->seen);
        scene_deinit(&s);
    }
}
END_TEST

/* The layers of a leg that was not switched are not merged, and stay open. */
START_TEST(tidied_after_a_reversal)
{
    struct scene s;

    scene_init(&s, COMMIT, &namings[0], 2);
    scene_root(&s, 0, s.naming->base[0]);
    scene_close(&s, 0);
    ck_assert_int_eq(letter(scene_probe(&s, "tidy")), 'n');
    s.jobs[1]->record.flags |= JOB_REVERSED;
    ck_assert_int_eq(letter(scene_probe(&s, "tidy")), 'h');
    scene_deinit(&s);
}
END_TEST

/* Of a copy it is the target that is closed then, and of a shallow one what lies below stays. */
START_TEST(tidied_copies)
{
    struct scene s;

    scene_init(&s, COPY, &namings[0], 1);
    ck_assert_int_eq(letter(scene_probe(&s, "tidy")), 'n');
    view_remove_node(s.domain->view, s.naming->top[0]);
    ck_assert_int_eq(letter(scene_probe(&s, "tidy")), 'n');
    s.jobs[0]->record.flags |= JOB_SHALLOW;
    ck_assert_int_eq(letter(scene_probe(&s, "tidy")), 'h');
    s.jobs[0]->record.flags |= JOB_REVERSED;
    ck_assert_int_eq(letter(scene_probe(&s, "tidy")), 'n');
    view_remove_node(s.domain->view, s.naming->base[0]);
    ck_assert_int_eq(letter(scene_probe(&s, "tidy")), 'h');
    scene_deinit(&s);
}
END_TEST

static const struct skip_row {
    const char *step;
    uint32_t a, b;
    bool skip;
} skip_rows[] = {
    {"reverse", 0, 0, true},
    {"reverse", JOB_REVERSED, 0, false},
    {"reverse", 0, JOB_REVERSED, false},
    {"remove", 0, 0, true},
    {"remove", JOB_DELETE, 0, false},
    {"remove", 0, JOB_DELETE, false},
    {"remove", JOB_DELETE | JOB_REVERSED, 0, true},
    {"remove", JOB_DELETE | JOB_REVERSED, JOB_DELETE, false},
};

START_TEST(steps_that_do_not_apply)
{
    const struct skip_row *row = &skip_rows[_i];
    struct scene s;
    const struct step *step;
    unsigned index;

    scene_init(&s, COMMIT, &namings[0], 2);
    s.jobs[0]->record.flags = row->a;
    s.jobs[1]->record.flags = row->b;
    step = &plan_of_step("active-commit", row->step, &index)->steps[index];
    ck_assert_int_eq(step->skip(s.jobs[0]), row->skip);
    scene_deinit(&s);
}
END_TEST

static TCase *pivot_case(void)
{
    TCase *tcase = tcase_create("pivot");

    tcase_add_loop_test(tcase, commits_and_ways_back, 0, N(status_rows));
    tcase_add_loop_test(tcase, ends_without_pivot, 0, N(keep_rows));
    tcase_add_loop_test(tcase, pairs, 0, N(pair_rows));
    tcase_add_loop_test(tcase, vcpus_that_are_ours_are_let_go, 0, N(release_rows));
    tcase_add_loop_test(tcase, tidied, 0, N(tidy_rows));
    tcase_add_test(tcase, tidied_after_a_reversal);
    tcase_add_test(tcase, tidied_copies);
    tcase_add_loop_test(tcase, copies_without_pivot, 0, N(copied_rows));
    tcase_add_test(tcase, copies_closed);
    tcase_add_test(tcase, copies_after_a_restart);
    tcase_add_loop_test(tcase, steps_that_do_not_apply, 0, N(skip_rows));
    return tcase;
}

int main(void)
{
    static TCase *(*const cases[])(void) = {pivot_case};

    return stage_main("plan-probes", cases, N(cases));
}
