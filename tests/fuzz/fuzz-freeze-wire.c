/* What a host may send to the guest's kernel module: whatever it is, a command comes out that is in
 * range, and a fresh start is possible at any time. Sources: guest/wire.c guest/answer.c */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "guest/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void require_command(const struct fsf_wire *wire, const struct fsf_command *command)
{
    char answer[FSF_ANSWER_MAX];

    require(command->verb <= FSF_TOO_LONG);
    if (command->verb != FSF_FREEZE_LIST || command->all)
        return;
    require(command->paths == wire->line && command->paths_size <= FSF_COMMAND_MAX);
    require(command->paths_size == 0 || command->paths[command->paths_size - 1] == 0);
    require(fsf_say_error(answer, command->paths_size ? command->paths : "") > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char ping[] = "\xff{\"execute\": \"guest-ping\"}";
    struct fsf_wire *wire = malloc(sizeof(*wire));
    struct fsf_command command = {.verb = FSF_BROKEN};
    bool done = false;

    require(wire != NULL);
    fsf_wire_init(wire);
    for (size_t i = 0; i < size; i++)
        if (fsf_wire_push(wire, data[i], &command))
            require_command(wire, &command);
    for (const char *at = ping; *at; at++) {
        require(!done);
        done = fsf_wire_push(wire, (unsigned char)*at, &command);
    }
    require(done && command.verb == FSF_PING);
    free(wire);
    return 0;
}
