/* The tables of all plans as such, and what a running job is said to be. */
#include <string.h>

#include "base/memory.h"
#include "tests/unit/plan-scene.h"

/* --- the tables as such --- */

static const struct plan *const all_plans[] = {
    &plan_snapshot,   &plan_back,   &plan_off_snapshot, &plan_commit,     &plan_copy,
    &plan_keep,       &plan_copied, &plan_merge,        &plan_pull,       &plan_off_commit,
    &plan_off_active, &plan_delete, &plan_off_delete,   &plan_off_revert,
};

START_TEST(steps_are_found_by_their_names)
{
    const struct plan *plan = all_plans[_i];

    ck_assert_uint_gt(plan->n_steps, 0);
    for (unsigned i = 0; i < plan->n_steps; i++) {
        unsigned index = 1000;

        /* Also across the plans of a kind: a record names its step alone. */
        ck_assert_ptr_eq(plan_of_step(plan->name, plan->steps[i].name, &index), plan);
        ck_assert_uint_eq(index, i);
    }
    ck_assert(plan->steps[plan->n_steps - 1].flags & STEP_END);
}
END_TEST

static bool plan_tells_of_crashes(const struct plan *plan)
{
    for (unsigned i = 0; i < plan->n_steps; i++)
        if (plan->steps[i].lives)
            return true;
    return false;
}

/* What is taken back is looked at, and nothing is taken back once it was decided. */
START_TEST(plans_are_sound)
{
    const struct plan *plan = all_plans[_i];
    bool decided = false;

    for (unsigned i = 0; i < plan->n_steps; i++) {
        const struct step *step = &plan->steps[i];

        ck_assert(step->does && step->image);
        ck_assert(step->act || step->probe);
        ck_assert(!(step->flags & (STEP_WAIT | STEP_VERIFY)) || step->probe);
        ck_assert(!(step->flags & STEP_END) || i + 1 == plan->n_steps);
        ck_assert(!(step->flags & STEP_DECIDE) || (step->flags & STEP_RECORD));
        ck_assert(!decided || !step->undo);
        /* A recorded step is one at which a job may be found, and the manual says what follows, of
         * each plan that it tells this of. */
        if (plan_tells_of_crashes(plan) && (step->flags & STEP_RECORD) && !(step->flags & STEP_END))
            ck_assert_ptr_nonnull(step->lives);
        ck_assert(!step->gone == (!step->lives || plan->look));
        decided |= (step->flags & (STEP_DECIDE | STEP_COMMITS)) != 0;
    }
    /* One that works on files alone needs no monitor, and never loses one. */
    ck_assert(!plan->look != !plan->offline);
    ck_assert(plan->conclude && plan->undone);
}
END_TEST

START_TEST(unknown_steps)
{
    unsigned index;

    ck_assert_ptr_null(plan_of_step("snapshot", "nothing", &index));
    ck_assert_ptr_null(plan_of_step("nothing", "start", &index));
    ck_assert_ptr_null(plan_of_step("snapshot", "start", &index));
    ck_assert_ptr_null(plan_of_step("active-commit", "back-start", &index));
}
END_TEST

/* --- progress --- */

static const struct observe_row {
    const char *before;
    uint32_t flags;
    enum view_job_status status;
    const char *io_status, *after;
} observe_rows[] = {
    {"starting", 0, VIEW_JOB_RUNNING, "ok", "running"},
    {"running", 0, VIEW_JOB_PAUSED, "ok", "running"},
    {"running", 0, VIEW_JOB_PAUSED, NULL, "running"},
    {"running", 0, VIEW_JOB_PAUSED, "failed", "stalled"},
    {"running", 0, VIEW_JOB_PAUSED, "nospace", "stalled"},
    {"stalled", 0, VIEW_JOB_RUNNING, "ok", "running"},
    {"running", 0, VIEW_JOB_RUNNING, "nospace", "running"},
    {"running", 0, VIEW_JOB_READY, "ok", "ready"},
    {"ready", 0, VIEW_JOB_STANDBY, "ok", "ready"},
    {"ready", 0, VIEW_JOB_STANDBY, "failed", "stalled"},
    {"waiting", 0, VIEW_JOB_READY, "ok", "ready"},
    {"running", 0, VIEW_JOB_CREATED, "ok", "running"},
    {"ready", 0, VIEW_JOB_PENDING, "ok", "ready"},
    {"ready", 0, VIEW_JOB_CONCLUDED, "ok", "ready"},
    {"running", 0, VIEW_JOB_NONE, NULL, "running"},
    {"finishing", 0, VIEW_JOB_READY, "ok", "finishing"},
    {"finishing", 0, VIEW_JOB_STANDBY, "nospace", "stalled"},
    {"stalled", JOB_STALLED, VIEW_JOB_STANDBY, "ok", "stalled"}, /* `cont` sets it back */
    {"waiting", JOB_STALLED, VIEW_JOB_PAUSED, "ok", "stalled"},
    {"stalled", JOB_STALLED, VIEW_JOB_READY, "ok", "ready"},
    {"running", JOB_UNDOING, VIEW_JOB_READY, "ok", "running"},
};

START_TEST(observed)
{
    const struct observe_row *row = &observe_rows[_i];
    struct scene s;
    struct job *job;
    struct view_job *seen;

    scene_init(&s, COMMIT, &namings[0], 1);
    job = s.jobs[0];
    xstrset(&job->record.state, row->before);
    xstrset(&job->record.step, "converge");
    job->record.flags = row->flags;
    scene_status(&s, 0, row->status);
    seen = view_job(s.domain->view, s.name[0]);
    if (seen) {
        xstrset(&seen->io_status, row->io_status);
        seen->current = 5;
        seen->total = 9;
    }
    job->plan->observe(job, s.domain->view);
    ck_assert_str_eq(job->record.state, row->after);
    if (seen && !(row->flags & JOB_UNDOING) && strcmp(row->before, "finishing") != 0) {
        ck_assert_int_eq(job->record.current, 5);
        ck_assert_int_eq(job->record.total, 9);
    } else {
        ck_assert_int_eq(job->record.total, -1);
    }
    ck_assert_int_eq(job_has(job, JOB_READY_SENT),
                     strcmp(row->after, "ready") == 0 && strcmp(row->before, "ready") != 0);
    stage_settle(&s.stage);
    scene_deinit(&s);
}
END_TEST

static TCase *table_case(void)
{
    TCase *tcase = tcase_create("tables");

    tcase_add_loop_test(tcase, steps_are_found_by_their_names, 0, N(all_plans));
    tcase_add_loop_test(tcase, plans_are_sound, 0, N(all_plans));
    tcase_add_test(tcase, unknown_steps);
    tcase_add_loop_test(tcase, observed, 0, N(observe_rows));
    return tcase;
}

int main(void)
{
    static TCase *(*const cases[])(void) = {table_case};

    return stage_main("plans", cases, N(cases));
}
