/* <domainsnapshot> in and out: what is read, what is kept, and where what changes is written. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "proto/snapvm-errors.h"
#include "xml/domain-xml.h"
#include "xml/snapshot-xml.h"
#include "xml/tree.h"

static struct snapshot_def read_def(const char *xml)
{
    struct snapshot_def def;
    struct error err = {0};

    ck_assert_msg(snapshot_xml_read(xml, strlen(xml), false, &def, &err) == 0, "%s", err.message);
    return def;
}

/* --- states --- */

static const struct state_row {
    const char *word, *state, *memory, *written;
} state_rows[] = {
    {"running", "running", "internal", "running"},
    {"running", "running", "no", "running"},
    {"disk-snapshot", "running", "no", "disk-snapshot"},
    {"paused", "paused", "no", "paused"},
    {"shutoff", "shutoff", "no", "shutoff"},
    {"crashed", "shutoff", "no", "crashed"},
    {"blocked", "running", "no", "blocked"},
    {"shutdown", "running", "no", "shutdown"},
    {"pmsuspended", "paused", "no", "pmsuspended"},
    {"nostate", "unknown", "no", "nostate"},
};

/* The word that came in goes out again. */
START_TEST(states)
{
    const struct state_row *row = &state_rows[_i];
    _cleanup_free_ char *xml = xasprintf("<domainsnapshot><name>a</name><state>%s</state>"
                                         "<memory snapshot='%s'/></domainsnapshot>",
                                         row->word, row->memory);
    _cleanup_free_ char *want = xasprintf("<state>%s</state>", row->written);
    struct snapshot_def def = read_def(xml);
    _cleanup_free_ char *written = snapshot_xml_write(&def, def.document);

    ck_assert_str_eq(def.state, row->state);
    ck_assert_ptr_nonnull(strstr(written, want));
    snapshot_def_deinit(&def);
}
END_TEST

static const struct new_state_row {
    const char *state, *memory, *written;
} new_state_rows[] = {
    {"running", "no", "<state>disk-snapshot</state>"},
    {"paused", "no", "<state>disk-snapshot</state>"},
    {"running", "external", "<state>running</state>"},
    {"paused", "internal", "<state>paused</state>"},
    {"shutoff", "no", "<state>shutoff</state>"},
    {"unknown", "no", NULL},
    {NULL, "no", NULL},
};

START_TEST(new_states)
{
    const struct new_state_row *row = &new_state_rows[_i];
    struct snapshot_def def = {
        .name = (char *)"a", .state = (char *)row->state, .memory = (char *)row->memory};
    _cleanup_free_ char *written = snapshot_xml_write(&def, NULL);

    ck_assert_ptr_nonnull(strstr(written, row->written ? row->written : "<name>a</name>"));
    ck_assert_int_eq(strstr(written, "<state>") != NULL, row->written != NULL);
}
END_TEST

/* --- the document around it --- */

static const char kept[] = "<domainsnapshot><unknown a='1'/><name>a</name>"
                           "<parent><name>p</name></parent><disks><disk name='vda' type='file'>"
                           "<driver type='qcow2'><metadata_cache><max_size>1</max_size>"
                           "</metadata_cache></driver><source file='/o' index='3'>"
                           "<seclabel model='dac'/></source></disk><disk name='vdb' "
                           "snapshot='no'/></disks><domain><name>d</name></domain>"
                           "<cookie>text<b/></cookie></domainsnapshot>";

START_TEST(changes_are_made_in_place)
{
    struct snapshot_def def = read_def(kept);
    _cleanup_free_ char *written = NULL;

    xstrset(&def.parent, NULL);
    xstrset(&def.description, "1 < 2 \001");
    xstrset(&def.disks[0].file, "/other");
    def.created = 5;
    written = snapshot_xml_write(&def, def.document);
    ck_assert_str_eq(written, "<domainsnapshot>\n"
                              "  <unknown a=\"1\"/>\n"
                              "  <name>a</name>\n"
                              "  <description>1 &lt; 2 ?</description>\n"
                              "  <creationTime>5</creationTime>\n"
                              "  <disks>\n"
                              "    <disk name=\"vda\" type=\"file\" snapshot=\"external\">\n"
                              "      <driver type=\"qcow2\">\n"
                              "        <metadata_cache>\n"
                              "          <max_size>1</max_size>\n"
                              "        </metadata_cache>\n"
                              "      </driver>\n"
                              "      <source file=\"/other\" index=\"3\">\n"
                              "        <seclabel model=\"dac\"/>\n"
                              "      </source>\n"
                              "    </disk>\n"
                              "    <disk name=\"vdb\" snapshot=\"no\"/>\n"
                              "  </disks>\n"
                              "  <domain>\n"
                              "    <name>d</name>\n"
                              "  </domain>\n"
                              "  <active>0</active>\n"
                              "  <cookie>text<b/></cookie>\n"
                              "</domainsnapshot>\n");
    snapshot_def_deinit(&def);
}
END_TEST

