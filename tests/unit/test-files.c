/* Image files of a job, made on the worker and taken back: what is not ours is neither written nor
 * removed. */
#include "job/files.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "proto/snapvm-errors.h"
#include "qemu/image.h"
#include "tests/unit/files-scene.h"

/* --- making --- */

START_TEST(overlays_are_made)
{
    struct stat st, below;

    ck_assert_int_eq(chmod(scene.base[0], 0640), 0);
    ck_assert_int_eq(create(), 0);
    for (int i = 0; i < 2; i++) {
        struct image_info info = {0};

        ck_assert_int_eq(image_read(scene.over[i], "qcow2", &info, NULL), 0);
        ck_assert_str_eq(info.backing, scene.base[i]);
        ck_assert_str_eq(info.backing_format, "raw");
        ck_assert_int_eq(info.virtual_size, SIZE);
        image_info_deinit(&info);
        ck_assert_int_eq(stat(scene.over[i], &st), 0);
        ck_assert_int_eq(stat(scene.base[i], &below), 0);
        ck_assert_uint_eq(st.st_mode & 0666, below.st_mode & 0666);
        ck_assert_uint_eq(overlay(i)->dev, st.st_dev);
        ck_assert_uint_eq(overlay(i)->ino, st.st_ino);
        ck_assert(overlay(i)->made);
        ck_assert_ptr_null(overlay(i)->state);
    }
    ck_assert(is_dry());
    ck_assert_int_eq(take_back(), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert(!is_there(scene.over[i]));
        ck_assert_str_eq(overlay(i)->state, "removed");
        ck_assert(is_there(scene.base[i]));
    }
    ck_assert_int_eq(take_back(), 0); /* harmless to repeat */
}
END_TEST

/* What somebody put under the name of an overlay before it was made. */
enum found { EMPTY_FILE, TEXT_FILE, EMPTY_OVERLAY, DANGLING_LINK, N_FOUND };

static void put(enum found found, const char *path, const char *base)
{
    switch (found) {
    case EMPTY_FILE:
        stage_write(path, "");
        break;
    case TEXT_FILE:
        stage_write(path, "mine");
        break;
    case EMPTY_OVERLAY:
        make_overlay(path, base, base, SIZE);
        break;
    default:
        ck_assert_int_eq(symlink("nowhere", path), 0);
        break;
    }
}

