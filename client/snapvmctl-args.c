#include "client/snapvmctl-args.h"

#include <stdarg.h>
#include <string.h>

#include "base/memory.h"
#include "client/snapvmctl-value.h"
#include "client/snapvmctl-verb.h"
#include "proto/json.h"

/* The reading of one command line: what is left of it, and the words that are no options. */
struct reader {
    struct args *args;
    char **next; /* the next word, up to argv's NULL */
    char **words;
    size_t n_words;
    bool only_words; /* behind "--" */
};

void args_deinit(struct args *args)
{
    json_object_put(args->params);
    json_object_put(args->local);
    free(args->error);
    *args = (struct args){0};
}

static _printf_(2, 3) int wrong(struct args *args, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    free(args->error);
    args->error = xvasprintf(format, list);
    va_end(list);
    return -1;
}

/* Options of the program itself, which may stand anywhere. 1 when it was one. */
static int read_global(struct reader *reader, const char *word)
{
    struct args *args = reader->args;

    if (strcmp(word, "--json") == 0) {
        args->json = true;
    } else if (strcmp(word, "--quiet") == 0 || strcmp(word, "-q") == 0) {
        args->quiet = true;
    } else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        args->help = true;
    } else if (strcmp(word, "--version") == 0) {
        args->version = true;
    } else if (strncmp(word, "--socket=", 9) == 0) {
        args->socket = word + 9;
    } else if (strcmp(word, "--socket") == 0) {
        if (!*reader->next)
            return wrong(args, "--socket needs a path");
        args->socket = *reader->next++;
    } else {
        return 0;
    }
    return 1;
}

/* The value of an option that stands in a word of its own. A choice that may be left out is taken
 * only if the next word is one: `--quiesce preferred`. */
static const char *next_value(struct reader *reader, const struct option *option)
{
    if (option->type == OPTION_FLAG)
        return NULL;
    if (option->bare && (!*reader->next || !value_is_choice(option->value, *reader->next)))
        return option->bare;
    return *reader->next ? *reader->next++ : NULL;
}

static int set_param(struct args *args, const struct option *option, const char *word,
                     const char *text)
{
    bool local = strcmp(option->param, "disk") == 0 && strstr(args->verb->positional, "~disk");
    struct json_object *object = local ? args->local : args->params, *value;
    _cleanup_free_ char *why = NULL;

    value = value_read(option, text, json_member(object, option->param), &why);
    if (!value)
        return wrong(args, "%s%s%s %s", word, text ? " " : "", text ? text : "", why);
    json_object_object_add(object, option->param, value);
    return 0;
}

/* "--name", "--name=value" or "--no-name". */
static int read_option(struct reader *reader, const char *word)
{
    const char *name = word + 2, *text = strchr(name, '=');
    const struct verb *verb = reader->args->verb;
    const struct option *option = NULL;
    size_t size = text ? (size_t)(text - name) : strlen(name);
    _cleanup_free_ char *shown = NULL;

    if (!verb)
        return wrong(reader->args, "%s stands before the verb it belongs to, or is unknown", word);
    if (strncmp(word, "--", 2) == 0 && size)
        option = verb_option_find(verb, name, size);
    if (!option && !text && strncmp(name, "no-", 3) == 0) {
        option = verb_option_find(verb, name + 3, size - 3);
        if (option && option->type == OPTION_FLAG)
            return set_param(reader->args, option, word, "no");
        option = NULL;
    }
    if (!option)
        return wrong(reader->args, "unknown option %s", word);
    shown = xstrndup(word, size + 2);
    text = text ? text + 1 : next_value(reader, option);
    if (!text && option->type != OPTION_FLAG)
        return wrong(reader->args, "%s needs a value", shown);
    return set_param(reader->args, option, shown, text);
}

