/* The command line, read by the table of verbs into a method's parameters. */
#ifndef SNAPVM_CLIENT_SNAPVMCTL_ARGS_H
#define SNAPVM_CLIENT_SNAPVMCTL_ARGS_H

#include <stdbool.h>

#include "base/cleanup.h"

struct json_object;
struct verb;

struct args {
    const char *noun; /* the first word, NULL when there is none */
    const struct verb *verb;
    struct json_object *params; /* what is sent; an object */
    struct json_object *local;  /* what is not */
    const char *socket;         /* NULL: the library's default */
    bool json, quiet, help, version;
    char *error; /* what is wrong with the command line */
};

/* Reads it. -1 with `error` set for wrong usage; noun, verb and help are as far as they were read
 * then. The strings of argv are kept. */
int args_read(struct args *args, int argc, char **argv);

void args_deinit(struct args *args);

#define _cleanup_args_ _cleanup_(args_deinit)

#endif
