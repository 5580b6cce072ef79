/* The agent's connection against a scripted peer: who gets which answer. What ends a connection is
 * in test-agent-loss.c. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/agent-peer.h"

/* A sync goes before the first call, in the same write, and before no other one. */
START_TEST(test_sync_first)
{
    struct outcome status = {0}, thaw = {0};
    const char *text;
    long long id;

    call(AGENT_STATUS, &status);
    text = heard();
    ck_assert_int_eq((unsigned char)text[0], 0xff);
    ck_assert_ptr_nonnull(strstr(text, "}}\n{\"execute\":\"guest-fsfreeze-status\"}\n"));
    id = sync_id(text);
    ck_assert_int_gt(id, 0);
    say_sync(id);
    say("{\"return\": \"frozen\"}\n");
    SPIN_UNTIL(status.times);
    ck_assert_int_eq(status.code, 0);
    ck_assert(status.frozen);

    call(AGENT_THAW, &thaw);
    ck_assert_str_eq(heard(), "{\"execute\":\"guest-fsfreeze-thaw\"}\n");
    say("{\"return\": 2}\n");
    SPIN_UNTIL(thaw.times);
    ck_assert_int_eq(thaw.code, 0);
    ck_assert_int_eq(thaw.count, 2);
}
END_TEST

/* All that a former client left in the port comes before the sync's answer. */
START_TEST(test_stale)
{
    struct outcome freeze = {0};
    long long id;

    call(AGENT_FREEZE, &freeze);
    id = sync_id(heard());
    say("{\"return\": 7}\n{\"return\": \"thawed\"}\n" STRAY STRAY STRAY STRAY STRAY
        "{\"id\": 103, \"error\": {\"class\": \"GenericError\", \"desc\": \"no execute\"}}\n"
        "garbage\n\xff{\"return\": 102}\n{\"return\": 8}\n{\"return\": {\"half");
    say_sync(id);
    say("{\"return\": 3}\n");
    SPIN_UNTIL(freeze.times);
    ck_assert_int_eq(freeze.code, 0);
    ck_assert_int_eq(freeze.count, 3);
}
END_TEST

START_TEST(test_one_byte)
{
    static const char answer[] = "{\"return\": 5}\n";
    struct outcome freeze = {0};
    char text[256];

    call(AGENT_FREEZE, &freeze);
    snprintf(text, sizeof(text), STRAY "\xff{\"return\": %lld}\n%s", sync_id(heard()), answer);
    for (const char *p = text; *p; p++) {
        ck_assert_uint_eq(freeze.times, 0);
        ck_assert_int_eq(send(peer, p, 1, MSG_NOSIGNAL), 1);
        event_base_loop(base, EVLOOP_ONCE);
    }
    SPIN_UNTIL(freeze.times);
    ck_assert_int_eq(freeze.code, 0);
    ck_assert_int_eq(freeze.count, 5);
}
END_TEST

/* Freeze and status leave in one write, and each gets its own answer. */
START_TEST(test_pipeline)
{
    struct outcome freeze = {0}, status = {0};

    step();
    agent_cork(agent);
    agent_cork(agent);
    call(AGENT_FREEZE, &freeze);
    agent_uncork(agent);
    call(AGENT_STATUS, &status);
    ck_assert(heard_nothing());
    agent_uncork(agent);
    ck_assert_str_eq(heard(), "{\"execute\":\"guest-fsfreeze-freeze\"}\n"
                              "{\"execute\":\"guest-fsfreeze-status\"}\n");
    say("{\"return\": 2}\n{\"return\": \"frozen\"}\n");
    SPIN_UNTIL(status.times);
    ck_assert_uint_eq(freeze.times, 1);
    ck_assert_uint_lt(freeze.order, status.order);
    ck_assert_int_eq(freeze.count, 2);
    ck_assert(status.frozen);
}
END_TEST

