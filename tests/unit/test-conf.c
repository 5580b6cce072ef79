/* The configuration: defaults, every kind of value, and every fault with its line. */
#include <check.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "conf/conf.h"
#include "proto/limits.h"
#include "proto/snapvm-errors.h"

/* Writes the bytes to a file of its own, loads it, and removes it again. */
static int load_bytes(const char *bytes, size_t size, struct conf *ret_conf, struct error *err)
{
    char path[] = "/tmp/test-conf-XXXXXX";
    int fd = mkstemp(path), r;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    close(fd);
    r = conf_load(path, ret_conf, err);
    unlink(path);
    return r;
}

static int load_text(const char *text, struct conf *ret_conf, struct error *err)
{
    return load_bytes(text, strlen(text), ret_conf, err);
}

static void assert_defaults(const struct conf *conf)
{
    ck_assert_str_eq(conf->socket, "/run/snapvm/snapvmd.sock");
    ck_assert_str_eq(conf->state_dir, "/var/lib/snapvm");
    ck_assert_str_eq(conf->guests_dir, "/run/snapvm/guests");
    ck_assert_int_eq(conf->log_level, LOG_INFO);
    ck_assert(conf->admin_group == CONF_NO_GROUP);
    ck_assert(conf->operator_group == CONF_NO_GROUP);
    ck_assert(conf->reader_group == CONF_NO_GROUP);
    ck_assert_uint_eq(conf->n_image_dirs, 0);
    ck_assert_str_eq(conf->qemu_img, "qemu-img");
    ck_assert_int_eq(conf->agent_timeout_ms, 5000);
    ck_assert_int_eq(conf->freeze_timeout_ms, 10000);
    ck_assert_int_eq(conf->lease_max_ms, 600000);
    ck_assert_int_eq(conf->greeting_timeout_ms, 3000);
    ck_assert_int_eq(conf->command_timeout_ms, 30000);
    ck_assert_int_eq(conf->connections, 256);
    ck_assert_int_eq(conf->request_bytes, 1024 * 1024);
    ck_assert_int_eq(conf->nesting, 32);
    ck_assert_int_eq(conf->in_flight, 64);
    ck_assert_int_eq(conf->output_bytes, 8 * 1024 * 1024);
    ck_assert_int_eq(conf->jobs_days, 30);
    ck_assert_int_eq(conf->events, 100000);
    ck_assert_int_eq(conf->request_ids_hours, 24);
}

START_TEST(test_defaults)
{
    struct conf conf;

    conf_init(&conf);
    assert_defaults(&conf);
    conf_deinit(&conf);
}
END_TEST

