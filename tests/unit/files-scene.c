#include "tests/unit/files-scene.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "job/files.h"
#include "qemu/image.h"

struct scene scene;

static void on_done(struct job *job, const struct error *err)
{
    ck_assert_ptr_eq(job, scene.job);
    ck_assert(!scene.done);
    scene.done = true;
    error_clear(&scene.err);
    if (err)
        error_copy(&scene.err, err);
}

static void on_told(struct job *job, bool empty)
{
    ck_assert_ptr_eq(job, scene.job);
    scene.told = true;
    scene.empty = empty;
}

char *at(const char *name)
{
    return stage_path(&scene.stage, name);
}

static void setup(void)
{
    memset(&scene, 0, sizeof(scene));
    stage_init(&scene.stage);
    stage_add_engine(&scene.stage);
    scene.domain = stage_domain(&scene.stage, "web");
    scene.job = stage_job(&scene.stage, scene.domain, "snapshot", 17);
    for (int i = 0; i < 2; i++) {
        const char *disk = i ? "vdb" : "vda";
        struct record_image *image;

        scene.base[i] = at(i ? "base-b" : "base-a");
        scene.over[i] = at(i ? "over-b" : "over-a");
        stage_write(scene.base[i], "");
        ck_assert_int_eq(truncate(scene.base[i], SIZE), 0);
        image = stage_image(scene.job, disk, "source", scene.base[i], "base");
        xstrset(&image->format, "raw");
        image->virtual_size = SIZE;
        image = stage_image(scene.job, disk, "overlay", scene.over[i], "over");
        image->virtual_size = SIZE;
        image->made = true;
    }
}

static void teardown(void)
{
    for (int i = 0; i < 2; i++) {
        free(scene.base[i]);
        free(scene.over[i]);
    }
    stage_drop_job(scene.job);
    error_clear(&scene.err);
    stage_deinit(&scene.stage);
}

int create(void)
{
    scene.done = false;
    files_create_overlays(scene.job, on_done);
    STAGE_UNTIL(&scene.stage, scene.done);
    return scene.err.code;
}

int take_back(void)
{
    scene.done = false;
    files_remove_overlays(scene.job, on_done);
    STAGE_UNTIL(&scene.stage, scene.done);
    return scene.err.code;
}

int clear(void)
{
    scene.done = false;
    files_remove_worthless(scene.job, on_done);
    STAGE_UNTIL(&scene.stage, scene.done);
    return scene.err.code;
}

bool is_dry(void)
{
    scene.told = false;
    files_look_at_overlays(scene.job, on_told);
    STAGE_UNTIL(&scene.stage, scene.told);
    return scene.empty;
}

struct record_image *overlay(int i)
{
    return job_image(scene.job, i ? "vdb" : "vda", "overlay");
}

bool is_there(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

/* An empty qcow2 file over a layer; what is there already stays and fails the test. */
void make_overlay(const char *path, const char *below, const char *backing, int64_t size)
{
    const struct image_new how = {.path = path,
                                  .format = "qcow2",
                                  .name = path,
                                  .like = below,
                                  .backing = backing,
                                  .backing_format = "raw",
                                  .size = size};
    struct image_id id;
    _cleanup_error_ struct error err = {0};

    ck_assert_msg(image_create(&how, &id, &err) == 0, "%s", err.message);
}

/* Puts something into the L1 table, whose place the header tells in its bytes 40 to 47. */
void put_data(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    unsigned char place[8];
    off_t at_byte = 0;

    ck_assert_int_eq(pread(fd, place, 8, 40), 8);
    for (int i = 0; i < 8; i++)
        at_byte = at_byte * 256 + place[i];
    ck_assert_int_eq(pwrite(fd, "\200", 1, at_byte), 1);
    close(fd);
}

char *content(const char *path)
{
    FILE *file = fopen(path, "re");
    char text[256] = "";

    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    return xstrdup(text);
}

TCase *files_case(const char *name)
{
    TCase *tcase = tcase_create(name);

    tcase_add_checked_fixture(tcase, setup, teardown);
    return tcase;
}
