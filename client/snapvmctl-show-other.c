#include "client/snapvmctl-show.h"

#include <stdbool.h>
#include <string.h>

#include "base/memory.h"
#include "client/snapvmctl-table.h"
#include "client/snapvmctl-text.h"
#include "proto/json.h"

void show_nothing(struct json_object *result _unused_)
{
}

void show_text(struct json_object *result)
{
    const char *text = json_string(result, "text");

    if (!text)
        text = json_string(result, "xml");
    if (text)
        text_lines(stdout, text);
}

void show_document(struct json_object *result)
{
    text_lines(stdout, json_object_to_json_string_ext(result, JSON_C_TO_STRING_PRETTY |
                                                                  JSON_C_TO_STRING_SPACED |
                                                                  JSON_C_TO_STRING_NOSLASHESCAPE));
}

void show_guest(struct json_object *result)
{
    static const struct column columns[] = {
        {"MOUNTPOINT", 0},      {"TYPE", 0}, {"DISK", 0}, {"DEVICE", 0}, {"SIZE", COLUMN_RIGHT},
        {"USED", COLUMN_RIGHT}, {NULL, 0},
    };
    _cleanup_table_ struct table *pairs = table_pairs();
    _cleanup_table_ struct table *table = table_new(columns);
    struct json_object *fs = json_array(result, "fs");

    table_pair(pairs, "Agent", json_string(result, "agent_state"));
    table_pair(pairs, "Kind", json_string(result, "kind"));
    table_pair(pairs, "Freeze", json_string(result, "freeze"));
    table_print(pairs, stdout);
    for (size_t i = 0; fs && i < json_object_array_length(fs); i++) {
        struct json_object *one = json_object_array_get_idx(fs, i);
        struct row *row = table_row(table, NULL);

        row_set(row, 0, json_string(one, "mountpoint"));
        row_set(row, 1, json_string(one, "type"));
        row_set(row, 2, json_string(one, "disk"));
        row_set(row, 3, json_string(one, "name"));
        show_size(row, 4, one, "total_bytes");
        show_size(row, 5, one, "used_bytes");
    }
    if (fs && json_object_array_length(fs))
        putchar('\n');
    table_print(table, stdout);
}

void show_frozen(struct json_object *result)
{
    long long lease_ms = json_int(result, "lease_ms", -1), count = json_int(result, "count", 0);
    _cleanup_free_ char *lease = NULL;

    if (lease_ms < 0) {
        text_line(stdout, "%lld file systems thawed", count);
        return;
    }
    lease = text_duration(lease_ms * 1000);
    text_line(stdout, "%lld file systems frozen, for %s at most", count, lease);
}

/* "qemu-7.2, commit" of an array of strings; owned by the caller, NULL when there are none. */
static char *joined(struct json_object *array)
{
    char *list = NULL;

    for (size_t i = 0; array && i < json_object_array_length(array); i++) {
        char *longer = xasprintf("%s%s%s", list ? list : "", list ? ", " : "",
                                 json_object_get_string(json_object_array_get_idx(array, i)));

        free(list);
        list = longer;
    }
    return list;
}

void show_info(struct json_object *result)
{
    _cleanup_table_ struct table *table = table_pairs();
    struct json_object *jobs = json_sub(result, "jobs");
    const char *started = json_string(result, "started");
    _cleanup_free_ char *time = started ? text_time(started) : NULL;
    _cleanup_free_ char *features = joined(json_array(result, "features"));

    table_pair(table, "Name", json_string(result, "name"));
    table_pair(table, "Version", json_string(result, "version"));
    table_pairf(table, "API", "%lld", json_int(result, "api", 0));
    table_pair(table, "Instance", json_string(result, "instance"));
    table_pair(table, "Started", time);
    table_pairf(table, "Process", "%lld", json_int(result, "pid", 0));
    table_pairf(table, "Domains", "%lld", json_int(result, "domains", 0));
    table_pairf(table, "Jobs", "%lld active, %lld in all", json_int(jobs, "active", 0),
                json_int(jobs, "total", 0));
    table_pair(table, "Features", features);
    table_print(table, stdout);
}

/* What an event says beside its head: the job in a few words, any other member as it is. */
static void event_member(FILE *text, const char *name, struct json_object *value)
{
    static const char *const head[] = {"seq", "time", "kind", "domain", "job", "progress"};
    const char *plain = json_object_is_type(value, json_type_string) ? json_object_get_string(value)
                                                                     : json_text(value);

    for (size_t i = 0; i < sizeof(head) / sizeof(head[0]); i++)
        if (strcmp(name, head[i]) == 0)
            return;
    if (value && !json_object_is_type(value, json_type_object))
        fprintf(text, " %s=%s", name, plain);
}

static void event_job(FILE *text, struct json_object *event)
{
    struct json_object *job = json_sub(event, "job");
    const char *kind = json_string(event, "kind");
    bool moving = kind && strcmp(kind, "job.progress") == 0;
    struct json_object *progress = json_sub(moving && job ? job : event, "progress");
    const char *result = json_string(json_sub(job, "outcome"), "result");
    const char *state = result ? result : json_string(job, "state");
    const char *advice = json_string(json_sub(job, "stall"), "message");
    _cleanup_free_ char *title = job ? show_job_title(job) : NULL;
    _cleanup_free_ char *current = text_size(json_int(progress, "current", 0));
    _cleanup_free_ char *total = text_size(json_int(progress, "total", 0));

    if (job)
        fprintf(text, " %s%s%s%s%s", title, state ? ": " : "", state ? state : "",
                advice ? ": " : "", advice ? advice : "");
    else if (json_int(event, "job", 0))
        fprintf(text, " job %lld", json_int(event, "job", 0));
    if (progress)
        fprintf(text, " %s of %s", current, total);
}

void show_event(struct json_object *event, FILE *out)
{
    const char *time = json_string(event, "time"), *kind = json_string(event, "kind");
    const char *domain = json_string(event, "domain");
    _cleanup_free_ char *shown = text_time(time ? time : "-");
    _cleanup_free_ char *text = NULL;
    long long seq = json_int(event, "seq", 0);
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    if (!stream)
        abort();
    /* Progress is not numbered. */
    if (seq)
        fprintf(stream, "%6lld", seq);
    else
        fprintf(stream, "%6s", "-");
    fprintf(stream, " %s %s %s", shown, kind ? kind : "?", domain ? domain : "-");
    event_job(stream, event);
    json_object_object_foreach (event, name, value) {
        event_member(stream, name, value);
    }
    fclose(stream);
    text_line(out, "%s", text);
}
