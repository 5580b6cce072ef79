/* The agent's wire: what is sent, what a line is, and which answers are believed. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "proto/json.h"
#include "proto/limits.h"
#include "proto/snapvm-errors.h"
#include "qemu/agent-wire.h"

START_TEST(test_request)
{
    static const struct {
        enum agent_call call;
        const char *text;
    } plain[] = {
        {AGENT_PING, "{\"execute\":\"guest-ping\"}\n"},
        {AGENT_INFO, "{\"execute\":\"guest-info\"}\n"},
        {AGENT_STATUS, "{\"execute\":\"guest-fsfreeze-status\"}\n"},
        {AGENT_FREEZE, "{\"execute\":\"guest-fsfreeze-freeze\"}\n"},
        {AGENT_THAW, "{\"execute\":\"guest-fsfreeze-thaw\"}\n"},
        {AGENT_FSINFO, "{\"execute\":\"guest-get-fsinfo\"}\n"},
    };
    const char *mounts[] = {"/", "/a \"b\"\n\\"};
    char *text;

    for (unsigned i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        text = agent_wire_request(plain[i].call, NULL, 0);
        ck_assert_str_eq(text, plain[i].text);
        free(text);
    }
    text = agent_wire_request(AGENT_FREEZE, mounts, 2);
    ck_assert_str_eq(text, "{\"execute\":\"guest-fsfreeze-freeze-list\",\"arguments\":"
                           "{\"mountpoints\":[\"/\",\"/a \\\"b\\\"\\n\\\\\"]}}\n");
    free(text);
    /* An empty list freezes nothing; it must not become "all". */
    text = agent_wire_request(AGENT_FREEZE, mounts, 0);
    ck_assert_str_eq(text, "{\"execute\":\"guest-fsfreeze-freeze-list\",\"arguments\":"
                           "{\"mountpoints\":[]}}\n");
    free(text);
    text = agent_wire_sync(INT64_MAX);
    ck_assert_str_eq(text, "\xff{\"execute\":\"guest-sync-delimited\",\"arguments\":"
                           "{\"id\":9223372036854775807}}\n");
    free(text);
}
END_TEST

static const struct {
    const char *line;
    enum agent_line kind;
    int64_t sync;
    const char *refusal;
} lines[] = {
    {"{\"return\": 2}", AGENT_LINE_ANSWER, 0, NULL},
    {"{\"return\": {}, \"id\": 5}", AGENT_LINE_ANSWER, 0, NULL},
    {"  {\"return\": null}\r", AGENT_LINE_ANSWER, 0, NULL},
    {"{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}", AGENT_LINE_ANSWER, 0, "no"},
    {"{\"error\": {\"desc\": 5}}", AGENT_LINE_ANSWER, 0, ""},
    {"{\"error\": {\"desc\": \"a\\u001b[2Jb\"}}", AGENT_LINE_ANSWER, 0, "a?[2Jb"},
    {"{\"error\": {\"desc\": \"a\\u0000b\"}}", AGENT_LINE_GARBAGE, 0, NULL},
    {"\xff{\"return\": 42}", AGENT_LINE_SYNC, 42, NULL},
    {"\xff\xff{\"return\": -1}", AGENT_LINE_SYNC, -1, NULL},
    {"{\"return\": {\"ver\xff{\"return\": 7}", AGENT_LINE_SYNC, 7, NULL},
    {"\xff{\"return\": \"42\"}", AGENT_LINE_GARBAGE, 0, NULL},
    {"\xff{\"return\": 42.0}", AGENT_LINE_GARBAGE, 0, NULL},
    {"\xff{\"error\": {\"desc\": \"x\"}}", AGENT_LINE_GARBAGE, 0, NULL},
    {"{\"return\": 2} {\"return\": 3}", AGENT_LINE_GARBAGE, 0, NULL},
    {"{\"return\": 2, \"error\": {\"desc\": \"x\"}}", AGENT_LINE_GARBAGE, 0, NULL},
    {"{\"error\": \"x\"}", AGENT_LINE_GARBAGE, 0, NULL},
    {"{\"error\": null}", AGENT_LINE_GARBAGE, 0, NULL},
    {"{}", AGENT_LINE_GARBAGE, 0, NULL},
    {"[2]", AGENT_LINE_GARBAGE, 0, NULL},
    {"2", AGENT_LINE_GARBAGE, 0, NULL},
    {"null", AGENT_LINE_GARBAGE, 0, NULL},
    {"{\"return\": 2", AGENT_LINE_GARBAGE, 0, NULL},
    {"{'return': 2}", AGENT_LINE_GARBAGE, 0, NULL},
    {"{\"return\": \"\xc3\x28\"}", AGENT_LINE_GARBAGE, 0, NULL},
    {"hello", AGENT_LINE_GARBAGE, 0, NULL},
    {"{\"return\":[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]}", AGENT_LINE_ANSWER, 0, NULL},
    {"{\"return\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}", AGENT_LINE_GARBAGE, 0, NULL},
};

