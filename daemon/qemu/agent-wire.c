/* Decoding is strict about types and ranges and lenient about members that nobody needs: versions
 * of the agent differ in those. */
#include "qemu/agent-wire.h"

#include <inttypes.h>
#include <string.h>

#include "base/memory.h"
#include "proto/json.h"
#include "proto/limits.h"
#include "proto/snapvm-errors.h"

/* The version of an agent that is the guest's kernel begins with this: see guest/wire.c. */
#define KERNEL_VERSION_PREFIX "virtio-fsfreeze "

const char *agent_wire_command(enum agent_call call, bool listed)
{
    switch (call) {
    case AGENT_PING:
        return "guest-ping";
    case AGENT_INFO:
        return "guest-info";
    case AGENT_STATUS:
        return "guest-fsfreeze-status";
    case AGENT_FREEZE:
        return listed ? "guest-fsfreeze-freeze-list" : "guest-fsfreeze-freeze";
    case AGENT_THAW:
        return "guest-fsfreeze-thaw";
    case AGENT_FSINFO:
        return "guest-get-fsinfo";
    }
    return "guest-ping";
}

char *agent_wire_request(enum agent_call call, const char *const *mountpoints,
                         unsigned n_mountpoints)
{
    bool listed = call == AGENT_FREEZE && mountpoints;
    const char *command = agent_wire_command(call, listed);
    _cleanup_json_ json_object *list = NULL;

    if (!listed)
        return xasprintf("{\"execute\":\"%s\"}\n", command);
    list = json_object_new_array();
    for (unsigned i = 0; i < n_mountpoints; i++)
        json_object_array_add(list, json_object_new_string(mountpoints[i]));
    return xasprintf("{\"execute\":\"%s\",\"arguments\":{\"mountpoints\":%s}}\n", command,
                     json_text(list));
}

char *agent_wire_sync(int64_t id)
{
    return xasprintf(
        "\xff{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":%" PRId64 "}}\n", id);
}

/* One character of strict UTF-8 (no overlong form, no surrogate): its length, 0 if it is none. */
static size_t utf8_read(const unsigned char *at, size_t size, uint32_t *ret_char)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = at[0] < 0x80   ? 1
                    : at[0] < 0xc0 ? 0
                    : at[0] < 0xe0 ? 2
                    : at[0] < 0xf0 ? 3
                    : at[0] < 0xf8 ? 4
                                   : 0;
    uint32_t c = length == 1 ? at[0] : at[0] & (0xffu >> (length + 1));

    if (length == 0 || length > size)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (at[i] & 0x3f);
    }
    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000) || (length > 1 && c < least[length]))
        return 0;
    *ret_char = c;
    return length;
}

/* Control characters, line ends, the marks that turn the direction of a text, and non-characters.
 */
static bool unprintable(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069) || (c >= 0xfdd0 && c <= 0xfdef) || (c & 0xfffe) == 0xfffe;
}

char *agent_wire_clean(const char *text, size_t size)
{
    char *clean = xzalloc(AGENT_TEXT_MAX + 1);
    size_t used = 0, at = 0;

    while (at < size) {
        uint32_t c = 0;
        size_t length = utf8_read((const unsigned char *)text + at, size - at, &c);
        bool keep = length > 0 && !unprintable(c);
        size_t room = keep ? length : 1;

        if (used + room > AGENT_TEXT_MAX)
            break;
        if (keep)
            memcpy(clean + used, text + at, length);
        else
            clean[used] = '?';
        used += room;
        at += length ? length : 1;
    }
    return clean;
}

/* A text member, cleaned; empty where there is none. */
static char *clean_member(json_object *object, const char *name)
{
    json_object *value = json_member(object, name);

    if (!json_object_is_type(value, json_type_string))
        return xstrdup("");
    return agent_wire_clean(json_object_get_string(value),
                            (size_t)json_object_get_string_len(value));
}

void agent_wire_init(struct agent_wire *wire)
{
    frame_init(&wire->frame, LIMIT_AGENT_LINE);
}

void agent_wire_deinit(struct agent_wire *wire)
{
    frame_deinit(&wire->frame);
}

