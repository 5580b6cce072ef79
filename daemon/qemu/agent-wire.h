/* The agent's wire as bytes: requests out, lines in, answers typed and ranged. Pure: no descriptor
 * and no event, so that tests and a fuzzer see all of it.
 *
 * A byte 0xFF, which no UTF-8 has, says that what stands before it on the line is dead: the half of
 * a command that a former client left, or the half of an answer that it did not wait for. */
#ifndef SNAPVM_QEMU_AGENT_WIRE_H
#define SNAPVM_QEMU_AGENT_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/frame.h"
#include "qemu/agent.h"

struct json_object;

#define AGENT_TEXT_MAX 256    /* bytes of a guest's text that are kept */
#define AGENT_COUNT_MAX 65536 /* file systems */
#define AGENT_FS_MAX 1024
#define AGENT_SILENCE_MAX_MS 86400000

/* The agent's name of a call, for messages. */
const char *agent_wire_command(enum agent_call call, bool listed);

/* Request lines, owned by the caller. The mount points (NULL: all) matter to AGENT_FREEZE alone;
 * a sync's id is positive. */
char *agent_wire_request(enum agent_call call, const char *const *mountpoints,
                         unsigned n_mountpoints);
char *agent_wire_sync(int64_t id);

struct agent_wire {
    struct frame frame;
};

enum agent_line {
    AGENT_LINE_NONE,     /* no whole line yet */
    AGENT_LINE_SYNC,     /* 0xFF and a number: the answer of a guest-sync-delimited */
    AGENT_LINE_ANSWER,   /* one "return" or "error" */
    AGENT_LINE_GARBAGE,  /* neither: no honest agent says this */
    AGENT_LINE_TOO_LONG, /* over LIMIT_AGENT_LINE: said once, the rest of it is skipped */
};

struct agent_message {
    int64_t sync;              /* AGENT_LINE_SYNC: its id */
    struct json_object *value; /* AGENT_LINE_ANSWER: what was returned, if nothing was refused */
    int64_t thaw_in_ms;        /* AGENT_LINE_ANSWER: a member beside that, 0 if there is none */
    char *refusal;             /* AGENT_LINE_ANSWER: the agent's words, cleaned */
};

void agent_wire_init(struct agent_wire *wire);
void agent_wire_deinit(struct agent_wire *wire);
void agent_wire_feed(struct agent_wire *wire, const char *data, size_t size);

/* The next line; the message is to be deinitialized whatever it was. Empty lines are skipped. */
enum agent_line agent_wire_next(struct agent_wire *wire, struct agent_message *ret_message);
void agent_message_deinit(struct agent_message *message);

/* The answer of a call. Errors: QuiesceFailed with the agent's refusal as `reason`,
 * AgentUnavailable where the answer has another shape or range than the call's. */
int agent_wire_reply(const struct agent_message *message, enum agent_call call,
                     struct agent_reply *ret_reply, struct error *err);
void agent_reply_deinit(struct agent_reply *reply);

/* A guest's text made fit to be stored, logged and shown: valid UTF-8 of at most AGENT_TEXT_MAX
 * bytes, '?' for each byte that is none and for what would control a terminal or break XML. */
char *agent_wire_clean(const char *text, size_t size);

#endif