static int read_word(struct reader *reader, char *word)
{
    struct args *args = reader->args;

    if (!args->noun) {
        args->noun = word;
        args->verb = verb_find(word, NULL);
    } else if (!args->verb) {
        args->verb = verb_find(args->noun, word);
        if (!args->verb)
            return wrong(args, "there is no \"%s %s\"", args->noun, word);
    } else {
        reader->words[reader->n_words++] = word;
    }
    return 0;
}

static int read_words(struct reader *reader)
{
    while (*reader->next) {
        char *word = *reader->next++;
        int r = 0;

        if (reader->only_words || word[0] != '-' || word[1] == '\0')
            r = read_word(reader, word);
        else if (strcmp(word, "--") == 0)
            reader->only_words = true;
        else if ((r = read_global(reader, word)) == 0)
            r = read_option(reader, word);
        if (r < 0)
            return -1;
    }
    return 0;
}

static bool is_number(const char *word)
{
    return *word && word[strspn(word, "0123456789")] == '\0';
}

static int place_word(struct args *args, const char *param, const char *word)
{
    return set_param(args, verb_option_find(args->verb, param, strlen(param)), param, word);
}

/* JOB, DOMAIN DISK, or for "jobs" JOB JOB... */
static int place_job(struct reader *reader)
{
    struct args *args = reader->args;
    bool many = strcmp(args->verb->positional, "jobs") == 0, numbers = true;
    int r = 0;

    for (size_t i = 0; i < reader->n_words; i++)
        numbers = numbers && is_number(reader->words[i]);
    if (reader->n_words == 0) {
        if (json_member(args->params, "job") || json_member(args->params, "jobs") ||
            (json_member(args->params, "domain") && json_member(args->params, "disk")))
            return 0;
        return wrong(args, "which job? Give its number, or the domain and the disk");
    }
    if (numbers && reader->n_words == 1)
        return place_word(args, "job", reader->words[0]);
    if (numbers && many) {
        for (size_t i = 0; i < reader->n_words && r == 0; i++)
            r = place_word(args, "jobs", reader->words[i]);
        return r;
    }
    if (reader->n_words != 2)
        return wrong(args, "a job is a number, or a domain and a disk");
    r = place_word(args, "domain", reader->words[0]);
    return r < 0 ? r : place_word(args, "disk", reader->words[1]);
}

static int place_words(struct reader *reader)
{
    struct args *args = reader->args;
    size_t i = 0;

    if (strncmp(args->verb->positional, "job", 3) == 0)
        return place_job(reader);
    for (const char *p = args->verb->positional; *p; p += *p == '?', p += *p == ' ') {
        _cleanup_free_ char *param = NULL;

        p += *p == '~';
        param = xstrndup(p, strcspn(p, " ?"));
        p += strlen(param);
        if (json_member(args->params, param) || json_member(args->local, param))
            continue;
        if (i < reader->n_words) {
            if (place_word(args, param, reader->words[i++]) < 0)
                return -1;
        } else if (*p != '?') {
            return wrong(args, "the %s is missing", param);
        }
    }
    if (i < reader->n_words)
        return wrong(args, "\"%s\" is one word too many", reader->words[i]);
    return 0;
}

static int check_required(struct args *args)
{
    const struct option *option;

    for (size_t i = 0; (option = verb_option(args->verb, i)); i++)
        if (option->required && !json_member(args->params, option->param))
            return wrong(args, "--%s is missing", option->param);
    return 0;
}

int args_read(struct args *args, int argc, char **argv)
{
    _cleanup_free_ char **words = xzalloc((size_t)argc * sizeof(*words) + 1);
    struct reader reader = {.args = args, .next = argv + 1, .words = words};

    *args = (struct args){0};
    args->params = json_object_new_object();
    args->local = json_object_new_object();
    if (read_words(&reader) < 0)
        return -1;
    if (args->help || args->version)
        return 0;
    if (!args->noun)
        return wrong(args, "what shall be done?");
    if (!args->verb)
        return wrong(args, "\"%s\" needs a verb, or is no noun at all", args->noun);
    if (place_words(&reader) < 0)
        return -1;
    return check_required(args);
}
