/* Help from the table of verbs. */
#ifndef SNAPVM_CLIENT_SNAPVMCTL_HELP_H
#define SNAPVM_CLIENT_SNAPVMCTL_HELP_H

#include <stdio.h>

struct verb;

void help_program(FILE *out);

/* The verbs of a noun; -1 when it has none. */
int help_noun(FILE *out, const char *noun);

void help_verb(FILE *out, const struct verb *verb);

/* All verbs for programs (the completion, the tests), one a line: the noun, the verb ("-" for a
 * noun that stands alone), the method, the positional parameters in lower case, and the options,
 * where
 * "--x=" takes a value, "--x=a|b" one of these and "--x" needs none. */
void help_list(FILE *out);

#endif