START_TEST(test_mountpoints)
{
    const char *mounts[] = {"/srv"};
    struct outcome freeze = {0};

    step();
    agent_call(agent, AGENT_FREEZE, mounts, 1, LONG_MS, on_reply, &freeze);
    ck_assert_str_eq(heard(), "{\"execute\":\"guest-fsfreeze-freeze-list\",\"arguments\":"
                              "{\"mountpoints\":[\"/srv\"]}}\n");
}
END_TEST

START_TEST(test_refused)
{
    struct outcome freeze = {0}, ping = {0};

    step();
    call(AGENT_FREEZE, &freeze);
    say("{\"error\": {\"class\": \"CommandNotFound\", "
        "\"desc\": \"Command \\u001b[5m disabled\"}}\n");
    SPIN_UNTIL(freeze.times);
    ck_assert_int_eq(freeze.code, SNAPVM_ERROR_QUIESCE_FAILED);
    ck_assert_str_eq(freeze.reason, "Command ?[5m disabled");

    /* A refusal is an answer: the connection is in step. */
    heard();
    call(AGENT_PING, &ping);
    ck_assert_str_eq(heard(), "{\"execute\":\"guest-ping\"}\n");
}
END_TEST

/* After a time-out a sync goes first, and neither the late answer nor that of the sync of the call
 * that timed out is taken for anything. */
START_TEST(test_timeout)
{
    struct outcome first = {0}, second = {0}, third = {0};
    long long late, id;

    agent_call(agent, AGENT_FREEZE, NULL, 0, 1, on_reply, &first);
    SPIN_UNTIL(first.times);
    assert_unavailable(&first, NO_ANSWER);
    ck_assert(agent_is_up(agent));
    late = sync_id(heard());

    agent_call(agent, AGENT_THAW, NULL, 0, 1, on_reply, &second);
    SPIN_UNTIL(second.times);
    assert_unavailable(&second, NO_ANSWER);
    heard();

    call(AGENT_THAW, &third);
    id = sync_id(heard());
    ck_assert_int_ne(id, late);
    say_sync(late);
    say("{\"return\": 7}\n");
    say_sync(id);
    say("{\"return\": 2}\n");
    SPIN_UNTIL(third.times);
    ck_assert_int_eq(third.code, 0);
    ck_assert_int_eq(third.count, 2);
    ck_assert_uint_eq(first.times, 1);
    ck_assert_uint_eq(second.times, 1);
}
END_TEST

/* Of two calls on their way the first runs out of time: its late answer is not the second's. */
START_TEST(test_timeout_pipelined)
{
    struct outcome freeze = {0}, thaw = {0};

    step();
    agent_call(agent, AGENT_FREEZE, NULL, 0, 1, on_reply, &freeze);
    call(AGENT_THAW, &thaw);
    SPIN_UNTIL(freeze.times);
    say("{\"return\": 7}\n");
    say("{\"return\": 2}\n");
    SPIN_UNTIL(thaw.times);
    assert_unavailable(&freeze, NO_ANSWER);
    ck_assert_int_eq(thaw.code, 0);
    ck_assert_int_eq(thaw.count, 2);
}
END_TEST

START_TEST(test_skipped_by_sync)
{
    struct outcome freeze = {0}, thaw = {0};
    char text[64];

    step();
    call(AGENT_FREEZE, &freeze);
    heard();
    agent_desync(agent);
    call(AGENT_THAW, &thaw);
    snprintf(text, sizeof(text), "\xff{\"return\": %lld}\n{\"return\": 4}\n", sync_id(heard()));
    say(text);
    SPIN_UNTIL(thaw.times);
    assert_unavailable(&freeze, NO_ANSWER);
    ck_assert_uint_lt(freeze.order, thaw.order);
    ck_assert_int_eq(thaw.count, 4);
}
END_TEST

