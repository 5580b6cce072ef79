/* The qcow2 header: what is written is what qemu-img would have made, what is read is checked. */
#include <check.h>
#include <endian.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "proto/snapvm-errors.h"
#include "qemu/qcow2.h"
#include "tests/unit/scratch.h"

#define MIB (UINT64_C(1) << 20)
#define TIB (UINT64_C(1) << 40)
#define PIB (UINT64_C(1) << 50)

static const uint64_t sizes[] = {
    0,         512,           513,
    MIB,       64 * MIB,      512 * MIB - 512,
    512 * MIB, 512 * MIB + 1, 512 * MIB + 512,
    4 * TIB,   4 * TIB + 512, 16 * TIB,
    2 * PIB,
};
#define N_SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void write_file(const char *path, const unsigned char *head, const struct qcow2_layout *at)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, head, at->head_size, 0), (ssize_t)at->head_size);
    ck_assert_int_eq(ftruncate(fd, (off_t)at->file_size), 0);
    close(fd);
}

/* What qemu-img tells of an image, without what a name and a disk add to it. */
static json_object *qemu_img_info(const char *path)
{
    char *command = xasprintf("qemu-img info -f qcow2 --output=json %s", path);
    static char text[64 * 1024];
    json_object *value;
    size_t n;
    FILE *pipe = popen(command, "r");

    ck_assert_ptr_nonnull(pipe);
    n = fread(text, 1, sizeof(text) - 1, pipe);
    text[n] = '\0';
    ck_assert_int_eq(pclose(pipe), 0);
    value = json_tokener_parse(text);
    ck_assert_ptr_nonnull(value);
    json_object_object_del(value, "filename");
    json_object_object_del(value, "actual-size");
    json_object_object_del(value, "children");
    free(command);
    return value;
}

START_TEST(test_format_parse)
{
    unsigned char *head;
    struct qcow2_layout layout;
    struct qcow2_header header;
    struct error err = {0};
    uint64_t rounded = (sizes[_i] + 511) / 512 * 512;

    ck_assert_int_eq(qcow2_format(sizes[_i], "/images/base.img", "raw", &head, &layout, &err), 0);
    ck_assert_int_eq(qcow2_parse(head, layout.head_size, &header, &err), 0);
    ck_assert_uint_eq(header.version, 3);
    ck_assert_uint_eq(header.cluster_bits, 16);
    ck_assert_uint_eq(header.virtual_size, rounded);
    ck_assert_uint_eq(header.l1_size, (rounded + 512 * MIB - 1) / (512 * MIB));
    ck_assert_uint_eq(header.incompatible, 0);
    ck_assert_uint_eq(header.n_snapshots, 0);
    ck_assert_str_eq(header.backing, "/images/base.img");
    ck_assert_str_eq(header.backing_format, "raw");
    ck_assert(!header.dirty && !header.corrupt && !header.data_file && !header.encrypted);
    ck_assert_uint_le(header.l1_offset + (uint64_t)header.l1_size * 8, layout.file_size);
    ck_assert_uint_eq(layout.file_size % 65536, 0);
    qcow2_header_deinit(&header);
    free(head);
}
END_TEST

/* Checked and described by qemu-img as its own image of the same size is. */
START_TEST(test_format_qemu_img)
{
    char *folder, *ours, *command;
    unsigned char *head;
    struct qcow2_layout layout;
    struct error err = {0};
    json_object *a, *b;

    if (!scratch_has("qemu-img"))
        return;
    folder = scratch_new();
    ours = xasprintf("%s/o.qcow2", folder);
    command = xasprintf("cd %s && qemu-img create -f raw b.raw 1M && "
                        "qemu-img create -f qcow2 -F raw -b %s/b.raw t.qcow2 %llu",
                        folder, folder, (unsigned long long)sizes[_i]);
    ck_assert_int_eq(scratch_run(command), 0);
    free(command);
    command = xasprintf("%s/b.raw", folder);
    ck_assert_int_eq(qcow2_format(sizes[_i], command, "raw", &head, &layout, &err), 0);
    free(command);
    write_file(ours, head, &layout);

    command = xasprintf("qemu-img check -f qcow2 %s", ours);
    ck_assert_int_eq(scratch_run(command), 0);
    free(command);
    a = qemu_img_info(ours);
    command = xasprintf("%s/t.qcow2", folder);
    b = qemu_img_info(command);
    ck_assert_msg(json_object_equal(a, b), "ours %s, qemu-img's %s", json_object_get_string(a),
                  json_object_get_string(b));
    json_object_put(a);
    json_object_put(b);
    free(command);
    free(head);
    free(ours);
    scratch_free(folder);
}
END_TEST