START_TEST(disks_come_and_go)
{
    struct snapshot_def def = read_def(kept);
    struct snapshot_def_disk *added;
    _cleanup_free_ char *written = NULL;

    free(def.disks[0].name);
    def.disks[0].name = xstrdup("sda");
    xstrset(&def.disks[1].mode, "manual");
    added = snapshot_def_add_disk(&def);
    *added = (struct snapshot_def_disk){.name = xstrdup("not a target"),
                                        .mode = xstrdup("external"),
                                        .file = xstrdup("/new"),
                                        .format = xstrdup("qcow2"),
                                        .backing = xstrdup("/old")};
    written = snapshot_xml_write(&def, def.document);
    /* The row of the list stays that disk's, whatever it is called. */
    ck_assert_ptr_nonnull(
        strstr(written, "<disk name=\"vda\" type=\"file\" snapshot=\"external\">"));
    ck_assert_ptr_nonnull(strstr(written, "<disk name=\"vdb\" snapshot=\"manual\"/>"));
    ck_assert_ptr_nonnull(
        strstr(written, "<disk name=\"/old\" snapshot=\"external\" type=\"file\">"));
    free(written);
    for (size_t i = 0; i < def.n_disks; i++) {
        free(def.disks[i].name);
        free(def.disks[i].mode);
        free(def.disks[i].file);
        free(def.disks[i].format);
        free(def.disks[i].backing);
    }
    def.n_disks = 0;
    written = snapshot_xml_write(&def, def.document);
    ck_assert_ptr_null(strstr(written, "<disks>"));
    snapshot_def_deinit(&def);
}
END_TEST

static char *map(void *arg _unused_, const char *path)
{
    return strncmp(path, "/a/", 3) == 0 ? xasprintf("/b/%s", path + 3) : NULL;
}

START_TEST(paths_are_mapped)
{
    _cleanup_free_ char *mapped = snapshot_xml_map_paths(
        "<domainsnapshot><memory file='/a/m'/><disks><disk name='/a/d'><source file='/a/d'/></disk>"
        "</disks><domain><memory unit='KiB'>1</memory><devices><disk><source dev='/a/e'/></disk>"
        "<disk><source file='/ab'/></disk></devices></domain></domainsnapshot>",
        map, NULL);

    ck_assert_str_eq(mapped, "<domainsnapshot><memory file=\"/b/m\"/><disks><disk name=\"/a/d\">"
                             "<source file=\"/b/d\"/></disk></disks><domain><memory unit=\"KiB\">1"
                             "</memory><devices><disk><source dev=\"/b/e\"/></disk><disk>"
                             "<source file=\"/ab\"/></disk></devices></domain></domainsnapshot>");
}
END_TEST

START_TEST(described)
{
    _cleanup_(domain_def_deinit) struct domain_def domain = {.name = xstrdup("a & b")};
    struct domain_def_disk *disk = domain_def_add_disk(&domain, "vda", "/i/\"a\".qcow2");
    _cleanup_free_ char *document = NULL;

    disk->format = xstrdup("qcow2");
    disk->read_only = true;
    domain_def_add_disk(&domain, "vdb", "/i/b");
    document = snapshot_xml_describe(&domain, NULL);
    ck_assert_str_eq(document,
                     "<domainsnapshot><domain type=\"qemu\"><name>a &amp; b</name><os><type>hvm"
                     "</type></os><devices><disk type=\"file\" device=\"disk\"><driver "
                     "name=\"qemu\" type=\"qcow2\"/><source file=\"/i/&quot;a&quot;.qcow2\"/>"
                     "<target dev=\"vda\"/><readonly/></disk><disk type=\"file\" device=\"disk\">"
                     "<driver name=\"qemu\"/><source file=\"/i/b\"/><target dev=\"vdb\"/></disk>"
                     "</devices></domain></domainsnapshot>");
}
END_TEST

/* --- refused --- */

static const char *const wrong[] = {
    "",
    "<a",
    "<domain/>",
    "<domainsnapshot xmlns='urn:a'/>",
    "<!DOCTYPE a><domainsnapshot/>",
    "<!DOCTYPE a [<!ENTITY b 'c'>]><domainsnapshot>&b;</domainsnapshot>",
    "<domainsnapshot>&b;</domainsnapshot>",
    "<domainsnapshot/><domainsnapshot/>",
    "<domainsnapshot><creationTime/></domainsnapshot>",
    "<domainsnapshot><creationTime>1s</creationTime></domainsnapshot>",
    "<domainsnapshot><creationTime>9223372036854775807</creationTime></domainsnapshot>",
    "<domainsnapshot><state>asleep</state></domainsnapshot>",
    "<domainsnapshot><memory snapshot='some'/></domainsnapshot>",
    "<domainsnapshot><memory snapshot='no' file='/m'/></domainsnapshot>",
    "<domainsnapshot><memory file='m'/></domainsnapshot>",
    "<domainsnapshot><disks><disk/></disks></domainsnapshot>",
    "<domainsnapshot><disks><disk name='a'/><disk name='a'/></disks></domainsnapshot>",
    "<domainsnapshot><disks><disk name='a' snapshot='odd'/></disks></domainsnapshot>",
    "<domainsnapshot><disks><disk name='a'><source file='b'/></disk></disks></domainsnapshot>",
    "<domainsnapshot><disks><disk name='a'><source file='/b&#10;c'/></disk></disks>"
    "</domainsnapshot>",
    "<domainsnapshot><disks><disk name='a' snapshot='manual'/></disks><domain><devices><disk>"
    "<target dev='a'/><source file='b'/></disk></devices></domain></domainsnapshot>",
};

