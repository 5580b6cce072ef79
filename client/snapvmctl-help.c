#include "client/snapvmctl-help.h"

#include <ctype.h>
#include <string.h>

#include "base/memory.h"
#include "client/snapvmctl-verb.h"

#define OPTION_COLUMN 36 /* where the explanation of an option begins */

/* A parameter's name as it stands on the command line. */
static char *dashed(const char *param)
{
    char *name = xstrdup(param);

    for (char *p = name; *p; p++)
        if (*p == '_')
            *p = '-';
    return name;
}

/* "DOMAIN [NAME]" of "domain name?". */
static char *positional_usage(const struct verb *verb)
{
    const char *from = verb->positional;
    char *usage, *end;

    if (strcmp(from, "job") == 0)
        return xstrdup(" JOB|DOMAIN DISK");
    if (strcmp(from, "jobs") == 0)
        return xstrdup(" JOB...|DOMAIN DISK");
    usage = xrealloc(NULL, strlen(from) * 4 + 1, 1);
    for (end = usage; *from; from += *from == ' ') {
        size_t size = strcspn(from += *from == '~', " ?");
        int optional = from[size] == '?';

        end = stpcpy(end, optional ? " [" : " ");
        for (size_t i = 0; i < size; i++)
            *end++ = (char)toupper((unsigned char)from[i]);
        end = stpcpy(end, optional ? "]" : "");
        from += size + (size_t)optional;
    }
    *end = '\0';
    return usage;
}

/* "--quiesce[=none|preferred|required]" */
static char *option_usage(const struct option *option)
{
    _cleanup_free_ char *name = dashed(option->alias ? option->alias : option->param);
    _cleanup_free_ char *value = option->value ? xstrdup(option->value) : NULL;
    const char *rest;

    switch (option->type) {
    case OPTION_FLAG:
        return xasprintf("--%s", name);
    case OPTION_CHOICE:
        return xasprintf(option->bare ? "--%s[=%s]" : "--%s %s", name, value);
    case OPTION_RECORD:
    case OPTION_RECORDS:
        rest = strchr(option->value, ',');
        for (char *p = value; (p = strchr(p, '?'));)
            memmove(p, p + 1, strlen(p));
        return xasprintf("--%s %.*s[%s]", name, (int)(rest - option->value), value,
                         value + (rest - option->value));
    default:
        return xasprintf("--%s %s", name, value);
    }
}

static void help_option(FILE *out, const char *usage, const char *help)
{
    if (strlen(usage) + 3 > OPTION_COLUMN)
        fprintf(out, "  %s\n%*s%s\n", usage, OPTION_COLUMN, "", help);
    else
        fprintf(out, "  %-*s%s\n", OPTION_COLUMN - 2, usage, help);
}

static void help_common(FILE *out)
{
    help_option(out, "--socket PATH", "the daemon's socket, instead of $SNAPVM_SOCKET");
    help_option(out, "--json", "the method's result on one line");
    help_option(out, "-q, --quiet", "no progress, and no word of what was done");
    help_option(out, "-h, --help", "help on what stands before it");
    help_option(out, "--version", "the version");
}

static void help_usage(FILE *out, const struct verb *verb)
{
    _cleanup_free_ char *positional = positional_usage(verb);
    _cleanup_free_ char *usage = xasprintf("%s%s%s%s", verb->noun, verb->name ? " " : "",
                                           verb->name ? verb->name : "", positional);

    if (strlen(usage) + 3 > OPTION_COLUMN)
        fprintf(out, "  %s\n%*s%s\n", usage, OPTION_COLUMN, "", verb->help);
    else
        fprintf(out, "  %-*s%s\n", OPTION_COLUMN - 2, usage, verb->help);
}

void help_program(FILE *out)
{
    const struct verb *verb;

    fputs("Usage: snapvmctl [OPTION...] NOUN VERB [ARGUMENT...] [--OPTION...]\n"
          "Live snapshots and block jobs of QEMU guests, by way of snapvmd.\n",
          out);
    for (size_t i = 0; (verb = verb_at(i)); i++) {
        if (i == 0 || strcmp(verb->noun, verb_at(i - 1)->noun) != 0)
            fputc('\n', out);
        help_usage(out, verb);
    }
    fputs("\nOptions:\n", out);
    help_common(out);
    fputs("\n`snapvmctl NOUN VERB --help` tells the options of a verb.\n", out);
}

int help_noun(FILE *out, const char *noun)
{
    const struct verb *verb;
    int found = 0;

    for (size_t i = 0; (verb = verb_at(i)); i++) {
        if (strcmp(verb->noun, noun) != 0)
            continue;
        if (!found++)
            fprintf(out, "Usage: snapvmctl %s VERB [ARGUMENT...] [--OPTION...]\n\n", noun);
        help_usage(out, verb);
    }
    return found ? 0 : -1;
}

void help_verb(FILE *out, const struct verb *verb)
{
    _cleanup_free_ char *positional = positional_usage(verb);
    const struct option *option;

    fprintf(out, "Usage: snapvmctl %s%s%s%s [--OPTION...]\n%s (method %s).\n", verb->noun,
            verb->name ? " " : "", verb->name ? verb->name : "", positional, verb->help,
            verb->method);
    if (verb_option(verb, 0))
        fputs("\nOptions:\n", out);
    for (size_t i = 0; (option = verb_option(verb, i)); i++) {
        _cleanup_free_ char *usage = option_usage(option);

        help_option(out, usage, option->help);
    }
    fputs("\nOptions of every verb:\n", out);
    help_common(out);
}

static void list_option(FILE *out, const struct option *option)
{
    _cleanup_free_ char *name = dashed(option->alias ? option->alias : option->param);

    fprintf(out, " --%s", name);
    if (option->type == OPTION_FLAG)
        return;
    fprintf(out, "=%s", option->type == OPTION_CHOICE ? option->value : "");
}

void help_list(FILE *out)
{
    const struct option *option;
    const struct verb *verb;

    for (size_t i = 0; (verb = verb_at(i)); i++) {
        fprintf(out, "%s %s %s", verb->noun, verb->name ? verb->name : "-", verb->method);
        for (const char *p = verb->positional; *p;) {
            size_t size = strcspn(p += *p == '~', " ?");

            fprintf(out, " %.*s", (int)size, p);
            p += size + strspn(p + size, " ?");
        }
        for (size_t j = 0; (option = verb_option(verb, j)); j++)
            list_option(out, option);
        fputc('\n', out);
    }
}