/* Guests write into our images by way of QEMU: that has to find every refcount where it should. */
START_TEST(test_format_written)
{
    char *folder, *path, *command;
    unsigned char *head;
    struct qcow2_layout layout;
    struct error err = {0};

    if (!scratch_has("qemu-img") || !scratch_has("qemu-io"))
        return;
    folder = scratch_new();
    path = xasprintf("%s/b.raw", folder);
    ck_assert_int_eq(qcow2_format(16 * TIB, path, "raw", &head, &layout, &err), 0);
    free(path);
    path = xasprintf("%s/o.qcow2", folder);
    write_file(path, head, &layout);
    command = xasprintf("cd %s && qemu-img create -f raw b.raw 1M && qemu-io -f qcow2 -c 'write "
                        "-P 7 0 3M' -c 'write -P 8 16492674416640 1M' -c 'read -P 7 2M 1M' -c "
                        "'read -P 8 16492674416640 1M' -c 'read -P 0 1T 64k' o.qcow2 | "
                        "tee log && ! grep -i fail log && qemu-img check -f qcow2 o.qcow2",
                        folder);
    ck_assert_int_eq(scratch_run(command), 0);
    free(command);
    free(path);
    free(head);
    scratch_free(folder);
}
END_TEST

START_TEST(test_format_bounds)
{
    static char name[1025];
    unsigned char *head;
    struct qcow2_layout layout;
    struct qcow2_header header;
    struct error err = {0};

    memset(name, 'n', 1024);
    ck_assert_int_eq(qcow2_format(512, name, "raw", &head, &layout, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_INVALID_PARAMS);
    ck_assert_str_eq(error_get(&err, "param"), "backing");
    ck_assert_int_eq(qcow2_format(512, "", "raw", &head, &layout, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_INVALID_PARAMS);
    ck_assert_int_eq(qcow2_format(512, "/b", "", &head, &layout, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_INVALID_PARAMS);
    ck_assert_int_eq(qcow2_format(512, "/b", "0123456789abcdef", &head, &layout, &err), -1);
    ck_assert_str_eq(error_get(&err, "param"), "format");
    ck_assert_int_eq(qcow2_format(2 * PIB + 1, "/b", "raw", &head, &layout, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_IMAGE);
    ck_assert_int_eq(qcow2_format(UINT64_MAX, "/b", "raw", &head, &layout, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_IMAGE);
    error_clear(&err);

    name[1023] = '\0';
    ck_assert_int_eq(qcow2_format(512, name, "0123456789abcde", &head, &layout, &err), 0);
    ck_assert_int_eq(qcow2_parse(head, layout.head_size, &header, &err), 0);
    ck_assert_str_eq(header.backing, name);
    ck_assert_str_eq(header.backing_format, "0123456789abcde");
    qcow2_header_deinit(&header);
    free(head);
}
END_TEST

/* One field of a good header made wrong. */
static const struct {
    size_t at;
    unsigned bytes;
    uint64_t value;
    const char *reason;
} faults[] = {
    {0, 4, 0x514649fa, "not a qcow2 image"},
    {4, 4, 0, "unknown version"},
    {4, 4, 4, "unknown version"},
    {8, 8, 100, "inside the header"},
    {8, 8, 65536, "name is out of range"},
    {8, 8, 65532, "name is out of range"},
    {8, 8, UINT64_MAX, "name is out of range"},
    {16, 4, 1024, "name is out of range"},
    {16, 4, UINT32_MAX, "name is out of range"},
    {20, 4, 8, "size of the clusters"},
    {20, 4, 22, "size of the clusters"},
    {20, 4, UINT32_MAX, "size of the clusters"},
    {24, 8, UINT64_MAX, "size of the disk"},
    {24, 8, 512 * MIB + 1, "too small for the disk"},
    {36, 4, 0, "too small for the disk"},
    {36, 4, 4 * 1024 * 1024 + 1, "too large"},
    {36, 4, UINT32_MAX, "too large"},
    {40, 8, 0, "over the header"},
    {40, 8, 3 * 65536 + 8, "wrong place"},
    {40, 8, UINT64_MAX - 65535, "wrong place"},
    {72, 8, 32, "not known here"},
    {72, 8, UINT64_C(1) << 63, "not known here"},
    {96, 4, 7, "reference counts"},
    {100, 4, 72, "length of the header"},
    {100, 4, 108, "length of the header"},
    {100, 4, 65544, "length of the header"},
    {100, 4, UINT32_MAX, "length of the header"},
    {116, 4, UINT32_MAX, "reaches out of it"},
    {116, 4, 17, "reaches out of it"},
    {116, 4, 16, "backing format is out of range"},
    {116, 4, 0, "backing format is out of range"},
    {120, 1, 0, "backing format is no text"},
    {137, 1, 0, "name is no text"},
};

START_TEST(test_parse_fault)
{
    unsigned char *head, value[8];
    struct qcow2_layout layout;
    struct qcow2_header header;
    struct error err = {0};
    uint64_t big = htobe64(faults[_i].value << (64 - 8 * faults[_i].bytes));

    memcpy(value, &big, sizeof(value));
    ck_assert_int_eq(qcow2_format(512 * MIB, "/base", "raw", &head, &layout, &err), 0);
    memcpy(head + faults[_i].at, value, faults[_i].bytes);
    ck_assert_int_eq(qcow2_parse(head, 65536, &header, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_IMAGE);
    ck_assert_msg(strstr(error_get(&err, "reason"), faults[_i].reason) != NULL,
                  "field at %zu: '%s' instead of '%s'", faults[_i].at, error_get(&err, "reason"),
                  faults[_i].reason);
    error_clear(&err);
    free(head);
}
END_TEST

/* A header cut off anywhere is refused or whole, and never read behind its end. */
START_TEST(test_parse_cut)
{
    unsigned char *head;
    struct qcow2_layout layout;
    struct error err = {0};

    ck_assert_int_eq(qcow2_format(MIB, "/base", "raw", &head, &layout, &err), 0);
    for (size_t size = 0; size < 200; size++) {
        unsigned char *cut = xmemdup(head, size);
        struct qcow2_header header;
        int r = qcow2_parse(cut, size, &header, &err);

        ck_assert_int_eq(r, size < 141 ? -1 : 0);
        if (r == 0) {
            ck_assert_str_eq(header.backing, "/base");
            qcow2_header_deinit(&header);
        }
        free(cut);
    }
    error_clear(&err);
    free(head);
}
END_TEST

static const struct {
    const char *options;
    uint32_t version, cluster_bits;
    bool data_file;
    const char *backing, *format;
} variants[] = {
    {"", 3, 16, false, NULL, NULL},
    {"-o compat=0.10", 2, 16, false, NULL, NULL},
    {"-o compat=0.10 -b b.raw -F raw", 2, 16, false, "b.raw", "raw"},
    {"-o cluster_size=512", 3, 9, false, NULL, NULL},
    {"-o cluster_size=2M", 3, 21, false, NULL, NULL},
    {"-o cluster_size=2M,extended_l2=on -b b.raw -F raw", 3, 21, false, "b.raw", "raw"},
    {"-o cluster_size=16k,extended_l2=on", 3, 14, false, NULL, NULL},
    {"-o refcount_bits=64,lazy_refcounts=on", 3, 16, false, NULL, NULL},
    {"-o data_file=d.raw", 3, 16, true, NULL, NULL},
    {"-o compression_type=zstd", 3, 16, false, NULL, NULL},
};

START_TEST(test_parse_variant)
{
    char *folder, *command, *path;
    static unsigned char data[65536];
    struct qcow2_header header;
    struct error err = {0};
    ssize_t n;
    int fd;

    if (!scratch_has("qemu-img"))
        return;
    folder = scratch_new();
    command = xasprintf("cd %s && qemu-img create -f raw b.raw 1M && "
                        "qemu-img create -f qcow2 %s t.qcow2 1000M",
                        folder, variants[_i].options);
    path = xasprintf("%s/t.qcow2", folder);
    if (scratch_run(command) != 0) {
        printf("SKIP: this qemu-img cannot create with %s\n", variants[_i].options);
    } else {
        fd = open(path, O_RDONLY | O_CLOEXEC);
        n = read(fd, data, sizeof(data));
        close(fd);
        ck_assert_msg(qcow2_parse(data, (size_t)n, &header, &err) == 0, "%s", err.message);
        ck_assert_uint_eq(header.version, variants[_i].version);
        ck_assert_uint_eq(header.cluster_bits, variants[_i].cluster_bits);
        ck_assert_uint_eq(header.virtual_size, 1000 * MIB);
        ck_assert_int_eq(header.data_file, variants[_i].data_file);
        ck_assert_pstr_eq(header.backing, variants[_i].backing);
        ck_assert_pstr_eq(header.backing_format, variants[_i].format);
        qcow2_header_deinit(&header);
    }
    free(path);
    free(command);
    scratch_free(folder);
}
END_TEST

START_TEST(test_parse_flags)
{
    unsigned char *head;
    struct qcow2_layout layout;
    struct qcow2_header header;
    struct error err = {0};

    ck_assert_int_eq(qcow2_format(MIB, "/base", "raw", &head, &layout, &err), 0);
    head[79] = 7;
    head[35] = 2;
    head[63] = 5;
    ck_assert_int_eq(qcow2_parse(head, 65536, &header, &err), 0);
    ck_assert(header.dirty && header.corrupt && header.data_file && header.encrypted);
    ck_assert_uint_eq(header.n_snapshots, 5);
    qcow2_header_deinit(&header);
    free(head);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("qcow2");
    TCase *format = tcase_create("format"), *parse = tcase_create("parse");
    SRunner *runner;
    int failed;

    tcase_set_timeout(format, 60);
    tcase_set_timeout(parse, 60);
    tcase_add_loop_test(format, test_format_parse, 0, N_SIZES);
    tcase_add_loop_test(format, test_format_qemu_img, 0, N_SIZES);
    tcase_add_test(format, test_format_written);
    tcase_add_test(format, test_format_bounds);
    tcase_add_loop_test(parse, test_parse_fault, 0, sizeof(faults) / sizeof(faults[0]));
    tcase_add_test(parse, test_parse_cut);
    tcase_add_loop_test(parse, test_parse_variant, 0, sizeof(variants) / sizeof(variants[0]));
    tcase_add_test(parse, test_parse_flags);
    suite_add_tcase(suite, format);
    suite_add_tcase(suite, parse);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
