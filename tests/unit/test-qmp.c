/* The connection against a scripted monitor: every way to come up or not to, and what is said once
 * it is up. */
#include "qemu/qmp.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>

#include "base/crash.h"
#include "base/log.h"
#include "proto/json.h"
#include "proto/limits.h"
#include "proto/snapvm-errors.h"
#include "qmp-peer.h"

START_TEST(comes_up_byte_by_byte)
{
    struct peer peer;

    peer_init(&peer, 8);
    peer_connect(&peer, 10000, 10000, NULL);
    peer_accept(&peer);
    ck_assert_ptr_null(qmp_version(peer.qmp));
    for (const char *p = PEER_GREETING; *p; p++) {
        ck_assert_int_eq(write(peer.fd, p, 1), 1);
        peer_turn(&peer);
    }
    ck_assert_str_eq(peer_line(&peer), PEER_NEGOTIATION);
    ck_assert(!peer.up && !qmp_is_up(peer.qmp));
    peer_say(&peer, "{\"return\":{},\"id\":1}\n");
    peer_until(&peer, &peer.up);
    ck_assert(qmp_is_up(peer.qmp));
    ck_assert_str_eq(qmp_version(peer.qmp), "7.2.22");
    ck_assert_int_eq(qmp_process(peer.qmp)->pid, getpid());
    ck_assert(!peer.down);
    peer_deinit(&peer);
}
END_TEST

/* A QEMU whose monitor does not offer to read ahead is not asked to. */
START_TEST(offers_nothing)
{
    struct peer peer;

    peer_init(&peer, 8);
    peer_connect(&peer, 10000, 10000, NULL);
    peer_accept(&peer);
    peer_say(&peer, "{\"QMP\":{\"version\":{},\"capabilities\":[3,\"other\"]}}\n");
    while (!peer_has_input(&peer))
        peer_turn(&peer);
    ck_assert_str_eq(peer_line(&peer), "{\"execute\":\"qmp_capabilities\",\"id\":1}");
    peer_say(&peer, "{\"return\":{},\"id\":1}\n");
    peer_until(&peer, &peer.up);
    peer_deinit(&peer);
}
END_TEST

/* Nothing is called from within qmp_new(), also where it knows at once. */
static void assert_unreachable(struct peer *peer, int code)
{
    peer_connect(peer, 10000, 10000, NULL);
    ck_assert(!peer->down);
    peer_until(peer, &peer->down);
    ck_assert_int_eq(peer->why.code, code);
    ck_assert(!qmp_is_up(peer->qmp));
    ck_assert_int_eq(qmp_process(peer->qmp)->pid, 0);
}

START_TEST(no_socket)
{
    struct peer peer;

    peer_init(&peer, 8);
    unlink(peer.path);
    assert_unreachable(&peer, SNAPVM_ERROR_NOT_FOUND);
    peer_deinit(&peer);
}
END_TEST

START_TEST(nobody_listens)
{
    struct peer peer;

    peer_init(&peer, -1);
    assert_unreachable(&peer, SNAPVM_ERROR_NOT_FOUND);
    peer_deinit(&peer);
}
END_TEST

START_TEST(path_too_long)
{
    struct peer peer;

    peer_init(&peer, 8);
    free(peer.path);
    peer.path = xasprintf("/%0200d", 1);
    assert_unreachable(&peer, SNAPVM_ERROR_QEMU_GONE);
    peer_deinit(&peer);
}
END_TEST

START_TEST(closed_without_greeting)
{
    struct peer peer;

    peer_init(&peer, 8);
    peer_connect(&peer, 10000, 10000, NULL);
    peer_accept(&peer);
    close(TAKE_FD(peer.fd));
    peer_until(&peer, &peer.down);
    ck_assert_int_eq(peer.why.code, SNAPVM_ERROR_QEMU_GONE);
    peer_deinit(&peer);
}
END_TEST

/* Accepted by the system, or not even that, and silent: somebody else holds the monitor. */
START_TEST(silent)
{
    struct peer peer;

    peer_init(&peer, 8);
    if (_i)
        peer_connect(&peer, 20, 10000, NULL);
    else
        peer_connect(&peer, 0, 10000, NULL);
    peer_until(&peer, &peer.down);
    ck_assert_int_eq(peer.why.code, SNAPVM_ERROR_TIMEOUT);
    peer_settle(&peer);
    ck_assert_uint_eq(peer.n_down, 1);
    peer_deinit(&peer);
}
END_TEST

