/* Image files on a real disk: made whole or not at all, never through a link, never over another
 * file, and removed only by identity. */
#include <check.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "proto/snapvm-errors.h"
#include "qemu/image.h"
#include "qemu/qcow2.h"
#include "tests/unit/scratch.h"

#define MIB (INT64_C(1) << 20)
#define TIB (INT64_C(1) << 40)

static char *folder;
static struct error err;

static void setup(void)
{
    folder = scratch_new();
}

static void teardown(void)
{
    error_clear(&err);
    scratch_free(folder);
}

/* A path in the folder; a few at a time. */
static const char *at(const char *name)
{
    static char path[4][256];
    static unsigned next;
    char *p = path[next++ % 4];

    snprintf(p, sizeof(path[0]), "%s/%s", folder, name);
    return p;
}

static void make_file(const char *name, off_t size, mode_t mode)
{
    int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, size), 0);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
}

static int create(const char *name, int64_t size, struct image_id *ret_id)
{
    char *below = xstrdup(at("base.img"));
    struct image_new overlay = {.path = at(name),
                                .format = "qcow2",
                                .name = at(name),
                                .like = below,
                                .backing = below,
                                .backing_format = "raw",
                                .size = size};
    int r = image_create(&overlay, ret_id, &err);

    free(below);
    return r;
}

static bool exists(const char *name)
{
    struct stat st;

    return lstat(at(name), &st) == 0;
}

START_TEST(test_create)
{
    struct image_id id, again;
    struct image_info info;
    struct stat st;
    bool empty = false;

    make_file("base.img", MIB, 0640);
    ck_assert_msg(create("o.qcow2", 16 * TIB, &id) == 0, "%s", err.message);
    ck_assert_int_eq(image_identify(at("o.qcow2"), &again, &err), 0);
    ck_assert(image_same(&id, &again));
    ck_assert_int_eq(stat(at("o.qcow2"), &st), 0);
    ck_assert_uint_eq(st.st_mode, S_IFREG | 0640);
    ck_assert_int_eq(st.st_size, (3 + 4) * 65536);
    ck_assert_int_eq(image_read(at("o.qcow2"), "qcow2", &info, &err), 0);
    ck_assert_int_eq(info.virtual_size, 16 * TIB);
    ck_assert_int_eq(info.actual_size, (int64_t)st.st_blocks * 512);
    ck_assert_str_eq(info.backing, at("base.img"));
    ck_assert_str_eq(info.backing_format, "raw");
    image_info_deinit(&info);
    ck_assert_int_eq(image_is_empty(at("o.qcow2"), &empty, &err), 0);
    ck_assert(empty);
}
END_TEST