/* In step nobody waits for a sync: the answer to one says nothing. */
START_TEST(test_sync_unasked)
{
    struct outcome thaw = {0};

    step();
    call(AGENT_THAW, &thaw);
    say("\xff{\"return\": 5}\n{\"return\": 2}\n");
    SPIN_UNTIL(thaw.times);
    ck_assert_int_eq(thaw.code, 0);
    ck_assert_int_eq(thaw.count, 2);
}
END_TEST

static const char *const wrong[] = {
    "garbage\n",
    "{\"return\": -2}\n",
    "{\"return\": 65537}\n",
    "{\"return\": \"frozen\"}\n",
    "{\"return\": [[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]}\n",
    "{\"return\": 2, \"error\": {}}\n",
    "\xfe\xfe\n",
};

/* A wrong answer in step puts the calls behind it in doubt too, and then a sync goes first. */
START_TEST(test_wrong_shape)
{
    struct outcome freeze = {0}, status = {0}, thaw = {0};
    long long id;

    step();
    call(AGENT_FREEZE, &freeze);
    call(AGENT_STATUS, &status);
    heard();
    say(wrong[_i]);
    SPIN_UNTIL(status.times);
    assert_unavailable(&freeze, WRONG_SHAPE);
    assert_unavailable(&status, WRONG_SHAPE);
    ck_assert(agent_is_up(agent));

    call(AGENT_THAW, &thaw);
    id = sync_id(heard());
    say("{\"return\": 9}\n");
    say_sync(id);
    say("{\"return\": 2}\n");
    SPIN_UNTIL(thaw.times);
    ck_assert_int_eq(thaw.count, 2);
}
END_TEST

/* A call behind a sync of its own is not in doubt. */
START_TEST(test_wrong_shape_before_sync)
{
    struct outcome freeze = {0}, thaw = {0}, ping = {0};
    long long id;

    step();
    call(AGENT_FREEZE, &freeze);
    heard();
    agent_desync(agent);
    call(AGENT_THAW, &thaw);
    id = sync_id(heard());
    say("garbage\n");
    SPIN_UNTIL(freeze.times);
    assert_unavailable(&freeze, WRONG_SHAPE);
    ck_assert_uint_eq(thaw.times, 0);
    call(AGENT_PING, &ping);
    ck_assert_str_eq(heard(), "{\"execute\":\"guest-ping\"}\n");
    say_sync(id);
    say("{\"return\": 2}\n{\"return\": {}}\n");
    SPIN_UNTIL(ping.times);
    ck_assert_int_eq(thaw.count, 2);
    ck_assert_int_eq(ping.code, 0);
}
END_TEST

START_TEST(test_unsent)
{
    struct outcome ping = {0};

    step();
    ck_assert_uint_eq(agent_unsent(agent), 0);
    call(AGENT_PING, &ping);
    ck_assert_uint_gt(agent_unsent(agent), 0);
    heard();
    ck_assert_uint_eq(agent_unsent(agent), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("agent");
    TCase *talk = tcase_create("talk");
    SRunner *runner;
    int failed;

    tcase_set_timeout(talk, 30);
    tcase_add_checked_fixture(talk, setup_connected, teardown_stage);
    tcase_add_test(talk, test_sync_first);
    tcase_add_test(talk, test_stale);
    tcase_add_test(talk, test_one_byte);
    tcase_add_test(talk, test_pipeline);
    tcase_add_test(talk, test_mountpoints);
    tcase_add_test(talk, test_refused);
    tcase_add_test(talk, test_timeout);
    tcase_add_test(talk, test_timeout_pipelined);
    tcase_add_test(talk, test_skipped_by_sync);
    tcase_add_test(talk, test_sync_unasked);
    tcase_add_loop_test(talk, test_wrong_shape, 0, sizeof(wrong) / sizeof(wrong[0]));
    tcase_add_test(talk, test_wrong_shape_before_sync);
    tcase_add_test(talk, test_unsent);
    suite_add_tcase(suite, talk);
    suite_add_tcase(suite, agent_loss_case());
    suite_add_tcase(suite, agent_connect_case());
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
