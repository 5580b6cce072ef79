/* The values of options: text of the command line into JSON. */
#ifndef SNAPVM_CLIENT_SNAPVMCTL_VALUE_H
#define SNAPVM_CLIENT_SNAPVMCTL_VALUE_H

struct json_object;
struct option;

/* Reads a value for an option; text is NULL where none was given. old is what the same option gave
 * before (or NULL): lists grow, anything else is given once. Returns the value for the caller to
 * keep (it may be old itself, once more referenced), or NULL with a sentence in ret_why, which the
 * caller frees. */
struct json_object *value_read(const struct option *option, const char *text,
                               struct json_object *old, char **ret_why);

/* Whether text is one of the choices "a|b|c". */
int value_is_choice(const char *choices, const char *text);

#endif
