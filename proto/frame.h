/* Lines out of a stream of bytes: no descriptor, no event, so that daemon, library, tests and
 * fuzzers share it. It remembers how far it has looked, so that a peer who sends a long line byte
 * by byte costs no more than one who sends it whole. */
#ifndef SNAPVM_PROTO_FRAME_H
#define SNAPVM_PROTO_FRAME_H

#include <stdbool.h>
#include <stddef.h>

struct frame {
    char *data;
    size_t start, length, scanned, room; /* bytes; scanned counts from start */
    size_t max;                          /* longest line */
    bool skipping;                       /* inside a line that was too long */
};

enum frame_result {
    FRAME_NONE,     /* no whole line yet */
    FRAME_LINE,     /* a line */
    FRAME_TOO_LONG, /* a line over the bound; said once, the rest of it is skipped */
};

void frame_init(struct frame *frame, size_t max);
void frame_deinit(struct frame *frame);

/* Forgets what was fed. */
void frame_reset(struct frame *frame);

void frame_feed(struct frame *frame, const char *data, size_t size);

/* The next line without its end ("\n" or "\r\n"), NUL-terminated, owned by the frame and valid
 * until the next call on it. A line may hold NUL bytes: mind the size. */
enum frame_result frame_next(struct frame *frame, char **ret_line, size_t *ret_size);

/* Bytes that are fed and not yet taken. */
size_t frame_pending(const struct frame *frame);

#endif
