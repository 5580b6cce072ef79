/* What a pivot made worthless is removed, unless anybody uses it. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "domain/disk.h"
#include "domain/snapshot.h"
#include "proto/snapvm-errors.h"
#include "qemu/image.h"
#include "tests/unit/files-scene.h"

/* The overlay of disk vda, merged; the other disk takes no part. */
static void merged(void)
{
    make_overlay(scene.over[0], scene.base[0], scene.base[0], SIZE);
    put_data(scene.over[0]);
    scene.job->record.n_images = 2;
    for (int i = 2; i < 4; i++)
        record_image_deinit(&scene.job->record.images[i]);
}

START_TEST(worthless_layers_are_removed)
{
    struct record_image *image;
    _cleanup_free_ char *between = at("between");

    merged();
    stage_write(between, "data");
    stage_image(scene.job, "vda", "intermediate", between, "between");
    ck_assert_int_eq(clear(), 0);
    ck_assert(!is_there(scene.over[0]));
    ck_assert(!is_there(between));
    ck_assert(is_there(scene.base[0]));
    image = job_image(scene.job, NULL, "intermediate");
    ck_assert_str_eq(image->state, "removed");
    ck_assert_str_eq(overlay(0)->state, "removed");
    ck_assert_ptr_null(job_image(scene.job, NULL, "source")->state);
    ck_assert_int_eq(clear(), 0); /* harmless to repeat */
    ck_assert_str_eq(overlay(0)->state, "removed");
}
END_TEST

enum user {
    OWN_CHAIN,
    OTHERS_CHAIN,
    BELOW_IN_OTHERS_CHAIN,
    OWN_NODE,
    OTHERS_NODE,
    NODE_WHILE_AWAY,
    OWN_SNAPSHOT,
    OTHERS_SNAPSHOT,
    INSIDE_IT,
    BELOW_A_SNAPSHOT,
    BELOW_A_SNAPSHOT_BY_RELATIVE_NAME,
    N_USERS
};

enum way { BY_NAME, BY_HARD_LINK, BY_SYMLINK, N_WAYS };

static void stack_overlay(const char *path, const char *below, const char *backing)
{
    const struct image_new how = {.path = path,
                                  .name = path,
                                  .format = "qcow2",
                                  .like = below,
                                  .backing = backing,
                                  .backing_format = "qcow2",
                                  .size = SIZE};
    struct image_id id;

    ck_assert_int_eq(image_create(&how, &id, NULL), 0);
}

/* A layer that a snapshot froze, with the one in question two layers below it. */
static char *froze_above(const char *path, bool relative)
{
    _cleanup_free_ char *middle = at("middle");
    char *top = at("top");

    stack_overlay(middle, path, relative ? strrchr(path, '/') + 1 : path);
    stack_overlay(top, middle, relative ? "middle" : middle);
    return top;
}

static void use(enum user user, const char *path)
{
    _cleanup_free_ char *above = NULL;
    bool own = user == OWN_CHAIN || user == OWN_NODE || user == OWN_SNAPSHOT;
    struct domain *domain = own ? scene.domain : stage_domain(&scene.stage, "other");
    struct record_snapshot record = {.domain = xstrdup("other"), .name = xstrdup("s")};
    struct record_disk *disk;

    switch (user) {
    case OWN_NODE:
    case OTHERS_NODE:
    case NODE_WHILE_AWAY:
        see_node(stage_view(domain), "node", "qcow2", NULL, path);
        domain->connected = user != NODE_WHILE_AWAY;
        break;
    case INSIDE_IT:
        xstrset(&record_snapshot_add_disk(&record, "vdb")->mode, "internal");
        xstrset(&record.disks[0].file, path);
        snapshot_add(domain, &record);
        break;
    case BELOW_A_SNAPSHOT:
    case BELOW_A_SNAPSHOT_BY_RELATIVE_NAME:
        path = above = froze_above(path, user == BELOW_A_SNAPSHOT_BY_RELATIVE_NAME);
        /* fallthrough */
    case OWN_SNAPSHOT:
    case OTHERS_SNAPSHOT:
        xstrset(&record_snapshot_add_disk(&record, "vda")->backing, path);
        snapshot_add(domain, &record);
        break;
    default:
        disk = record_domain_add_disk(&domain->record, "vdz");
        if (user == BELOW_IN_OTHERS_CHAIN)
            record_disk_add_layer(disk, "/nowhere/top", "qcow2");
        record_disk_add_layer(disk, path, "qcow2");
        break;
    }
    record_snapshot_deinit(&record);
}

