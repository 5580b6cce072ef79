/* Where a new image may lie. */
#include "api/overlay.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "conf/conf.h"
#include "domain/disk.h"
#include "proto/snapvm-errors.h"
#include "tests/unit/domain-fixture.h"

#define N(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

/* Folders: images and second hold the domain's images, allowed stands in image_dirs. */
static const char *const folders[] = {"images",  "images/deep",  "second",     "allowed",
                                      "outside", "allowed/deep", "allowed-not"};
static const char *const files[] = {"images/a.qcow2", "images/base.raw", "second/b.raw",
                                    "images/there",   "images/deep/c",   "outside/other",
                                    "allowed/there"};
static const char *const links[][2] = {
    {"../outside", "images/out"},        {"../images", "outside/in"},
    {"nowhere", "images/dangling"},      {"../outside", "allowed/out"},
    {"base.raw", "images/link-to-base"}, {"../outside/other", "images/link-to-other"},
};

static void plant(const struct stage *stage)
{
    _cleanup_free_ char *base = stage_path(stage, "images/base.raw");
    _cleanup_free_ char *alias = stage_path(stage, "images/hard-link-to-base");

    for (int i = 0; i < N(folders); i++) {
        _cleanup_free_ char *path = stage_path(stage, folders[i]);

        ck_assert_int_eq(mkdir(path, 0755), 0);
    }
    for (int i = 0; i < N(files); i++) {
        _cleanup_free_ char *path = stage_path(stage, files[i]);

        stage_write(path, files[i]);
    }
    for (int i = 0; i < N(links); i++) {
        _cleanup_free_ char *path = stage_path(stage, links[i][1]);

        ck_assert_int_eq(symlink(links[i][0], path), 0);
    }
    ck_assert_int_eq(link(base, alias), 0);
}

static void add_layer(const struct stage *stage, struct record_disk *disk, const char *file)
{
    _cleanup_free_ char *path = stage_path(stage, file);

    record_disk_add_layer(disk, path, "qcow2");
}

static struct domain *example(struct stage *stage)
{
    struct domain *domain;
    struct record_disk *disk;

    stage_init(stage);
    plant(stage);
    domain = stage_domain(stage, "web");
    disk = record_domain_add_disk(&domain->record, "vda");
    add_layer(stage, disk, "images/a.qcow2");
    add_layer(stage, disk, "images/base.raw");
    add_layer(stage, record_domain_add_disk(&domain->record, "vdb"), "second/b.raw");
    return domain;
}

#define OUTSIDE "outside the allowed directories"