START_TEST(test_missing)
{
    _cleanup_error_ struct error err = {0};
    struct conf conf;

    ck_assert_int_eq(conf_load("/nowhere/snapvmd.conf", &conf, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_INVALID_PARAMS);
    ck_assert_str_eq(err.message,
                     "the configuration /nowhere/snapvmd.conf: No such file or directory");
    if (access(CONF_PATH, F_OK) == 0)
        return;
    ck_assert_int_eq(conf_load(NULL, &conf, NULL), 0);
    assert_defaults(&conf);
    conf_deinit(&conf);
}
END_TEST

/* The text of the shipped file; with `bare`, each line "#key = value" without its '#'. */
static char *shipped(int bare)
{
    const char *srcdir = getenv("srcdir");
    _cleanup_free_ char *path = xasprintf("%s/conf/snapvmd.conf", srcdir ? srcdir : ".");
    char line[256], *text = xzalloc(65536);
    FILE *file = fopen(path, "r");

    ck_assert_msg(file != NULL, "%s cannot be opened", path);
    while (fgets(line, sizeof(line), file)) {
        size_t name = strspn(line + 1, "abcdefghijklmnopqrstuvwxyz_");
        int key = line[0] == '#' && name && strncmp(line + 1 + name, " =", 2) == 0;

        strcat(text, line + (bare && key));
    }
    fclose(file);
    return text;
}

START_TEST(test_shipped)
{
    _cleanup_free_ char *text = shipped(_i);
    _cleanup_error_ struct error err = {0};
    struct conf conf;

    if (_i)
        ck_assert_msg(strstr(text, "\nrequest_ids_hours = 24\n") != NULL, "nothing was bared");
    ck_assert_msg(load_text(text, &conf, &err) == 0, "%s", err.message);
    assert_defaults(&conf);
    conf_deinit(&conf);
}
END_TEST

START_TEST(test_values)
{
    struct group *group = getgrgid(0);
    _cleanup_free_ char *text = NULL;
    _cleanup_error_ struct error err = {0};
    struct conf conf;

    ck_assert_ptr_nonnull(group);
    text = xasprintf("# a comment\n; another\n\n"
                     "[daemon]\r\nsocket=/tmp/a b.sock\r\n\tstate_dir = /s\n\n"
                     "[access]\nadmin_group = %s\nreader_group =\n"
                     "[images]\nimage_dirs = /a:/b b:\nimage_dirs = /c\nqemu_img = /opt/qemu-img\n"
                     "[limits]\nconnections = 1\nrequest_bytes = 67108864\n"
                     "[daemon]\nlog_level = debug",
                     group->gr_name);
    ck_assert_int_eq(load_text(text, &conf, &err), -1);
    /* An indented line continues the one above it, which is then given twice. */
    ck_assert_ptr_nonnull(strstr(err.message, ":6: socket is given twice"));
    *strchr(text, '\t') = ' ';
    memmove(strstr(text, " state_dir"), strstr(text, "state_dir"),
            strlen(strstr(text, "state_dir")) + 1);
    ck_assert_msg(load_text(text, &conf, &err) == 0, "%s", err.message);
    ck_assert_str_eq(conf.socket, "/tmp/a b.sock");
    ck_assert_str_eq(conf.state_dir, "/s");
    ck_assert(conf.admin_group == 0);
    ck_assert(conf.reader_group == CONF_NO_GROUP);
    ck_assert_uint_eq(conf.n_image_dirs, 3);
    ck_assert_str_eq(conf.image_dirs[0], "/a");
    ck_assert_str_eq(conf.image_dirs[1], "/b b");
    ck_assert_str_eq(conf.image_dirs[2], "/c");
    ck_assert_str_eq(conf.qemu_img, "/opt/qemu-img");
    ck_assert_int_eq(conf.connections, 1);
    ck_assert_int_eq(conf.request_bytes, 67108864);
    ck_assert_int_eq(conf.log_level, LOG_DEBUG);
    conf_deinit(&conf);
}
END_TEST

#define LONG "0123456789012345678901234567890123456789012345678901234567890123456789"

static const struct {
    const char *text, *says;
} faults[] = {
    {"[daemon]\nlog = info\n", ":2: the key 'log' is not known in [daemon]"},
    {"[limits]\nsocket = /x\n", ":2: the key 'socket' is not known in [limits]"},
    {"log_level = info\n", ":1: the key 'log_level' stands in no section"},
    {"\n\n[demon]\n", ":3: this section is not known"},
    {"[Daemon]\n", ":1: this section is not known"},
    {"[" LONG "]\n", ":1: this section is not known"},
    {"[]\n", ":1: this section is not known"},
    {"[daemon\n", ":1: a section is written as [name]"},
    {"[daemon] x\n", ":1: nothing may stand behind a section"},
    {"[daemon]\nsocket\n", ":2: this is neither a [section] nor"},
    {"[daemon]\nsocket\nlog_level = no\n", ":2: this is neither"},
    {"[daemon]\nsocket = run/x\n", ":2: socket must be an absolute path, not 'run/x'"},
    {"[daemon]\nsocket =\n", ":2: socket must be an absolute path"},
    {"[daemon]\nsocket = /" LONG LONG "\n", ":2: socket must be shorter than 108 bytes"},
    {"[daemon]\nstate_dir = /" LONG LONG LONG "\n", ":2: the line is too long"},
    {"[daemon]\nstate_dir = /a # b\n", ":2: a comment stands on a line of its own"},
    {"[daemon]\nstate_dir = /a ;b\n", ":2: a comment stands on a line of its own"},
    {"[daemon]\nlog_level = info\nlog_level = info\n", ":3: log_level is given twice"},
    {"[daemon]\nlog_level = INFO\n", ":2: log_level must be one of error"},
    {"[daemon]\nlog_level =\n", ":2: log_level must be one of error"},
    {"[access]\nadmin_group = no-such-group-here\n", ":2: admin_group must be a group of this"},
    {"[images]\nimage_dirs = /a:b\n", ":2: image_dirs must be absolute paths with ':'"},
    {"[images]\nimage_dirs = /a::/b\n", ":2: image_dirs must be absolute paths with ':'"},
    {"[images]\nqemu_img = ./qemu-img\n", ":2: qemu_img must be a program's name or"},
    {"[images]\nqemu_img =\n", ":2: qemu_img must be a program's name or"},
    {"[limits]\nnesting = many\n", ":2: nesting must be a whole number, not 'many'"},
    {"[limits]\nnesting = 16k\n", ":2: nesting must be a whole number, not '16k'"},
    {"[limits]\nnesting = 16.0\n", ":2: nesting must be a whole number"},
    {"[limits]\nnesting = 0x10\n", ":2: nesting must be a whole number"},
    {"[limits]\nnesting = -1\n", ":2: nesting must be a whole number, not '-1'"},
    {"[limits]\nnesting = +16\n", ":2: nesting must be a whole number"},
    {"[limits]\nnesting =\n", ":2: nesting must be a whole number, not ''"},
    {"[limits]\nnesting = 7\n", ":2: nesting must be from 8 to 512, not 7"},
    {"[limits]\nnesting = 513\n", ":2: nesting must be from 8 to 512"},
    {"[limits]\nnesting = 99999999999999999999\n", ":2: nesting must be from 8 to 512"},
    {"[limits]\nnesting = 4294967328\n", ":2: nesting must be from 8 to 512"},
    {"[history]\nrequest_ids_hours = 23\n", ":2: request_ids_hours must be from 24"},
};

START_TEST(test_faults)
{
    _cleanup_error_ struct error err = {0};
    struct conf conf, untouched;

    memset(&conf, 0x5a, sizeof(conf));
    memcpy(&untouched, &conf, sizeof(conf));
    ck_assert_int_eq(load_text(faults[_i].text, &conf, &err), -1);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_INVALID_PARAMS);
    ck_assert_str_eq(error_get(&err, "param"), "config");
    ck_assert_msg(strstr(err.message, faults[_i].says) != NULL, "'%s' is not in: %s",
                  faults[_i].says, err.message);
    ck_assert_msg(strncmp(err.message, "/tmp/test-conf-", 15) == 0, "%s", err.message);
    ck_assert_mem_eq(&conf, &untouched, sizeof(conf));
}
END_TEST