START_TEST(test_line)
{
    struct agent_wire wire;
    struct agent_message message;

    agent_wire_init(&wire);
    agent_wire_feed(&wire, lines[_i].line, strlen(lines[_i].line));
    ck_assert_int_eq(agent_wire_next(&wire, &message), AGENT_LINE_NONE);
    agent_message_deinit(&message);
    agent_wire_feed(&wire, "\n", 1);
    ck_assert_msg(agent_wire_next(&wire, &message) == lines[_i].kind, "%s", lines[_i].line);
    ck_assert_int_eq(message.sync, lines[_i].sync);
    ck_assert_pstr_eq(message.refusal, lines[_i].refusal);
    agent_message_deinit(&message);
    ck_assert_int_eq(agent_wire_next(&wire, &message), AGENT_LINE_NONE);
    agent_message_deinit(&message);
    agent_wire_deinit(&wire);
}
END_TEST

/* Empty lines, and those of which nothing is left behind a 0xFF, are no lines. */
START_TEST(test_line_empty)
{
    static const char text[] = "\n\r\n{\"return\":\xff\n\xff\n{\"return\":1}\n";
    struct agent_wire wire;
    struct agent_message message;

    agent_wire_init(&wire);
    agent_wire_feed(&wire, text, sizeof(text) - 1);
    ck_assert_int_eq(agent_wire_next(&wire, &message), AGENT_LINE_ANSWER);
    agent_message_deinit(&message);
    ck_assert_int_eq(agent_wire_next(&wire, &message), AGENT_LINE_NONE);
    agent_message_deinit(&message);
    agent_wire_deinit(&wire);
}
END_TEST

START_TEST(test_line_too_long)
{
    char *line = xzalloc(LIMIT_AGENT_LINE + 2);
    struct agent_wire wire;
    struct agent_message message;

    memset(line, ' ', LIMIT_AGENT_LINE + 2);
    memcpy(line, "{\"return\":1}", 12);
    line[LIMIT_AGENT_LINE] = '\n';
    agent_wire_init(&wire);
    agent_wire_feed(&wire, line, LIMIT_AGENT_LINE + 1);
    ck_assert_int_eq(agent_wire_next(&wire, &message), AGENT_LINE_ANSWER);
    agent_message_deinit(&message);
    line[LIMIT_AGENT_LINE] = ' ';
    agent_wire_feed(&wire, line, LIMIT_AGENT_LINE);
    ck_assert_int_eq(agent_wire_next(&wire, &message), AGENT_LINE_NONE);
    agent_wire_feed(&wire, line, 1);
    ck_assert_int_eq(agent_wire_next(&wire, &message), AGENT_LINE_TOO_LONG);
    agent_wire_feed(&wire, "{\"return\":1}\n{\"return\":2}\n", 26); /* its rest, and the next */
    ck_assert_int_eq(agent_wire_next(&wire, &message), AGENT_LINE_ANSWER);
    ck_assert_int_eq(json_object_get_int(message.value), 2);
    agent_message_deinit(&message);
    ck_assert_int_eq(agent_wire_next(&wire, &message), AGENT_LINE_NONE);
    agent_wire_deinit(&wire);
    free(line);
}
END_TEST

