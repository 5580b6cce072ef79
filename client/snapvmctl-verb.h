/* The verbs: one table drives the reading of the command line, the help, the completion, what is
 * called and how its result is shown. */
#ifndef SNAPVM_CLIENT_SNAPVMCTL_VERB_H
#define SNAPVM_CLIENT_SNAPVMCTL_VERB_H

#include <stddef.h>

struct args;
struct json_object;
struct snapvm;

enum option_type {
    OPTION_STRING,
    OPTION_NUMBER,
    OPTION_SIZE,    /* bytes: 10M */
    OPTION_FLAG,    /* --x, --x=no */
    OPTION_CHOICE,  /* one of `value`, "a|b|c" */
    OPTION_LIST,    /* a,b,c; ",," is a comma */
    OPTION_NUMBERS, /* 1,2,3 */
    OPTION_RECORD,  /* first,key=…; `value` names the keys, "first,key,flag?" */
    OPTION_RECORDS, /* the same, repeated, for an array of records */
    OPTION_TEXT,    /* XML as it is, or the file that holds it */
    OPTION_JSON,    /* JSON as it is, or the file that holds it */
};

struct option {
    const char *param; /* the method's parameter; `_` is `-` on the command line */
    enum option_type type;
    const char *value; /* what stands behind it: a placeholder, choices or keys */
    const char *help;
    const char *alias; /* another name on the command line */
    const char *bare;  /* the choice that it means without a value */
    int required;
};

enum verb_flags {
    VERB_CHANGES = 1, /* takes --request-id; --quiet hides what it prints */
    VERB_STARTS = 2,  /* takes --wait and --timeout-ms, answers with a job */
    VERB_WAITS = 4,   /* waits for the job's end unless told otherwise */
    VERB_TELLS = 8,   /* answers with a job whose outcome is the verb's own */
};

struct verb {
    const char *noun, *name; /* name NULL: the noun stands alone */
    const char *method;
    /* Parameters that are given by position: "domain name?" ("?": optional, "~": for this program
     * and not sent). "job" is JOB or DOMAIN DISK, "jobs" also several JOBs. */
    const char *positional;
    const struct option *options; /* until one without param; may be NULL */
    unsigned flags;
    const char *help;
    /* Prints the result for people. */
    void (*show)(struct json_object *result);
    /* In place of one call and its show; returns the exit status. */
    int (*run)(struct snapvm *conn, const struct args *args);
};

/* The i-th verb in the order of the help, NULL behind the last. */
const struct verb *verb_at(size_t i);

/* The verb of these words; name may be NULL. NULL when there is none. `_` and `-` are the same. */
const struct verb *verb_find(const char *noun, const char *name);

/* The verb's options and then those that its flags bring, one by one until NULL. */
const struct option *verb_option(const struct verb *verb, size_t i);

/* The option of a name on the command line (size bytes, without dashes), also one that stands for a
 * positional parameter. NULL when there is none. */
const struct option *verb_option_find(const struct verb *verb, const char *name, size_t size);

#endif