/* The owner of the layer below gets it, with no more than reading and writing, and never less. */
static void scribble(const char *name, off_t place, int byte, size_t size)
{
    unsigned char data[4096];
    int fd = open(at(name), O_WRONLY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_uint_le(size, sizeof(data));
    memset(data, byte, size);
    ck_assert_int_eq(pwrite(fd, data, size, place), (ssize_t)size);
    close(fd);
}

/* Sectors of a file that was not synced may be missing after a crash of the host; none is there
 * that was not written. */
START_TEST(test_half_made)
{
    char *below = xstrdup(at("base.img")), *path = xstrdup(at("overlay"));
    char *raw_path = xstrdup(at("raw"));
    struct image_new overlay = {.path = path,
                                .format = "qcow2",
                                .name = "overlay",
                                .backing = below,
                                .backing_format = "raw",
                                .size = 64 * MIB};
    struct image_new raw = {.path = raw_path, .format = "raw", .name = "raw", .size = MIB};
    struct image_id id;

    make_file("base.img", 64 * MIB, 0600);
    ck_assert(!image_is_half_made(&overlay)); /* there is none */
    ck_assert_int_eq(create("overlay", 64 * MIB, &id), 0);
    ck_assert(image_is_half_made(&overlay));
    overlay.backing = "/elsewhere";
    ck_assert(!image_is_half_made(&overlay));
    overlay.backing = below;
    scribble("overlay", 0, 0, 4096);
    ck_assert(image_is_half_made(&overlay));
    scribble("overlay", 128 * 1024, 0, 512);
    ck_assert(image_is_half_made(&overlay));
    scribble("overlay", 512, 'x', 1);
    ck_assert(!image_is_half_made(&overlay));

    make_file("raw", MIB, 0600);
    scribble("raw", 4096, 0, 4096);
    ck_assert(image_is_half_made(&raw));
    scribble("raw", MIB - 1, 'x', 1);
    ck_assert(!image_is_half_made(&raw));
    make_file("raw", MIB + 1, 0600);
    ck_assert(!image_is_half_made(&raw));
    free(below);
    free(path);
    free(raw_path);
}
END_TEST

START_TEST(test_create_owner)
{
    struct image_id id;
    struct stat st;

    make_file("base.img", MIB, 06755);
    ck_assert_int_eq(create("a", MIB, &id), 0);
    ck_assert_int_eq(stat(at("a"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0644);
    ck_assert_int_eq(chmod(at("base.img"), 0444), 0);
    ck_assert_int_eq(create("b", MIB, &id), 0);
    ck_assert_int_eq(stat(at("b"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0644);
    if (geteuid() != 0) {
        printf("SKIP: the owner of an overlay: it takes root to have another one\n");
        return;
    }
    ck_assert_int_eq(chown(at("base.img"), 1234, 4321), 0);
    ck_assert_int_eq(create("c", MIB, &id), 0);
    ck_assert_int_eq(stat(at("c"), &st), 0);
    ck_assert_uint_eq(st.st_uid, 1234);
    ck_assert_uint_eq(st.st_gid, 4321);
    ck_assert_uint_eq(st.st_mode & 07777, 0644);
}
END_TEST

static void assert_exists_already(const char *name)
{
    struct image_id id;

    ck_assert_int_eq(create(name, MIB, &id), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_ALREADY_EXISTS);
    ck_assert_str_eq(error_get(&err, "object"), "image");
    ck_assert_str_eq(error_get(&err, "name"), at(name));
}

START_TEST(test_create_occupied)
{
    struct stat st;

    make_file("base.img", MIB, 0600);
    make_file("file", 12345, 0600);
    assert_exists_already("file");
    ck_assert_int_eq(stat(at("file"), &st), 0);
    ck_assert_int_eq(st.st_size, 12345);
    ck_assert_int_eq(mkdir(at("folder"), 0700), 0);
    assert_exists_already("folder");
    ck_assert_int_eq(symlink("nowhere", at("link")), 0);
    assert_exists_already("link");
    ck_assert(exists("link"));
    ck_assert(!exists("nowhere"));
}
END_TEST

START_TEST(test_create_refused)
{
    struct image_new overlay = {.path = "o",
                                .format = "qcow2",
                                .name = "o",
                                .like = folder,
                                .backing = folder,
                                .backing_format = "raw",
                                .size = 512};
    struct image_id id;

    ck_assert_int_eq(create("o", MIB, &id), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_IMAGE);
    ck_assert_str_eq(error_get(&err, "file"), at("base.img"));
    make_file("base.img", MIB, 0600);
    ck_assert_int_eq(create("missing/o", MIB, &id), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_IMAGE);
    ck_assert_str_eq(error_get(&err, "file"), at("missing/o"));
    ck_assert_int_eq(create("base.img/o", MIB, &id), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_IMAGE);
    ck_assert_int_eq(create("", MIB, &id), -1);
    ck_assert_int_eq(create("..", MIB, &id), -1);
    ck_assert_int_eq(image_create(&overlay, &id, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_IMAGE);
    ck_assert_int_eq(create("o", -1, &id), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_IMAGE);
    ck_assert_int_eq(create("o", 3000 * TIB, &id), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_IMAGE);
    ck_assert_str_eq(error_get(&err, "file"), at("o"));
    ck_assert(!exists("o"));
}
END_TEST

/* In a file system of one page; the mount is the child's own and goes with it. */
START_TEST(test_create_no_space)
{
    struct image_id id;

    make_file("base.img", MIB, 0600);
    ck_assert_int_eq(mkdir(at("small"), 0700), 0);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("small", at("small"), "tmpfs", 0, "size=4k") < 0) {
        printf("SKIP: a full disk: it takes root to mount a small one\n");
        return;
    }
    ck_assert_int_eq(create("small/o", MIB, &id), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_NO_SPACE);
    ck_assert(!exists("small/o"));
    umount2(at("small"), MNT_DETACH);
}
END_TEST

/* QEMU opens what was made here over its base, and the guest's writes go where they should. */
START_TEST(test_create_qemu)
{
    struct image_id id;
    char *command;

    if (!scratch_has("qemu-io"))
        return;
    make_file("base.img", 8 * MIB, 0600);
    ck_assert_int_eq(create("o", 8 * MIB, &id), 0);
    command = xasprintf("cd %s && qemu-io -f raw -c 'write -P 3 0 8M' base.img && qemu-io -f qcow2 "
                        "-c 'write -P 4 1M 1M' -c 'read -P 3 0 1M' -c 'read -P 4 1M 1M' -c "
                        "'read -P 3 2M 6M' o > log; ! grep -i fail log && qemu-img check o && "
                        "qemu-io -f raw -c 'read -P 3 0 8M' base.img > log && ! grep -i fail log",
                        folder);
    ck_assert_int_eq(scratch_run(command), 0);
    free(command);
}
END_TEST

START_TEST(test_read_raw)
{
    struct image_info info;

    make_file("raw", 1000, 0600);
    ck_assert_int_eq(image_read(at("raw"), "raw", &info, &err), 0);
    ck_assert_int_eq(info.virtual_size, 1024);
    ck_assert_int_eq(info.actual_size, 0);
    ck_assert_ptr_null(info.backing);
    ck_assert_ptr_null(info.backing_format);
    ck_assert(!info.dirty && !info.corrupt && !info.data_file && !info.encrypted);
    image_info_deinit(&info);
}
END_TEST

static void assert_unreadable(const char *path, const char *format, const char *reason)
{
    struct image_info info;

    ck_assert_int_eq(image_read(path, format, &info, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_IMAGE);
    ck_assert_str_eq(error_get(&err, "file"), path);
    ck_assert_msg(strstr(error_get(&err, "reason"), reason) != NULL, "'%s' instead of '%s'",
                  error_get(&err, "reason"), reason);
}

START_TEST(test_read_refused)
{
    make_file("raw", MIB, 0600);
    ck_assert_int_eq(mkfifo(at("fifo"), 0600), 0);
    assert_unreadable(at("raw"), "qcow2", "not a qcow2 image");
    assert_unreadable(at("raw"), "vmdk", "this format");
    assert_unreadable(at("fifo"), "raw", "neither a file nor");
    assert_unreadable(folder, "raw", "neither a file nor");
    assert_unreadable("/dev/null", "raw", "neither a file nor");
    assert_unreadable(at("missing"), "qcow2", "No such file");
}
END_TEST

/* The size of a device is not in its inode. */
START_TEST(test_read_device)
{
    char *command = xasprintf("losetup -f --show %s 2>/dev/null", at("raw"));
    char device[64] = "";
    struct image_info info;
    struct image_id a, b;
    FILE *pipe;

    make_file("raw", 3 * MIB, 0600);
    pipe = popen(command, "r");
    free(command);
    if (!fgets(device, sizeof(device), pipe) || pclose(pipe) != 0) {
        printf("SKIP: a block device: no loop device can be made\n");
        return;
    }
    device[strcspn(device, "\n")] = '\0';
    ck_assert_int_eq(image_read(device, "raw", &info, &err), 0);
    image_identify(device, &a, &err);
    image_identify(at("raw"), &b, &err);
    command = xasprintf("losetup -d %s", device);
    ck_assert_int_eq(scratch_run(command), 0);
    free(command);
    ck_assert_int_eq(info.virtual_size, 3 * MIB);
    ck_assert(!image_same(&a, &b));
    image_info_deinit(&info);
}
END_TEST

START_TEST(test_remove)
{
    struct image_id id, other;

    make_file("a", 1, 0600);
    make_file("b", 1, 0600);
    ck_assert_int_eq(image_identify(at("a"), &id, &err), 0);
    ck_assert_int_eq(image_identify(at("b"), &other, &err), 0);
    ck_assert_int_eq(image_remove(at("a"), &other, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_IMAGE);
    ck_assert(exists("a"));

    /* A link to the file is not the file. */
    ck_assert_int_eq(symlink("a", at("link")), 0);
    ck_assert_int_eq(image_remove(at("link"), &id, &err), -1);
    ck_assert(exists("link") && exists("a"));

    ck_assert_int_eq(image_remove(at("a"), &id, &err), 0);
    ck_assert(!exists("a"));
    ck_assert(exists("b"));
    ck_assert_int_eq(image_remove(at("a"), &id, &err), 0);
    ck_assert_int_eq(image_remove(at("missing/a"), &id, &err), -1);
    ck_assert_int_eq(image_identify(folder, &id, &err), 0);
    ck_assert_int_eq(image_remove(folder, &id, &err), -1);
}
END_TEST

static void poke(const char *name, off_t where, unsigned char value)
{
    int fd = open(at(name), O_WRONLY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, &value, 1, where), 1);
    close(fd);
}

static bool is_empty(const char *name)
{
    bool empty;

    ck_assert_msg(image_is_empty(at(name), &empty, &err) == 0, "%s", err.message);
    return empty;
}

/* The table of 20 TiB takes five clusters: any byte of it counts, and none behind it. */
/* What qemu-img writes, with and without the fields of version 3. */
START_TEST(test_snapshots)
{
    _cleanup_free_ char *command = NULL;
    const char *path = at("a.qcow2");
    struct image_inside inside;

    if (!scratch_has("qemu-img"))
        return;
    command = xasprintf("cd %s && qemu-img create -q -f qcow2 -o compat=%s a.qcow2 1M && "
                        "for i in first 'the second' $(seq 40) last; do "
                        "qemu-img snapshot -c \"$i\" a.qcow2 || exit 1; done",
                        folder, _i ? "1.1" : "0.10");
    ck_assert_int_eq(scratch_run(command), 0);
    ck_assert_int_eq(image_look_inside(path, "first", &inside, &err), 0);
    ck_assert(inside.has && !inside.memory);
    ck_assert_str_eq(inside.id, "1");
    ck_assert_int_eq(image_look_inside(path, "the second", &inside, &err), 0);
    ck_assert(inside.has);
    /* A name that is the number of another one. */
    ck_assert_int_eq(image_look_inside(path, "1", &inside, &err), 0);
    ck_assert_str_eq(inside.id, "3");
    ck_assert_int_eq(image_look_inside(path, "last", &inside, &err), 0);
    ck_assert(inside.has);
    ck_assert_int_eq(image_look_inside(path, "lost", &inside, &err), 0);
    ck_assert(!inside.has && !inside.memory && !inside.at && inside.saved);
    /* Cut off before the table. */
    ck_assert_int_eq(truncate(path, 128 * 1024), 0);
    ck_assert_int_eq(image_look_inside(path, "lost", &inside, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_IMAGE);
    ck_assert_ptr_nonnull(error_get(&err, "reason"));
    error_clear(&err);
    ck_assert_int_eq(image_look_inside(folder, "a", &inside, &err), -1);
}
END_TEST

/* What was done to an image, and how its disk is then: "a" at what snapshot a holds, "b" the same,
 * "s" at what some snapshot does. The L1 table is read in two pieces. */
static const struct kept_row {
    const char *done, *how;
} kept_rows[] = {
    {"qemu-img snapshot -c a x", "as"},
    {"qemu-img snapshot -c a x && qemu-img snapshot -c b x", "abs"},
    {"qemu-img snapshot -c a x && qemu-io -c 'write 0 1k' x", ""},
    {"qemu-io -c 'write 0 1k' x && qemu-img snapshot -c a x", "as"},
    {"qemu-io -c 'write 0 1k' x && qemu-img snapshot -c a x && qemu-io -c 'write 0 1' x", ""},
    {"qemu-io -c 'write 0 1k' x && qemu-img snapshot -c a x && qemu-io -c 'write -z 0 64k' x", ""},
    {"qemu-img snapshot -c a x && qemu-io -c 'write 7T 1k' x", ""},
    {"qemu-img snapshot -c a x && qemu-io -c 'write 0 1k' x && qemu-img snapshot -c b x", "bs"},
    {"qemu-img snapshot -c a x && qemu-io -c 'write 0 1k' x && qemu-img snapshot -c b x && "
     "qemu-img snapshot -a a x",
     "as"},
    {"qemu-img snapshot -c a x && qemu-io -c 'write 0 1k' x && qemu-img snapshot -a a x", "as"},
    {"qemu-img snapshot -c a x && qemu-img resize -q x 9T", ""},
    /* Cut off in the middle of going back: marked as if nobody else had it, and some of each. */
    {"qemu-io -c 'write 0 1k' x && qemu-img snapshot -c a x && "
     "printf '\\200' | dd of=x bs=1 seek=196608 conv=notrunc status=none",
     "s"},
    {"qemu-io -c 'write 0 1k' -c 'write 1G 1k' x && qemu-img snapshot -c a x && "
     "dd if=x of=kept bs=8 skip=24576 count=1 status=none && "
     "qemu-io -c 'write 0 1k' -c 'write 1G 1k' x && qemu-img snapshot -c b x && "
     "dd if=kept of=x bs=8 seek=24576 conv=notrunc status=none",
     "s"},
};

START_TEST(test_kept)
{
    const struct kept_row *row = &kept_rows[_i];
    _cleanup_free_ char *command = xasprintf("cd %s && qemu-img create -q -f qcow2 x 8T && (%s) "
                                             ">log",
                                             folder, row->done);
    const char *path = at("x");
    struct image_inside a, b;

    if (!scratch_has("qemu-img") || !scratch_has("qemu-io"))
        return;
    ck_assert_int_eq(scratch_run(command), 0);
    ck_assert_int_eq(image_look_inside(path, "a", &a, &err), 0);
    ck_assert_int_eq(image_look_inside(path, "b", &b, &err), 0);
    ck_assert_int_eq(a.at, strchr(row->how, 'a') != NULL);
    ck_assert_int_eq(b.at, strchr(row->how, 'b') != NULL);
    ck_assert_int_eq(a.saved, strchr(row->how, 's') != NULL);
}
END_TEST

START_TEST(test_empty)
{
    static const off_t inside[] = {0, 1, 65535, 65536, 100000, 5 * 65536 - 1};
    struct image_id id;

    make_file("base.img", MIB, 0600);
    ck_assert_int_eq(create("o", 20 * TIB, &id), 0);
    ck_assert(is_empty("o"));
    for (unsigned i = 0; i < sizeof(inside) / sizeof(inside[0]); i++) {
        poke("o", 3 * 65536 + inside[i], 1);
        ck_assert(!is_empty("o"));
        poke("o", 3 * 65536 + inside[i], 0);
        ck_assert(is_empty("o"));
    }
    poke("o", 8 * 65536, 1);
    ck_assert(is_empty("o"));
    poke("o", 63, 1);
    ck_assert(!is_empty("o"));
    poke("o", 63, 0);
    ck_assert_int_eq(truncate(at("o"), 8 * 65536 - 1), 0);
    ck_assert(is_empty("o")); /* what lies behind the end reads as zeroes */
    ck_assert_int_eq(create("zero", 0, &id), 0);
    ck_assert(is_empty("zero"));
}
END_TEST

START_TEST(test_empty_written)
{
    struct image_id id;
    char *command;

    if (!scratch_has("qemu-io"))
        return;
    make_file("base.img", MIB, 0600);
    ck_assert_int_eq(create("o", 100 * 1024 * MIB, &id), 0);
    command = xasprintf("cd %s && qemu-io -f qcow2 -c 'write 99G 64k' o", folder);
    ck_assert_int_eq(scratch_run(command), 0);
    free(command);
    ck_assert(!is_empty("o"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("image");
    TCase *tcase = tcase_create("files");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_create);
    tcase_add_test(tcase, test_half_made);
    tcase_add_test(tcase, test_create_owner);
    tcase_add_test(tcase, test_create_occupied);
    tcase_add_test(tcase, test_create_refused);
    tcase_add_test(tcase, test_create_no_space);
    tcase_add_test(tcase, test_create_qemu);
    tcase_add_test(tcase, test_read_raw);
    tcase_add_test(tcase, test_read_refused);
    tcase_add_test(tcase, test_read_device);
    tcase_add_test(tcase, test_remove);
    tcase_add_loop_test(tcase, test_snapshots, 0, 2);
    tcase_add_loop_test(tcase, test_kept, 0, (int)(sizeof(kept_rows) / sizeof(kept_rows[0])));
    tcase_add_test(tcase, test_empty);
    tcase_add_test(tcase, test_empty_written);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
