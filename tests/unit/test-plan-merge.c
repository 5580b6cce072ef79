/* What the probes of inner commits and pulls make of what QEMU shows: the graph tells whether the
 * merged layer has left the chain, whatever became of the job. Letters as in the order of the job
 * statuses: n not yet, m moving, h holds, l lost. */
#include <string.h>

#include "base/memory.h"
#include "job/pivot.h"
#include "tests/unit/plan-scene.h"

static const struct status_row {
    const char *step;
    bool merged;
    const char *seen; /* null created running paused ready standby waiting pending aborting
                       * concluded unknown */
} status_rows[] = {
    {"start", false, "nhhhhhhhmlh"},    {"start", true, "hhhhhhhhmhh"},
    {"converge", false, "lmmmmmmhmlm"}, {"converge", true, "hmmmmmmhmhm"},
    {"flush", false, "nnnnnnnnnnn"},    {"flush", true, "hhhhhhhhhhh"},
    {"finalize", false, "lllllllnlll"}, {"finalize", true, "hhhhhhhhhhh"},
};

static void merge_graph(struct scene *s, bool merged)
{
    struct view *view = scene_view(s);

    if (!merged)
        return;
    xstrset(&view_node(view, s->naming->top[0])->backing, s->naming->base[0]);
    view_remove_node(view, s->naming->middle[0]);
}

static void check(enum kind kind, const struct naming *naming, const struct status_row *row)
{
    struct scene s;

    scene_init(&s, kind, naming, 1);
    for (int status = 0; status < N_STATUS; status++) {
        merge_graph(&s, row->merged);
        scene_status(&s, 0, (enum view_job_status)status);
        ck_assert_msg(letter(scene_probe(&s, row->step)) == row->seen[status],
                      "%s, status %s, plan %d", row->step,
                      view_job_status_name((enum view_job_status)status), kind);
    }
    scene_deinit(&s);
}

START_TEST(commits_and_pulls)
{
    for (int i = 0; i < N_NAMINGS; i++) {
        check(MERGE, &namings[i], &status_rows[_i]);
        check(PULL, &namings[i], &status_rows[_i]);
    }
}
END_TEST

/* A filter on top of the chain, or between its layers, changes nothing. */
START_TEST(below_filters)
{
    struct scene s;

    scene_init(&s, MERGE, &namings[0], 1);
    scene_root(&s, 0, s.naming->filter[0]);
    scene_status(&s, 0, VIEW_JOB_PENDING);
    ck_assert_int_eq(letter(scene_probe(&s, "finalize")), 'n');
    merge_graph(&s, true);
    scene_root(&s, 0, s.naming->filter[0]);
    ck_assert_int_eq(letter(scene_probe(&s, "finalize")), 'h');
    scene_deinit(&s);
}
END_TEST

/* A disk that QEMU does not show proves nothing. */
START_TEST(without_the_disk)
{
    struct scene s;

    scene_init(&s, MERGE, &namings[0], 1);
    merge_graph(&s, true);
    scene_root(&s, 0, NULL);
    ck_assert_int_eq(letter(scene_probe(&s, "start")), 'n');
    ck_assert_int_eq(letter(scene_probe(&s, "converge")), 'l');
    scene_deinit(&s);
}
END_TEST

static const struct tidy_row {
    enum view_job_status status;
    bool open;
    unsigned retry_ms;
    char seen;
} tidy_rows[] = {
    {VIEW_JOB_NONE, false, 0, 'h'},
    {VIEW_JOB_NONE, true, 0, 'n'},
    {VIEW_JOB_NONE, true, PIVOT_PATIENCE_MS, 'h'}, /* somebody else uses the node */
    {VIEW_JOB_CONCLUDED, false, PIVOT_PATIENCE_MS, 'n'},
};

START_TEST(tidied)
{
    const struct tidy_row *row = &tidy_rows[_i];
    struct scene s;

    scene_init(&s, PULL, &namings[0], 1);
    merge_graph(&s, true);
    if (row->open)
        scene_layer(s.domain->view, s.naming->middle[0], "qcow2", s.naming->base[0]);
    scene_status(&s, 0, row->status);
    s.jobs[0]->retry_ms = row->retry_ms;
    ck_assert_int_eq(letter(scene_probe(&s, "tidy")), row->seen);
    scene_deinit(&s);
}
END_TEST

static TCase *merge_case(void)
{
    TCase *tcase = tcase_create("merge");

    tcase_add_loop_test(tcase, commits_and_pulls, 0, N(status_rows));
    tcase_add_test(tcase, below_filters);
    tcase_add_test(tcase, without_the_disk);
    tcase_add_loop_test(tcase, tidied, 0, N(tidy_rows));
    return tcase;
}

int main(void)
{
    static TCase *(*const cases[])(void) = {merge_case};

    return stage_main("plan-merge", cases, N(cases));
}
