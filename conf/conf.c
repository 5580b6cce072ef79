/* One table says what the configuration may hold: section, key, kind of value, where it goes, the
 * default and the range. Reading, defaults and the command line all walk it; the man page and the
 * shipped file are compared with it by tests/scripts/check-conf.
 *
 * libinih finds sections and keys. It forgives more than a daemon should (cut lines, comments
 * behind a value that may be part of it, sections nobody knows), so each line is looked at first.
 */
#include "conf/conf.h"

#include <errno.h>
#include <grp.h>
#include <ini.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "proto/limits.h"
#include "proto/snapvm-errors.h"

enum key_kind {
    KEY_PATH,
    KEY_SOCKET,  /* a path that fits into a socket's address */
    KEY_PROGRAM, /* found in PATH, or a path */
    KEY_FOLDERS, /* paths with ':' between them; more lines add more */
    KEY_LEVEL,
    KEY_GROUP,
    KEY_NUMBER,
};

struct key {
    const char *section, *name;
    enum key_kind kind;
    size_t field;     /* offset in struct conf */
    const char *text; /* the default of what is no number; NULL is none */
    int number, min, max;
};

#define FIELD(name) offsetof(struct conf, name)
#define MIB (1024 * 1024)
#define HOUR_MS (60 * 60 * 1000)

static const struct key keys[] = {
    {"daemon", "socket", KEY_SOCKET, FIELD(socket), "/run/snapvm/snapvmd.sock", 0, 0, 0},
    {"daemon", "state_dir", KEY_PATH, FIELD(state_dir), "/var/lib/snapvm", 0, 0, 0},
    {"daemon", "guests_dir", KEY_PATH, FIELD(guests_dir), "/run/snapvm/guests", 0, 0, 0},
    {"daemon", "log_level", KEY_LEVEL, FIELD(log_level), "info", 0, 0, 0},
    {"access", "admin_group", KEY_GROUP, FIELD(admin_group), NULL, 0, 0, 0},
    {"access", "operator_group", KEY_GROUP, FIELD(operator_group), NULL, 0, 0, 0},
    {"access", "reader_group", KEY_GROUP, FIELD(reader_group), NULL, 0, 0, 0},
    {"images", "image_dirs", KEY_FOLDERS, FIELD(image_dirs), NULL, 0, 0, 0},
    {"images", "qemu_img", KEY_PROGRAM, FIELD(qemu_img), "qemu-img", 0, 0, 0},
    {"agent", "timeout_ms", KEY_NUMBER, FIELD(agent_timeout_ms), NULL, 5000, 100, HOUR_MS},
    {"agent", "freeze_timeout_ms", KEY_NUMBER, FIELD(freeze_timeout_ms), NULL, 10000, 100, HOUR_MS},
    {"agent", "lease_max_ms", KEY_NUMBER, FIELD(lease_max_ms), NULL, 600000, 1000, 24 * HOUR_MS},
    {"qmp", "greeting_timeout_ms", KEY_NUMBER, FIELD(greeting_timeout_ms), NULL, 3000, 100,
     HOUR_MS},
    {"qmp", "command_timeout_ms", KEY_NUMBER, FIELD(command_timeout_ms), NULL, 30000, 100, HOUR_MS},
    {"limits", "connections", KEY_NUMBER, FIELD(connections), NULL, LIMIT_CONNECTIONS, 1, 65536},
    {"limits", "request_bytes", KEY_NUMBER, FIELD(request_bytes), NULL, LIMIT_REQUEST_BYTES, 4096,
     64 * MIB},
    {"limits", "nesting", KEY_NUMBER, FIELD(nesting), NULL, LIMIT_NESTING, 8, 512},
    {"limits", "in_flight", KEY_NUMBER, FIELD(in_flight), NULL, LIMIT_IN_FLIGHT, 1, 4096},
    {"limits", "output_bytes", KEY_NUMBER, FIELD(output_bytes), NULL, LIMIT_OUTPUT_BYTES, 65536,
     1024 * MIB},
    {"history", "jobs_days", KEY_NUMBER, FIELD(jobs_days), NULL, 30, 1, 36500},
    {"history", "events", KEY_NUMBER, FIELD(events), NULL, 100000, 1000, 100000000},
    {"history", "request_ids_hours", KEY_NUMBER, FIELD(request_ids_hours), NULL, 24, 24, 87600},
};

#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

static const struct key *key_find(const char *section, const char *name)
{
    for (size_t i = 0; i < N_KEYS; i++)
        if (strcmp(keys[i].section, section) == 0 && (!name || strcmp(keys[i].name, name) == 0))
            return &keys[i];
    return NULL;
}

static void *key_field(const struct key *key, struct conf *conf)
{
    return (char *)conf + key->field;
}

/* The reason why a text is no usable absolute path, NULL if it is one. */
static const char *path_fault(const char *path, size_t size)
{
    if (path[0] != '/')
        return "must be an absolute path";
    if (size >= PATH_MAX)
        return "is too long for a path";
    return NULL;
}

