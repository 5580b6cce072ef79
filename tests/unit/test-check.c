/* Headers of a chain against what is known of it, images that several disks use, what is left over
 * in QEMU's graph, and checks as they are asked for. */
#include "job/check.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "domain/snapshot.h"
#include "job/check-chain.h"
#include "job/check-graph.h"
#include "job/finding.h"
#include "proto/limits.h"
#include "proto/snapvm-errors.h"
#include "qemu/qcow2.h"
#include "tests/unit/domain-fixture.h"
#include "tests/unit/scratch.h"

#define N(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))
#define SIZE (1 << 20)

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

/* --- chains: top, middle and base in a folder of their own --- */

static struct {
    char *folder, *top, *middle, *base;
    struct check_chain chain;
    struct findings findings;
} its;

static char *in_folder(const char *name)
{
    return xasprintf("%s/%s", its.folder, name);
}

/* An image whose header says just that; format NULL leaves it out. */
static void put_image(const char *path, int64_t size, const char *backing, const char *format)
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

static void put_raw(const char *path, int64_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert_int_eq(ftruncate(fd, size), 0);
    close(fd);
}

static void chain_setup(void)
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

static void chain_teardown(void)
{
    check_chain_deinit(&its.chain);
    findings_deinit(&its.findings);
    free(its.top);
    free(its.middle);
    free(its.base);
    scratch_free(its.folder);
}

static void add_all(void)
{
    check_chain_add(&its.chain, its.top, "qcow2");
    check_chain_add(&its.chain, its.middle, "qcow2");
    check_chain_add(&its.chain, its.base, "raw");
}

/* The kinds found, in their order, with the level's first letter before each. */
static char *kinds(const struct findings *findings)
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

