/* The ends of a connection: closed, out of time, its process gone, freed at the wrong moment. What
 * was answered before the end counts, everything else is answered with QemuGone, once. */
#include <signal.h>
#include <sys/wait.h>

#include "base/log.h"
#include "proto/snapvm-errors.h"
#include "qmp-peer.h"

/* What was said before the end counts; what was not said is not known. */
START_TEST(closed_in_the_middle)
{
    struct peer peer;
    struct asked one = {0}, two = {0}, three = {0}, after = {0};

    peer_up(&peer, 10000, NULL);
    ask(&peer, "query-a", false, &one);
    ask(&peer, "query-b", false, &two);
    ask(&peer, "query-c", false, &three);
    peer_say(&peer, "{\"return\":{},\"id\":2}\n{\"return\":{}");
    close(TAKE_FD(peer.fd));
    peer_until(&peer, &peer.down);
    ck_assert(one.done && one.err.code == 0);
    ck_assert(two.done && two.err.code == SNAPVM_ERROR_QEMU_GONE);
    ck_assert(three.done && three.err.code == SNAPVM_ERROR_QEMU_GONE);
    ck_assert_int_eq(peer.why.code, SNAPVM_ERROR_QEMU_GONE);

    ask(&peer, "query-d", true, &after);
    ck_assert(!after.done);
    peer_until(&peer, &after.done);
    ck_assert_int_eq(after.err.code, SNAPVM_ERROR_QEMU_GONE);
    peer_settle(&peer);
    ck_assert_uint_eq(peer.n_down, 1);
    ck_assert_uint_eq(one.n + two.n + three.n + after.n, 4);
    asked_deinit(&one);
    asked_deinit(&two);
    asked_deinit(&three);
    asked_deinit(&after);
    peer_deinit(&peer);
}
END_TEST

/* The timer counts for the oldest command that waits, not for the one that it was set for. */
START_TEST(command_times_out)
{
    struct peer peer;
    struct asked one = {0}, two = {0};

    peer_up(&peer, 40, NULL);
    ask(&peer, "query-a", false, &one);
    peer_say(&peer, "{\"return\":{},\"id\":2}\n");
    peer_until(&peer, &one.done);
    ask(&peer, "query-b", false, &two);
    peer_until(&peer, &peer.down);
    ck_assert_int_eq(one.err.code, 0);
    ck_assert_int_eq(two.err.code, SNAPVM_ERROR_QEMU_GONE);
    ck_assert_int_eq(peer.why.code, SNAPVM_ERROR_TIMEOUT);
    asked_deinit(&one);
    asked_deinit(&two);
    peer_deinit(&peer);
}
END_TEST

/* An answer that lies in the socket when the time is over is an answer: it was the loop that was
 * late. */
START_TEST(answer_in_the_socket)
{
    struct peer peer;
    struct asked asked = {0};

    peer_up(&peer, 0, NULL);
    ask(&peer, "query-a", false, &asked);
    peer_say(&peer, "{\"return\":{},\"id\":2}\n");
    peer_until(&peer, &asked.done);
    ck_assert_int_eq(asked.err.code, 0);
    ck_assert(!peer.down);
    asked_deinit(&asked);
    peer_deinit(&peer);
}
END_TEST

START_TEST(freed_in_up)
{
    struct peer peer;

    peer_init(&peer, 8);
    peer.free_in_up = true;
    peer_connect(&peer, 10000, 10000, NULL);
    peer_accept(&peer);
    peer_say(&peer, PEER_GREETING "{\"return\":{},\"id\":1}\n{\"event\":\"STOP\"}\n");
    peer_until(&peer, &peer.up);
    peer_settle(&peer);
    ck_assert(!peer.down && !peer.event);
    peer_deinit(&peer);
}
END_TEST

START_TEST(freed_in_event)
{
    struct peer peer;
    struct asked asked = {0};

    peer_up(&peer, 10000, NULL);
    peer.free_in_event = true;
    ask(&peer, "query-a", false, &asked);
    peer_say(&peer, "{\"event\":\"STOP\"}\n{\"event\":\"RESUME\"}\n{\"return\":{},\"id\":2}\n");
    peer_until(&peer, &peer.event);
    peer_settle(&peer);
    ck_assert_uint_eq(peer.n_events, 1);
    ck_assert(asked.dropped && !asked.done && !peer.down);
    peer_deinit(&peer);
}
END_TEST

START_TEST(freed_in_answer)
{
    struct peer peer;
    struct asked one = {.free_in_reply = true}, two = {0};

    peer_up(&peer, 10000, NULL);
    ask(&peer, "query-a", false, &one);
    ask(&peer, "query-b", false, &two);
    peer_say(&peer, "{\"return\":{},\"id\":2}\n{\"return\":{},\"id\":3}\n{\"event\":\"STOP\"}\n");
    peer_until(&peer, &one.done);
    peer_settle(&peer);
    ck_assert(two.dropped && !two.done && !one.dropped && !peer.event && !peer.down);
    asked_deinit(&one);
    peer_deinit(&peer);
}
END_TEST

