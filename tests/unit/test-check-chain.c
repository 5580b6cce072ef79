/* Headers of a chain against what is known of it, and the repairs that a person types. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "proto/limits.h"
#include "tests/unit/chain-scene.h"
#include "tests/unit/domain-fixture.h"

/* --- words --- */

static const struct word_row {
    const char *text, *word;
} word_rows[] = {
    {"/srv/images/web.qcow2", "/srv/images/web.qcow2"},
    {"", "''"},
    {"two words", "'two words'"},
    {"it's", "'it'\\''s'"},
    {"$(reboot)", "'$(reboot)'"},
    {"-b;x", "'-b;x'"},
    {"a\nb", "$'a\\012b'"},
    {"\033]0;\\'", "$'\\033]0;\\\\\\''"},
};

START_TEST(words_are_safe_for_a_shell)
{
    _cleanup_free_ char *word = finding_word(word_rows[_i].text);

    ck_assert_str_eq(word, word_rows[_i].word);
}
END_TEST

/* --- chains --- */

static void add_all(void)
{
    check_chain_add(&its.chain, its.top, "qcow2");
    check_chain_add(&its.chain, its.middle, "qcow2");
    check_chain_add(&its.chain, its.base, "raw");
}

static void expect(const char *expected)
{
    _cleanup_free_ char *text = NULL;

    check_chain_run(&its.chain, &its.findings);
    text = finding_kinds(&its.findings);
    ck_assert_str_eq(text, expected);
}

START_TEST(a_right_chain_is_silent)
{
    add_all();
    expect("");
    for (int i = 0; i < 3; i++)
        ck_assert(its.chain.layers[i].there && its.chain.layers[i].read);
}
END_TEST

/* What is written over the top: a name ("%" stands for the folder), a format, a size. */
static const struct header_row {
    const char *backing, *format;
    int64_t size;
    const char *found, *busy; /* the same while a job is on the disk */
} header_rows[] = {
    {"%/middle", "qcow2", SIZE, "", ""},
    {"middle", "qcow2", SIZE, "", ""},
    {"file:%/middle", "qcow2", SIZE, "", ""},
    {"./../%name/middle", "qcow2", SIZE, "", ""},
    {"%/link", "qcow2", SIZE, "", ""},
    {"%/middle", NULL, SIZE, "w:backing-format-missing", ""},
    {"%/middle", "raw", SIZE, "e:backing-format-wrong", ""},
    {"%/middle", "qcow2", SIZE / 2, "e:overlay-smaller", "e:overlay-smaller"},
    {"%/middle", "qcow2", SIZE * 2, "", ""},
    {NULL, NULL, SIZE, "e:backing-none", ""},
    {"%/base", "raw", SIZE, "e:backing-other", ""},
    {"%/stranger", "raw", SIZE, "e:backing-other", "e:backing-other"},
    {"%/nowhere", "raw", SIZE, "e:backing-missing", "e:backing-missing"},
    {"sub/middle", "qcow2", SIZE, "e:backing-relative", "e:backing-relative"},
    {"%/top", "qcow2", SIZE, "e:backing-loop", "e:backing-loop"},
    {"json:{\"driver\":\"qcow2\"}", "qcow2", SIZE, "w:backing-other", "w:backing-other"},
    {"nbd:localhost:10809", "raw", SIZE, "w:backing-other", "w:backing-other"},
    {"/dev/null", "raw", SIZE, "e:backing-other", "e:backing-other"},
};

static char *spelled(const char *backing)
{
    const char *mark = backing ? strchr(backing, '%') : NULL;
    const char *name = strrchr(its.folder, '/') + 1;

    if (!mark)
        return xstrdup(backing);
    if (strncmp(mark, "%name", 5) == 0)
        return xasprintf("%.*s%s%s", (int)(mark - backing), backing, name, mark + 5);
    return xasprintf("%.*s%s%s", (int)(mark - backing), backing, its.folder, mark + 1);
}

START_TEST(headers)
{
    const struct header_row *row = &header_rows[_i / 2];
    _cleanup_free_ char *backing = spelled(row->backing), *link = in_folder("link");
    _cleanup_free_ char *stranger = in_folder("stranger");

    ck_assert_int_eq(symlink(its.middle, link), 0);
    put_raw(stranger, SIZE);
    put_image(its.top, row->size, backing, row->format);
    its.chain.busy = _i % 2;
    add_all();
    expect(_i % 2 ? row->busy : row->found);
    if (its.findings.n) {
        ck_assert_str_eq(its.findings.list[0].file, its.top);
        ck_assert_str_eq(its.findings.list[0].disk, "vda");
    }
}
END_TEST

