/* The wire of the guest's kernel module, which is compiled here from the module's own file: what it
 * makes of a host's bytes, and what the daemon makes of its answers. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "guest/wire.h"
#include "proto/json.h"
#include "qemu/agent-wire.h"

static struct fsf_wire wire;

static void start(void)
{
    memset(&wire, 'x', sizeof(wire));
    fsf_wire_init(&wire);
}

/* Pushes bytes; the last of them, and no other, has to complete a command. */
static struct fsf_command push(const char *data, size_t size)
{
    struct fsf_command command = {.verb = FSF_UNKNOWN};

    for (size_t i = 0; i < size; i++)
        ck_assert_msg(fsf_wire_push(&wire, (unsigned char)data[i], &command) == (i == size - 1),
                      "byte %zu of %s", i, data);
    return command;
}

static struct fsf_command push_text(const char *text)
{
    return push(text, strlen(text));
}

/* Pushes bytes that complete nothing. */
static void push_quietly(const char *text)
{
    struct fsf_command command;

    for (; *text; text++)
        ck_assert(!fsf_wire_push(&wire, (unsigned char)*text, &command));
}

static void check_verb(const char *text, enum fsf_verb verb)
{
    struct fsf_command command = push_text(text);

    ck_assert_msg(command.verb == verb, "%s is %d instead of %d", text, command.verb, verb);
    push_quietly("\n");
}

static void check_sync(const char *text, int64_t id)
{
    struct fsf_command command = push_text(text);

    ck_assert_msg(command.verb == FSF_SYNC, "%s", text);
    ck_assert_int_eq(command.id, id);
    push_quietly("\n");
}

START_TEST(test_commands)
{
    start();
    check_verb("{\"execute\":\"guest-ping\"}", FSF_PING);
    check_verb("{\"execute\": \"guest-info\" }", FSF_INFO);
    check_verb(" \t{ \"execute\" :\t\"guest-fsfreeze-status\" , \"id\" : [1, {\"a\": null}] }",
               FSF_STATUS);
    check_verb("{\"arguments\":{},\"execute\":\"guest-fsfreeze-freeze\"}", FSF_FREEZE);
    check_verb("{\"execute\":\"guest\\u002dfsfreeze\\u002Dthaw\"}", FSF_THAW);
    check_verb("{\"execute\":\"guest-shutdown\"}", FSF_UNKNOWN);
    check_verb("{\"execute\":\"guest-fsfreeze-thaw-and-much-more-than-any-name-has-room-for\"}",
               FSF_UNKNOWN);
    check_verb("{\"execute\":\"guest-fsfreeze-thaw\\u0001\"}", FSF_UNKNOWN);
    check_verb("{\"x\":[[],{},[{}],-1.5e+3,true,\"\\\"}\"],\"execute\":\"guest-ping\"}", FSF_PING);
}
END_TEST

START_TEST(test_sync)
{
    start();
    check_sync("{\"execute\":\"guest-sync\",\"arguments\":{\"id\":0}}", 0);
    check_sync("{\"execute\":\"guest-sync\",\"arguments\":{\"id\":9223372036854775807}}",
               INT64_MAX);
    check_sync("{\"execute\":\"guest-sync\",\"arguments\":{\"id\":-9223372036854775808}}",
               INT64_MIN);
    check_sync("{\"arguments\":{\"id\": -7 , \"y\":[]},\"execute\":\"guest-sync\"}", -7);
    check_verb("{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":1}}",
               FSF_SYNC_DELIMITED);
    check_verb("{\"execute\":\"guest-sync\"}", FSF_BROKEN);
    check_verb("{\"execute\":\"guest-sync\",\"arguments\":{\"id\":9223372036854775808}}",
               FSF_BROKEN);
    check_verb("{\"execute\":\"guest-sync\",\"arguments\":{\"id\":-9223372036854775809}}",
               FSF_BROKEN);
    check_verb("{\"execute\":\"guest-sync\",\"arguments\":{\"id\":99999999999999999999999}}",
               FSF_BROKEN);
    check_verb("{\"execute\":\"guest-sync\",\"arguments\":{\"id\":1.0}}", FSF_BROKEN);
    check_verb("{\"execute\":\"guest-sync\",\"arguments\":{\"id\":1e3}}", FSF_BROKEN);
    check_verb("{\"execute\":\"guest-sync\",\"arguments\":{\"id\":-}}", FSF_BROKEN);
    check_verb("{\"execute\":\"guest-sync\",\"arguments\":{\"id\":\"1\"}}", FSF_BROKEN);
}
END_TEST