static const struct check_row {
    const char *file; /* below the stage's folder */
    bool reuse, dirs; /* dirs: with image_dirs */
    int code;
    const char *reason;
} check_rows[] = {
    /* Beside the domain's images, those of any disk. */
    {"images/new", false, false, 0, NULL},
    {"second/new", false, false, 0, NULL},
    {"images/deep/new", false, false, SNAPVM_ERROR_IMAGE, OUTSIDE},
    {"outside/new", false, false, SNAPVM_ERROR_IMAGE, OUTSIDE},
    {"new", false, false, SNAPVM_ERROR_IMAGE, OUTSIDE},
    {"images/", false, false, SNAPVM_ERROR_IMAGE, OUTSIDE},
    {"images/nothing/new", false, false, SNAPVM_ERROR_IMAGE, "missing"},
    {"images/there/new", false, false, SNAPVM_ERROR_IMAGE, "missing"}, /* no folder at all */
    /* Where the path really leads counts. */
    {"images/out/new", false, false, SNAPVM_ERROR_IMAGE, OUTSIDE},
    {"outside/in/new", false, false, 0, NULL},
    {"images/../outside/new", false, false, SNAPVM_ERROR_IMAGE, OUTSIDE},
    {"images/out/../new", false, false, SNAPVM_ERROR_IMAGE, OUTSIDE},
    {"outside/../images/./new", false, false, 0, NULL},
    {"images//new", false, false, 0, NULL},
    /* Below the folders of the configuration. */
    {"allowed/new", false, false, SNAPVM_ERROR_IMAGE, OUTSIDE},
    {"allowed/new", false, true, 0, NULL},
    {"allowed/deep/new", false, true, 0, NULL},
    {"allowed-not/new", false, true, SNAPVM_ERROR_IMAGE, OUTSIDE},
    {"outside/new", false, true, SNAPVM_ERROR_IMAGE, OUTSIDE},
    {"allowed/out/new", false, true, SNAPVM_ERROR_IMAGE, OUTSIDE},
    {"allowed/../outside/new", false, true, SNAPVM_ERROR_IMAGE, OUTSIDE},
    {"images/new", false, true, 0, NULL},
    /* Names that are taken. */
    {"images/there", false, false, SNAPVM_ERROR_ALREADY_EXISTS, NULL},
    {"images/dangling", false, false, SNAPVM_ERROR_ALREADY_EXISTS, NULL},
    {"images/deep", false, false, SNAPVM_ERROR_ALREADY_EXISTS, NULL},
    {"images/.", false, false, SNAPVM_ERROR_ALREADY_EXISTS, NULL},
    {"allowed/there", false, true, SNAPVM_ERROR_ALREADY_EXISTS, NULL},
    {"images/link-to-other", false, false, SNAPVM_ERROR_ALREADY_EXISTS, NULL},
    /* On a chain, under whatever name. */
    {"images/a.qcow2", false, false, SNAPVM_ERROR_IMAGE, "in use"},
    {"images/base.raw", true, false, SNAPVM_ERROR_IMAGE, "in use"},
    {"second/b.raw", true, false, SNAPVM_ERROR_IMAGE, "in use"},
    {"images/hard-link-to-base", true, false, SNAPVM_ERROR_IMAGE, "in use"},
    {"images/link-to-base", true, false, SNAPVM_ERROR_IMAGE, "in use"},
    {"outside/in/a.qcow2", true, false, SNAPVM_ERROR_IMAGE, "in use"},
    /* Prepared by the caller. */
    {"images/there", true, false, 0, NULL},
    {"allowed/there", true, true, 0, NULL},
    {"images/new", true, false, SNAPVM_ERROR_IMAGE, "missing"},
    {"images/dangling", true, false, SNAPVM_ERROR_IMAGE, "missing"},
    {"outside/other", true, false, SNAPVM_ERROR_IMAGE, OUTSIDE},
    {"images/out/other", true, false, SNAPVM_ERROR_IMAGE, OUTSIDE},
    {"allowed/there", true, false, SNAPVM_ERROR_IMAGE, OUTSIDE},
};

START_TEST(checked)
{
    const struct check_row *row = &check_rows[_i];
    struct stage stage;
    struct domain *domain = example(&stage);
    _cleanup_free_ char *file = stage_path(&stage, row->file);
    _cleanup_free_ char *allowed = stage_path(&stage, "allowed");
    char *dirs[] = {(char *)"/nowhere/at/all", allowed};
    const struct conf conf = {.image_dirs = dirs, .n_image_dirs = row->dirs ? 2 : 0};
    _cleanup_error_ struct error err = {0};
    int r = overlay_check_file(&conf, domain, file, row->reuse, &err);

    ck_assert_msg(err.code == row->code, "%s: %s", row->file, err.message);
    ck_assert_int_eq(r, row->code ? -1 : 0);
    if (row->code == SNAPVM_ERROR_IMAGE) {
        ck_assert_str_eq(error_get(&err, "file"), file);
        ck_assert_str_eq(error_get(&err, "reason"), row->reason);
    } else if (row->code) {
        ck_assert_str_eq(error_get(&err, "object"), "image");
        ck_assert_str_eq(error_get(&err, "name"), file);
    }
    stage_deinit(&stage);
}
END_TEST

