/* What layers hold together: tables written by hand, holes in raw files, tables that lead nowhere;
 * and that what an image of that much data takes up is what qemu-img makes of it. */
#include <check.h>
#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "qemu/image.h"
#include "qemu/measure.h"
#include "tests/unit/scratch.h"

#define KIB INT64_C(1024)
#define MIB (INT64_C(1) << 20)
#define CLUSTER (64 * KIB)
#define DISK (64 * MIB)
#define L1_AT (3 * CLUSTER)
#define L2_AT (4 * CLUSTER)
#define DATA_AT (5 * CLUSTER)
#define COPIED (UINT64_C(1) << 63)
#define COMPRESSED (UINT64_C(1) << 62)
#define ZERO UINT64_C(1)

static char *folder;

static void setup(void)
{
    folder = scratch_new();
}

static void teardown(void)
{
    scratch_free(folder);
}

static const char *at(const char *name)
{
    static char path[4][256];
    static unsigned next;
    char *p = path[next++ % 4];

    snprintf(p, sizeof(path[0]), "%s/%s", folder, name);
    return p;
}

static void put(const char *name, uint64_t value, int64_t where)
{
    int fd = open(at(name), O_WRONLY | O_CLOEXEC);

    value = htobe64(value);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, &value, sizeof(value), where), sizeof(value));
    close(fd);
}

/* An empty image with an L2 table. */
static void make_qcow2(const char *name)
{
    _cleanup_free_ char *path = xstrdup(at(name));
    const struct image_new image = {
        .path = path, .name = path, .like = folder, .format = "qcow2", .size = DISK};
    _cleanup_error_ struct error err = {0};
    struct image_id id;

    ck_assert_msg(image_create(&image, &id, &err) == 0, "%s", err.message);
    ck_assert_int_eq(truncate(path, L2_AT + CLUSTER), 0);
    put(name, (uint64_t)L2_AT | COPIED, L1_AT);
}

static void put_cluster(const char *name, unsigned cluster, uint64_t entry)
{
    put(name, entry, L2_AT + 8 * cluster);
}

static int64_t measure(const char *top, const char *below, const char *format)
{
    _cleanup_free_ char *a = xstrdup(at(top)), *b = below ? xstrdup(at(below)) : NULL;
    const struct measure_layer layers[] = {{a, "qcow2"}, {b, format}};

    return measure_data(layers, below ? 2 : 1, DISK);
}

START_TEST(clusters_of_a_layer)
{
    make_qcow2("a");
    ck_assert_int_eq(measure("a", NULL, NULL), 0);
    put_cluster("a", 0, (uint64_t)DATA_AT | COPIED);
    put_cluster("a", 3, (uint64_t)DATA_AT);                     /* shared with a snapshot */
    put_cluster("a", 5, COMPRESSED | ((uint64_t)DATA_AT + 77)); /* a copy is not compressed */
    put_cluster("a", 9, ZERO);
    put_cluster("a", 10, (uint64_t)DATA_AT | COPIED | ZERO); /* allocated beforehand */
    put_cluster("a", 1024, (uint64_t)DATA_AT | COPIED);      /* behind the disk's end */
    ck_assert_int_eq(measure("a", NULL, NULL), 3 * CLUSTER);
}
END_TEST

START_TEST(layers_hide_each_other)
{
    make_qcow2("top");
    make_qcow2("low");
    put_cluster("top", 0, (uint64_t)DATA_AT | COPIED);
    put_cluster("top", 1, ZERO);
    for (unsigned i = 0; i < 4; i++)
        put_cluster("low", i, (uint64_t)DATA_AT | COPIED);
    ck_assert_int_eq(measure("low", NULL, NULL), 4 * CLUSTER);
    ck_assert_int_eq(measure("top", "low", "qcow2"), 3 * CLUSTER);
}
END_TEST