START_TEST(test_broken)
{
    start();
    check_verb("{}", FSF_BROKEN);
    check_verb("{\"execute\":1}", FSF_BROKEN);
    check_verb("{\"execute\":\"guest-ping\",}", FSF_BROKEN);
    check_verb("{\"execute\":\"guest-ping\" \"x\":1}", FSF_BROKEN);
    check_verb("{\"execute\":\"guest-ping\",\"x\":[1,]}", FSF_BROKEN);
    check_verb("{\"execute\":\"guest-ping\",\"x\":[1 2]}", FSF_BROKEN);
    check_verb("{\"execute\":\"guest-ping\",\"x\":{\"a\"}}", FSF_BROKEN);
    check_verb("{\"execute\":\"guest-ping\",\"x\":{1:2}}", FSF_BROKEN);
    check_verb("{\"execute\":\"guest-ping\",\"x\":[}}", FSF_BROKEN);
    check_verb("{\"execute\":\"guest-ping\",\"x\":(1)}", FSF_BROKEN);
    check_verb("{\"execute\":\"guest-ping\",\"x\":}", FSF_BROKEN);
    check_verb("{\"execute\":\"guest-\\qing\"}", FSF_BROKEN);
    check_verb("{\"execute\":\"guest-\\u00zz\"}", FSF_BROKEN);
    check_verb("{\"execute\":\"guest-ping\\u0000\"}", FSF_BROKEN);
    check_verb("{\"execute\":\"\\ud800\"}", FSF_BROKEN);
    check_verb("{\"execute\":\"\\udc00\\ud800\"}", FSF_BROKEN);
    check_verb("{\"execute\":\"guest\tping\"}", FSF_BROKEN);
    check_verb("g", FSF_BROKEN);
    check_verb("[", FSF_BROKEN);
    check_verb("\x01", FSF_BROKEN);
    push("\0", 1);
    push_quietly("garbage to the end of the line {\"execute\":\"guest-ping\"}\n");
    check_verb("{\"execute\":\"guest-ping\"}", FSF_PING);
}
END_TEST

START_TEST(test_clients_that_died)
{
    start();
    push_quietly("{\"execute\":\"guest-pi\xff");
    check_verb("{\"execute\":\"guest-ping\"}", FSF_PING);
    push_quietly("{\"execute\":\"guest-pi\\\xff\xff");
    check_verb("{\"execute\":\"guest-ping\"}", FSF_PING);
    ck_assert(push_text("{\"execute\":\"guest-pi\n").verb == FSF_BROKEN);
    check_verb("{\"execute\":\"guest-ping\"}", FSF_PING);
    ck_assert(push_text("{\"execute\":\"guest-pi{\"execute\":\"guest-ping\"}\n").verb ==
              FSF_BROKEN);
    check_verb("{\"execute\":\"guest-ping\"}", FSF_PING);
    ck_assert(push_text("x").verb == FSF_BROKEN);
    push_quietly("yz\xff");
    check_verb("{\"execute\":\"guest-ping\"}", FSF_PING);
    push_quietly("\n\r\n \n");
    check_verb("{\"execute\":\"guest-ping\"}", FSF_PING);
}
END_TEST

/* Answered with the brace: not every client ends its line. */
START_TEST(test_without_line_ends)
{
    start();
    ck_assert(push_text("{\"execute\":\"guest-ping\"}").verb == FSF_PING);
    ck_assert(push_text("{\"execute\":\"guest-info\"}").verb == FSF_INFO);
    ck_assert(push_text(" {\"execute\":\"guest-ping\"}").verb == FSF_PING);
}
END_TEST