START_TEST(test_nul)
{
    static const char text[] = "[daemon]\nsocket = /x\0y\n";
    _cleanup_error_ struct error err = {0};
    struct conf conf;

    ck_assert_int_eq(load_bytes(text, sizeof(text) - 1, &conf, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.message, ":2: there is a NUL byte in the line"));
}
END_TEST

START_TEST(test_directory)
{
    _cleanup_error_ struct error err = {0};
    struct conf conf;

    ck_assert_int_eq(conf_load("/tmp", &conf, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "/tmp:1: the file cannot be read"));
}
END_TEST

/* A long comment is no fault, and must not be cut into a comment and a key. */
START_TEST(test_long_comment)
{
    _cleanup_error_ struct error err = {0};
    char text[2048] = "[daemon]\n";
    struct conf conf;

    memset(text + strlen(text), '#', 1000);
    strcat(text, "\nlog_level = error\n");
    ck_assert_msg(load_text(text, &conf, &err) == 0, "%s", err.message);
    ck_assert_int_eq(conf.log_level, LOG_ERR);
    conf_deinit(&conf);
}
END_TEST

START_TEST(test_overrides)
{
    static const struct conf_overrides good = {.socket = "/o/s", .log_level = "warning"};
    static const struct conf_overrides bad = {.guests_dir = "guests"};
    _cleanup_error_ struct error err = {0};
    struct conf conf;

    ck_assert_int_eq(load_text("[daemon]\nsocket = /f/s\nstate_dir = /f\n", &conf, NULL), 0);
    ck_assert_int_eq(conf_apply(&conf, &good, &err), 0);
    ck_assert_str_eq(conf.socket, "/o/s");
    ck_assert_str_eq(conf.state_dir, "/f");
    ck_assert_int_eq(conf.log_level, LOG_WARNING);
    ck_assert_int_eq(conf_apply(&conf, &bad, &err), -1);
    ck_assert_str_eq(err.message, "--guests-dir must be an absolute path, not 'guests'");
    conf_deinit(&conf);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conf");
    TCase *tcase = tcase_create("conf");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, test_defaults);
    tcase_add_test(tcase, test_missing);
    tcase_add_loop_test(tcase, test_shipped, 0, 2);
    tcase_add_test(tcase, test_values);
    tcase_add_loop_test(tcase, test_faults, 0, (int)(sizeof(faults) / sizeof(faults[0])));
    tcase_add_test(tcase, test_nul);
    tcase_add_test(tcase, test_directory);
    tcase_add_test(tcase, test_long_comment);
    tcase_add_test(tcase, test_overrides);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