static void assert_bad(const struct domain *domain, const char *file)
{
    const struct conf conf = {0};
    _cleanup_error_ struct error err = {0};

    ck_assert_int_eq(overlay_check_file(&conf, domain, file, false, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_INVALID_PARAMS);
    ck_assert_str_eq(error_get(&err, "param"), "file");
}

START_TEST(paths_that_are_none)
{
    struct stage stage;
    struct domain *domain = example(&stage);
    _cleanup_free_ char *begin = stage_path(&stage, "images/");
    char *path = xzalloc(PATH_MAX + 1);

    ck_assert_int_eq(chdir(begin), 0);
    assert_bad(domain, "new");
    assert_bad(domain, "");
    assert_bad(domain, "./new");
    assert_bad(domain, "nbd:localhost:10809");
    assert_bad(domain, "json:{}");
    memset(path, 'x', PATH_MAX);
    memcpy(path, begin, strlen(begin));
    assert_bad(domain, path);
    free(path);
    stage_deinit(&stage);
}
END_TEST

static const struct name_row {
    const char *target, *snapshot, *file;
} name_rows[] = {
    {"vda", "before-upgrade", "/i/web-vda.before-upgrade.qcow2"},
    {"vda", "a b/c", "/i/web-vda.a_b_c.qcow2"},
    {"scsi0:1", "s", "/i/web-scsi0_1.s.qcow2"},
    {"vda", "\303\234", "/i/web-vda.__.qcow2"},
    {"vda", "..", "/i/web-vda....qcow2"},
};

START_TEST(default_names)
{
    const struct name_row *row = &name_rows[_i];
    struct stage stage;
    struct domain *domain = example(&stage);
    struct record_disk *disk = record_domain_add_disk(&domain->record, row->target);
    const struct conf conf = {0};
    _cleanup_free_ char *file = NULL;

    record_disk_add_layer(disk, "/i/active.qcow2", "qcow2");
    record_disk_add_layer(disk, "/elsewhere/base.raw", "raw");
    file = overlay_default_file(&conf, domain, disk, row->snapshot);
    ck_assert_str_eq(file, row->file);
    stage_deinit(&stage);
}
END_TEST

/* Any block device of this machine; NULL where it shows none. Nothing is read of it. */
static char *some_device(void)
{
    DIR *folder = opendir("/dev");
    char *found = NULL;
    struct dirent *entry;
    struct stat st;

    while (folder && !found && (entry = readdir(folder)))
        if (fstatat(dirfd(folder), entry->d_name, &st, 0) == 0 && S_ISBLK(st.st_mode))
            found = xasprintf("/dev/%s", entry->d_name);
    if (folder)
        closedir(folder);
    return found;
}

/* Its folder is no place for images, and those of others there are not the domain's. */
START_TEST(devices)
{
    struct stage stage;
    struct domain *domain = example(&stage);
    _cleanup_free_ char *device = some_device(), *none = NULL, *file = NULL;
    char *dirs[] = {(char *)"/allowed"};
    const struct conf conf = {0}, with = {.image_dirs = dirs, .n_image_dirs = 1};
    _cleanup_error_ struct error err = {0};
    struct record_disk *disk = record_domain_add_disk(&domain->record, "vdc");

    if (device) {
        record_disk_add_layer(disk, device, "raw");
        none = overlay_default_file(&conf, domain, disk, "s");
        ck_assert_str_eq(none, "/dev/web-vdc.s.qcow2");
        ck_assert_int_eq(overlay_check_file(&conf, domain, none, false, &err), -1);
        ck_assert_str_eq(error_get(&err, "reason"), OUTSIDE);
        ck_assert_ptr_nonnull(strstr(err.message, "image_dirs"));
        error_clear(&err);
        ck_assert_int_eq(overlay_check_claim(&conf, domain, "/dev/another", &err), -1);
        ck_assert_int_eq(overlay_check_claim(&conf, domain, device, NULL), 0);
        file = overlay_default_file(&with, domain, disk, "s");
        ck_assert_str_eq(file, "/allowed/web-vdc.s.qcow2");
    }
    stage_deinit(&stage);
}
END_TEST

static TCase *overlay_case(void)
{
    TCase *tcase = tcase_create("overlay");

    tcase_add_loop_test(tcase, checked, 0, N(check_rows));
    tcase_add_test(tcase, paths_that_are_none);
    tcase_add_loop_test(tcase, default_names, 0, N(name_rows));
    tcase_add_test(tcase, devices);
    return tcase;
}

int main(void)
{
    static TCase *(*const cases[])(void) = {overlay_case};

    return stage_main("overlay", cases, N(cases));
}