static int key_fault(const struct key *key, const char *value, const char *fault, struct error *err)
{
    return error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "%s %s, not '%s'", key->name, fault, value);
}

static int set_path(const struct key *key, struct conf *conf, const char *value, struct error *err)
{
    const char *fault = path_fault(value, strlen(value));

    if (!fault && key->kind == KEY_SOCKET &&
        strlen(value) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        fault = "must be shorter than 108 bytes, as every socket's path";
    if (fault && key->kind == KEY_PROGRAM)
        fault = value[0] && !strchr(value, '/') ? NULL
                                                : "must be a program's name or absolute path";
    if (fault)
        return key_fault(key, value, fault, err);
    xstrset(key_field(key, conf), value);
    return 0;
}

/* Adds the folders of one line. An empty list is allowed: it is the default. */
static int set_folders(const struct key *key, struct conf *conf, const char *value,
                       struct error *err)
{
    size_t size;

    for (const char *p = value; *p; p += size + (p[size] == ':')) {
        const char *fault;

        size = strcspn(p, ":");
        fault = path_fault(p, size);
        if (fault)
            return key_fault(key, value, "must be absolute paths with ':' between them", err);
        conf->image_dirs = xrealloc(conf->image_dirs, conf->n_image_dirs + 1, sizeof(char *));
        conf->image_dirs[conf->n_image_dirs++] = xstrndup(p, size);
    }
    return 0;
}

static int set_level(const struct key *key, struct conf *conf, const char *value, struct error *err)
{
    int level = log_level_from_name(value);

    if (level < 0)
        return key_fault(key, value, "must be one of error, warning, info and debug", err);
    *(int *)key_field(key, conf) = level;
    return 0;
}

static int set_group(const struct key *key, struct conf *conf, const char *value, struct error *err)
{
    _cleanup_free_ char *buffer = NULL;
    size_t size = 1024;
    struct group group, *found = NULL;
    int r;

    if (value[0] == '\0') {
        *(gid_t *)key_field(key, conf) = CONF_NO_GROUP;
        return 0;
    }
    do {
        size *= 2;
        buffer = xrealloc(buffer, size, 1);
        r = getgrnam_r(value, &group, buffer, size, &found);
    } while (r == ERANGE && size < 16 * MIB);
    if (r != 0)
        return error_set_errno(err, SNAPVM_ERROR_INVALID_PARAMS, r,
                               "%s: the group '%s' cannot be looked up", key->name, value);
    if (!found)
        return key_fault(key, value, "must be a group of this host", err);
    *(gid_t *)key_field(key, conf) = group.gr_gid;
    return 0;
}

static int set_number(const struct key *key, struct conf *conf, const char *value,
                      struct error *err)
{
    char *end;
    long long number;

    errno = 0;
    number = strtoll(value, &end, 10);
    /* strtoll takes a sign and leading space; a plain decimal number starts with a digit. */
    if (value[0] < '0' || value[0] > '9' || *end)
        return key_fault(key, value, "must be a whole number", err);
    if (errno || number < key->min || number > key->max)
        return error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "%s must be from %d to %d, not %s",
                         key->name, key->min, key->max, value);
    *(int *)key_field(key, conf) = (int)number;
    return 0;
}

static int key_set(const struct key *key, struct conf *conf, const char *value, struct error *err)
{
    switch (key->kind) {
    case KEY_PATH:
    case KEY_SOCKET:
    case KEY_PROGRAM:
        return set_path(key, conf, value, err);
    case KEY_FOLDERS:
        return set_folders(key, conf, value, err);
    case KEY_LEVEL:
        return set_level(key, conf, value, err);
    case KEY_GROUP:
        return set_group(key, conf, value, err);
    case KEY_NUMBER:
        break;
    }
    return set_number(key, conf, value, err);
}

void conf_init(struct conf *conf)
{
    *conf = (struct conf){0};
    for (size_t i = 0; i < N_KEYS; i++)
        if (keys[i].kind == KEY_NUMBER)
            *(int *)key_field(&keys[i], conf) = keys[i].number;
        else
            key_set(&keys[i], conf, keys[i].text ? keys[i].text : "", NULL);
}

void conf_deinit(struct conf *conf)
{
    for (size_t i = 0; i < conf->n_image_dirs; i++)
        free(conf->image_dirs[i]);
    free(conf->image_dirs);
    free(conf->qemu_img);
    free(conf->guests_dir);
    free(conf->state_dir);
    free(conf->socket);
    *conf = (struct conf){0};
}

/* One reading of a file. The first fault ends it. */
struct reading {
    FILE *file;
    const char *path;
    struct conf *conf;
    bool seen[N_KEYS];
    int line; /* counted from 1 */
    bool failed;
    struct error *err;
};

static int reading_fail(struct reading *reading, const char *sentence)
{
    reading->failed = true;
    error_set(reading->err, SNAPVM_ERROR_INVALID_PARAMS, "%s:%d: %s", reading->path, reading->line,
              sentence);
    return error_text(reading->err, "param", "config");
}