/* The reply of a call to a line, or the error's code. */
static int reply_to(enum agent_call call, const char *line, struct agent_reply *ret_reply)
{
    struct agent_wire wire;
    struct agent_message message;
    struct error err = {0};
    int code = 0;

    agent_wire_init(&wire);
    agent_wire_feed(&wire, line, strlen(line));
    agent_wire_feed(&wire, "\n", 1);
    ck_assert_int_eq(agent_wire_next(&wire, &message), AGENT_LINE_ANSWER);
    if (agent_wire_reply(&message, call, ret_reply, &err) < 0) {
        code = err.code;
        ck_assert_ptr_nonnull(error_get(&err, "reason"));
    }
    error_clear(&err);
    agent_message_deinit(&message);
    agent_wire_deinit(&wire);
    return code;
}

#define WRONG SNAPVM_ERROR_AGENT_UNAVAILABLE

static const struct {
    enum agent_call call;
    const char *line;
    int code;
    int64_t count;
    bool frozen;
} replies[] = {
    {AGENT_PING, "{\"return\": {}}", 0, 0, false},
    {AGENT_PING, "{\"return\": 1}", WRONG, 0, false},
    {AGENT_PING, "{\"return\": null}", WRONG, 0, false},
    {AGENT_PING, "{\"error\": {\"desc\": \"x\"}}", SNAPVM_ERROR_QUIESCE_FAILED, 0, false},
    {AGENT_FREEZE, "{\"return\": 0}", 0, 0, false},
    {AGENT_FREEZE, "{\"return\": 2}", 0, 2, false},
    {AGENT_THAW, "{\"return\": 65536}", 0, 65536, false},
    {AGENT_THAW, "{\"return\": 65537}", WRONG, 0, false},
    {AGENT_THAW, "{\"return\": -1}", WRONG, 0, false},
    {AGENT_FREEZE, "{\"return\": 4294967298}", WRONG, 0, false},
    {AGENT_FREEZE, "{\"return\": 9223372036854775808}", WRONG, 0, false},
    {AGENT_FREEZE, "{\"return\": 99999999999999999999999999}", WRONG, 0, false},
    {AGENT_FREEZE, "{\"return\": -99999999999999999999999999}", WRONG, 0, false},
    {AGENT_FREEZE, "{\"return\": 2.0}", WRONG, 0, false},
    {AGENT_FREEZE, "{\"return\": \"2\"}", WRONG, 0, false},
    {AGENT_FREEZE, "{\"return\": true}", WRONG, 0, false},
    {AGENT_FREEZE, "{\"return\": [2]}", WRONG, 0, false},
    {AGENT_FREEZE, "{\"return\": \"frozen\"}", WRONG, 0, false},
    {AGENT_STATUS, "{\"return\": \"frozen\"}", 0, 0, true},
    {AGENT_STATUS, "{\"return\": \"thawed\"}", 0, 0, false},
    {AGENT_STATUS, "{\"return\": \"Frozen\"}", WRONG, 0, false},
    {AGENT_STATUS, "{\"return\": \"\"}", WRONG, 0, false},
    {AGENT_STATUS, "{\"return\": 2}", WRONG, 0, false},
    {AGENT_STATUS, "{\"return\": {}}", WRONG, 0, false},
    {AGENT_INFO, "{\"return\": []}", WRONG, 0, false},
    {AGENT_INFO, "{\"return\": {}}", 0, 0, false},
    {AGENT_FSINFO, "{\"return\": {}}", WRONG, 0, false},
    {AGENT_FSINFO, "{\"return\": [2]}", WRONG, 0, false},
    {AGENT_FSINFO, "{\"return\": [{}, {}, null]}", WRONG, 0, false},
    {AGENT_FSINFO, "{\"return\": []}", 0, 0, false},
};

START_TEST(test_reply)
{
    struct agent_reply reply = {0};

    ck_assert_msg(reply_to(replies[_i].call, replies[_i].line, &reply) == replies[_i].code, "%s",
                  replies[_i].line);
    ck_assert_int_eq(reply.count, replies[_i].count);
    ck_assert_int_eq(reply.frozen, replies[_i].frozen);
    agent_reply_deinit(&reply);
}
END_TEST