/* In the answer that says that the connection is lost. */
START_TEST(freed_while_going_down)
{
    struct peer peer;
    struct asked one = {.free_in_reply = true}, two = {0};

    peer_up(&peer, 10000, NULL);
    ask(&peer, "query-a", false, &one);
    ask(&peer, "query-b", false, &two);
    close(TAKE_FD(peer.fd));
    peer_until(&peer, &one.done);
    peer_settle(&peer);
    ck_assert_int_eq(one.err.code, SNAPVM_ERROR_QEMU_GONE);
    ck_assert(two.dropped && !two.done && !peer.down);
    asked_deinit(&one);
    peer_deinit(&peer);
}
END_TEST

START_TEST(freed_in_down)
{
    struct peer peer;

    peer_up(&peer, 10000, NULL);
    peer.free_in_down = true;
    close(TAKE_FD(peer.fd));
    peer_until(&peer, &peer.down);
    peer_settle(&peer);
    ck_assert_uint_eq(peer.n_down, 1);
    peer_deinit(&peer);
}
END_TEST

START_TEST(freed_with_answers_due)
{
    struct peer peer;
    struct asked early = {0}, asked = {0};

    peer_init(&peer, 8);
    peer_connect(&peer, 10000, 10000, NULL);
    ask(&peer, "query-a", false, &early);
    peer.qmp = qmp_free(peer.qmp);
    ck_assert(early.dropped);
    peer_deinit(&peer);

    peer_up(&peer, 10000, NULL);
    ask(&peer, "query-a", false, &asked);
    peer.qmp = qmp_free(peer.qmp);
    ck_assert(asked.dropped && !asked.done);
    peer_deinit(&peer);
    ck_assert_ptr_null(qmp_free(NULL));
}
END_TEST

/* The monitor takes nothing more but has answered before: the answer counts. */
START_TEST(write_fails)
{
    struct peer peer;
    struct asked one = {0}, two = {0}, three = {0};

    peer_up(&peer, 10000, NULL);
    ask(&peer, "query-a", false, &one);
    peer_say(&peer, "{\"return\":{},\"id\":2}\n");
    ck_assert_int_eq(shutdown(peer.fd, SHUT_RD), 0);
    ask(&peer, "query-b", false, &two);
    ask(&peer, "query-c", false, &three);
    ck_assert(!one.done && !two.done && !peer.down);
    peer_until(&peer, &peer.down);
    ck_assert_int_eq(one.err.code, 0);
    ck_assert_int_eq(two.err.code, SNAPVM_ERROR_QEMU_GONE);
    ck_assert_int_eq(three.err.code, SNAPVM_ERROR_QEMU_GONE);
    ck_assert_int_eq(peer.why.code, SNAPVM_ERROR_QEMU_GONE);
    asked_deinit(&one);
    asked_deinit(&two);
    asked_deinit(&three);
    peer_deinit(&peer);
}
END_TEST

/* A child that listens is the process behind the socket; the test holds the other end open after
 * the child has died. */
START_TEST(process_ends)
{
    struct peer peer;
    struct asked one = {0}, two = {0};
    int ready[2];
    char byte;
    pid_t child;

    peer_init(&peer, -1);
    ck_assert_int_eq(pipe(ready), 0);
    child = fork();
    if (child == 0) {
        if (listen(peer.listening, 8) == 0 && write(ready[1], "r", 1) == 1)
            pause();
        _exit(1);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    peer_connect(&peer, 10000, 10000, NULL);
    peer_accept(&peer);
    ck_assert_int_eq(qmp_process(peer.qmp)->pid, child);
    peer_say(&peer, PEER_GREETING "{\"return\":{},\"id\":1}\n");
    peer_until(&peer, &peer.up);
    ask(&peer, "query-a", false, &one);
    ask(&peer, "query-b", false, &two);
    /* The loop hears of the end first, and finds the answer all the same. */
    peer_settle(&peer);
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    peer_say(&peer, "{\"return\":{},\"id\":2}\n");
    peer_until(&peer, &peer.down);
    ck_assert_int_eq(one.err.code, 0);
    ck_assert_int_eq(two.err.code, SNAPVM_ERROR_QEMU_GONE);
    ck_assert_int_eq(peer.why.code, SNAPVM_ERROR_QEMU_GONE);

    /* A socket that outlives its process leads nowhere. */
    qmp_free(peer.qmp);
    peer.down = false;
    peer_connect(&peer, 10000, 10000, NULL);
    peer_until(&peer, &peer.down);
    ck_assert_int_eq(peer.why.code, SNAPVM_ERROR_QEMU_GONE);
    close(ready[0]);
    close(ready[1]);
    asked_deinit(&one);
    asked_deinit(&two);
    peer_deinit(&peer);
}
END_TEST

static TCase *ending(void)
{
    TCase *tcase = tcase_create("ending");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, closed_in_the_middle);
    tcase_add_test(tcase, command_times_out);
    tcase_add_test(tcase, answer_in_the_socket);
    tcase_add_test(tcase, write_fails);
    tcase_add_test(tcase, process_ends);
    tcase_add_test(tcase, freed_in_up);
    tcase_add_test(tcase, freed_in_event);
    tcase_add_test(tcase, freed_in_answer);
    tcase_add_test(tcase, freed_while_going_down);
    tcase_add_test(tcase, freed_in_down);
    tcase_add_test(tcase, freed_with_answers_due);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("qmp-end");
    SRunner *runner = srunner_create(suite);
    int failed;

    log_set_level(LOG_ERR);
    suite_add_tcase(suite, ending());
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
