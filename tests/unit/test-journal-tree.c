/* Snapshot trees in the journal: children move, and descriptions live as long as their snapshots.
 */
#include <check.h>
#include <event2/event.h>
#include <stdlib.h>

#include "base/memory.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "tests/unit/journal-fixture.h"
#include "tests/unit/journal-text.h"

/* web: a - b */
static void put_tree(struct journal_txn *txn)
{
    struct record_domain domain = make_domain("web", "seed ");
    struct record_snapshot a = make_snapshot("web", "a", "seed "),
                           b = make_snapshot("web", "b", "seed ");

    xstrset(&a.parent, NULL);
    xstrset(&b.parent, "a");
    journal_put_domain(txn, &domain);
    journal_put_snapshot(txn, &a);
    journal_put_snapshot(txn, &b);
    record_domain_deinit(&domain);
    record_snapshot_deinit(&a);
    record_snapshot_deinit(&b);
}

static void answer_documents(void *arg, const struct journal_document *documents, unsigned n,
                             const struct error *err)
{
    char **text = arg, *longer;

    ck_assert_ptr_null(err);
    *text = xstrdup("");
    for (unsigned i = 0; i < n; i++) {
        longer = xasprintf("%s%s=%s;", *text, documents[i].snapshot, documents[i].xml);
        free(*text);
        *text = longer;
    }
}

static void check_documents(struct fixture *f, const char *snapshot, const char *want)
{
    _cleanup_free_ char *text = NULL;

    journal_query_documents(f->journal, "web", snapshot, answer_documents, &text);
    while (!text)
        event_base_loop(f->base, EVLOOP_ONCE);
    ck_assert_str_eq(text, want);
}

START_TEST(trees_change)
{
    struct journal_model model;
    struct journal_txn *txn;
    struct fixture f;

    fixture_init(&f);
    fixture_open(&f);
    txn = journal_begin(f.journal);
    put_tree(txn);
    journal_put_document(txn, "web", "a", "<a/>");
    journal_put_document(txn, "web", "b", "<b/>");
    journal_put_document(txn, "web", "b", "<c/>");
    ck_assert_int_eq(fixture_commit(&f, txn), 0);
    check_documents(&f, NULL, "a=<a/>;b=<c/>;");
    check_documents(&f, "b", "b=<c/>;");
    check_documents(&f, "c", "");

    txn = journal_begin(f.journal);
    journal_move_children(txn, "web", "a", "elsewhere");
    journal_move_children(txn, "db", "elsewhere", NULL);
    journal_drop_snapshot(txn, "web", "a");
    ck_assert_int_eq(fixture_commit(&f, txn), 0);
    ck_assert_int_eq(journal_load(f.journal, &model, NULL), 0);
    ck_assert_uint_eq(model.n_snapshots, 1);
    ck_assert_str_eq(model.snapshots[0].parent, "elsewhere");
    journal_model_deinit(&model);
    /* A description goes with its snapshot. */
    check_documents(&f, NULL, "b=<c/>;");

    /* And stands for none that is not there. */
    txn = journal_begin(f.journal);
    journal_put_document(txn, "web", "a", "<a/>");
    ck_assert_int_eq(fixture_commit(&f, txn), SNAPVM_ERROR_INTERNAL);
    fixture_deinit(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("journal-tree");
    TCase *tcase = tcase_create("tree");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, trees_change);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
