/* The journal as its users see it: what is stored comes back equal, events are numbered without a
 * gap for ever, what is old goes, history is answered. */
#include <check.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/worker.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "tests/unit/journal-fixture.h"
#include "tests/unit/journal-text.h"

#define DAY_US (24 * 3600 * INT64_C(1000000))

static struct journal_model load(struct fixture *f)
{
    struct journal_model model;
    struct error err = {0};

    ck_assert_msg(journal_load(f->journal, &model, &err) == 0, "%s", err.message);
    return model;
}

static void check_text(char *got, char *want)
{
    ck_assert_str_eq(got, want);
    free(got);
    free(want);
}

struct everything {
    struct record_domain domain[2];
    struct record_job job[2];
    struct record_snapshot snapshot[2];
    struct record_debt debt;
    struct record_request request;
};

static void everything_deinit(struct everything *all)
{
    for (int i = 0; i < 2; i++) {
        record_domain_deinit(&all->domain[i]);
        record_job_deinit(&all->job[i]);
        record_snapshot_deinit(&all->snapshot[i]);
    }
    record_debt_deinit(&all->debt);
    record_request_deinit(&all->request);
}

static struct everything everything_make(const char *seed)
{
    return (struct everything){
        .domain = {make_domain("db", seed), make_domain("web", seed)},
        .job = {make_job(3, "web", seed), make_job(5, "db", seed)},
        .snapshot = {make_snapshot("web", "a", seed), make_snapshot("web", "b", seed)},
        .debt = make_debt("db", seed),
        .request = make_request("r'1", seed),
    };
}

static void everything_put(struct fixture *f, const struct everything *all)
{
    struct journal_txn *txn = journal_begin(f->journal);

    for (int i = 0; i < 2; i++) {
        journal_put_domain(txn, &all->domain[i]);
        journal_put_job(txn, &all->job[i]);
    }
    for (int i = 0; i < 2; i++)
        journal_put_snapshot(txn, &all->snapshot[i]);
    journal_put_debt(txn, &all->debt);
    journal_put_request(txn, &all->request);
    ck_assert_int_eq(fixture_commit(f, txn), 0);
}

static void everything_check(struct fixture *f, const struct everything *all)
{
    struct journal_model model = load(f);

    ck_assert_uint_eq(model.n_domains, 2);
    ck_assert_uint_eq(model.n_jobs, 2);
    ck_assert_uint_eq(model.n_snapshots, 2);
    ck_assert_uint_eq(model.n_debts, 1);
    ck_assert_uint_eq(model.n_requests, 1);
    ck_assert_int_eq(model.jobs_total, 2);
    for (int i = 0; i < 2; i++) {
        check_text(text_of_domain(&model.domains[i]), text_of_domain(&all->domain[i]));
        check_text(text_of_job(&model.jobs[i]), text_of_job(&all->job[i]));
        check_text(text_of_snapshot(&model.snapshots[i]), text_of_snapshot(&all->snapshot[i]));
    }
    check_text(text_of_debt(&model.debts[0]), text_of_debt(&all->debt));
    check_text(text_of_request(&model.requests[0]), text_of_request(&all->request));
    journal_model_deinit(&model);
}

static char *long_text(void)
{
    char *text = xzalloc(300001);

    memset(text, 'x', 300000);
    return text;
}

/* Every text replaced over what stood there before, and read back after a restart. */
START_TEST(everything_comes_back)
{
    _cleanup_free_ char *large = long_text();
    const char *const seeds[] = {
        "plain ",
        NULL,
        "",
        "'; DROP TABLE job; -- ?1 \"%s\" \n\t\x01",
        "\xff\xc0 no UTF-8",
        "\xf0\x9f\x92\xbe",
        large,
        NULL,
    };
    struct fixture f;

    fixture_init(&f);
    fixture_open(&f);
    for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
        struct everything all = everything_make(seeds[i]);

        everything_put(&f, &all);
        everything_check(&f, &all);
        fixture_close(&f);
        fixture_open(&f);
        everything_check(&f, &all);
        everything_deinit(&all);
    }
    fixture_deinit(&f);
}
END_TEST