START_TEST(repairs_wait_for_a_running_guest)
{
    _cleanup_free_ char *command =
        xasprintf("qemu-img rebase -f qcow2 -u -F qcow2 -b %s %s", its.middle, its.top);
    _cleanup_free_ char *later = xasprintf("once the guest is shut off: %s", command);

    put_image(its.top, SIZE, NULL, NULL);
    its.chain.running = _i;
    add_all();
    expect("e:backing-none");
    ck_assert_str_eq(its.findings.list[0].repair, _i ? later : command);
}
END_TEST

START_TEST(the_bottom_names_more)
{
    put_image(its.base, SIZE, its.top, "qcow2");
    put_image(its.middle, SIZE, its.base, "qcow2");
    check_chain_add(&its.chain, its.top, "qcow2");
    check_chain_add(&its.chain, its.middle, "qcow2");
    check_chain_add(&its.chain, its.base, "qcow2");
    expect("e:backing-loop");
    ck_assert_str_eq(its.findings.list[0].file, its.base);
}
END_TEST

START_TEST(files_that_are_not_images)
{
    _cleanup_free_ char *fifo = in_folder("fifo");

    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    check_chain_add(&its.chain, fifo, "qcow2");
    check_chain_add(&its.chain, "/nowhere/at-all", "qcow2");
    check_chain_add(&its.chain, its.base, "qcow2");
    check_chain_add(&its.chain, "/dev/null", "raw");
    check_chain_add(&its.chain, "json:{}", "qcow2");
    check_chain_add(&its.chain, its.base, NULL);
    check_chain_add(&its.chain, its.base, "vmdk");
    expect("e:image-unreadable e:image-missing e:image-unreadable e:image-unreadable "
           "i:format-unknown");
}
END_TEST

START_TEST(corrupt_images)
{
    int fd = open(its.top, O_RDWR | O_CLOEXEC);

    ck_assert_int_eq(pwrite(fd, "\2", 1, 79), 1); /* the second incompatible feature */
    close(fd);
    add_all();
    expect("e:image-corrupt");
}
END_TEST

/* --- chains that nobody knows --- */

START_TEST(headers_are_followed)
{
    its.chain.known = false;
    check_chain_add(&its.chain, its.top, "qcow2");
    expect("");
    ck_assert_uint_eq(its.chain.n_layers, 3);
    ck_assert_str_eq(its.chain.layers[2].file, its.base);
    ck_assert_str_eq(its.chain.layers[2].format, "raw");
}
END_TEST

static const struct follow_row {
    const char *backing, *format, *found;
    unsigned layers;
} follow_rows[] = {
    {"%/base", NULL, "e:backing-format-missing", 2},
    {"%/nowhere", "raw", "e:backing-missing", 2},
    {"%/top", "qcow2", "e:backing-loop", 2},
    {"%/middle", "qcow2", "e:backing-loop", 2},
    {"nbd:localhost:10809", "raw", "w:backing-other", 2},
    {"/dev/zero", "raw", "e:image-unreadable", 3},
    {NULL, NULL, "", 2},
};

START_TEST(headers_are_followed_with_care)
{
    const struct follow_row *row = &follow_rows[_i];
    _cleanup_free_ char *backing = spelled(row->backing);

    put_image(its.middle, SIZE, backing, row->format);
    its.chain.known = false;
    check_chain_add(&its.chain, its.top, "qcow2");
    expect(row->found);
    ck_assert_uint_eq(its.chain.n_layers, row->layers);
}
END_TEST

START_TEST(chains_have_a_bound)
{
    char *below = xstrdup(its.base);

    for (int i = 0; i <= LIMIT_CHAIN_LAYERS; i++) {
        _cleanup_free_ char *name = xasprintf("layer-%d", i);
        char *path = in_folder(name);

        put_image(path, SIZE, below, i ? "qcow2" : "raw");
        free(below);
        below = path;
    }
    its.chain.known = false;
    check_chain_add(&its.chain, below, "qcow2");
    expect("w:chain-too-long");
    free(below);
}
END_TEST

static TCase *chain_case(void)
{
    TCase *tcase = tcase_create("chain");

    tcase_add_checked_fixture(tcase, chain_setup, chain_teardown);
    tcase_add_loop_test(tcase, words_are_safe_for_a_shell, 0, N(word_rows));
    tcase_add_test(tcase, a_right_chain_is_silent);
    tcase_add_loop_test(tcase, headers, 0, 2 * N(header_rows));
    tcase_add_loop_test(tcase, repairs_wait_for_a_running_guest, 0, 2);
    tcase_add_test(tcase, the_bottom_names_more);
    tcase_add_test(tcase, files_that_are_not_images);
    tcase_add_test(tcase, corrupt_images);
    tcase_add_test(tcase, headers_are_followed);
    tcase_add_loop_test(tcase, headers_are_followed_with_care, 0, N(follow_rows));
    tcase_add_test(tcase, chains_have_a_bound);
    return tcase;
}

int main(void)
{
    static TCase *(*const cases[])(void) = {chain_case};

    return stage_main("check-chain", cases, N(cases));
}