START_TEST(holes_of_a_raw_layer)
{
    int fd = open(at("raw"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    static char block[64 * 1024];
    const struct measure_layer layer = {at("raw"), "raw"};

    memset(block, 7, sizeof(block));
    ck_assert_int_eq(ftruncate(fd, DISK), 0);
    ck_assert_int_eq(pwrite(fd, block, sizeof(block), 8 * CLUSTER), sizeof(block));
    ck_assert_int_eq(pwrite(fd, block, 4096, 32 * CLUSTER), 4096);
    ck_assert_int_eq(fsync(fd), 0);
    close(fd);
    ck_assert_int_eq(measure_data(&layer, 1, DISK), 2 * CLUSTER);
    make_qcow2("top");
    put_cluster("top", 8, (uint64_t)DATA_AT | COPIED);
    ck_assert_int_eq(measure("top", "raw", "raw"), 2 * CLUSTER);
}
END_TEST

/* A disk of many units of 64 KiB is measured in larger ones. */
START_TEST(huge)
{
    const int64_t size = INT64_C(1) << 50;
    const struct measure_layer layer = {at("raw"), "raw"};
    int fd = open(at("raw"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_eq(pwrite(fd, "x", 1, 12345), 1);
    ck_assert_int_eq(fsync(fd), 0);
    close(fd);
    ck_assert_int_ge(measure_data(&layer, 1, size), CLUSTER);
    ck_assert_int_lt(measure_data(&layer, 1, size), 64 * MIB);
}
END_TEST

START_TEST(not_to_be_told)
{
    const struct measure_layer missing = {at("missing"), "qcow2"}, other = {at("a"), "vmdk"};

    make_qcow2("a");
    ck_assert_int_eq(measure_data(&missing, 1, DISK), -1);
    ck_assert_int_eq(measure_data(&other, 1, DISK), -1);
    ck_assert_int_eq(measure_data(&other, 1, -1), -1);
    /* Tables that lie nowhere read as zeroes: what a guest's QEMU has not stored yet. */
    put("a", (UINT64_C(1) << 50) | COPIED, L1_AT);
    ck_assert_int_eq(measure("a", NULL, NULL), 0);
    ck_assert_int_eq(measure_free(at("missing")), -1);
    ck_assert_int_ge(measure_free(folder), 0);
}
END_TEST

/* Held against the images that qemu-img makes, which are what is predicted, within a few tables. */
START_TEST(as_qemu_img_makes_them)
{
    _cleanup_free_ char *command =
        xasprintf("cd %s && qemu-img create -f qcow2 a 1G && "
                  "qemu-io -c 'write 0 5M' -c 'write 700M 64k' -c 'write -z 50M 10M' a && "
                  "qemu-img convert -O qcow2 a b && qemu-img convert -O raw a c",
                  folder);
    const struct measure_layer layer = {at("a"), "qcow2"};
    int64_t data, takes;
    struct stat st;

    if (!scratch_has("qemu-img") || !scratch_has("qemu-io"))
        return;
    ck_assert_int_eq(scratch_run(command), 0);
    data = measure_data(&layer, 1, 1024 * MIB);
    ck_assert_int_eq(data, 5 * MIB + CLUSTER);
    ck_assert_int_eq(stat(at("b"), &st), 0);
    takes = measure_image("qcow2", 1024 * MIB, data);
    ck_assert_int_ge(takes, st.st_size - 4 * CLUSTER);
    ck_assert_int_le(takes, st.st_size + 4 * CLUSTER);
    ck_assert_int_eq(stat(at("c"), &st), 0);
    ck_assert_int_le((int64_t)st.st_blocks * 512, measure_image("raw", 1024 * MIB, data));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("measure");
    TCase *tcase = tcase_create("measure");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, clusters_of_a_layer);
    tcase_add_test(tcase, layers_hide_each_other);
    tcase_add_test(tcase, holes_of_a_raw_layer);
    tcase_add_test(tcase, huge);
    tcase_add_test(tcase, not_to_be_told);
    tcase_add_test(tcase, as_qemu_img_makes_them);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
