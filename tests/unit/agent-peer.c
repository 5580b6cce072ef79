/* The stage of the agent's tests. */
#include "tests/unit/agent-peer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/memory.h"
#include "tests/unit/scratch.h"

char *stage_folder, *agent_path;
struct event_base *base;
struct agent *agent;
int listener, peer;
unsigned ups, downs, order;
char down_reason[128];

static void on_up(_unused_ void *arg)
{
    ups++;
}

static void on_down(_unused_ void *arg, const struct error *why)
{
    downs++;
    order++;
    ck_assert_int_eq(why->code, SNAPVM_ERROR_AGENT_UNAVAILABLE);
    snprintf(down_reason, sizeof(down_reason), "%s", error_get(why, "reason"));
}

const struct agent_handlers handlers = {.up = on_up, .down = on_down};

void on_reply(void *arg, const struct agent_reply *reply, const struct error *err)
{
    struct outcome *outcome = arg;

    outcome->times++;
    outcome->order = ++order;
    ck_assert_int_eq(!reply, !!err);
    if (err) {
        outcome->code = err->code;
        snprintf(outcome->reason, sizeof(outcome->reason), "%s", error_get(err, "reason"));
    } else {
        outcome->count = reply->count;
        outcome->frozen = reply->frozen;
    }
    if (outcome->free_agent)
        agent = agent_free(agent);
    if (outcome->call_again) {
        outcome->call_again = false;
        agent_call(agent, AGENT_PING, NULL, 0, LONG_MS, on_reply, outcome);
    }
}

void call(enum agent_call which, struct outcome *outcome)
{
    agent_call(agent, which, NULL, 0, LONG_MS, on_reply, outcome);
}

void setup_listener(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    stage_folder = scratch_new();
    agent_path = xasprintf("%s/agent.sock", stage_folder);
    base = event_base_new();
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", agent_path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(listener, 0), 0);
    peer = -1;
}

void setup_connected(void)
{
    setup_listener();
    agent = agent_new(base, agent_path, &handlers, NULL);
    ck_assert_uint_eq(ups, 0);
    ck_assert(!agent_is_up(agent));
    SPIN_UNTIL(ups);
    ck_assert(agent_is_up(agent));
    peer = accept(listener, NULL, NULL);
    ck_assert_int_ge(peer, 0);
}

void teardown_stage(void)
{
    agent = agent_free(agent);
    event_base_free(base);
    close(peer);
    close(listener);
    free(agent_path);
    scratch_free(stage_folder);
}

const char *heard(void)
{
    static char text[64 * 1024];
    ssize_t n = recv(peer, text, sizeof(text) - 1, 0);

    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    return text;
}

bool heard_nothing(void)
{
    char c;

    return recv(peer, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

void say(const char *text)
{
    ck_assert_int_eq(send(peer, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

long long sync_id(const char *text)
{
    long long id = -1;

    text = strrchr(text, (char)0xff);
    ck_assert_ptr_nonnull(text);
    ck_assert_int_eq(
        sscanf(text + 1, "{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":%lld}}", &id),
        1);
    return id;
}

void say_sync(long long id)
{
    char text[256];

    snprintf(text, sizeof(text), STRAY "\xff{\"return\": %lld}\n", id);
    say(text);
}

void step(void)
{
    struct outcome ping = {0};

    call(AGENT_PING, &ping);
    say_sync(sync_id(heard()));
    say("{\"return\": {}}\n");
    SPIN_UNTIL(ping.times);
    ck_assert_int_eq(ping.code, 0);
}

void assert_unavailable(const struct outcome *outcome, const char *reason)
{
    ck_assert_uint_eq(outcome->times, 1);
    ck_assert_int_eq(outcome->code, SNAPVM_ERROR_AGENT_UNAVAILABLE);
    ck_assert_str_eq(outcome->reason, reason);
}
