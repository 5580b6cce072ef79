/* The command line of snapvmd: options, configuration, and the exit status that tells how it ended.
 */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "conf/conf.h"
#include "config.h"
#include "daemon.h"
#include "job/plan.h"

enum exit_status {
    EXIT_ORDERED = 0,
    EXIT_NOT_STARTED = 1,
    EXIT_WRONG_USAGE = 2,
};

struct options {
    char *config, *socket, *state_dir, *guests_dir; /* absolute */
    const char *log_level;
    bool check_config;
};

static void options_deinit(struct options *options)
{
    free(options->config);
    free(options->socket);
    free(options->state_dir);
    free(options->guests_dir);
}

static const char usage[] =
    "Usage: snapvmd [OPTION]...\n"
    "Owns live snapshots and block jobs of QEMU guests. Runs in the foreground.\n"
    "\n"
    "  --config FILE         read FILE instead of " CONF_PATH "\n"
    "  --socket PATH         listen at PATH\n"
    "  --state-dir DIR       keep the journal in DIR\n"
    "  --guests-dir DIR      find guests below DIR\n"
    "  --log-level LEVEL     error, warning, info or debug\n"
    "  --check-config        read the configuration, say what is wrong in it, and exit\n"
    "  --version             print the version and exit\n"
    "  --help                print this and exit\n"
    "\n"
    "SIGTERM and SIGINT stop it in order, SIGHUP reads the configuration again.\n"
    "Exit status: 0 after an ordered stop, 1 if it could not start, 2 for wrong usage.\n"
    "See snapvmd(8) and snapvmd.conf(5).\n";

/* A path of the command line is meant from where the caller stands, also at a later reload. */
static void option_path(char **path, const char *value)
{
    _cleanup_free_ char *here = value[0] == '/' || !value[0] ? NULL : getcwd(NULL, 0);

    free(*path);
    *path = here ? xasprintf("%s/%s", here, value) : xstrdup(value);
}

/* The plans as this program walks them, for the manual: as text, or as roff. */
static int options_print_plans(const char *form)
{
    if (form && strcmp(form, "roff") != 0) {
        fprintf(stderr, "snapvmd: --print-plans prints text, or with =roff roff, but not '%s'.\n",
                form);
        return EXIT_WRONG_USAGE;
    }
    plan_print_all(stdout, form != NULL);
    return fflush(stdout) == 0 ? EXIT_ORDERED : EXIT_NOT_STARTED;
}

/* Returns -1 to go on, or the status to exit with. */
static int options_read(struct options *options, int argc, char **argv)
{
    static const struct option table[] = {
        {"config", required_argument, NULL, 'c'},
        {"socket", required_argument, NULL, 's'},
        {"state-dir", required_argument, NULL, 'd'},
        {"guests-dir", required_argument, NULL, 'g'},
        {"log-level", required_argument, NULL, 'l'},
        {"check-config", no_argument, NULL, 'k'},
        {"print-plans", optional_argument, NULL, 'p'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", table, NULL)) >= 0) {
        switch (option) {
        case 'c':
            option_path(&options->config, optarg);
            break;
        case 's':
            option_path(&options->socket, optarg);
            break;
        case 'd':
            option_path(&options->state_dir, optarg);
            break;
        case 'g':
            option_path(&options->guests_dir, optarg);
            break;
        case 'l':
            options->log_level = optarg;
            break;
        case 'k':
            options->check_config = true;
            break;
        case 'p':
            return options_print_plans(optarg);
        case 'v':
            puts("snapvmd " PACKAGE_VERSION);
            return EXIT_ORDERED;
        case 'h':
            fputs(usage, stdout);
            return EXIT_ORDERED;
        default:
            fputs("Try 'snapvmd --help'.\n", stderr);
            return EXIT_WRONG_USAGE;
        }
    }
    if (optind == argc)
        return -1;
    fprintf(stderr, "snapvmd: '%s' is no option. Try 'snapvmd --help'.\n", argv[optind]);
    return EXIT_WRONG_USAGE;
}

static int run(struct conf *conf, const char *config, const struct conf_overrides *overrides)
{
    _cleanup_(daemon_freep) struct daemon *daemon = NULL;
    _cleanup_error_ struct error err = {0};

    log_set_level(conf->log_level);
    daemon = daemon_new(conf, config, overrides, &err);
    if (!daemon) {
        log_error("%s", err.message);
        return EXIT_NOT_STARTED;
    }
    return daemon_run(daemon) < 0 ? EXIT_NOT_STARTED : EXIT_ORDERED;
}

int main(int argc, char **argv)
{
    _cleanup_(options_deinit) struct options options = {0};
    _cleanup_(conf_deinit) struct conf conf = {0};
    _cleanup_error_ struct error err = {0};
    struct conf_overrides overrides;
    int status = options_read(&options, argc, argv);

    if (status >= 0)
        return status;
    overrides = (struct conf_overrides){.socket = options.socket,
                                        .state_dir = options.state_dir,
                                        .guests_dir = options.guests_dir,
                                        .log_level = options.log_level};
    /* The command line is judged first, and by itself: a mistake there is another exit status. */
    conf_init(&conf);
    if (conf_apply(&conf, &overrides, &err) < 0) {
        fprintf(stderr, "snapvmd: %s\n", err.message);
        return EXIT_WRONG_USAGE;
    }
    conf_deinit(&conf);
    if (conf_load(options.config, &conf, &err) < 0) {
        log_error("%s", err.message);
        return EXIT_NOT_STARTED;
    }
    conf_apply(&conf, &overrides, NULL);
    if (options.check_config) {
        printf("%s: nothing is wrong\n", options.config ? options.config : CONF_PATH);
        return EXIT_ORDERED;
    }
    return run(&conf, options.config, &overrides);
}
