/* The lines of a guest agent, in pieces of any size: whatever is accepted is typed, in range and
 * clean. Sources: daemon/qemu/agent-wire.c */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "proto/snapvm-errors.h"
#include "qemu/agent-wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* What is clean stays as it is when cleaned again. */
static void require_clean(const char *text)
{
    char *again = agent_wire_clean(text, strlen(text));

    require(strlen(text) <= AGENT_TEXT_MAX && strcmp(text, again) == 0);
    free(again);
}

static void require_reply(const struct agent_reply *reply)
{
    require(reply->count >= 0 && reply->count <= AGENT_COUNT_MAX);
    require(reply->thaw_in_ms >= 0 && reply->thaw_in_ms <= AGENT_SILENCE_MAX_MS);
    require(reply->frozen || reply->thaw_in_ms == 0);
    require(reply->n_fs <= AGENT_FS_MAX);
    if (reply->version)
        require_clean(reply->version);
    for (unsigned i = 0; i < reply->n_fs; i++) {
        require_clean(reply->fs[i].mountpoint);
        require_clean(reply->fs[i].type);
        require_clean(reply->fs[i].name);
        for (unsigned j = 0; j < reply->fs[i].n_disks; j++)
            require_clean(reply->fs[i].disks[j].dev);
    }
}

static void answer(const struct agent_message *message)
{
    for (int call = AGENT_PING; call <= AGENT_FSINFO; call++) {
        struct agent_reply reply = {0};
        _cleanup_error_ struct error err = {0};

        if (agent_wire_reply(message, (enum agent_call)call, &reply, &err) == 0) {
            require(!message->refusal);
            require_reply(&reply);
            agent_reply_deinit(&reply);
        } else {
            require(err.code == (message->refusal ? SNAPVM_ERROR_QUIESCE_FAILED
                                                  : SNAPVM_ERROR_AGENT_UNAVAILABLE));
            require_clean(error_get(&err, "reason"));
        }
    }
}

static void take_lines(struct agent_wire *wire)
{
    for (;;) {
        struct agent_message message;
        enum agent_line line = agent_wire_next(wire, &message);

        if (line == AGENT_LINE_ANSWER)
            answer(&message);
        agent_message_deinit(&message);
        if (line == AGENT_LINE_NONE)
            return;
    }
}

/* The first byte is the size of the pieces, 0 for the whole at once. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct agent_wire wire;
    size_t piece;

    if (size < 1)
        return 0;
    piece = data[0] ? data[0] : size;
    data++;
    size--;
    agent_wire_init(&wire);
    while (size > 0) {
        size_t n = size < piece ? size : piece;

        agent_wire_feed(&wire, (const char *)data, n);
        take_lines(&wire);
        data += n;
        size -= n;
    }
    agent_wire_deinit(&wire);
    return 0;
}
