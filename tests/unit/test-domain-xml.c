/* libvirt's <domain>: what is taken from it, what is left out, and what is refused. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "proto/snapvm-errors.h"
#include "xml/domain-xml.h"
#include "xml/tree.h"

static int read_text(const char *xml, struct domain_def *ret_def, struct error *err)
{
    return domain_xml_read(xml, strlen(xml), ret_def, err);
}

static const char whole[] =
    "<?xml version='1.0' encoding='ISO-8859-1'?>\n"
    "<domain type='kvm' id='3' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"
    "  <!-- a comment -->\n"
    "  <name>web &amp; mail</name>\n"
    "  <uuid>4DEA24B3-1D52-d8f3-2516-782e98a23fa0</uuid>\n"
    "  <metadata><name>other</name></metadata>\n"
    "  <devices>\n"
    "    <disk type='file' device='disk'>\n"
    "      <driver name='qemu' type='qcow2' cache='none'/>\n"
    "      <mirror type='file' job='copy'><source file='/images/mirror.qcow2'/></mirror>\n"
    "      <backingStore type='file'><format type='raw'/><source file='/images/base.raw'/>"
    "</backingStore>\n"
    "      <source file='/images/web &lt;1&gt;.qcow2' index='1'/>\n"
    "      <target dev='vda' bus='virtio'/>\n"
    "    </disk>\n"
    "    <disk type='block'><source dev='/dev/vg/lv'/><target dev='vdb'/></disk>\n"
    "    <disk type='file' device='cdrom'><target dev='hda'/><readonly/></disk>\n"
    "    <disk type='file' device='cdrom'><source file='/iso/a.iso'/><target dev='hdb'/></disk>\n"
    "    <disk type='file' device='floppy'><target dev='fda'/></disk>\n"
    "    <disk type='file'><driver type='raw'/><source file='/ro'/><target dev='sda'/>"
    "<readonly/></disk>\n"
    "    <disk type='network'><source protocol='rbd' name='p/i'/><target dev='vdc'/></disk>\n"
    "    <disk type='block' device='lun'><source dev='/dev/sdx'/><target dev='sdb'/></disk>\n"
    "    <channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>\n"
    "    <channel type='unix'><source mode='bind' path='/run/other'/>"
    "<target type='virtio' name='org.other.0'/></channel>\n"
    "    <channel type='unix'><source mode='bind' path='/run/agent.sock'/>"
    "<target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>\n"
    "  </devices>\n"
    "  <qemu:commandline>\n"
    "    <qemu:env name='-qmp' value='-qmp'/>\n"
    "    <qemu:arg value='-qmp'/>\n"
    "    <qemu:arg value='tcp:localhost:4444'/>\n"
    "    <qemu:arg value='-qmp'/>\n"
    "    <qemu:arg value='unix:/run/a,,b.sock,server=on,wait=off'/>\n"
    "    <qemu:arg value='-qmp'/>\n"
    "    <qemu:arg value='unix:/run/second.sock'/>\n"
    "  </qemu:commandline>\n"
    "</domain>\n";

static void assert_disk(const struct domain_def_disk *disk, const char *target, const char *file,
                        const char *format, bool read_only)
{
    ck_assert_str_eq(disk->target, target);
    ck_assert_str_eq(disk->file, file);
    ck_assert_str_eq(disk->format, format);
    ck_assert_ptr_null(disk->node);
    ck_assert(disk->read_only == read_only);
}

START_TEST(test_whole)
{
    _cleanup_(domain_def_deinit) struct domain_def def = {0};
    _cleanup_error_ struct error err = {0};

    ck_assert_msg(read_text(whole, &def, &err) == 0, "%s", err.message);
    ck_assert_str_eq(def.name, "web & mail");
    ck_assert_str_eq(def.uuid, "4dea24b3-1d52-d8f3-2516-782e98a23fa0");
    ck_assert_str_eq(def.qmp, "/run/a,b.sock");
    ck_assert_str_eq(def.agent, "/run/agent.sock");
    ck_assert_uint_eq(def.n_disks, 4);
    assert_disk(&def.disks[0], "vda", "/images/web <1>.qcow2", "qcow2", false);
    assert_disk(&def.disks[1], "vdb", "/dev/vg/lv", "raw", false);
    assert_disk(&def.disks[2], "hdb", "/iso/a.iso", "raw", true);
    assert_disk(&def.disks[3], "sda", "/ro", "raw", true);
}
END_TEST

START_TEST(test_little)
{
    _cleanup_(domain_def_deinit) struct domain_def def = {0};

    ck_assert_int_eq(read_text("<domain><name>a</name></domain>", &def, NULL), 0);
    ck_assert_str_eq(def.name, "a");
    ck_assert_ptr_null(def.uuid);
    ck_assert_ptr_null(def.qmp);
    ck_assert_ptr_null(def.agent);
    ck_assert_uint_eq(def.n_disks, 0);
}
END_TEST

START_TEST(test_uuid_without_dashes)
{
    _cleanup_(domain_def_deinit) struct domain_def def = {0};

    ck_assert_int_eq(read_text("<domain><name>a</name><uuid>4dea24b31d52d8f32516782e98a23fa0</uuid>"
                               "</domain>",
                               &def, NULL),
                     0);
    ck_assert_str_eq(def.uuid, "4dea24b3-1d52-d8f3-2516-782e98a23fa0");
}
END_TEST

#define HEAD "<domain><name>a</name>"
#define DISK(body) HEAD "<devices><disk type='file'>" body "</disk></devices></domain>"

static const struct {
    const char *xml, *says;
} faults[] = {
    {"", "the XML is"},
    {"<domain>", "wrong in line 1: Premature end"},
    {"<domain>\n<name>a</nam>\n</domain>", "wrong in line 2: Opening and ending tag mismatch"},
    {"<domain><name>a</name></domain><x/>", "wrong in line 1: Extra content"},
    {"<domain/>", "the <domain> has no <name>"},
    {"<domain><name></name></domain>", "the <domain> has no <name>"},
    {"<domains><name>a</name></domains>", "not a <domain>"},
    {"<domain xmlns='urn:x'><name>a</name></domain>", "not a <domain>"},
    {"<domain><x:name>a</x:name></domain>", "wrong in line 1: Namespace prefix x"},
    {"<domain><name>\xc3\x28</name></domain>", "wrong in line 1: Input is not proper UTF-8"},
    {"<domain><name>a&evil;</name></domain>", "wrong in line 1: Entity 'evil' not defined"},
    {"<!DOCTYPE domain><domain><name>a</name></domain>", "has a document type"},
    {"<!DOCTYPE d [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><domain><name>&e;</name></domain>",
     "has a document type"},
    {"<!DOCTYPE d SYSTEM 'http://127.0.0.1:1/x.dtd'><domain><name>a</name></domain>",
     "has a document type"},
    {HEAD "<uuid>4dea24b3</uuid></domain>", "not a UUID"},
    {HEAD "<uuid>4dea24b31d52d8f32516782e98a23fa00</uuid></domain>", "not a UUID"},
    {HEAD "<uuid>4dea24b31d52d8f32516782e98a23fag</uuid></domain>", "not a UUID"},
    {HEAD "<uuid/></domain>", "not a UUID"},
    {DISK("<target dev='vda'/>"), "a disk of type 'file' has no source"},
    {DISK("<source file='/a'/>"), "the disk with '/a' has no usable <target dev>"},
    {DISK("<source file='/a'/><target dev='../x'/>"), "no usable <target dev>"},
    {DISK("<source file='/a'/><target dev=''/>"), "no usable <target dev>"},
    {DISK("<source file='a'/><target dev='vda'/>"), "the path of a disk must be absolute: 'a'"},
    {DISK("<source file='/a&#10;b'/><target dev='vda'/>"), "holds a control character"},
    {DISK("<driver type='a b'/><source file='/a'/><target dev='vda'/>"),
     "the format of 'vda' is not one"},
    {HEAD "<devices><disk type='file'><source file='/a'/><target dev='vda'/></disk>"
          "<disk type='file'><source file='/b'/><target dev='vda'/></disk></devices></domain>",
     "two disks have the target 'vda'"},
    {HEAD "<devices><channel type='unix'><source path='x'/>"
          "<target name='org.qemu.guest_agent.0'/></channel></devices></domain>",
     "the path of the guest agent must be absolute"},
    {"<domain xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><name>a</name><q:commandline>"
     "<q:arg value='-qmp'/><q:arg value='unix:x'/></q:commandline></domain>",
     "the path of -qmp must be absolute"},
};

/* What a fault does to the error, and that libxml2 prints nothing by itself. */
START_TEST(test_faults)
{
    _cleanup_error_ struct error err = {0};
    struct domain_def def, untouched;
    int printed[2], old = dup(STDERR_FILENO);
    char byte;

    memset(&def, 0x5a, sizeof(def));
    memcpy(&untouched, &def, sizeof(def));
    ck_assert_int_eq(pipe(printed), 0);
    dup2(printed[1], STDERR_FILENO);
    close(printed[1]);
    ck_assert_int_eq(read_text(faults[_i].xml, &def, &err), -1);
    dup2(old, STDERR_FILENO);
    close(old);
    ck_assert_int_eq(read(printed[0], &byte, 1), 0);
    close(printed[0]);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_INVALID_PARAMS);
    ck_assert_str_eq(error_get(&err, "param"), "xml");
    ck_assert_msg(strstr(err.message, faults[_i].says) != NULL, "'%s' is not in: %s",
                  faults[_i].says, err.message);
    ck_assert_mem_eq(&def, &untouched, sizeof(def));
}
END_TEST