static void expect(const char *expected)
{
    _cleanup_free_ char *text = NULL;

    check_chain_run(&its.chain, &its.findings);
    text = kinds(&its.findings);
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

/* --- the graph --- */

static void graph(struct domain *domain, const char *expected)
{
    struct findings findings = {0};
    _cleanup_free_ char *text = NULL;

    check_graph_run(domain, &findings);
    text = kinds(&findings);
    ck_assert_str_eq(text, expected);
    findings_deinit(&findings);
}

static const struct job_row {
    const char *id;
    enum view_job_status status;
    const char *found;
} job_rows[] = {
    {"snapvm-17-vda", VIEW_JOB_PENDING, ""}, /* of the job that is active */
    {"snapvm-18-vda", VIEW_JOB_RUNNING, "w:leftover-job"},
    {"snapvm-18-vda", VIEW_JOB_PENDING, "e:leftover-job"},
    {"snapvm-18-vda", VIEW_JOB_CONCLUDED, "w:leftover-job"},
    {"snapvm-18-vda", VIEW_JOB_NONE, ""}, /* its last event */
    {"snapvm-x", VIEW_JOB_PENDING, "w:unowned-job"},
    {"snapvm-17", VIEW_JOB_CONCLUDED, "w:unowned-job"},
    {"nightly", VIEW_JOB_RUNNING, ""},
    {"nightly", VIEW_JOB_READY, ""},
    {"nightly", VIEW_JOB_PENDING, "w:unowned-job"},
    {"nightly", VIEW_JOB_CONCLUDED, "w:unowned-job"},
};

static const struct node_row {
    const char *name, *driver, *found;
} node_rows[] = {
    {"snapvm-17-vda", "qcow2", ""}, /* an overlay of the active job, not on its disk yet */
    {"snapvm-18-vda", "qcow2", "w:leftover-node"},
    {"snapvm-3-vda", "qcow2", ""}, /* in the disk's chain, since job 3 ended */
    {"merged", "qcow2", ""},
    {"snapvm-2-vda", "qcow2", ""}, /* left by the active job a moment ago */
    {"#block017", "file", ""},
};

/* A disk on a layer that job 3 made, and job 17 that merges one that job 2 made. */
static struct job *graph_scene(struct stage *stage, struct domain **ret_domain)
{
    struct view *view;
    struct job *job;
    struct record_disk *disk;

    stage_init(stage);
    stage_add_engine(stage);
    *ret_domain = stage_domain(stage, "web");
    job = stage_job(stage, *ret_domain, "commit", 17);
    stage_image(job, "vda", "top", "/i/two", "snapvm-2-vda");
    view = stage_view(*ret_domain);
    see_node(view, "snapvm-3-vda", "qcow2", NULL, "/i/three");
    see_disk(view, "snapvm-3-vda", "vda", NULL);
    disk = record_domain_add_disk(&(*ret_domain)->record, "vda");
    disk->qdev = xstrdup("vda");
    return job;
}

START_TEST(jobs_have_an_owner)
{
    struct stage stage;
    struct domain *domain;
    struct job *job = graph_scene(&stage, &domain);

    see_job(domain->view, job_rows[_i].id, job_rows[_i].status);
    graph(domain, job_rows[_i].found);
    stage_drop_job(job);
    stage_deinit(&stage);
}
END_TEST

START_TEST(nodes_have_an_owner)
{
    struct stage stage;
    struct domain *domain;
    struct job *job = graph_scene(&stage, &domain);

    if (!view_node(domain->view, node_rows[_i].name))
        see_node(domain->view, node_rows[_i].name, node_rows[_i].driver, NULL, "/i/x");
    graph(domain, node_rows[_i].found);
    stage_drop_job(job);
    stage_deinit(&stage);
}
END_TEST

START_TEST(disks_that_are_not_there)
{
    struct stage stage;
    struct domain *domain;
    struct job *job = graph_scene(&stage, &domain);
    struct record_disk *disk = record_domain_add_disk(&domain->record, "cdrom");

    disk->qdev = xstrdup("cd0");
    graph(domain, "i:disk-absent");
    see_disk(domain->view, NULL, "cd0", NULL); /* without a medium */
    graph(domain, "");
    stage_drop_job(job);
    stage_deinit(&stage);
}
END_TEST

static TCase *graph_case(void)
{
    TCase *tcase = tcase_create("graph");

    tcase_add_loop_test(tcase, jobs_have_an_owner, 0, N(job_rows));
    tcase_add_loop_test(tcase, nodes_have_an_owner, 0, N(node_rows));
    tcase_add_test(tcase, disks_that_are_not_there);
    return tcase;
}

/* --- whole checks, of guests that are shut off --- */

struct answer {
    unsigned n;
    char *kinds;
    int error;
};

static void answered(void *arg, const struct findings *findings, const struct error *err)
{
    struct answer *answer = arg;

    answer->n++;
    answer->error = err ? err->code : 0;
    answer->kinds = err ? xstrdup("") : kinds(findings);
}

static void expect_check(struct stage *stage, struct domain *domain, const char *expected)
{
    struct answer answer = {0};

    check_domain(stage->engine, domain, answered, &answer);
    STAGE_UNTIL(stage, answer.n);
    ck_assert_int_eq(answer.error, 0);
    ck_assert_str_eq(answer.kinds, expected);
    free(answer.kinds);
}

static struct domain *domain_on(struct stage *stage, const char *name, const char *file,
                                const char *format)
{
    struct domain *domain = stage_domain(stage, name);

    record_disk_add_layer(record_domain_add_disk(&domain->record, "vda"), file, format);
    return domain;
}

START_TEST(shared_images)
{
    struct stage stage;
    struct domain *web, *db, *twin;
    _cleanup_free_ char *same = in_folder("same"), *other = in_folder("other");

    stage_init(&stage);
    stage_add_engine(&stage);
    web = domain_on(&stage, "web", its.top, "qcow2");
    expect_check(&stage, web, "");
    put_image(other, SIZE, its.base, "raw");
    db = domain_on(&stage, "db", other, "qcow2");
    expect_check(&stage, web, "i:image-shared"); /* the base */
    expect_check(&stage, db, "i:image-shared");
    ck_assert_int_eq(link(its.top, same), 0);
    twin = domain_on(&stage, "twin", same, "qcow2");
    /* The top, and the base with the other one. */
    expect_check(&stage, twin, "e:image-shared i:image-shared");
    expect_check(&stage, web, "e:image-shared i:image-shared");
    twin->record.disks[0].read_only = web->record.disks[0].read_only = true;
    expect_check(&stage, twin, "i:image-shared i:image-shared");
    stage_deinit(&stage);
}
END_TEST

static void add_snapshot(struct domain *domain, const char *file, const char *backing)
{
    struct record_snapshot record = {.domain = xstrdup(domain->record.name),
                                     .name = xstrdup("before")};
    struct record_snapshot_disk *disk = record_snapshot_add_disk(&record, "vda");

    disk->file = xstrdup(file);
    disk->backing = xstrdup(backing);
    snapshot_add(domain, &record);
}

START_TEST(snapshots_without_files)
{
    struct stage stage;
    struct domain *web;

    stage_init(&stage);
    stage_add_engine(&stage);
    web = domain_on(&stage, "web", its.top, "qcow2");
    add_snapshot(web, its.top, its.middle);
    expect_check(&stage, web, "");
    add_snapshot(web, "/nowhere/over", its.middle);
    expect_check(&stage, web, "w:snapshot-gone");
    add_snapshot(web, its.top, "/nowhere/base");
    expect_check(&stage, web, "e:snapshot-gone w:snapshot-gone");
    stage_deinit(&stage);
}
END_TEST

START_TEST(a_domain_that_goes_away)
{
    struct stage stage;
    struct domain *web;
    struct answer answer = {0};

    stage_init(&stage);
    stage_add_engine(&stage);
    web = domain_on(&stage, "web", its.top, "qcow2");
    check_domain(stage.engine, web, answered, &answer);
    domains_remove(stage.domains, web);
    STAGE_UNTIL(&stage, answer.n);
    ck_assert_int_eq(answer.error, SNAPVM_ERROR_NOT_FOUND);
    free(answer.kinds);

    answer = (struct answer){0};
    web = domain_on(&stage, "web", its.top, "qcow2");
    stage_view(web); /* connected, so that it waits for a view */
    check_domain(stage.engine, web, answered, &answer);
    ck_assert_uint_eq(answer.n, 0);
    check_forget(stage.engine, web);
    ck_assert_uint_eq(answer.n, 1);
    ck_assert_int_eq(answer.error, SNAPVM_ERROR_NOT_FOUND);
    free(answer.kinds);
    web->connected = false;
    check_domain(stage.engine, web, answered, &answer); /* dropped with the engine */
    stage_deinit(&stage);
}
END_TEST

static TCase *whole_case(void)
{
    TCase *tcase = tcase_create("whole");

    tcase_add_checked_fixture(tcase, chain_setup, chain_teardown);
    tcase_add_test(tcase, shared_images);
    tcase_add_test(tcase, snapshots_without_files);
    tcase_add_test(tcase, a_domain_that_goes_away);
    return tcase;
}

int main(void)
{
    static TCase *(*const cases[])(void) = {chain_case, graph_case, whole_case};

    return stage_main("check", cases, N(cases));
}
