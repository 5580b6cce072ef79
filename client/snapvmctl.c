/* snapvmctl: the daemon's methods for a shell. The table of verbs (snapvmctl-verb.c) says what
 * there is; args reads the command line by it, run calls the method, show prints what came back. */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "client/snapvmctl-args.h"
#include "client/snapvmctl-help.h"
#include "client/snapvmctl-run.h"
#include "client/snapvmctl-text.h"
#include "client/snapvmctl-verb.h"
#include "config.h"

static int usage_error(const struct args *args)
{
    const struct verb *verb = args->verb;

    text_line(stderr, "snapvmctl: %s", args->error);
    if (verb)
        text_line(stderr, "Try `snapvmctl %s%s%s --help`.", verb->noun, verb->name ? " " : "",
                  verb->name ? verb->name : "");
    else
        text_line(stderr, "Try `snapvmctl --help`.");
    return RUN_USAGE;
}

static int show_help(const struct args *args)
{
    if (args->verb)
        help_verb(stdout, args->verb);
    else if (!args->noun)
        help_program(stdout);
    else if (help_noun(stdout, args->noun) < 0) {
        text_line(stderr, "snapvmctl: there is no noun \"%s\"", args->noun);
        return RUN_USAGE;
    }
    return RUN_DONE;
}

static int run(int argc, char **argv)
{
    _cleanup_args_ struct args args;

    if (args_read(&args, argc, argv) < 0)
        return usage_error(&args);
    if (args.version) {
        printf("snapvmctl %s\n", PACKAGE_VERSION);
        return RUN_DONE;
    }
    return args.help ? show_help(&args) : run_args(&args);
}

/* What is for the completion alone, and stands in no help. */
static int complete(int argc, char **argv)
{
    if (strcmp(argv[1], "--names") == 0 && argc > 2)
        return run_names(argv[2], argc > 3 ? argv[3] : NULL);
    help_list(stdout);
    return RUN_DONE;
}

int main(int argc, char **argv)
{
    int status;

    setlocale(LC_ALL, "");
    if (argc > 1 && (strcmp(argv[1], "--verbs") == 0 || strcmp(argv[1], "--names") == 0))
        status = complete(argc, argv);
    else
        status = run(argc, argv);
    if (fclose(stdout) != 0 && status == RUN_DONE) {
        perror("snapvmctl: the output could not be written");
        status = RUN_REFUSED;
    }
    return status;
}