START_TEST(what_somebody_uses_is_kept)
{
    const enum way way = (enum way)(_i % N_WAYS);
    _cleanup_free_ char *alias = at("alias");

    merged();
    if (way == BY_HARD_LINK)
        ck_assert_int_eq(link(scene.over[0], alias), 0);
    if (way == BY_SYMLINK)
        ck_assert_int_eq(symlink(scene.over[0], alias), 0);
    use((enum user)(_i / N_WAYS), way == BY_NAME ? scene.over[0] : alias);
    ck_assert_int_eq(clear(), 0);
    ck_assert(is_there(scene.over[0]));
    ck_assert_ptr_null(overlay(0)->state);
}
END_TEST

/* The view of a QEMU that has ended holds nothing open. */
START_TEST(nodes_of_the_past_keep_nothing)
{
    merged();
    use(OTHERS_NODE, scene.over[0]);
    domains_find(scene.stage.domains, "other")->connected = false;
    domains_find(scene.stage.domains, "other")->gone = true;
    domains_find(scene.stage.domains, "other")->deserted = true;
    ck_assert_int_eq(clear(), 0);
    ck_assert(!is_there(scene.over[0]));
}
END_TEST

START_TEST(what_the_caller_prepared_is_kept)
{
    merged();
    overlay(0)->made = false;
    ck_assert_int_eq(clear(), 0);
    ck_assert(is_there(scene.over[0]));
    ck_assert_ptr_null(overlay(0)->state);
}
END_TEST

/* A layer that stays would be worth nothing without those that it reads through to. */
START_TEST(what_lies_below_a_layer_that_stays_is_kept)
{
    _cleanup_free_ char *between = at("between");

    make_overlay(between, scene.base[0], scene.base[0], SIZE);
    stack_overlay(scene.over[0], between, between);
    scene.job->record.n_images = 2;
    for (int i = 2; i < 4; i++)
        record_image_deinit(&scene.job->record.images[i]);
    stage_image(scene.job, "vda", "intermediate", between, "between");
    use(OWN_SNAPSHOT, scene.over[0]);
    ck_assert_int_eq(clear(), 0);
    ck_assert(is_there(scene.over[0]));
    ck_assert(is_there(between));
    ck_assert_ptr_null(job_image(scene.job, NULL, "intermediate")->state);
}
END_TEST

START_TEST(another_file_of_the_name_is_kept)
{
    _cleanup_free_ char *aside = at("aside"), *text = NULL;
    struct stat st;

    merged();
    ck_assert_int_eq(stat(scene.over[0], &st), 0);
    overlay(0)->dev = st.st_dev;
    overlay(0)->ino = st.st_ino;
    ck_assert_int_eq(rename(scene.over[0], aside), 0);
    stage_write(scene.over[0], "mine");
    ck_assert_int_eq(clear(), SNAPVM_ERROR_IMAGE);
    ck_assert(is_there(aside));
    text = content(scene.over[0]);
    ck_assert_str_eq(text, "mine");
    ck_assert_ptr_null(overlay(0)->state);
}
END_TEST

START_TEST(a_link_is_not_followed)
{
    _cleanup_free_ char *aside = at("aside");

    merged();
    ck_assert_int_eq(rename(scene.over[0], aside), 0);
    ck_assert_int_eq(symlink(aside, scene.over[0]), 0);
    ck_assert_int_eq(clear(), SNAPVM_ERROR_IMAGE);
    ck_assert(is_there(aside));
    ck_assert(is_there(scene.over[0]));
}
END_TEST

static TCase *worthless_case(void)
{
    TCase *tcase = files_case("worthless");

    tcase_add_test(tcase, worthless_layers_are_removed);
    tcase_add_loop_test(tcase, what_somebody_uses_is_kept, 0, N_USERS * N_WAYS);
    tcase_add_test(tcase, nodes_of_the_past_keep_nothing);
    tcase_add_test(tcase, what_the_caller_prepared_is_kept);
    tcase_add_test(tcase, what_lies_below_a_layer_that_stays_is_kept);
    tcase_add_test(tcase, another_file_of_the_name_is_kept);
    tcase_add_test(tcase, a_link_is_not_followed);
    return tcase;
}

int main(void)
{
    static TCase *(*const cases[])(void) = {worthless_case};

    return stage_main("worthless", cases, N(cases));
}
