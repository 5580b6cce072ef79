/* Lines out of a stream: the same lines and the same refusals however the stream is cut. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "proto/frame.h"

#define MAX 8

/* Takes all that can be taken and writes it down: "<line>" for each, "!" for one that is too long.
 */
static void drain(struct frame *frame, char *to)
{
    enum frame_result result;
    char *line;
    size_t size;

    while ((result = frame_next(frame, &line, &size)) != FRAME_NONE) {
        to += strlen(to);
        if (result == FRAME_TOO_LONG) {
            strcpy(to, "!");
            continue;
        }
        ck_assert_uint_eq(line[size], '\0');
        *to++ = '<';
        for (size_t i = 0; i < size; i++)
            *to++ = line[i] ? line[i] : '0';
        strcpy(to, ">");
    }
}

static const struct {
    const char *stream;
    size_t size;
    const char *lines;
    size_t pending;
} streams[] = {
#define STREAM(text, lines, pending)           \
    {                                          \
        text, sizeof(text) - 1, lines, pending \
    }
    STREAM("", "", 0),
    STREAM("abc", "", 3),
    STREAM("abc\n", "<abc>", 0),
    STREAM("a\nb\n\nc", "<a><b><>", 1),
    STREAM("a\r\nb\r\n\r\n", "<a><b><>", 0),
    STREAM("a\rb\n\r\r\n", "<a\rb><\r>", 0),
    STREAM("a\0b\n\0\n", "<a0b><0>", 0),
    STREAM("12345678\n1\n", "<12345678><1>", 0),
    STREAM("123456789\n1\n", "!<1>", 0),
    STREAM("12345678\r\n1\n", "<12345678><1>", 0),
    STREAM("123456789\r\n1\n", "!<1>", 0),
    STREAM("12345678\r1\n2\n", "!<2>", 0),
    STREAM("1\n1234567890123456789012345678901234567890\n2\n", "<1>!<2>", 0),
    STREAM("1234567890123456789\n1234567890123456789\n", "!!", 0),
    STREAM("1234567890123456789", "!", 0),
    STREAM("\r", "", 1),
};

/* Every stream, cut in two at every place, and byte by byte. */
START_TEST(test_cuts)
{
    const char *stream = streams[_i].stream;
    size_t size = streams[_i].size;
    struct frame frame;

    for (size_t cut = 0; cut <= size + 1; cut++) {
        size_t step = cut <= size ? size : 1;
        char lines[256] = "";

        frame_init(&frame, MAX);
        if (cut <= size) {
            frame_feed(&frame, stream, cut);
            drain(&frame, lines);
        }
        for (size_t at = cut <= size ? cut : 0; at < size; at += step) {
            frame_feed(&frame, stream + at, step < size - at ? step : size - at);
            drain(&frame, lines);
        }
        ck_assert_str_eq(lines, streams[_i].lines);
        ck_assert_uint_eq(frame_pending(&frame), streams[_i].pending);
        frame_deinit(&frame);
    }
}
END_TEST

/* Nothing is taken until all is fed, so that many lines lie in the buffer at once. */
START_TEST(test_many_at_once)
{
    struct frame frame;
    char *line, wanted[16];
    size_t size;

    frame_init(&frame, MAX);
    for (int i = 0; i < 5000; i++) {
        snprintf(wanted, sizeof(wanted), "%d\n", i);
        frame_feed(&frame, wanted, strlen(wanted));
    }
    for (int i = 0; i < 5000; i++) {
        snprintf(wanted, sizeof(wanted), "%d", i);
        ck_assert_int_eq(frame_next(&frame, &line, &size), FRAME_LINE);
        ck_assert_uint_eq(size, strlen(wanted));
        ck_assert_str_eq(line, wanted);
    }
    ck_assert_int_eq(frame_next(&frame, &line, &size), FRAME_NONE);
    frame_deinit(&frame);
}
END_TEST

/* A line stays whole while the buffer grows and moves under what was taken before it. */
START_TEST(test_large)
{
    size_t length = 300000, size;
    _cleanup_free_ char *text = xzalloc(length + 1);
    struct frame frame;
    char *line;

    frame_init(&frame, length);
    for (size_t i = 0; i < length; i++)
        text[i] = (char)('a' + i % 26);
    for (int round = 0; round < 3; round++) {
        frame_feed(&frame, "x\n", 2);
        for (size_t at = 0; at < length; at += 1000)
            frame_feed(&frame, text + at, 1000);
        frame_feed(&frame, "\ny", 2);
        ck_assert_int_eq(frame_next(&frame, &line, &size), FRAME_LINE);
        ck_assert_str_eq(line, round ? "yx" : "x");
        ck_assert_int_eq(frame_next(&frame, &line, &size), FRAME_LINE);
        ck_assert_uint_eq(size, length);
        ck_assert_mem_eq(line, text, length);
        ck_assert_int_eq(frame_next(&frame, &line, &size), FRAME_NONE);
    }
    frame_deinit(&frame);
}
END_TEST

/* What is too long is thrown away while it comes, or a peer could fill the memory. */
START_TEST(test_endless)
{
    char block[1000];
    struct frame frame;
    char lines[16] = "";

    memset(block, 'x', sizeof(block));
    frame_init(&frame, MAX);
    for (int i = 0; i < 1000; i++) {
        frame_feed(&frame, block, sizeof(block));
        drain(&frame, lines);
        ck_assert_uint_eq(frame_pending(&frame), 0);
    }
    ck_assert_uint_le(frame.room, 4096);
    frame_feed(&frame, "y\nz\n", 4);
    drain(&frame, lines);
    ck_assert_str_eq(lines, "!<z>");
    frame_deinit(&frame);
}
END_TEST

/* Byte by byte costs one look at each byte, not one at all of them each time. */
START_TEST(test_scanned_once)
{
    struct frame frame;
    char *line;
    size_t size;

    frame_init(&frame, 1000);
    for (size_t i = 1; i <= 1000; i++) {
        frame_feed(&frame, "x", 1);
        ck_assert_int_eq(frame_next(&frame, &line, &size), FRAME_NONE);
        ck_assert_uint_eq(frame.scanned, i);
    }
    frame_deinit(&frame);
}
END_TEST

START_TEST(test_reset)
{
    struct frame frame;
    char lines[64] = "";

    frame_init(&frame, MAX);
    frame_feed(&frame, "1234567890", 10);
    drain(&frame, lines);
    frame_reset(&frame);
    frame_feed(&frame, "a\n12345678\n123456789\n", 21);
    drain(&frame, lines);
    ck_assert_str_eq(lines, "!<a><12345678>!");
    frame_deinit(&frame);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("frame");
    TCase *tcase = tcase_create("frame");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tcase, test_cuts, 0, (int)(sizeof(streams) / sizeof(streams[0])));
    tcase_add_test(tcase, test_many_at_once);
    tcase_add_test(tcase, test_large);
    tcase_add_test(tcase, test_endless);
    tcase_add_test(tcase, test_scanned_once);
    tcase_add_test(tcase, test_reset);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