START_TEST(silent_in_negotiation)
{
    struct peer peer;

    peer_init(&peer, 8);
    peer_connect(&peer, 50, 10000, NULL);
    peer_accept(&peer);
    peer_say(&peer, PEER_GREETING);
    peer_until(&peer, &peer.down);
    ck_assert_int_eq(peer.why.code, SNAPVM_ERROR_TIMEOUT);
    ck_assert(!peer.up);
    peer_deinit(&peer);
}
END_TEST

START_TEST(negotiation_refused)
{
    struct peer peer;

    peer_init(&peer, 8);
    peer_connect(&peer, 10000, 10000, NULL);
    peer_accept(&peer);
    peer_say(&peer, PEER_GREETING
             "{\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"no\"},\"id\":1}\n");
    peer_until(&peer, &peer.down);
    ck_assert_int_eq(peer.why.code, SNAPVM_ERROR_QEMU_GONE);
    ck_assert(!peer.up);
    peer_deinit(&peer);
}
END_TEST

/* Takes every place in the backlog. Returns how many there were. */
static unsigned fill_backlog(struct peer *peer, int *fds, unsigned max)
{
    struct sockaddr_un address = peer_address(peer);

    for (unsigned n = 0; n < max; n++) {
        fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(fds[n], (struct sockaddr *)&address, sizeof(address)) < 0) {
            ck_assert_int_eq(errno, EAGAIN);
            close(fds[n]);
            return n;
        }
    }
    ck_abort_msg("a backlog without end");
}

START_TEST(backlog_full_then_served)
{
    struct peer peer;
    struct pollfd pending = {.events = POLLIN};
    int fds[16];
    unsigned n;

    peer_init(&peer, 0);
    n = fill_backlog(&peer, fds, 16);
    ck_assert_uint_gt(n, 0);
    peer_connect(&peer, 10000, 10000, NULL);
    peer_settle(&peer);
    ck_assert(!peer.down);
    for (unsigned i = 0; i < n; i++)
        close(accept(peer.listening, NULL, NULL));
    pending.fd = peer.listening;
    while (poll(&pending, 1, 0) == 0)
        peer_turn(&peer);
    peer_accept(&peer);
    peer_say(&peer, PEER_GREETING);
    while (!peer_has_input(&peer))
        peer_turn(&peer);
    for (unsigned i = 0; i < n; i++)
        close(fds[i]);
    peer_deinit(&peer);
}
END_TEST

START_TEST(backlog_full_for_good)
{
    struct peer peer;
    int fds[16];
    unsigned n;

    peer_init(&peer, 0);
    n = fill_backlog(&peer, fds, 16);
    peer_connect(&peer, 60, 10000, NULL);
    peer_until(&peer, &peer.down);
    ck_assert_int_eq(peer.why.code, SNAPVM_ERROR_TIMEOUT);
    for (unsigned i = 0; i < n; i++)
        close(fds[i]);
    peer_deinit(&peer);
}
END_TEST

START_TEST(answers)
{
    struct peer peer;
    struct asked one = {0}, two = {0}, three = {0};

    peer_up(&peer, 10000, NULL);
    ask(&peer, "query-a", false, &one);
    ck_assert_str_eq(peer_line(&peer), "{\"execute\":\"query-a\",\"id\":2}");
    qmp_execute(peer.qmp, "query-b", json_object_new_object(), asked_fn, &two);
    ck_assert_str_eq(peer_line(&peer), "{\"execute\":\"query-b\",\"arguments\":{},\"id\":3}");
    ask(&peer, "query-c", false, &three);
    ck_assert(!one.done);

    /* Split, several in one write, events between, and in another order than asked. */
    peer_say(&peer, "{\"return\":[1,2],\"i");
    peer_settle(&peer);
    ck_assert(!one.done);
    peer_say(&peer,
             "d\":2}\r\n{\"event\":\"STOP\",\"timestamp\":{}}\r\n"
             "{\"id\":4,\"return\":\"\"}\r\n{\"id\":3,\"error\":{\"class\":\"DeviceNotFound\","
             "\"desc\":\"no such thing\"}}\r\n\r\n");
    peer_until(&peer, &two.done);
    ck_assert_str_eq(one.result, "[1,2]");
    ck_assert_str_eq(three.result, "\"\"");
    ck_assert_int_eq(two.err.code, SNAPVM_ERROR_QEMU);
    ck_assert_str_eq(error_get(&two.err, "class"), "DeviceNotFound");
    ck_assert_str_eq(error_get(&two.err, "desc"), "no such thing");
    ck_assert_str_eq(error_get(&two.err, "command"), "query-b");
    ck_assert(peer.event && peer.last.kind == QMP_EVENT_STOP);
    ck_assert_uint_eq(one.n + two.n + three.n, 3);
    asked_deinit(&one);
    asked_deinit(&two);
    asked_deinit(&three);
    peer_deinit(&peer);
}
END_TEST