void agent_wire_feed(struct agent_wire *wire, const char *data, size_t size)
{
    frame_feed(&wire->frame, data, size);
}

void agent_message_deinit(struct agent_message *message)
{
    json_object_put(message->value);
    free(message->refusal);
    *message = (struct agent_message){0};
}

/* What a line is. `delimited`: a 0xFF stood before it. */
static enum agent_line agent_wire_read(const char *line, size_t size, bool delimited,
                                       struct agent_message *message)
{
    _cleanup_json_ json_object *object = NULL;
    json_object *value = NULL, *error = NULL;
    bool returned, refused;

    if (json_read(line, size, LIMIT_AGENT_NESTING, &object) != JSON_OK ||
        !json_object_is_type(object, json_type_object))
        return AGENT_LINE_GARBAGE;
    returned = json_object_object_get_ex(object, "return", &value);
    refused = json_object_object_get_ex(object, "error", &error);
    if (returned == refused || (refused && !json_object_is_type(error, json_type_object)))
        return AGENT_LINE_GARBAGE;
    if (delimited) {
        if (!json_object_is_type(value, json_type_int))
            return AGENT_LINE_GARBAGE;
        message->sync = json_object_get_int64(value);
        return AGENT_LINE_SYNC;
    }
    if (refused)
        message->refusal = clean_member(error, "desc");
    else
        message->value = json_object_get(value);
    message->thaw_in_ms = json_int(object, "thaw-in-ms", 0);
    return AGENT_LINE_ANSWER;
}

enum agent_line agent_wire_next(struct agent_wire *wire, struct agent_message *ret_message)
{
    *ret_message = (struct agent_message){0};
    for (;;) {
        char *line, *mark;
        size_t size;

        switch (frame_next(&wire->frame, &line, &size)) {
        case FRAME_NONE:
            return AGENT_LINE_NONE;
        case FRAME_TOO_LONG:
            return AGENT_LINE_TOO_LONG;
        case FRAME_LINE:
            break;
        }
        mark = memrchr(line, 0xff, size);
        if (mark) {
            size -= (size_t)(mark + 1 - line);
            line = mark + 1;
        }
        if (size > 0)
            return agent_wire_read(line, size, mark, ret_message);
    }
}

static int wrong_shape(enum agent_call call, struct error *err)
{
    error_set(err, SNAPVM_ERROR_AGENT_UNAVAILABLE,
              "the guest agent's answer to %s cannot be understood: look at the agent in the guest",
              agent_wire_command(call, false));
    return error_text(err, "reason", "an answer of the wrong shape");
}

static int read_count(json_object *value, struct agent_reply *reply)
{
    if (!json_object_is_type(value, json_type_int))
        return -1;
    reply->count = json_object_get_int64(value);
    return reply->count >= 0 && reply->count <= AGENT_COUNT_MAX ? 0 : -1;
}

static int read_status(json_object *value, struct agent_reply *reply)
{
    const char *status =
        json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";

    reply->frozen = strcmp(status, "frozen") == 0;
    return reply->frozen || strcmp(status, "thawed") == 0 ? 0 : -1;
}

/* A frozen agent says here that freezing is disabled: this tells of now, not of the agent's age. */
static int read_info(json_object *value, struct agent_reply *reply)
{
    json_object *commands = json_array(value, "supported_commands");
    size_t n = commands ? json_object_array_length(commands) : 0;

    if (!json_object_is_type(value, json_type_object))
        return -1;
    if (json_string(value, "version"))
        reply->version = clean_member(value, "version");
    reply->kernel = reply->version && strncmp(reply->version, KERNEL_VERSION_PREFIX,
                                              strlen(KERNEL_VERSION_PREFIX)) == 0;
    for (size_t i = 0; i < n; i++) {
        json_object *command = json_object_array_get_idx(commands, i);
        const char *name = json_string(command, "name");

        if (name && strcmp(name, "guest-fsfreeze-freeze") == 0)
            reply->can_freeze = json_flag(command, "enabled", 1);
    }
    return 0;
}