START_TEST(test_bounds)
{
    char deep[128];

    start();
    push_quietly("{\"execute\":\"");
    for (unsigned i = strlen("{\"execute\":\""); i < FSF_COMMAND_MAX; i++)
        push_quietly("a");
    ck_assert(push_text("a").verb == FSF_TOO_LONG);
    push_quietly("aaa\"}\n");
    for (unsigned depth = FSF_DEPTH_MAX - 1; depth <= FSF_DEPTH_MAX; depth++) {
        size_t size = strlen("{\"x\":");

        memcpy(deep, "{\"x\":", size);
        memset(deep + size, '[', depth);
        deep[size + depth] = 0;
        if (depth == FSF_DEPTH_MAX) {
            ck_assert(push_text(deep).verb == FSF_BROKEN);
            push_quietly("\n");
            break;
        }
        push_quietly(deep);
        memset(deep, ']', depth);
        deep[depth] = 0;
        push_quietly(deep);
        check_verb(",\"execute\":\"guest-ping\"}", FSF_PING);
    }
    check_verb("{\"execute\":\"guest-ping\"}", FSF_PING);
}
END_TEST

static void check_list(const char *text, const char *expected, size_t size)
{
    _cleanup_free_ char *line = xasprintf(
        "{\"execute\":\"guest-fsfreeze-freeze-list\",\"arguments\":{\"mountpoints\":%s}}", text);
    struct fsf_command command = push_text(line);

    ck_assert_msg(command.verb == FSF_FREEZE_LIST && !command.all, "%s", text);
    ck_assert_uint_eq(command.paths_size, size);
    ck_assert_msg(memcmp(command.paths, expected, size) == 0, "%s", text);
}