/* Each is the end of the connection: the answers that follow cannot be trusted to be ours. */
static const char *const broken_lines[] = {
    "{\"error\":{\"class\":\"GenericError\",\"desc\":\"JSON parse error, invalid keyword\"}}\n",
    "{\"return\":{}}\n",
    "{\"return\":{},\"id\":\"2\"}\n",
    "{\"return\":{},\"id\":99}\n",
    "{\"return\":{},\"id\":1}\n", /* answered already */
    "{\"id\":2}\n",
    "{}\n",
    "[]\n",
    "17\n",
    "{\"return\":\n",
    "\xff\xfe\n",
    "{\"return\":\"\xc3\x28\",\"id\":2}\n",
    PEER_GREETING,
};

START_TEST(broken_protocol)
{
    struct peer peer;
    struct asked asked = {0};

    peer_up(&peer, 10000, NULL);
    ask(&peer, "query-a", false, &asked);
    peer_say(&peer, broken_lines[_i]);
    peer_say(&peer, "{\"return\":{},\"id\":2}\n");
    peer_until(&peer, &peer.down);
    ck_assert_int_eq(peer.why.code, SNAPVM_ERROR_QEMU_GONE);
    ck_assert_int_eq(asked.err.code, SNAPVM_ERROR_QEMU_GONE);
    ck_assert_uint_eq(asked.n, 1);
    asked_deinit(&asked);
    peer_deinit(&peer);
}
END_TEST

static const char *const broken_greetings[] = {
    "hello\n",
    "{\"return\":{},\"id\":1}\n",
    "{\"QMP\":1}\n",
    "{\"error\":{\"class\":\"GenericError\",\"desc\":\"x\"}}\n",
};

START_TEST(broken_greeting)
{
    struct peer peer;

    peer_init(&peer, 8);
    peer_connect(&peer, 10000, 10000, NULL);
    peer_accept(&peer);
    peer_say(&peer, broken_greetings[_i]);
    peer_until(&peer, &peer.down);
    ck_assert_int_eq(peer.why.code, SNAPVM_ERROR_QEMU_GONE);
    peer_deinit(&peer);
}
END_TEST

/* A greeting without its version, and events before it, are odd and harmless. */
START_TEST(odd_greeting)
{
    struct peer peer;

    peer_init(&peer, 8);
    peer_connect(&peer, 10000, 10000, NULL);
    peer_accept(&peer);
    peer_say(&peer, "{\"event\":\"STOP\"}\n{\"QMP\":{}}\n{\"event\":\"STOP\"}\n"
                    "{\"return\":{},\"id\":1}\n{\"event\":7}\n");
    peer_until(&peer, &peer.event);
    ck_assert(peer.up);
    ck_assert_uint_eq(peer.n_events, 1);
    ck_assert_int_eq(peer.last.kind, QMP_EVENT_OTHER);
    ck_assert_str_eq(qmp_version(peer.qmp), "0.0.0");
    peer_deinit(&peer);
}
END_TEST

/* Feeds without end until the connection gives up; memory stays bounded by the line's. */
START_TEST(endless_line)
{
    struct peer peer;
    char *block = xzalloc(LIMIT_QMP_LINE / 64);
    int flags;

    memset(block, _i ? '[' : ' ', LIMIT_QMP_LINE / 64);
    peer_up(&peer, 60000, NULL);
    flags = fcntl(peer.fd, F_GETFL);
    fcntl(peer.fd, F_SETFL, flags | O_NONBLOCK);
    while (!peer.down) {
        if (send(peer.fd, block, LIMIT_QMP_LINE / 64, MSG_NOSIGNAL) < 0)
            ck_assert(errno == EAGAIN || errno == EPIPE || errno == ECONNRESET);
        peer_settle(&peer);
    }
    ck_assert_int_eq(peer.why.code, SNAPVM_ERROR_QEMU_GONE);
    free(block);
    peer_deinit(&peer);
}
END_TEST