/* What is no size in bytes is unknown. */
static int64_t read_size(json_object *object, const char *name)
{
    int64_t size = json_int(object, name, -1);

    return size >= 0 && size < INT64_MAX ? size : -1;
}

static void read_disk(json_object *value, struct agent_disk *disk)
{
    json_object *pci = json_sub(value, "pci-controller");

    *disk = (struct agent_disk){.dev = clean_member(value, "dev"), .bus = -1};
    if (!pci || json_int(pci, "domain", -1) != 0)
        return;
    disk->bus = json_int(pci, "bus", -1);
    disk->slot = json_int(pci, "slot", -1);
    disk->function = json_int(pci, "function", -1);
}

static void read_disks(json_object *value, struct agent_fs *fs)
{
    json_object *disks = json_array(value, "disk");
    size_t n = disks ? json_object_array_length(disks) : 0;

    fs->disks = xrealloc(NULL, n, sizeof(*fs->disks));
    for (size_t i = 0; i < n; i++) {
        json_object *disk = json_object_array_get_idx(disks, i);

        if (json_object_is_type(disk, json_type_object))
            read_disk(disk, &fs->disks[fs->n_disks++]);
    }
}

static int read_fsinfo(json_object *value, struct agent_reply *reply)
{
    size_t n = json_object_is_type(value, json_type_array) ? json_object_array_length(value) : 0;

    if (!json_object_is_type(value, json_type_array) || n > AGENT_FS_MAX)
        return -1;
    reply->fs = xrealloc(NULL, n, sizeof(*reply->fs));
    for (size_t i = 0; i < n; i++) {
        json_object *item = json_object_array_get_idx(value, i);
        struct agent_fs *fs = &reply->fs[reply->n_fs];

        if (!json_object_is_type(item, json_type_object))
            return -1;
        *fs = (struct agent_fs){.mountpoint = clean_member(item, "mountpoint"),
                                .type = clean_member(item, "type"),
                                .name = clean_member(item, "name"),
                                .total = read_size(item, "total-bytes"),
                                .used = read_size(item, "used-bytes")};
        reply->n_fs++;
        read_disks(item, fs);
    }
    return 0;
}

static int read_value(json_object *value, enum agent_call call, struct agent_reply *reply)
{
    switch (call) {
    case AGENT_PING:
        return json_object_is_type(value, json_type_object) ? 0 : -1;
    case AGENT_INFO:
        return read_info(value, reply);
    case AGENT_STATUS:
        return read_status(value, reply);
    case AGENT_FREEZE:
    case AGENT_THAW:
        return read_count(value, reply);
    case AGENT_FSINFO:
        return read_fsinfo(value, reply);
    }
    return -1;
}

int agent_wire_reply(const struct agent_message *message, enum agent_call call,
                     struct agent_reply *ret_reply, struct error *err)
{
    struct agent_reply reply = {0};

    if (message->refusal) {
        error_set(err, SNAPVM_ERROR_QUIESCE_FAILED, "the guest agent refused %s: %s",
                  agent_wire_command(call, false), message->refusal);
        return error_text(err, "reason", message->refusal);
    }
    if (read_value(message->value, call, &reply) < 0) {
        agent_reply_deinit(&reply);
        return wrong_shape(call, err);
    }
    if (reply.frozen && message->thaw_in_ms > 0)
        reply.thaw_in_ms = message->thaw_in_ms < AGENT_SILENCE_MAX_MS ? message->thaw_in_ms
                                                                      : AGENT_SILENCE_MAX_MS;
    *ret_reply = reply;
    return 0;
}

void agent_reply_deinit(struct agent_reply *reply)
{
    for (unsigned i = 0; i < reply->n_fs; i++) {
        struct agent_fs *fs = &reply->fs[i];

        for (unsigned j = 0; j < fs->n_disks; j++)
            free(fs->disks[j].dev);
        free(fs->disks);
        free(fs->mountpoint);
        free(fs->type);
        free(fs->name);
    }
    free(reply->fs);
    free(reply->version);
    *reply = (struct agent_reply){0};
}