START_TEST(what_is_there_is_left_alone)
{
    struct stat before, after;

    put((enum found)_i, scene.over[1], scene.base[1]);
    ck_assert_int_eq(lstat(scene.over[1], &before), 0);
    ck_assert_int_eq(create(), SNAPVM_ERROR_ALREADY_EXISTS);
    ck_assert_str_eq(error_get(&scene.err, "object"), "image");
    ck_assert_str_eq(error_get(&scene.err, "name"), scene.over[1]);
    ck_assert(is_there(scene.over[0]));
    ck_assert_int_eq(take_back(), 0);
    ck_assert(!is_there(scene.over[0]));
    ck_assert_str_eq(overlay(0)->state, "removed");
    ck_assert_int_eq(lstat(scene.over[1], &after), 0);
    ck_assert_uint_eq(after.st_ino, before.st_ino);
    ck_assert_int_eq(after.st_size, before.st_size);
    ck_assert_int_eq(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    ck_assert_msg(!overlay(1)->state || strcmp(overlay(1)->state, "removed") != 0, "it is there");
}
END_TEST

/* The first error ends the making: what comes behind it was not even tried. */
START_TEST(what_was_not_tried_is_left_alone)
{
    put(TEXT_FILE, scene.over[0], scene.base[0]);
    put((enum found)_i, scene.over[1], scene.base[1]);
    ck_assert_int_eq(create(), SNAPVM_ERROR_ALREADY_EXISTS);
    ck_assert_int_eq(take_back(), 0);
    ck_assert(is_there(scene.over[0]));
    ck_assert(is_there(scene.over[1]));
}
END_TEST

START_TEST(what_was_never_made_is_told_as_removed)
{
    put(TEXT_FILE, scene.over[0], scene.base[0]);
    ck_assert_int_eq(create(), SNAPVM_ERROR_ALREADY_EXISTS);
    ck_assert_int_eq(take_back(), 0);
    ck_assert(!is_there(scene.over[1]));
    ck_assert_str_eq(overlay(1)->state, "removed");
}
END_TEST

START_TEST(no_layer_below)
{
    ck_assert_int_eq(unlink(scene.base[1]), 0);
    ck_assert_int_eq(create(), SNAPVM_ERROR_IMAGE);
    ck_assert_int_eq(take_back(), 0);
    ck_assert(!is_there(scene.over[0]));
    ck_assert(!is_there(scene.over[1]));
}
END_TEST

/* --- reuse --- */

enum prepared { RIGHT, BY_ANOTHER_NAME, TOO_SMALL, TOO_LARGE, OTHER_LAYER, NO_LAYER, RAW, MISSING };

static const int prepared_codes[] = {0,
                                     0,
                                     SNAPVM_ERROR_IMAGE,
                                     SNAPVM_ERROR_IMAGE,
                                     SNAPVM_ERROR_IMAGE,
                                     SNAPVM_ERROR_IMAGE,
                                     SNAPVM_ERROR_IMAGE,
                                     SNAPVM_ERROR_IMAGE};

/* An overlay whose header names no backing file: its offset and length are bytes 8 to 19. */
static void cut_backing(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    const char nothing[12] = {0};

    ck_assert_int_eq(pwrite(fd, nothing, sizeof(nothing), 8), sizeof(nothing));
    close(fd);
}

static void prepare(enum prepared prepared)
{
    _cleanup_free_ char *link_path = at("link");

    switch (prepared) {
    case BY_ANOTHER_NAME:
        ck_assert_int_eq(symlink(scene.base[0], link_path), 0);
        make_overlay(scene.over[0], scene.base[0], link_path, SIZE);
        break;
    case TOO_SMALL:
        make_overlay(scene.over[0], scene.base[0], scene.base[0], SIZE - 512);
        break;
    case TOO_LARGE:
        make_overlay(scene.over[0], scene.base[0], scene.base[0], SIZE + 512);
        break;
    case OTHER_LAYER:
        make_overlay(scene.over[0], scene.base[0], scene.base[1], SIZE);
        break;
    case RAW:
        stage_write(scene.over[0], "no qcow2");
        break;
    case MISSING:
        break;
    default:
        make_overlay(scene.over[0], scene.base[0], scene.base[0], SIZE);
        if (prepared == NO_LAYER)
            cut_backing(scene.over[0]);
        break;
    }
}

START_TEST(prepared_overlays_are_checked)
{
    overlay(0)->made = false;
    prepare((enum prepared)_i);
    ck_assert_msg(create() == prepared_codes[_i], "%s", scene.err.message);
    if (prepared_codes[_i]) {
        ck_assert_str_eq(error_get(&scene.err, "file"), scene.over[0]);
        ck_assert_ptr_nonnull(error_get(&scene.err, "reason"));
    }
    ck_assert_int_eq(is_there(scene.over[1]), prepared_codes[_i] == 0);
    ck_assert_int_eq(take_back(), 0);
    ck_assert_int_eq(is_there(scene.over[0]), _i != MISSING); /* it is the caller's */
    ck_assert(!is_there(scene.over[1]));
}
END_TEST

/* --- the way back after a crash --- */

enum left { BEGUN, OURS, WITH_DATA, OTHERS_OVERLAY, WITHOUT_BACKING, TEXT, LINK, NOTHING, N_LEFT };

static const bool left_is_removed[N_LEFT] = {[BEGUN] = true, [OURS] = true, [NOTHING] = true};

static void leave(enum left left)
{
    _cleanup_free_ char *target = at("target");

    switch (left) {
    case BEGUN:
        stage_write(scene.over[0], "");
        break;
    case OTHERS_OVERLAY:
        make_overlay(scene.over[0], scene.base[0], scene.base[1], SIZE);
        break;
    case TEXT:
        stage_write(scene.over[0], "mine");
        break;
    case LINK:
        stage_write(target, "");
        ck_assert_int_eq(symlink(target, scene.over[0]), 0);
        break;
    case NOTHING:
        break;
    default:
        make_overlay(scene.over[0], scene.base[0], scene.base[0], SIZE);
        if (left == WITH_DATA)
            put_data(scene.over[0]);
        else if (left == WITHOUT_BACKING)
            cut_backing(scene.over[0]);
        break;
    }
}

/* No identity is recorded: the file's content has to tell. */
START_TEST(unknown_files_after_a_crash)
{
    _cleanup_free_ char *target = at("target");

    leave((enum left)_i);
    take_back();
    ck_assert_int_eq(!is_there(scene.over[0]), left_is_removed[_i]);
    ck_assert_int_eq(is_there(target), _i == LINK);
    ck_assert(is_there(scene.base[0]));
}
END_TEST

START_TEST(known_files_after_a_crash)
{
    _cleanup_free_ char *aside = at("aside");

    ck_assert_int_eq(create(), 0);
    /* Another file has taken the name, even one that looks like ours. */
    ck_assert_int_eq(rename(scene.over[0], aside), 0);
    make_overlay(scene.over[0], scene.base[0], scene.base[0], SIZE);
    ck_assert_int_eq(take_back(), 0);
    ck_assert(is_there(scene.over[0]));
    ck_assert(is_there(aside));
    ck_assert_msg(!overlay(0)->state, "%s", overlay(0)->state);
    ck_assert(!is_there(scene.over[1]));
}
END_TEST

/* Somebody started a guest from it: QEMU holds a lock on byte 100 of what it reads. */
START_TEST(what_a_guest_has_open_stays)
{
    struct flock lock = {.l_type = F_RDLCK, .l_start = 100, .l_len = 1};
    int fd;

    ck_assert_int_eq(create(), 0);
    fd = open(scene.over[0], O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &lock), 0);
    ck_assert_int_eq(take_back(), 0);
    ck_assert(is_there(scene.over[0]));
    ck_assert_msg(!overlay(0)->state, "%s", overlay(0)->state);
    ck_assert(!is_there(scene.over[1]));
    close(fd);
    ck_assert_int_eq(take_back(), 0);
    ck_assert(!is_there(scene.over[0]));
}
END_TEST