/* After how much silence a frozen guest thaws by itself; whatever else stands there is none. */
static const struct {
    const char *line;
    int64_t thaw_in_ms;
} silences[] = {
    {"{\"return\": \"frozen\"}", 0},
    {"{\"return\": \"frozen\", \"thaw-in-ms\": 9731}", 9731},
    {"{\"return\": \"thawed\", \"thaw-in-ms\": 9731}", 0},
    {"{\"return\": \"frozen\", \"thaw-in-ms\": 0}", 0},
    {"{\"return\": \"frozen\", \"thaw-in-ms\": -1}", 0},
    {"{\"return\": \"frozen\", \"thaw-in-ms\": 9.5}", 0},
    {"{\"return\": \"frozen\", \"thaw-in-ms\": \"9731\"}", 0},
    {"{\"return\": \"frozen\", \"thaw-in-ms\": [9731]}", 0},
    {"{\"return\": \"frozen\", \"thaw-in-ms\": 86400001}", AGENT_SILENCE_MAX_MS},
    {"{\"return\": \"frozen\", \"thaw-in-ms\": 99999999999999999999999999}", AGENT_SILENCE_MAX_MS},
};

START_TEST(test_silence)
{
    struct agent_reply reply = {0};

    ck_assert(reply_to(AGENT_STATUS, silences[_i].line, &reply) == 0);
    ck_assert_msg(reply.thaw_in_ms == silences[_i].thaw_in_ms, "%s", silences[_i].line);
    agent_reply_deinit(&reply);
}
END_TEST

START_TEST(test_info)
{
    struct agent_reply reply;

    ck_assert_int_eq(
        reply_to(AGENT_INFO,
                 "{\"return\": {\"version\": \"7.2.22\\n\", \"supported_commands\": [null, 5, {}, "
                 "{\"enabled\": false, \"name\": \"guest-get-devices\"}, {\"enabled\": true, "
                 "\"name\": \"guest-fsfreeze-freeze\", \"success-response\": true}]}}",
                 &reply),
        0);
    ck_assert_str_eq(reply.version, "7.2.22?");
    ck_assert(reply.can_freeze);
    agent_reply_deinit(&reply);
    ck_assert_int_eq(reply_to(AGENT_INFO,
                              "{\"return\": {\"version\": 7, \"supported_commands\": [{\"enabled\""
                              ": false, \"name\": \"guest-fsfreeze-freeze\"}]}}",
                              &reply),
                     0);
    ck_assert_ptr_null(reply.version);
    ck_assert(!reply.can_freeze);
    agent_reply_deinit(&reply);
    ck_assert_int_eq(reply_to(AGENT_INFO,
                              "{\"return\": {\"version\": \"1\", \"supported_commands\": {}}}",
                              &reply),
                     0);
    ck_assert(!reply.can_freeze);
    agent_reply_deinit(&reply);
}
END_TEST

START_TEST(test_fsinfo)
{
    struct agent_reply reply;

    ck_assert_int_eq(
        reply_to(AGENT_FSINFO,
                 "{\"return\": [{\"name\": \"vda\", \"type\": \"ext4\", \"mountpoint\": "
                 "\"/run/\\u202edata\", \"disk\": [{\"bus-type\": \"virtio\", \"dev\": "
                 "\"/dev/vda\", \"pci-controller\": {\"domain\": 0, \"bus\": 1, \"slot\": 9, "
                 "\"function\": 2}}, {}, 7, {\"dev\": \"/dev/vdb\", \"pci-controller\": "
                 "{\"domain\": 7, \"bus\": 1}}], \"total-bytes\": 4096, \"used-bytes\": -5}, "
                 "{\"name\": 5, \"disk\": \"none\", \"total-bytes\": 1e99}, {}]}",
                 &reply),
        0);
    ck_assert_uint_eq(reply.n_fs, 3);
    ck_assert_str_eq(reply.fs[0].name, "vda");
    ck_assert_str_eq(reply.fs[0].type, "ext4");
    ck_assert_str_eq(reply.fs[0].mountpoint, "/run/?data");
    ck_assert_uint_eq(reply.fs[0].n_disks, 3);
    ck_assert_str_eq(reply.fs[0].disks[0].dev, "/dev/vda");
    ck_assert_int_eq(reply.fs[0].disks[0].bus, 1);
    ck_assert_int_eq(reply.fs[0].disks[0].slot, 9);
    ck_assert_int_eq(reply.fs[0].disks[0].function, 2);
    ck_assert_str_eq(reply.fs[0].disks[1].dev, "");
    ck_assert_int_eq(reply.fs[0].disks[1].bus, -1);
    ck_assert_str_eq(reply.fs[0].disks[2].dev, "/dev/vdb");
    ck_assert_int_eq(reply.fs[0].disks[2].bus, -1);
    ck_assert_int_eq(reply.fs[0].total, 4096);
    ck_assert_int_eq(reply.fs[0].used, -1);
    ck_assert_int_eq(reply.fs[1].total, -1);
    ck_assert_str_eq(reply.fs[1].name, "");
    ck_assert_str_eq(reply.fs[1].mountpoint, "");
    ck_assert_uint_eq(reply.fs[1].n_disks, 0);
    agent_reply_deinit(&reply);
}
END_TEST

