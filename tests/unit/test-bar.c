/* The progress bar: its line for any width, and the rate out of samples at times that the test
 * gives. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/snapvmctl-bar.h"
#include "client/snapvmctl-text.h"

#define MIB (1 << 20)

static const struct {
    const char *label;
    long long current, total;
    double rate;
    size_t columns;
    const char *line;
} lines[] = {
    {"job 1", 0, 100, 0, 26, "job 1 [..........]    0 %"},
    {"job 1", 50, 100, 0, 26, "job 1 [#####.....]   50 %"},
    {"job 1", 999, 1000, 0, 26, "job 1 [#########.]   99 %"},
    {"job 1", 100, 100, 9, 26, "job 1 [##########]  100 %"},
    {"job 1", 0, 0, 0, 26, "job 1 [..........]    0 %"},
    {"job 1", -5, 100, 0, 26, "job 1 [..........]    0 %"},
    {"job 1", 300, 100, 0, 26, "job 1 [##########]  100 %"},
    {"job 1", 0, 100, 0, 3, "job 1 [.....]    0 %"},
    {"job 1", MIB, 4 * MIB, MIB, 52, "job 1 [####............]   25 %  1 MiB/s  0:03 left"},
    {"job 1", 0, 3725LL * MIB, MIB, 49, "job 1 [..........]    0 %  1 MiB/s  1:02:05 left"},
    {"job 1", 0, 1LL << 60, MIB, 40, "job 1 [...............]    0 %  1 MiB/s"},
    {"\033[2J", 0, 1, 0, 27, "\\033[2J [.........]    0 %"},
};

START_TEST(line)
{
    char *text = bar_line(lines[_i].label, lines[_i].current, lines[_i].total, lines[_i].rate,
                          lines[_i].columns);

    ck_assert_str_eq(text, lines[_i].line);
    free(text);
}
END_TEST

/* What stands on the line after a drawing, without the blanks that wipe what was longer. */
static void draw(struct bar *bar, int64_t current, int64_t now_us, char *to, size_t room)
{
    size_t size;

    rewind(bar->out);
    bar_draw(bar, "job", current, 100 * MIB, now_us);
    size = (size_t)ftell(bar->out);
    ck_assert_uint_lt(size, room);
    rewind(bar->out);
    ck_assert_uint_eq(fread(to, 1, size, bar->out), size);
    to[size] = '\0';
}

START_TEST(rate)
{
    struct bar bar;
    char text[256];

    bar_init(&bar, tmpfile());
    draw(&bar, 0, 1000000, text, sizeof(text));
    ck_assert_ptr_null(strstr(text, "/s"));
    draw(&bar, 5 * MIB, 1000001, text, sizeof(text));
    ck_assert_ptr_null(strstr(text, "/s"));
    draw(&bar, 10 * MIB, 2000000, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "10 MiB/s  0:09 left"));
    draw(&bar, 10 * MIB, 3000000, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "7 MiB/s  0:13 left"));
    /* The target of a job can grow, and what is done can be undone. */
    draw(&bar, 5 * MIB, 4000000, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "4.9 MiB/s"));
    fclose(bar.out);
}
END_TEST

START_TEST(wiping)
{
    struct bar bar;
    char text[512] = "";

    bar_init(&bar, tmpfile());
    bar_wipe(&bar);
    ck_assert_int_eq(ftell(bar.out), 0);
    draw(&bar, 0, 1, text, sizeof(text));
    rewind(bar.out);
    bar_wipe(&bar);
    ck_assert_int_eq(ftell(bar.out), (long)strlen(text) + 1);
    bar_wipe(&bar);
    ck_assert_int_eq(ftell(bar.out), (long)strlen(text) + 1);
    fclose(bar.out);
}
END_TEST

START_TEST(nobody_looks)
{
    struct bar bar;

    bar_init(&bar, NULL);
    bar_draw(&bar, "job", 1, 2, 3);
    bar_wipe(&bar);
    ck_assert_uint_eq(bar.shown, 0);
}
END_TEST

static const struct {
    long long us;
    const char *text;
} durations[] = {
    {999, "999 us"},          {3200, "3.2 ms"},           {59900000, "59.9 s"},
    {65000000, "1 min 05 s"}, {3725000000, "1 h 02 min"},
};

START_TEST(duration)
{
    char *text = text_duration(durations[_i].us);

    ck_assert_str_eq(text, durations[_i].text);
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bar");
    TCase *tcase = tcase_create("bar");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tcase, line, 0, sizeof(lines) / sizeof(lines[0]));
    tcase_add_test(tcase, rate);
    tcase_add_test(tcase, wiping);
    tcase_add_test(tcase, nobody_looks);
    tcase_add_loop_test(tcase, duration, 0, sizeof(durations) / sizeof(durations[0]));
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