static const struct dry_row {
    bool first, second; /* there */
    bool data, garbage; /* in the second */
    bool dry;
} dry_rows[] = {
    {true, true, false, false, true},   {true, false, false, false, true},
    {false, false, false, false, true}, {true, true, true, false, false},
    {false, true, true, false, false},  {true, true, false, true, false},
};

START_TEST(overlays_without_data)
{
    const struct dry_row *row = &dry_rows[_i];

    if (row->first)
        make_overlay(scene.over[0], scene.base[0], scene.base[0], SIZE);
    if (row->second && row->garbage)
        stage_write(scene.over[1], "garbage");
    else if (row->second)
        make_overlay(scene.over[1], scene.base[1], scene.base[1], SIZE);
    if (row->data)
        put_data(scene.over[1]);
    ck_assert_int_eq(is_dry(), row->dry);
}
END_TEST

static TCase *create_case(void)
{
    TCase *tcase = files_case("create");

    tcase_add_test(tcase, overlays_are_made);
    tcase_add_loop_test(tcase, what_is_there_is_left_alone, 0, N_FOUND);
    tcase_add_loop_test(tcase, what_was_not_tried_is_left_alone, 0, N_FOUND);
    tcase_add_test(tcase, what_was_never_made_is_told_as_removed);
    tcase_add_test(tcase, no_layer_below);
    tcase_add_loop_test(tcase, prepared_overlays_are_checked, 0, N(prepared_codes));
    return tcase;
}

static TCase *back_case(void)
{
    TCase *tcase = files_case("back");

    tcase_add_loop_test(tcase, unknown_files_after_a_crash, 0, N_LEFT);
    tcase_add_test(tcase, known_files_after_a_crash);
    tcase_add_test(tcase, what_a_guest_has_open_stays);
    tcase_add_loop_test(tcase, overlays_without_data, 0, N(dry_rows));
    return tcase;
}

int main(void)
{
    static TCase *(*const cases[])(void) = {create_case, back_case};

    return stage_main("files", cases, N(cases));
}
