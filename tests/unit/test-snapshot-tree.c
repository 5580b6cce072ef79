/* The tree of snapshots, and which names one may have. */
#include "domain/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "proto/snapvm-errors.h"
#include "tests/unit/domain-fixture.h"

#define N(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

static const struct name_row {
    const char *name;
    bool valid;
} name_rows[] = {
    {"a", true},
    {"before-upgrade 1", true},
    {"20261121T013000Z", true},
    {"a.b", true},
    {"vor dem \303\234bergang", true},
    {"\346\227\245\346\234\254", true},
    {"\360\237\220\247", true},
    {"\302\240", true}, /* the first behind the C1 control characters */
    {"", false},
    {".", false},
    {"..", false},
    {".hidden", false},
    {"a/b", false},
    {"/", false},
    {"a\nb", false},
    {"\t", false},
    {"a\033[2J", false},
    {"a\177", false},
    {"a\302\200", false},
    {"\302\205", false},
    {"a\302\237b", false},
};

START_TEST(names)
{
    ck_assert_int_eq(snapshot_valid_name(name_rows[_i].name), name_rows[_i].valid);
}
END_TEST

START_TEST(names_are_255_bytes_long)
{
    char name[258];

    memset(name, 'x', sizeof(name));
    name[256] = '\0';
    ck_assert(!snapshot_valid_name(name));
    name[255] = '\0';
    ck_assert(snapshot_valid_name(name));
    /* Bytes, not characters. */
    for (int i = 0; i < 256; i += 2)
        memcpy(name + i, "\303\234", 2);
    name[256] = '\0';
    ck_assert(!snapshot_valid_name(name));
    name[254] = '\0';
    ck_assert(snapshot_valid_name(name));
}
END_TEST

static struct snapshot *plant(struct domain *domain, const char *name, const char *parent)
{
    struct record_snapshot record = {.domain = xstrdup(domain->record.name),
                                     .name = xstrdup(name),
                                     .parent = xstrdup(parent),
                                     .created = snapshot_count(domain) + 1,
                                     .memory = xstrdup("no")};
    struct snapshot *snapshot = snapshot_add(domain, &record);

    ck_assert_ptr_null(record.name); /* taken over */
    return snapshot;
}

/* root - a - a1, root - b; and other, without a parent. */
static struct domain *tree(struct stage *stage)
{
    struct domain *domain = stage_domain(stage, "web");

    plant(domain, "root", NULL);
    plant(domain, "a", "root");
    plant(domain, "a1", "a");
    plant(domain, "b", "root");
    plant(domain, "other", NULL);
    return domain;
}

START_TEST(snapshots_are_found)
{
    struct stage stage;
    struct domain *domain;
    _cleanup_error_ struct error err = {0};

    stage_init(&stage);
    domain = tree(&stage);
    ck_assert_str_eq(snapshot_find(domain, "a1")->record.parent, "a");
    ck_assert_ptr_null(snapshot_find(domain, "nothing"));
    ck_assert_ptr_null(snapshot_find(domain, NULL));
    ck_assert_ptr_eq(snapshot_need(domain, "b", &err), snapshot_find(domain, "b"));
    ck_assert_int_eq(err.code, 0);
    ck_assert_ptr_null(snapshot_need(domain, "nothing", &err));
    ck_assert_int_eq(err.code, SNAPVM_ERROR_NOT_FOUND);
    ck_assert_str_eq(error_get(&err, "object"), "snapshot");
    ck_assert_str_eq(error_get(&err, "name"), "nothing");
    stage_deinit(&stage);
}
END_TEST

START_TEST(counts)
{
    struct stage stage;
    struct domain *domain;

    stage_init(&stage);
    domain = tree(&stage);
    ck_assert_uint_eq(snapshot_count(domain), 5);
    ck_assert_uint_eq(snapshot_children(domain, "root"), 2);
    ck_assert_uint_eq(snapshot_children(domain, "a"), 1);
    ck_assert_uint_eq(snapshot_children(domain, "a1"), 0);
    ck_assert_uint_eq(snapshot_children(domain, "nothing"), 0);
    ck_assert_ptr_null(snapshot_remove(domain, snapshot_find(domain, "a1")));
    ck_assert_uint_eq(snapshot_count(domain), 4);
    ck_assert_uint_eq(snapshot_children(domain, "a"), 0);
    stage_deinit(&stage);
}
END_TEST

START_TEST(the_current_one)
{
    struct stage stage;
    struct domain *domain;

    stage_init(&stage);
    domain = tree(&stage);
    ck_assert(!snapshot_is_current(domain, snapshot_find(domain, "a")));
    xstrset(&domain->record.current_snapshot, "a");
    ck_assert(snapshot_is_current(domain, snapshot_find(domain, "a")));
    ck_assert(!snapshot_is_current(domain, snapshot_find(domain, "a1")));
    stage_deinit(&stage);
}
END_TEST

static const struct descent_row {
    const char *snapshot, *ancestor;
    bool descends;
} descent_rows[] = {
    {"a1", "root", true}, {"a1", "a", true},        {"a1", "a1", true},       {"root", "a1", false},
    {"b", "a", false},    {"other", "root", false}, {"a1", "nothing", false},
};

