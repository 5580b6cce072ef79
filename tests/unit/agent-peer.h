/* The other side of an agent's connection: a socket on which the test speaks as it likes. One stage
 * a test; the fixtures make and clear it. */
#ifndef SNAPVM_TESTS_UNIT_AGENT_PEER_H
#define SNAPVM_TESTS_UNIT_AGENT_PEER_H

#include <check.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "proto/snapvm-errors.h"
#include "qemu/agent.h"

#define LONG_MS 20000 /* no time-out in a test that has an answer coming */

/* What qemu-ga 7.2 says first to a 0xFF. */
#define STRAY "{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error, stray\"}}\n"

#define NO_ANSWER "no answer"
#define WRONG_SHAPE "an answer of the wrong shape"

extern char *stage_folder, *agent_path;
extern struct event_base *base;
extern struct agent *agent;
extern int listener, peer;         /* the other side */
extern unsigned ups, downs, order; /* what the handlers and calls were told */
extern char down_reason[128];
extern const struct agent_handlers handlers;

/* What became of a call. */
struct outcome {
    unsigned times, order; /* callbacks; the order among all of them */
    int code;
    char reason[512];
    int64_t count;
    bool frozen;
    bool free_agent, call_again; /* what the callback does */
};

void on_reply(void *arg, const struct agent_reply *reply, const struct error *err);
void call(enum agent_call which, struct outcome *outcome);

/* The loop runs until the condition holds; the test's own time-out ends it otherwise. */
#define SPIN_UNTIL(condition)                   \
    do {                                        \
        while (!(condition))                    \
            event_base_loop(base, EVLOOP_ONCE); \
    } while (0)

/* Fixtures: a listener alone, and one with an agent connected to `peer`. */
void setup_listener(void);
void setup_connected(void);
void teardown_stage(void);

/* What the agent was sent, by one read: what left in one write comes in one. */
const char *heard(void);
bool heard_nothing(void);
void say(const char *text);

/* The id of the sync in what was heard, and an answer to it as qemu-ga gives it. */
long long sync_id(const char *text);
void say_sync(long long id);

/* Brings the connection into step. */
void step(void);

void assert_unavailable(const struct outcome *outcome, const char *reason);

TCase *agent_loss_case(void);
TCase *agent_connect_case(void);

#endif