START_TEST(refused)
{
    struct snapshot_def def;
    struct error err = {0};

    ck_assert_int_eq(snapshot_xml_read(wrong[_i], strlen(wrong[_i]), false, &def, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_INVALID_PARAMS);
    ck_assert_str_eq(error_get(&err, "param"), "xml");
    error_clear(&err);
}
END_TEST

START_TEST(bounds)
{
    _cleanup_free_ char *large = xzalloc(TREE_BYTES + 2), *deep = NULL;
    struct snapshot_def def;
    struct error err = {0};

    memset(large, ' ', TREE_BYTES + 1);
    memcpy(large, "<domainsnapshot/>", 17);
    ck_assert_int_eq(snapshot_xml_read(large, TREE_BYTES + 1, false, &def, &err), -1);
    error_clear(&err);
    ck_assert_int_eq(snapshot_xml_read(large, TREE_BYTES, false, &def, &err), 0);
    snapshot_def_deinit(&def);
    deep = xzalloc(32 + 7 * TREE_DEPTH);
    strcat(deep, "<domainsnapshot>");
    for (int i = 0; i < TREE_DEPTH; i++)
        strcat(deep, "<a>");
    ck_assert_int_eq(snapshot_xml_read(deep, strlen(deep), false, &def, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "deep"));
    error_clear(&err);
}
END_TEST

/* --- the schema --- */

static const struct schema_row {
    bool valid;
    const char *content;
} schema_rows[] = {
    {true, ""},
    {true, "<name>a</name><description/><state>pmsuspended</state><creationTime>0</creationTime>"},
    {true, "<cookie><a/></cookie><domain type='kvm'><any b='c'>d</any></domain><active>1</active>"},
    {true, "<memory file='/m'/>"},
    {true, "<disks><disk name='vda'/><disk name='/b' snapshot='internal'/></disks>"},
    {true, "<disks><disk name='a' type='network'><driver/><source protocol='nbd'/></disk></disks>"},
    {true,
     "<disks><disk name='a' type='block'><source dev='/d'/><driver type='raw'/></disk></disks>"},
    {false, "<name>.a</name>"},
    {false, "<name/>"},
    {false, "<name>a</name><name>b</name>"},
    {false, "<state>asleep</state>"},
    {false, "<creationTime>soon</creationTime>"},
    {false, "<parent>a</parent>"},
    {false, "<memory snapshot='external'/>"},
    {false, "<memory snapshot='internal' file='/m'/>"},
    {false, "<disks><disk name='a' snapshot='no'><driver type='qcow2'/></disk></disks>"},
    {false, "<disks><disk name='a' type='block'><source file='/d'/></disk></disks>"},
    {false, "<disks><disk name='a'><driver type='q cow'/></disk></disks>"},
    {false, "<active>yes</active>"},
    {false, "words"},
};

START_TEST(schema)
{
    const struct schema_row *row = &schema_rows[_i];
    _cleanup_free_ char *xml = xasprintf("<domainsnapshot>%s</domainsnapshot>", row->content);
    struct snapshot_def def = {0};
    struct error err = {0};
    int r = snapshot_xml_read(xml, strlen(xml), true, &def, &err);

    ck_assert_msg((r == 0) == row->valid, "%s: %s", row->content, err.message);
    if (r < 0)
        ck_assert_str_eq(error_get(&err, "param"), "xml");
    error_clear(&err);
    snapshot_def_deinit(&def);
}
END_TEST

#define N(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

int main(void)
{
    Suite *suite = suite_create("snapshot-xml");
    TCase *tcase = tcase_create("xml");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(tcase, states, 0, N(state_rows));
    tcase_add_loop_test(tcase, new_states, 0, N(new_state_rows));
    tcase_add_test(tcase, changes_are_made_in_place);
    tcase_add_test(tcase, disks_come_and_go);
    tcase_add_test(tcase, paths_are_mapped);
    tcase_add_test(tcase, described);
    tcase_add_loop_test(tcase, refused, 0, N(wrong));
    tcase_add_test(tcase, bounds);
    tcase_add_loop_test(tcase, schema, 0, N(schema_rows));
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