START_TEST(descent)
{
    const struct descent_row *row = &descent_rows[_i];
    struct stage stage;
    struct domain *domain;

    stage_init(&stage);
    domain = tree(&stage);
    ck_assert_int_eq(snapshot_descends(domain, snapshot_find(domain, row->snapshot), row->ancestor),
                     row->descends);
    stage_deinit(&stage);
}
END_TEST

/* The names in the order of a walk, with a blank behind each. */
static char *walk(const struct domain *domain, const char *top)
{
    struct snapshot *above = snapshot_find(domain, top), *at = above;
    char *seen = xstrdup(""), *longer;

    while ((at = snapshot_next(domain, above, at))) {
        longer = xasprintf("%s%s ", seen, at->record.name);
        free(seen);
        seen = longer;
    }
    return seen;
}

static void check_walk(const struct domain *domain, const char *top, const char *want)
{
    _cleanup_free_ char *seen = walk(domain, top);

    ck_assert_str_eq(seen, want);
}

START_TEST(walks)
{
    struct stage stage;
    struct domain *domain;

    stage_init(&stage);
    domain = tree(&stage);
    plant(domain, "a2", "a");
    check_walk(domain, NULL, "root a a1 a2 b other ");
    check_walk(domain, "root", "a a1 a2 b ");
    check_walk(domain, "a", "a1 a2 ");
    check_walk(domain, "b", "");
    check_walk(domain, "other", "");
    snapshot_remove(domain, snapshot_find(domain, "a"));
    check_walk(domain, NULL, "root a1 b a2 other ");
    ck_assert_str_eq(snapshot_find(domain, "a1")->record.parent, "root");
    snapshot_remove(domain, snapshot_find(domain, "root"));
    check_walk(domain, NULL, "a1 b other a2 ");
    ck_assert_ptr_null(snapshot_find(domain, "b")->record.parent);
    stage_deinit(&stage);
}
END_TEST

/* As the journal's rows come: by their time, which says nothing of parents. */
START_TEST(children_may_come_first)
{
    struct stage stage;
    struct domain *domain;

    stage_init(&stage);
    domain = stage_domain(&stage, "web");
    plant(domain, "a1", "a");
    plant(domain, "a", "root");
    plant(domain, "lost", "nobody");
    plant(domain, "root", NULL);
    snapshots_link(domain);
    check_walk(domain, NULL, "lost root a a1 ");
    ck_assert_uint_eq(snapshot_children(domain, "root"), 1);
    snapshots_link(domain);
    ck_assert_uint_eq(snapshot_children(domain, "root"), 1);
    stage_deinit(&stage);
}
END_TEST

/* A journal never holds one; a walk ends all the same, and each is reached. */
START_TEST(circles_are_cut)
{
    struct stage stage;
    struct domain *domain;

    stage_init(&stage);
    domain = stage_domain(&stage, "web");
    plant(domain, "a", "c");
    plant(domain, "b", "a");
    plant(domain, "c", "b");
    plant(domain, "self", "self");
    snapshots_link(domain);
    check_walk(domain, NULL, "a b c self ");
    ck_assert(snapshot_descends(domain, snapshot_find(domain, "c"), "a"));
    ck_assert(!snapshot_descends(domain, snapshot_find(domain, "a"), "c"));
    stage_deinit(&stage);
}
END_TEST

static const struct location_row {
    const char *memory, *first, *second, *location;
} location_rows[] = {
    {"no", "external", "external", "external"}, {"no", "external", "no", "external"},
    {"no", "manual", "no", "external"},         {"no", "internal", "internal", "internal"},
    {"no", "internal", "no", "internal"},       {"no", "internal", "external", "mixed"},
    {"no", "manual", "internal", "mixed"},      {"external", "external", "no", "external"},
    {"external", "no", "no", "external"},       {"external", "internal", "no", "mixed"},
    {"internal", "internal", "no", "internal"}, {"internal", "external", "no", "mixed"},
    {NULL, "internal", "no", "internal"},
};

START_TEST(locations)
{
    const struct location_row *row = &location_rows[_i];
    struct stage stage;
    struct snapshot *snapshot;

    stage_init(&stage);
    snapshot = plant(stage_domain(&stage, "web"), "s", NULL);
    xstrset(&snapshot->record.memory, row->memory);
    xstrset(&record_snapshot_add_disk(&snapshot->record, "vda")->mode, row->first);
    xstrset(&record_snapshot_add_disk(&snapshot->record, "vdb")->mode, row->second);
    ck_assert_str_eq(snapshot_location(snapshot), row->location);
    stage_deinit(&stage);
}
END_TEST

static TCase *tree_case(void)
{
    TCase *tcase = tcase_create("tree");

    tcase_add_loop_test(tcase, names, 0, N(name_rows));
    tcase_add_test(tcase, names_are_255_bytes_long);
    tcase_add_test(tcase, snapshots_are_found);
    tcase_add_test(tcase, counts);
    tcase_add_test(tcase, the_current_one);
    tcase_add_loop_test(tcase, descent, 0, N(descent_rows));
    tcase_add_test(tcase, walks);
    tcase_add_test(tcase, children_may_come_first);
    tcase_add_test(tcase, circles_are_cut);
    tcase_add_loop_test(tcase, locations, 0, N(location_rows));
    return tcase;
}

int main(void)
{
    static TCase *(*const cases[])(void) = {tree_case};

    return stage_main("snapshot-tree", cases, N(cases));
}