START_TEST(test_list)
{
    struct fsf_command command;

    start();
    check_list("[]", "", 0);
    check_list("[\"/\"]", "/", 2);
    check_list("[ \"/a\" , \"/b c\" ]", "/a\0/b c", 8);
    check_list("[\"\\/a\\\"\\\\\\t\"]", "/a\"\\\t", 6);
    check_list("[\"/\\u00e4\\u20AC\\uD83D\\uDE00\"]", "/\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 11);
    check_list("[\"\",\"\"]", "\0\0", 2);
    command = push_text("{\"execute\":\"guest-fsfreeze-freeze-list\"}");
    ck_assert(command.verb == FSF_FREEZE_LIST && command.all);
    check_verb("{\"execute\":\"guest-fsfreeze-freeze-list\",\"arguments\":{\"mountpoints\":{}}}",
               FSF_BROKEN);
    check_verb("{\"execute\":\"guest-fsfreeze-freeze-list\",\"arguments\":{\"mountpoints\":[1]}}",
               FSF_BROKEN);
    /* The list lies where the line was: what stands behind it is read all the same. */
    command = push_text("{\"arguments\":{\"mountpoints\":[\"/a\"],\"x\":1},"
                        "\"execute\":\"guest-fsfreeze-freeze-list\"}");
    ck_assert(command.verb == FSF_FREEZE_LIST && !command.all);
    ck_assert_str_eq(command.paths, "/a");
}
END_TEST

/* What the daemon understands of an answer. */
static struct agent_reply reply_of(const char *answer, size_t size, enum agent_call call)
{
    struct agent_reply reply = {0};
    struct agent_message message;
    struct agent_wire reader;

    ck_assert_uint_gt(size, 0);
    agent_wire_init(&reader);
    agent_wire_feed(&reader, answer, size);
    ck_assert(agent_wire_next(&reader, &message) == AGENT_LINE_ANSWER);
    ck_assert_int_eq(agent_wire_reply(&message, call, &reply, NULL), 0);
    agent_message_deinit(&message);
    ck_assert(agent_wire_next(&reader, &message) == AGENT_LINE_NONE);
    agent_message_deinit(&message);
    agent_wire_deinit(&reader);
    return reply;
}

START_TEST(test_answers)
{
    char answer[FSF_ANSWER_MAX];
    struct agent_reply reply;

    reply_of(answer, fsf_say_done(answer), AGENT_PING);
    ck_assert_int_eq(reply_of(answer, fsf_say_number(answer, 17), AGENT_THAW).count, 17);
    reply = reply_of(answer, fsf_say_status(answer, true, 9000), AGENT_STATUS);
    ck_assert(reply.frozen && reply.thaw_in_ms == 9000);
    reply = reply_of(answer, fsf_say_status(answer, false, 9000), AGENT_STATUS);
    ck_assert(!reply.frozen && reply.thaw_in_ms == 0);
    reply = reply_of(answer, fsf_say_info(answer, "0.1.0", false), AGENT_INFO);
    ck_assert(reply.can_freeze && reply.kernel);
    ck_assert_str_eq(reply.version, "virtio-fsfreeze 0.1.0");
    agent_reply_deinit(&reply);
    reply = reply_of(answer, fsf_say_info(answer, "0.1.0", true), AGENT_INFO);
    ck_assert(!reply.can_freeze && reply.kernel);
    agent_reply_deinit(&reply);
}
END_TEST

START_TEST(test_left_time_is_told)
{
    char answer[FSF_ANSWER_MAX];

    fsf_say_status(answer, true, 9731);
    ck_assert_str_eq(answer, "{\"return\": \"frozen\", \"thaw-in-ms\": 9731}\n");
}
END_TEST

START_TEST(test_delimited)
{
    char answer[FSF_ANSWER_MAX];
    struct agent_message message;
    struct agent_wire reader;

    agent_wire_init(&reader);
    agent_wire_feed(&reader, answer, fsf_say_delimited(answer, INT64_MAX));
    ck_assert(agent_wire_next(&reader, &message) == AGENT_LINE_SYNC);
    ck_assert_int_eq(message.sync, INT64_MAX);
    agent_message_deinit(&message);
    agent_wire_deinit(&reader);
}
END_TEST

static void check_refusal(const char *answer, size_t size, const char *reason)
{
    struct agent_message message;
    struct agent_wire reader;

    ck_assert_uint_gt(size, 0);
    agent_wire_init(&reader);
    agent_wire_feed(&reader, answer, size);
    ck_assert(agent_wire_next(&reader, &message) == AGENT_LINE_ANSWER);
    ck_assert_ptr_nonnull(message.refusal);
    ck_assert_msg(strstr(message.refusal, reason) != NULL, "%s", message.refusal);
    agent_message_deinit(&message);
    agent_wire_deinit(&reader);
}

START_TEST(test_errors)
{
    char answer[FSF_ANSWER_MAX], huge[FSF_ANSWER_MAX * 2];

    check_refusal(answer, fsf_say_refused(answer, FSF_FREEZE), "guest-fsfreeze-freeze has been");
    check_refusal(answer, fsf_say_unknown(answer), "has not been found");
    check_refusal(answer, fsf_say_error(answer, "a \"b\"\\\n\x80 c"), "a ?b???? c");
    memset(huge, 'h', sizeof(huge));
    huge[sizeof(huge) - 1] = 0;
    check_refusal(answer, fsf_say_error(answer, huge), "hhhh");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("freeze-wire");
    TCase *tcase = tcase_create("freeze-wire");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, test_commands);
    tcase_add_test(tcase, test_sync);
    tcase_add_test(tcase, test_broken);
    tcase_add_test(tcase, test_clients_that_died);
    tcase_add_test(tcase, test_without_line_ends);
    tcase_add_test(tcase, test_bounds);
    tcase_add_test(tcase, test_list);
    tcase_add_test(tcase, test_answers);
    tcase_add_test(tcase, test_left_time_is_told);
    tcase_add_test(tcase, test_delimited);
    tcase_add_test(tcase, test_errors);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