/* Lists are stored row by row, and only the rows that differ: each way in which one may change. */
START_TEST(lists_change)
{
    struct everything all = everything_make("seed ");
    struct record_disk *disk = &all.domain[0].disks[2], swapped;
    struct record_layer *layer;
    struct fixture f;

    fixture_init(&f);
    fixture_open(&f);
    everything_put(&f, &all);

    record_disk_drop_layers(disk, 0, 2);
    everything_put(&f, &all);
    everything_check(&f, &all);

    layer = record_disk_add_layer(disk, "/base", "raw");
    layer->virtual_size = 1;
    record_job_add_image(&all.job[1], "vdx", "target", "/new");
    record_snapshot_add_disk(&all.snapshot[0], "vdx");
    everything_put(&f, &all);
    everything_check(&f, &all);

    swapped = all.domain[0].disks[0];
    all.domain[0].disks[0] = all.domain[0].disks[2];
    all.domain[0].disks[2] = swapped;
    record_image_deinit(&all.job[1].images[--all.job[1].n_images]);
    everything_put(&f, &all);
    everything_check(&f, &all);

    record_disk_deinit(&all.domain[0].disks[--all.domain[0].n_disks]);
    record_disk_drop_layers(&all.domain[0].disks[0], 0, 100);
    everything_put(&f, &all);
    everything_check(&f, &all);
    everything_deinit(&all);
    fixture_deinit(&f);
}
END_TEST

START_TEST(things_are_dropped)
{
    struct everything all = everything_make("seed ");
    struct journal_model model;
    struct journal_txn *txn;
    struct fixture f;

    fixture_init(&f);
    fixture_open(&f);
    everything_put(&f, &all);

    txn = journal_begin(f.journal);
    journal_drop_snapshot(txn, "web", "a");
    journal_set_current(txn, "web", "b");
    journal_set_current(txn, "db", NULL);
    journal_drop_job(txn, 3);
    ck_assert_int_eq(fixture_commit(&f, txn), 0);
    model = load(&f);
    ck_assert_uint_eq(model.n_snapshots, 1);
    ck_assert_str_eq(model.snapshots[0].name, "b");
    ck_assert_uint_eq(model.snapshots[0].n_disks, 2);
    ck_assert_str_eq(model.domains[1].current_snapshot, "b");
    ck_assert_ptr_null(model.domains[0].current_snapshot);
    ck_assert_uint_eq(model.n_jobs, 1);
    ck_assert_int_eq(model.jobs[0].id, 5);
    journal_model_deinit(&model);

    txn = journal_begin(f.journal);
    journal_drop_domain(txn, "web");
    journal_drop_debt(txn, "db");
    ck_assert_int_eq(fixture_commit(&f, txn), 0);
    model = load(&f);
    ck_assert_uint_eq(model.n_domains, 1);
    ck_assert_uint_eq(model.n_snapshots, 0);
    ck_assert_uint_eq(model.n_debts, 0);
    ck_assert_uint_eq(model.n_jobs, 1);
    journal_model_deinit(&model);
    everything_deinit(&all);
    fixture_deinit(&f);
}
END_TEST

/* A job in the store that ended `ago` before now. */
static void put_ended_job(struct journal_txn *txn, int64_t id, const char *domain, int64_t ago)
{
    struct record_job job = fixture_job(id);

    xstrset(&job.domain, domain);
    job.ended = clock_now() - ago;
    record_job_add_image(&job, "vda", "top", "/top");
    journal_put_job(txn, &job);
    record_job_deinit(&job);
}

START_TEST(job_numbers_are_never_given_twice)
{
    struct journal_txn *txn;
    struct fixture f;
    int64_t id = 0;

    fixture_init(&f);
    for (int i = 0; i < 3; i++) {
        fixture_open(&f);
        ck_assert_int_eq(journal_next_job(f.journal), id + 1);
        id = journal_next_job(f.journal);
        txn = journal_begin(f.journal);
        put_ended_job(txn, id, "web", 0);
        ck_assert_int_eq(fixture_commit(&f, txn), 0);
        txn = journal_begin(f.journal);
        journal_drop_job(txn, id);
        ck_assert_int_eq(fixture_commit(&f, txn), 0);
        fixture_close(&f);
    }
    fixture_deinit(&f);
}
END_TEST

static void add_events(struct fixture *f, unsigned n, bool prune)
{
    struct journal_txn *txn = journal_begin(f->journal);

    for (unsigned i = 0; i < n; i++)
        journal_add_event(txn, "job.created", i ? "web" : NULL, i ? NULL : "{\"job\":{}}");
    if (prune)
        journal_prune(txn);
    ck_assert_int_eq(fixture_commit(f, txn), 0);
}

