/* How an agent's connection is made and how it ends: refused, closed, flooded, freed. */
#include <check.h>
#include <errno.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "tests/unit/agent-peer.h"
#include "tests/unit/scratch.h"

START_TEST(test_closed)
{
    struct outcome first = {0}, second = {0}, late = {0};

    step();
    call(AGENT_STATUS, &first);
    call(AGENT_PING, &second);
    heard();
    say("{\"return\": \"thawed\"}\n{\"retu");
    close(peer);
    peer = -1;
    SPIN_UNTIL(downs);
    ck_assert_int_eq(first.code, 0);
    assert_unavailable(&second, "closed by the other side");
    ck_assert_str_eq(down_reason, "closed by the other side");
    ck_assert_uint_eq(second.order + 1, order);
    ck_assert(!agent_is_up(agent));
    ck_assert_uint_eq(agent_unsent(agent), 0);

    call(AGENT_PING, &late);
    ck_assert_uint_eq(late.times, 0);
    SPIN_UNTIL(late.times);
    assert_unavailable(&late, "not connected");
    ck_assert_uint_eq(downs, 1);
}
END_TEST

/* The loss shows while writing: it is told from the loop, not from within the call. */
START_TEST(test_closed_before_write)
{
    struct outcome ping = {.call_again = true};

    step();
    shutdown(peer, SHUT_RD);
    call(AGENT_PING, &ping);
    ck_assert_uint_eq(ping.times, 0);
    SPIN_UNTIL(downs && ping.times == 2);
    ck_assert_uint_eq(downs, 1);
    ck_assert_int_eq(ping.code, SNAPVM_ERROR_AGENT_UNAVAILABLE);
}
END_TEST