/* A document of `depth` elements inside each other, the <domain> among them. */
static char *nested(int depth)
{
    char *xml = xzalloc(64 + (size_t)depth * 7);

    strcpy(xml, HEAD);
    for (int i = 1; i < depth; i++)
        strcat(xml, "<a>");
    for (int i = 1; i < depth; i++)
        strcat(xml, "</a>");
    strcat(xml, "</domain>");
    return xml;
}

START_TEST(test_depth)
{
    _cleanup_free_ char *deepest = nested(TREE_DEPTH), *deeper = nested(TREE_DEPTH + 1);
    _cleanup_free_ char *far = nested(10000);
    _cleanup_(domain_def_deinit) struct domain_def def = {0};
    _cleanup_error_ struct error err = {0};

    ck_assert_int_eq(read_text(deepest, &def, &err), 0);
    ck_assert_int_eq(read_text(deeper, NULL, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "is nested too deeply (line 1)"));
    ck_assert_int_eq(read_text(far, NULL, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "is nested too deeply"));
}
END_TEST

START_TEST(test_size)
{
    size_t size = TREE_BYTES + 1;
    _cleanup_free_ char *xml = xzalloc(size + 1);
    _cleanup_(domain_def_deinit) struct domain_def def = {0};
    _cleanup_error_ struct error err = {0};

    memset(xml, ' ', size);
    memcpy(xml, HEAD "</domain>", strlen(HEAD "</domain>"));
    ck_assert_int_eq(domain_xml_read(xml, size - 1, &def, &err), 0);
    ck_assert_int_eq(domain_xml_read(xml, size, NULL, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "larger than 1048576 bytes"));
}
END_TEST

