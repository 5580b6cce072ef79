#include "proto/frame.h"

#include <stdlib.h>
#include <string.h>

#define FRAME_ROOM 4096

void frame_init(struct frame *frame, size_t max)
{
    *frame = (struct frame){.max = max};
}

void frame_deinit(struct frame *frame)
{
    free(frame->data);
    *frame = (struct frame){.max = frame->max};
}

void frame_reset(struct frame *frame)
{
    frame_deinit(frame);
}

static void frame_make_room(struct frame *frame, size_t size)
{
    size_t room = frame->room ? frame->room : FRAME_ROOM;

    if (frame->start) {
        memmove(frame->data, frame->data + frame->start, frame->length);
        frame->start = 0;
    }
    while (room < frame->length + size)
        room *= 2;
    if (room == frame->room)
        return;
    frame->data = realloc(frame->data, room);
    if (!frame->data)
        abort();
    frame->room = room;
}

void frame_feed(struct frame *frame, const char *data, size_t size)
{
    if (size == 0)
        return;
    if (frame->start + frame->length + size > frame->room)
        frame_make_room(frame, size);
    memcpy(frame->data + frame->start + frame->length, data, size);
    frame->length += size;
}

static void frame_take(struct frame *frame, size_t size)
{
    frame->start += size;
    frame->length -= size;
    frame->scanned = 0;
    if (frame->length == 0)
        frame->start = 0;
}

/* Whether a line is within the bound; a '\r' behind it is, or may become, a part of its end. */
static bool frame_fits(const struct frame *frame, const char *line, size_t size)
{
    return size <= frame->max || (size == frame->max + 1 && line[frame->max] == '\r');
}

enum frame_result frame_next(struct frame *frame, char **ret_line, size_t *ret_size)
{
    char *line, *end;
    size_t size;

    for (;;) {
        if (frame->length == frame->scanned)
            return FRAME_NONE;
        line = frame->data + frame->start;
        end = memchr(line + frame->scanned, '\n', frame->length - frame->scanned);
        if (!end)
            break;
        size = (size_t)(end - line);
        frame_take(frame, size + 1);
        if (frame->skipping) {
            frame->skipping = false;
            continue;
        }
        if (!frame_fits(frame, line, size))
            return FRAME_TOO_LONG;
        if (size && line[size - 1] == '\r')
            size--;
        line[size] = '\0';
        *ret_line = line;
        *ret_size = size;
        return FRAME_LINE;
    }
    frame->scanned = frame->length;
    if (frame_fits(frame, line, frame->length) && !frame->skipping)
        return FRAME_NONE;
    frame_take(frame, frame->length);
    if (frame->skipping)
        return FRAME_NONE;
    frame->skipping = true;
    return FRAME_TOO_LONG;
}

size_t frame_pending(const struct frame *frame)
{
    return frame->length;
}