/* Sends much without waiting for the agent's side to read it, until that counts something. */
static void pour(const char *piece, size_t size, const unsigned *end)
{
    while (*end == 0) {
        if (send(peer, piece, size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            event_base_loop(base, EVLOOP_ONCE);
        else
            event_base_loop(base, EVLOOP_NONBLOCK);
    }
}

START_TEST(test_endless_line)
{
    static char piece[4096];
    struct outcome ping = {0};

    memset(piece, 'x', sizeof(piece));
    if (_i == 1)
        step(); /* it would be the ping's answer, and is skipped to its end */
    call(AGENT_PING, &ping);
    pour(piece, sizeof(piece), _i ? &ping.times : &downs);
    assert_unavailable(&ping, _i ? "an answer over the bound" : "it sends without being asked");
    ck_assert_uint_eq(downs, _i ? 0 : 1);
}
END_TEST

/* What a guest with very many mounts answers costs neither the connection nor the calls behind. */
START_TEST(test_long_list)
{
    struct outcome list = {0}, thaw = {0};
    static char piece[4096];

    memset(piece, 'x', sizeof(piece) - 1);
    step();
    call(AGENT_FSINFO, &list);
    call(AGENT_THAW, &thaw);
    heard();
    say("{\"return\": [\"");
    for (unsigned i = 0; i < 24; i++) {
        say(piece);
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    say("\"]}\n{\"return\": 2}\n");
    SPIN_UNTIL(thaw.times);
    assert_unavailable(&list, "an answer over the bound");
    ck_assert_int_eq(thaw.code, 0);
    ck_assert_int_eq(thaw.count, 2);
    ck_assert_uint_eq(downs, 0);
}
END_TEST

/* Short lines without end: with a call outstanding and with none. However well it began, who talks
 * so much is to be connected anew with a growing delay. */
START_TEST(test_flood)
{
    struct outcome ping = {0};

    if (_i == 1)
        step();
    else
        call(AGENT_PING, &ping);
    pour(STRAY STRAY STRAY STRAY, 4 * strlen(STRAY), &downs);
    ck_assert_str_eq(down_reason, "it sends without being asked");
    ck_assert(!agent_has_answered(agent));
    if (_i == 0)
        assert_unavailable(&ping, "it sends without being asked");
}
END_TEST

/* A guest that chatters is read slowly, but whoever asks it gets the answer. */
START_TEST(test_chatter)
{
    struct outcome status = {0};
    bool unread = false;
    int queued;

    step();
    ck_assert(agent_has_answered(agent));
    for (unsigned i = 0; i < 200 && !unread; i++) {
        say("{}\n");
        event_base_loop(base, EVLOOP_NONBLOCK);
        ck_assert_int_eq(ioctl(peer, SIOCOUTQ, &queued), 0);
        unread = queued > 0;
    }
    ck_assert(unread);
    agent_desync(agent);
    call(AGENT_STATUS, &status);
    say_sync(sync_id(heard()));
    say("{\"return\": \"thawed\"}\n");
    SPIN_UNTIL(status.times);
    ck_assert_int_eq(status.code, 0);
    ck_assert_uint_eq(downs, 0);
}
END_TEST

/* A peer that never reads: what it does not take is kept, up to a bound, and leaves in order. */
START_TEST(test_backlog)
{
    struct outcome *pings = xzalloc(20000 * sizeof(*pings));
    unsigned n = 0, got = 0;
    char text[4096];
    ssize_t size;

    step();
    while (n < 20000 && pings[n ? n - 1 : 0].times == 0) {
        call(AGENT_PING, &pings[n++]);
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    ck_assert_uint_lt(n, 20000);
    ck_assert_str_eq(pings[n - 1].reason, "it takes no more calls");
    ck_assert_uint_eq(pings[0].times, 0);
    ck_assert_uint_gt(agent_unsent(agent), 256 * 1024);
    while (agent_unsent(agent) > 0) {
        size = recv(peer, text, sizeof(text), MSG_DONTWAIT);
        for (ssize_t i = 0; i < size; i++)
            got += text[i] == '\n';
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    ck_assert_uint_eq(got, n - 1);
    agent = agent_free(agent);
    free(pings);
}
END_TEST

/* The callback frees the agent: nobody else is told anything. */
START_TEST(test_free_in_reply)
{
    struct outcome first = {.free_agent = true}, second = {0};

    step();
    call(AGENT_STATUS, &first);
    call(AGENT_STATUS, &second);
    say(_i == 0   ? "{\"return\": \"thawed\"}\n{\"return\": \"thawed\"}\n"
        : _i == 1 ? "garbage\ngarbage\n"
                  : "{\"error\": {}}\n\xff{\"return\": 1}\n");
    SPIN_UNTIL(first.times);
    ck_assert_ptr_null(agent);
    event_base_loop(base, EVLOOP_NONBLOCK);
    ck_assert_uint_eq(second.times, 0);
    ck_assert_uint_eq(downs, 0);
}
END_TEST

START_TEST(test_free_in_loss)
{
    struct outcome first = {.free_agent = true}, second = {0};

    call(AGENT_STATUS, &first);
    call(AGENT_STATUS, &second);
    close(peer);
    peer = -1;
    SPIN_UNTIL(first.times);
    event_base_loop(base, EVLOOP_NONBLOCK);
    ck_assert_uint_eq(second.times, 0);
    ck_assert_uint_eq(downs, 0);
}
END_TEST

START_TEST(test_free_in_timeout)
{
    struct outcome first = {.free_agent = true}, second = {0};

    agent_call(agent, AGENT_STATUS, NULL, 0, 1, on_reply, &first);
    call(AGENT_STATUS, &second);
    SPIN_UNTIL(first.times);
    assert_unavailable(&first, NO_ANSWER);
    ck_assert_ptr_null(agent);
    ck_assert_uint_eq(second.times, 0);
}
END_TEST

static void free_on_up(_unused_ void *arg)
{
    ups++;
    agent = agent_free(agent);
}

static void free_on_down(_unused_ void *arg, _unused_ const struct error *why)
{
    downs++;
    agent = agent_free(agent);
}

static const struct agent_handlers freeing = {.up = free_on_up, .down = free_on_down};

START_TEST(test_free_in_handlers)
{
    agent = agent_new(base, agent_path, &freeing, NULL);
    SPIN_UNTIL(ups);
    ck_assert_ptr_null(agent);
    unlink(agent_path);
    agent = agent_new(base, agent_path, &freeing, NULL);
    SPIN_UNTIL(downs);
    ck_assert_ptr_null(agent);
    agent = agent_new(base, agent_path, &freeing, NULL);
    ck_assert_ptr_null(agent_free(agent));
    agent = agent_free(NULL);
}
END_TEST

/* Calls before the connection stands are refused, and told before it is said to be down. */
START_TEST(test_not_connected)
{
    struct outcome ping = {.call_again = true};

    unlink(agent_path);
    agent = agent_new(base, agent_path, &handlers, NULL);
    call(AGENT_FREEZE, &ping);
    ck_assert_uint_eq(ping.times, 0);
    SPIN_UNTIL(downs && ping.times == 2);
    ck_assert_uint_eq(ups, 0);
    ck_assert_uint_eq(downs, 1);
    ck_assert_str_eq(down_reason, "No such file or directory");
}
END_TEST

START_TEST(test_nobody_listens)
{
    close(listener);
    listener = -1;
    agent = agent_new(base, agent_path, &handlers, NULL);
    SPIN_UNTIL(downs);
    ck_assert_str_eq(down_reason, "Connection refused");
}
END_TEST

START_TEST(test_path_too_long)
{
    char name[200];

    memset(name, 'n', sizeof(name));
    name[0] = '/';
    name[sizeof(name) - 1] = '\0';
    agent = agent_new(base, name, &handlers, NULL);
    SPIN_UNTIL(downs);
    ck_assert_str_eq(down_reason, "the name of the socket is too long");
}
END_TEST

/* Other clients fill the listener's queue; as soon as there is room the agent gets it. */
START_TEST(test_full_backlog)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int other[16], n = 0, first;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", agent_path);
    for (; n < 16; n++) {
        other[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(other[n], (struct sockaddr *)&address, sizeof(address)) < 0)
            break;
    }
    ck_assert_int_lt(n, 16);
    ck_assert_int_eq(errno, EAGAIN);
    agent = agent_new(base, agent_path, &handlers, NULL);
    event_base_loop(base, EVLOOP_NONBLOCK);
    ck_assert_uint_eq(ups + downs, 0);
    first = accept(listener, NULL, NULL);
    SPIN_UNTIL(ups);
    ck_assert_uint_eq(downs, 0);
    close(first);
    for (int i = 0; i <= n; i++)
        close(other[i]);
}
END_TEST

/* The real agent of this machine, which must never freeze it: those commands are taken from it. */
static pid_t spawn_qemu_ga(void)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execlp("qemu-ga", "qemu-ga", "-m", "unix-listen", "-p", agent_path, "-t", stage_folder, "-b",
           "guest-fsfreeze-freeze,guest-fsfreeze-freeze-list,guest-fsfreeze-thaw,guest-shutdown,"
           "guest-suspend-disk,guest-suspend-ram,guest-suspend-hybrid,guest-exec,guest-fstrim,"
           "guest-set-time,guest-file-open,guest-set-user-password",
           (char *)NULL);
    _exit(127);
}

struct facts {
    unsigned times;
    bool can_freeze, version;
    unsigned n_fs;
};

static void on_facts(void *arg, const struct agent_reply *reply, const struct error *err)
{
    struct facts *facts = arg;

    ck_assert_msg(reply != NULL, "%s", err ? err->message : "");
    facts->times++;
    facts->can_freeze = reply->can_freeze;
    facts->version = reply->version != NULL;
    facts->n_fs = reply->n_fs;
}

/* qemu-ga takes its time to listen: its socket appears when it does. */
static void wait_for_socket(pid_t pid)
{
    struct agent *attempt = NULL;

    while (downs || !ups) {
        ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
        attempt = agent_free(attempt);
        downs = 0;
        attempt = agent_new(base, agent_path, &handlers, NULL);
        SPIN_UNTIL(ups || downs);
    }
    agent = attempt;
}

START_TEST(test_qemu_ga)
{
    struct outcome ping = {0}, status = {0}, desync = {0};
    struct facts info = {0}, fsinfo = {0};
    pid_t pid;

    if (!scratch_has("qemu-ga"))
        return;
    close(listener);
    listener = -1;
    unlink(agent_path);
    pid = spawn_qemu_ga();
    wait_for_socket(pid);
    call(AGENT_PING, &ping);
    call(AGENT_STATUS, &status);
    agent_call(agent, AGENT_INFO, NULL, 0, LONG_MS, on_facts, &info);
    agent_call(agent, AGENT_FSINFO, NULL, 0, LONG_MS, on_facts, &fsinfo);
    agent_desync(agent);
    call(AGENT_PING, &desync);
    SPIN_UNTIL(desync.times);
    ck_assert_int_eq(ping.code, 0);
    ck_assert_int_eq(status.code, 0);
    ck_assert(!status.frozen);
    ck_assert_uint_eq(info.times, 1);
    ck_assert(info.version);
    ck_assert(!info.can_freeze);
    ck_assert_uint_eq(fsinfo.times, 1);
    ck_assert_int_eq(desync.code, 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    SPIN_UNTIL(downs);
}
END_TEST

TCase *agent_loss_case(void)
{
    TCase *loss = tcase_create("loss");

    tcase_set_timeout(loss, 30);
    tcase_add_checked_fixture(loss, setup_connected, teardown_stage);
    tcase_add_test(loss, test_closed);
    tcase_add_test(loss, test_closed_before_write);
    tcase_add_loop_test(loss, test_endless_line, 0, 2);
    tcase_add_test(loss, test_long_list);
    tcase_add_loop_test(loss, test_flood, 0, 2);
    tcase_add_test(loss, test_chatter);
    tcase_add_test(loss, test_backlog);
    tcase_add_loop_test(loss, test_free_in_reply, 0, 3);
    tcase_add_test(loss, test_free_in_loss);
    tcase_add_test(loss, test_free_in_timeout);
    return loss;
}

TCase *agent_connect_case(void)
{
    TCase *making = tcase_create("connect");

    tcase_set_timeout(making, 30);
    tcase_add_checked_fixture(making, setup_listener, teardown_stage);
    tcase_add_test(making, test_free_in_handlers);
    tcase_add_test(making, test_not_connected);
    tcase_add_test(making, test_nobody_listens);
    tcase_add_test(making, test_path_too_long);
    tcase_add_test(making, test_full_backlog);
    tcase_add_test(making, test_qemu_ga);
    return making;
}