START_TEST(test_many_disks)
{
    _cleanup_free_ char *xml = xzalloc(65536);
    _cleanup_error_ struct error err = {0};
    int used = sprintf(xml, HEAD "<devices>");

    for (int i = 0; i <= DOMAIN_XML_DISKS; i++)
        used += sprintf(xml + used,
                        "<disk type='file'><source file='/%d'/><target dev='v%d'/></disk>", i, i);
    strcpy(xml + used, "</devices></domain>");
    ck_assert_int_eq(read_text(xml, NULL, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "more than 256 disks"));
}
END_TEST

/* What is shown of a client's text ends between two characters. */
START_TEST(test_long_message)
{
    _cleanup_free_ char *xml = xzalloc(8192);
    _cleanup_error_ struct error err = {0};
    const char *p;

    strcpy(xml, "<domain><");
    for (int i = 0; i < 1000; i++)
        strcat(xml, "\xc3\xa4");
    strcat(xml, "></b></domain>");
    ck_assert_int_eq(read_text(xml, NULL, &err), -1);
    p = strstr(err.message, "\xc3");
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq(strlen(p) % 2, 0);
    ck_assert_uint_lt(strlen(err.message), 260);
}
END_TEST

/* Cut off anywhere, the document is refused and nothing leaks. */
START_TEST(test_truncated)
{
    size_t end = strlen(whole) - 1;

    for (size_t size = 0; size < end; size += 3)
        ck_assert_int_eq(domain_xml_read(whole, size, NULL, NULL), -1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("domain-xml");
    TCase *tcase = tcase_create("domain-xml");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, test_whole);
    tcase_add_test(tcase, test_little);
    tcase_add_test(tcase, test_uuid_without_dashes);
    tcase_add_loop_test(tcase, test_faults, 0, (int)(sizeof(faults) / sizeof(faults[0])));
    tcase_add_test(tcase, test_depth);
    tcase_add_test(tcase, test_size);
    tcase_add_test(tcase, test_many_disks);
    tcase_add_test(tcase, test_long_message);
    tcase_add_test(tcase, test_truncated);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
