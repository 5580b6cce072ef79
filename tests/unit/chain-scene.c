#include "tests/unit/chain-scene.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "qemu/qcow2.h"
#include "tests/unit/scratch.h"

struct chain_scene its;

char *in_folder(const char *name)
{
    return xasprintf("%s/%s", its.folder, name);
}

void put_image(const char *path, int64_t size, const char *backing, const char *format)
{
    _cleanup_free_ unsigned char *head = NULL;
    struct qcow2_layout layout;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert_int_eq(qcow2_format((uint64_t)size, backing ? backing : "none",
                                  format ? format : "none", &head, &layout, NULL),
                     0);
    if (!backing)
        memset(head + 8, 0, 12); /* offset and length of the name */
    if (!format)
        memset(head + 112, 0x11, 4); /* the type of the first extension */
    ck_assert_int_eq(pwrite(fd, head, layout.head_size, 0), (ssize_t)layout.head_size);
    ck_assert_int_eq(ftruncate(fd, (off_t)layout.file_size), 0);
    close(fd);
}

void put_raw(const char *path, int64_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert_int_eq(ftruncate(fd, size), 0);
    close(fd);
}

void chain_setup(void)
{
    memset(&its, 0, sizeof(its));
    its.folder = scratch_new();
    its.top = in_folder("top");
    its.middle = in_folder("middle");
    its.base = in_folder("base");
    put_raw(its.base, SIZE);
    put_image(its.middle, SIZE, its.base, "raw");
    put_image(its.top, SIZE, its.middle, "qcow2");
    its.chain = (struct check_chain){
        .domain = xstrdup("web"),
        .target = xstrdup("vda"),
        .root = xstrdup(""),
        .known = true,
        .own = true,
    };
}

void chain_teardown(void)
{
    check_chain_deinit(&its.chain);
    findings_deinit(&its.findings);
    free(its.top);
    free(its.middle);
    free(its.base);
    scratch_free(its.folder);
}

char *finding_kinds(const struct findings *findings)
{
    char *text = xstrdup("");

    for (unsigned i = 0; i < findings->n; i++) {
        char *longer = xasprintf("%s%s%c:%s", text, i ? " " : "",
                                 finding_level_name(findings->list[i].level)[0],
                                 findings->list[i].kind);

        ck_assert_ptr_nonnull(findings->list[i].what);
        ck_assert_ptr_nonnull(findings->list[i].repair);
        free(text);
        text = longer;
    }
    return text;
}