START_TEST(deep_nesting)
{
    struct peer peer;
    struct asked asked = {0};
    char deep[2 * LIMIT_QMP_NESTING + 1];

    peer_up(&peer, 10000, NULL);
    ask(&peer, "query-a", false, &asked);
    /* As deep as allowed, and then one deeper. */
    memset(deep, '[', LIMIT_QMP_NESTING - 1);
    memset(deep + LIMIT_QMP_NESTING - 1, ']', LIMIT_QMP_NESTING - 1);
    deep[2 * (LIMIT_QMP_NESTING - 1)] = '\0';
    peer_say(&peer, "{\"id\":2,\"return\":");
    peer_say(&peer, deep);
    peer_say(&peer, "}\n");
    peer_until(&peer, &asked.done);
    ck_assert_int_eq(asked.err.code, 0);
    peer_say(&peer, "{\"event\":[");
    peer_say(&peer, deep);
    peer_say(&peer, "]}\n");
    peer_until(&peer, &peer.down);
    ck_assert_int_eq(peer.why.code, SNAPVM_ERROR_QEMU_GONE);
    asked_deinit(&asked);
    peer_deinit(&peer);
}
END_TEST

START_TEST(asked_too_early)
{
    struct peer peer;
    struct asked asked = {0};

    peer_init(&peer, 8);
    peer_connect(&peer, 10000, 10000, NULL);
    qmp_cork(peer.qmp);
    ask(&peer, "stop", true, &asked);
    qmp_uncork(peer.qmp);
    ck_assert(!asked.done);
    peer_until(&peer, &asked.done);
    ck_assert_int_eq(asked.err.code, SNAPVM_ERROR_QEMU_GONE);
    ck_assert(!peer.down);
    asked_deinit(&asked);
    peer_deinit(&peer);
}
END_TEST

START_TEST(corked)
{
    struct peer peer;
    struct asked asked[3] = {0};
    char buffer[256];
    ssize_t n;

    peer_up(&peer, 10000, NULL);
    qmp_cork(peer.qmp);
    ask(&peer, "a", false, &asked[0]);
    qmp_cork(peer.qmp);
    ask(&peer, "b", false, &asked[1]);
    qmp_uncork(peer.qmp);
    ask(&peer, "c", false, &asked[2]);
    peer_settle(&peer);
    ck_assert(!peer_has_input(&peer));
    qmp_uncork(peer.qmp);
    n = recv(peer.fd, buffer, sizeof(buffer) - 1, MSG_DONTWAIT);
    ck_assert_int_gt(n, 0);
    buffer[n] = '\0';
    ck_assert_str_eq(buffer, "{\"execute\":\"a\",\"id\":2}\n{\"execute\":\"b\",\"id\":3}\n"
                             "{\"execute\":\"c\",\"id\":4}\n");
    peer_deinit(&peer);
}
END_TEST

/* The names of the boundaries that were passed, in order, with spaces between. */
static char *boundaries(const char *file)
{
    char *text = xzalloc(4096);
    FILE *list = fopen(file, "re");

    ck_assert_ptr_nonnull(list);
    ck_assert_uint_lt(fread(text, 1, 4095, list), 4095);
    fclose(list);
    for (char *p = text; *p; p++)
        if (*p == '\n')
            *p = ' ';
    return text;
}

static struct crash *crash_list(char **ret_file)
{
    char name[] = "/tmp/test-qmp-XXXXXX";
    struct crash *crash;

    close(mkstemp(name));
    setenv("SNAPVM_CRASH_LIST", name, 1);
    crash = crash_new();
    unsetenv("SNAPVM_CRASH_LIST");
    *ret_file = xstrdup(name);
    return crash;
}