static void check_range(struct fixture *f, int64_t first, int64_t last)
{
    ck_assert_int_eq(journal_first_seq(f->journal), first);
    ck_assert_int_eq(journal_last_seq(f->journal), last);
}

START_TEST(events_are_numbered_for_ever)
{
    struct fixture f;

    fixture_init(&f);
    f.options.events = 3;
    fixture_open(&f);
    check_range(&f, 1, 0);
    add_events(&f, 5, false);
    check_range(&f, 1, 5);
    add_events(&f, 2, true);
    check_range(&f, 5, 7);
    fixture_close(&f);
    /* Even when none is kept the numbers go on, also over a restart. */
    f.options.events = 0;
    fixture_open(&f);
    check_range(&f, 5, 7);
    add_events(&f, 1, true);
    check_range(&f, 9, 8);
    fixture_close(&f);
    fixture_open(&f);
    check_range(&f, 9, 8);
    add_events(&f, 1, false);
    check_range(&f, 9, 9);
    ck_assert_uint_eq(f.n_seqs, 9);
    for (unsigned i = 0; i < f.n_seqs; i++)
        ck_assert_int_eq(f.seqs[i], i + 1);
    fixture_deinit(&f);
}
END_TEST

START_TEST(old_things_are_pruned)
{
    struct journal_model model;
    struct journal_txn *txn;
    struct record_job active;
    struct record_request request[2];
    struct fixture f;

    fixture_init(&f);
    fixture_open(&f);
    active = fixture_job(1);
    request[0] = make_request("old", "x");
    request[0].time = clock_now() - DAY_US - 60 * INT64_C(1000000);
    request[1] = make_request("young", "x");
    request[1].time = clock_now() - DAY_US + 60 * INT64_C(1000000);
    txn = journal_begin(f.journal);
    journal_put_job(txn, &active); /* as old as can be, but not ended */
    put_ended_job(txn, 2, "web", 31 * DAY_US);
    put_ended_job(txn, 3, "web", 29 * DAY_US);
    journal_put_request(txn, &request[0]);
    journal_put_request(txn, &request[1]);
    ck_assert_int_eq(fixture_commit(&f, txn), 0);
    add_events(&f, 0, true);

    model = load(&f);
    ck_assert_int_eq(model.jobs_total, 2);
    ck_assert_uint_eq(model.n_jobs, 1);
    ck_assert_uint_eq(model.n_requests, 1);
    ck_assert_str_eq(model.requests[0].id, "young");
    journal_model_deinit(&model);
    record_job_deinit(&active);
    record_request_deinit(&request[0]);
    record_request_deinit(&request[1]);
    fixture_deinit(&f);
}
END_TEST

/* What history answered, as text: ids or numbers, separated by spaces. */
struct answer {
    struct fixture *fixture;
    char text[256];
    int code;
    bool told;
};

static void answer_add(struct answer *answer, int64_t number)
{
    size_t used = strlen(answer->text);

    snprintf(answer->text + used, sizeof(answer->text) - used, "%s%d", used ? " " : "",
             (int)number);
}

static void answer_jobs(void *arg, const struct record_job *jobs, unsigned n,
                        const struct error *err)
{
    struct answer *answer = arg;

    answer->told = true;
    answer->code = err ? err->code : 0;
    for (unsigned i = 0; i < n; i++) {
        answer_add(answer, jobs[i].id);
        ck_assert_uint_eq(jobs[i].n_images, jobs[i].ended ? 1 : 0);
    }
}

static void answer_events(void *arg, const struct journal_event *events, unsigned n,
                          const struct error *err)
{
    struct answer *answer = arg;

    answer->told = true;
    answer->code = err ? err->code : 0;
    for (unsigned i = 0; i < n; i++) {
        answer_add(answer, events[i].seq);
        ck_assert_str_eq(events[i].kind, "job.created");
        ck_assert(events[i].time > 0);
        ck_assert_int_eq(events[i].domain == NULL, events[i].body != NULL);
    }
}

static void check_answer(struct answer *answer, const char *want)
{
    while (!answer->told)
        event_base_loop(answer->fixture->base, EVLOOP_ONCE);
    ck_assert_int_eq(answer->code, 0);
    ck_assert_str_eq(answer->text, want);
    *answer = (struct answer){.fixture = answer->fixture};
}