START_TEST(test_fsinfo_many)
{
    char line[16 * 1024] = "{\"return\": [{}";
    struct agent_reply reply;

    for (unsigned i = 1; i < AGENT_FS_MAX; i++)
        strcat(line, ",{}");
    strcat(line, "]}");
    ck_assert_int_eq(reply_to(AGENT_FSINFO, line, &reply), 0);
    ck_assert_uint_eq(reply.n_fs, AGENT_FS_MAX);
    agent_reply_deinit(&reply);
    strcpy(line + strlen(line) - 2, ",{}]}");
    ck_assert_int_eq(reply_to(AGENT_FSINFO, line, &reply), WRONG);
}
END_TEST

static const struct {
    const char *dirty, *clean;
} texts[] = {
    {"", ""},
    {"plain", "plain"},
    {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xa7",
     "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xa7"},
    {"a\tb\nc\x1b[31m\x7f", "a?b?c?[31m?"},
    {"\xc2\x85\xc2\x9b", "??"},             /* C1 controls */
    {"\xe2\x80\xae\xe2\x81\xa6", "??"},     /* right-to-left override, isolate */
    {"\xe2\x80\xa8", "?"},                  /* line separator */
    {"\xef\xbf\xbf\xf0\x9f\xbf\xbe", "??"}, /* non-characters */
    {"\xff\xfe", "??"},
    {"\xc0\xaf", "??"}, /* overlong */
    {"\xe0\x80\xaf", "???"},
    {"\xf0\x80\x80\xaf", "????"},
    {"\xed\xa0\x80", "???"},      /* surrogate */
    {"\xf4\x90\x80\x80", "????"}, /* behind the last character */
    {"\xe2\x82", "??"},           /* cut off */
    {"\xe2\x82z", "??z"},
    {"\x80\xbf", "??"},
};

START_TEST(test_clean)
{
    char *clean = agent_wire_clean(texts[_i].dirty, strlen(texts[_i].dirty));

    ck_assert_str_eq(clean, texts[_i].clean);
    free(clean);
}
END_TEST

/* Cut at a character, never inside one; a NUL does not end it. */
START_TEST(test_clean_length)
{
    char text[AGENT_TEXT_MAX + 8], *clean;

    memset(text, 'x', sizeof(text));
    memcpy(text + AGENT_TEXT_MAX - 2, "\xe2\x82\xac", 3);
    text[3] = '\0';
    clean = agent_wire_clean(text, sizeof(text));
    ck_assert_uint_eq(strlen(clean), AGENT_TEXT_MAX - 2);
    ck_assert_int_eq(clean[3], '?');
    free(clean);
    clean = agent_wire_clean(text, AGENT_TEXT_MAX - 1);
    ck_assert_uint_eq(strlen(clean), AGENT_TEXT_MAX - 1);
    free(clean);
    memset(text, '\n', sizeof(text));
    clean = agent_wire_clean(text, sizeof(text));
    ck_assert_uint_eq(strlen(clean), AGENT_TEXT_MAX);
    free(clean);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

int main(void)
{
    Suite *suite = suite_create("agent-wire");
    TCase *tcase = tcase_create("wire");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, test_request);
    tcase_add_loop_test(tcase, test_line, 0, COUNT(lines));
    tcase_add_test(tcase, test_line_empty);
    tcase_add_test(tcase, test_line_too_long);
    tcase_add_loop_test(tcase, test_reply, 0, COUNT(replies));
    tcase_add_loop_test(tcase, test_silence, 0, COUNT(silences));
    tcase_add_test(tcase, test_info);
    tcase_add_test(tcase, test_fsinfo);
    tcase_add_test(tcase, test_fsinfo_many);
    tcase_add_loop_test(tcase, test_clean, 0, COUNT(texts));
    tcase_add_test(tcase, test_clean_length);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