START_TEST(boundaries_of_effects)
{
    struct peer peer;
    struct asked asked[5] = {0};
    char *file, *passed;
    struct crash *crash = crash_list(&file);

    peer_up(&peer, 10000, crash);
    ask(&peer, "query-a", false, &asked[0]);
    ask(&peer, "stop", true, &asked[1]);
    qmp_cork(peer.qmp);
    ask(&peer, "x", true, &asked[2]);
    ask(&peer, "y", true, &asked[3]);
    qmp_uncork(peer.qmp);
    peer_say(&peer, "{\"return\":{},\"id\":2}\n{\"return\":{},\"id\":3}\n"
                    "{\"error\":{},\"id\":4}\n{\"return\":{},\"id\":5}\n");
    peer_until(&peer, &asked[3].done);
    close(TAKE_FD(peer.fd));
    peer_until(&peer, &peer.down);
    ask(&peer, "never", true, &asked[4]);
    peer_until(&peer, &asked[4].done);
    passed = boundaries(file);
    ck_assert_str_eq(passed, "effect.before:stop effect.sent:stop effect.before:x effect.before:y "
                             "effect.sent:x effect.sent:y effect.done:stop effect.done:x "
                             "effect.done:y ");
    for (unsigned i = 0; i < 5; i++)
        asked_deinit(&asked[i]);
    peer_deinit(&peer);
    crash_free(crash);
    unlink(file);
    free(file);
    free(passed);
}
END_TEST

/* More than the socket takes: the rest goes when there is room, and a command counts as sent only
 * with its last byte. */
START_TEST(full_socket)
{
    struct peer peer;
    struct asked big = {0}, last = {0};
    json_object *arguments = json_object_new_object();
    char *file, *passed, *text = xzalloc(1 << 20), buffer[65536];
    struct crash *crash = crash_list(&file);
    size_t total = 0;
    ssize_t n;

    memset(text, 'x', (1 << 20) - 1);
    peer_up(&peer, 60000, crash);
    json_add_string(arguments, "text", text);
    qmp_send(
        peer.qmp,
        &(struct qmp_request){
            .command = "big", .arguments = arguments, .effect = true, .fn = asked_fn, .arg = &big});
    ask(&peer, "last", true, &last);
    passed = boundaries(file);
    ck_assert_str_eq(passed, "effect.before:big effect.before:last ");
    free(passed);
    while (total < (1 << 20) + 40) {
        while ((n = recv(peer.fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0)
            total += (size_t)n;
        peer_settle(&peer);
    }
    passed = boundaries(file);
    ck_assert_str_eq(passed, "effect.before:big effect.before:last effect.sent:big "
                             "effect.sent:last ");
    peer_deinit(&peer);
    crash_free(crash);
    unlink(file);
    free(file);
    free(passed);
    free(text);
}
END_TEST

static TCase *connecting(void)
{
    TCase *tcase = tcase_create("connecting");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, comes_up_byte_by_byte);
    tcase_add_test(tcase, offers_nothing);
    tcase_add_test(tcase, no_socket);
    tcase_add_test(tcase, nobody_listens);
    tcase_add_test(tcase, path_too_long);
    tcase_add_test(tcase, closed_without_greeting);
    tcase_add_loop_test(tcase, silent, 0, 2);
    tcase_add_test(tcase, silent_in_negotiation);
    tcase_add_test(tcase, negotiation_refused);
    tcase_add_test(tcase, backlog_full_then_served);
    tcase_add_test(tcase, backlog_full_for_good);
    tcase_add_loop_test(tcase, broken_greeting, 0,
                        sizeof(broken_greetings) / sizeof(broken_greetings[0]));
    tcase_add_test(tcase, odd_greeting);
    return tcase;
}

static TCase *talking(void)
{
    TCase *tcase = tcase_create("talking");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, answers);
    tcase_add_loop_test(tcase, broken_protocol, 0, sizeof(broken_lines) / sizeof(broken_lines[0]));
    tcase_add_loop_test(tcase, endless_line, 0, 2);
    tcase_add_test(tcase, deep_nesting);
    tcase_add_test(tcase, asked_too_early);
    tcase_add_test(tcase, corked);
    tcase_add_test(tcase, boundaries_of_effects);
    tcase_add_test(tcase, full_socket);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("qmp");
    SRunner *runner = srunner_create(suite);
    int failed;

    log_set_level(LOG_ERR);
    suite_add_tcase(suite, connecting());
    suite_add_tcase(suite, talking());
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