START_TEST(history_is_answered)
{
    struct fixture f;
    struct answer answer = {.fixture = &f};
    struct journal_txn *txn;
    struct record_job active;

    fixture_init(&f);
    fixture_open(&f);
    active = fixture_job(3);
    txn = journal_begin(f.journal);
    for (int64_t id = 1; id <= 6; id++)
        if (id != active.id)
            put_ended_job(txn, id, id % 2 ? "web" : "db", 0);
    journal_put_job(txn, &active);
    ck_assert_int_eq(fixture_commit(&f, txn), 0);
    add_events(&f, 5, false);

    journal_query_jobs(f.journal, NULL, 0, 100, answer_jobs, &answer);
    check_answer(&answer, "1 2 4 5 6");
    journal_query_jobs(f.journal, NULL, 1, 3, answer_jobs, &answer);
    check_answer(&answer, "2 4 5");
    journal_query_jobs(f.journal, "db", 2, 100, answer_jobs, &answer);
    check_answer(&answer, "4 6");
    journal_query_jobs(f.journal, "none' OR 1", 0, 100, answer_jobs, &answer);
    check_answer(&answer, "");
    journal_query_job(f.journal, 3, answer_jobs, &answer);
    check_answer(&answer, "3");
    journal_query_job(f.journal, 7, answer_jobs, &answer);
    check_answer(&answer, "");
    journal_query_events(f.journal, 0, 100, 100, answer_events, &answer);
    check_answer(&answer, "1 2 3 4 5");
    journal_query_events(f.journal, 1, 4, 2, answer_events, &answer);
    check_answer(&answer, "2 3");
    journal_query_events(f.journal, 3, 4, 100, answer_events, &answer);
    check_answer(&answer, "4");
    record_job_deinit(&active);
    fixture_deinit(&f);
}
END_TEST

/* The same queries see what was committed since. */
START_TEST(history_follows_the_writer)
{
    struct fixture f;
    struct answer answer = {.fixture = &f};

    fixture_init(&f);
    fixture_open(&f);
    add_events(&f, 1, false);
    journal_query_events(f.journal, 0, 9, 9, answer_events, &answer);
    check_answer(&answer, "1");
    add_events(&f, 1, false);
    journal_query_events(f.journal, 0, 9, 9, answer_events, &answer);
    check_answer(&answer, "1 2");
    fixture_deinit(&f);
}
END_TEST

static void last_run(void *arg _unused_)
{
}

static void last_done(void *arg)
{
    *(bool *)arg = true;
}

START_TEST(history_outlived_by_the_worker)
{
    struct fixture f;
    struct answer answer = {.fixture = &f};
    bool last = false;

    fixture_init(&f);
    fixture_open(&f);
    add_events(&f, 1, false);
    for (int i = 0; i < 10; i++)
        journal_query_events(f.journal, 0, 9, 9, answer_events, &answer);
    worker_run(f.worker, last_run, last_done, NULL, &last);
    fixture_close(&f);
    while (!last)
        event_base_loop(f.base, EVLOOP_ONCE);
    ck_assert(!answer.told);
    /* And the other way round: queries that the worker drops. */
    fixture_open(&f);
    for (int i = 0; i < 10; i++)
        journal_query_events(f.journal, 0, 9, 9, answer_events, &answer);
    fixture_deinit(&f);
    ck_assert(!answer.told);
}
END_TEST

START_TEST(instance_belongs_to_the_database)
{
    struct fixture f, other;
    _cleanup_free_ char *instance = NULL;

    fixture_init(&f);
    fixture_init(&other);
    fixture_open(&f);
    fixture_open(&other);
    instance = xstrdup(journal_instance(f.journal));
    ck_assert_uint_eq(strlen(instance), 32);
    ck_assert_str_ne(instance, journal_instance(other.journal));
    fixture_close(&f);
    fixture_open(&f);
    ck_assert_str_eq(instance, journal_instance(f.journal));
    fixture_deinit(&f);
    fixture_deinit(&other);
}
END_TEST

static TCase *cases(void)
{
    TCase *tcase = tcase_create("journal");

    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, everything_comes_back);
    tcase_add_test(tcase, lists_change);
    tcase_add_test(tcase, things_are_dropped);
    tcase_add_test(tcase, job_numbers_are_never_given_twice);
    tcase_add_test(tcase, events_are_numbered_for_ever);
    tcase_add_test(tcase, old_things_are_pruned);
    tcase_add_test(tcase, history_is_answered);
    tcase_add_test(tcase, history_follows_the_writer);
    tcase_add_test(tcase, history_outlived_by_the_worker);
    tcase_add_test(tcase, instance_belongs_to_the_database);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("journal");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, cases());
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