/* The reason why a [section] line cannot be taken, NULL if it can. */
static const char *section_fault(const char *text)
{
    char section[32];
    size_t size = strcspn(text, "]");

    if (text[size] != ']')
        return "a section is written as [name]";
    if (text[size + 1 + strspn(text + size + 1, " \t")])
        return "nothing may stand behind a section";
    snprintf(section, sizeof(section), "%.*s", (int)size, text);
    if (size >= sizeof(section) || !key_find(section, NULL))
        return "this section is not known: see snapvmd.conf(5)";
    return NULL;
}

/* The reason why libinih would take a line for something else than it says, NULL if it would not.
 */
static const char *line_fault(const char *line, size_t size, int room)
{
    const char *text = line + strspn(line, " \t");

    if (strlen(line) != size)
        return "there is a NUL byte in the line";
    if (*text == '#' || *text == ';' || *text == '\0')
        return NULL;
    if (size + 2 > (size_t)room)
        return "the line is too long; image_dirs may be given several times";
    if (*text == '[')
        return section_fault(text + 1);
    for (; *text; text++)
        if ((*text == ' ' || *text == '\t') && (text[1] == '#' || text[1] == ';'))
            return "a comment stands on a line of its own";
    return NULL;
}

/* Called by libinih for a line, in the manner of fgets; NULL ends the reading. A comment longer
 * than its buffer is cut, anything else of that length is refused. */
static char *reading_line(char *buffer, int room, void *stream)
{
    struct reading *reading = stream;
    _cleanup_free_ char *line = NULL;
    const char *fault;
    size_t size = 0;
    ssize_t n;

    if (reading->failed)
        return NULL;
    n = getline(&line, &size, reading->file);
    if (n < 0)
        return NULL;
    reading->line++;
    while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
        line[--n] = '\0';
    fault = line_fault(line, (size_t)n, room);
    if (fault) {
        reading_fail(reading, fault);
        return NULL;
    }
    snprintf(buffer, (size_t)room, "%.*s\n", room - 2, line);
    return buffer;
}

/* Called by libinih for a key and its value. Returns 0 for a fault, as libinih wants it. */
static int reading_key(void *user, const char *section, const char *name, const char *value)
{
    struct reading *reading = user;
    const struct key *key = key_find(section, name);
    _cleanup_error_ struct error fault = {0};
    _cleanup_free_ char *sentence = NULL;

    if (reading->failed)
        return 0;
    if (!key)
        sentence = section[0] ? xasprintf("the key '%s' is not known in [%s]", name, section)
                              : xasprintf("the key '%s' stands in no section", name);
    else if (reading->seen[key - keys] && key->kind != KEY_FOLDERS)
        sentence = xasprintf("%s is given twice", name);
    else if (key_set(key, reading->conf, value, &fault) < 0)
        sentence = TAKE_PTR(fault.message);
    if (sentence) {
        reading_fail(reading, sentence);
        return 0;
    }
    reading->seen[key - keys] = true;
    return 1;
}

static void file_closep(FILE **file)
{
    if (*file)
        fclose(*file);
}

int conf_load(const char *path, struct conf *ret_conf, struct error *err)
{
    _cleanup_(file_closep) FILE *file = NULL;
    _cleanup_(conf_deinit) struct conf conf = {0};
    struct reading reading = {.path = path ? path : CONF_PATH, .conf = &conf, .err = err};
    int r = 0;

    conf_init(&conf);
    file = fopen(reading.path, "re");
    if (!file && (path || errno != ENOENT)) {
        error_set_errno(err, SNAPVM_ERROR_INVALID_PARAMS, errno, "the configuration %s",
                        reading.path);
        return error_text(err, "param", "config");
    }
    reading.file = file;
    if (file)
        r = ini_parse_stream(reading_line, &reading, reading_key, &reading);
    if (r < 0)
        abort(); /* out of memory */
    /* libinih reads on after a line that it does not understand, and tells the first such line. */
    if (r > 0 && (!reading.failed || r < reading.line)) {
        reading.line = r;
        reading_fail(&reading, "this is neither a [section] nor a line of the form key = value");
    }
    if (file && ferror(file) && !reading.failed) {
        reading.line++;
        reading_fail(&reading, "the file cannot be read on from here");
    }
    if (reading.failed)
        return -1;
    *ret_conf = conf;
    conf = (struct conf){0};
    return 0;
}

int conf_apply(struct conf *conf, const struct conf_overrides *overrides, struct error *err)
{
    const struct {
        const char *name, *option, *value;
    } table[] = {
        {"socket", "--socket", overrides->socket},
        {"state_dir", "--state-dir", overrides->state_dir},
        {"guests_dir", "--guests-dir", overrides->guests_dir},
        {"log_level", "--log-level", overrides->log_level},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct key key;

        if (!table[i].value)
            continue;
        key = *key_find("daemon", table[i].name);
        key.name = table[i].option;
        if (key_set(&key, conf, table[i].value, err) < 0)
            return -1;
    }
    return 0;
}
