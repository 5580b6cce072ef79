#include "client/snapvmctl-show.h"

#include <string.h>

#include "base/memory.h"
#include "client/snapvmctl-table.h"
#include "client/snapvmctl-text.h"
#include "proto/json.h"

static const char *or_unknown(const char *text)
{
    return text ? text : "?";
}

static void pair_time(struct table *table, const char *key, const char *time)
{
    _cleanup_free_ char *text = time ? text_time(time) : NULL;

    table_pair(table, key, text);
}

static void pair_duration(struct table *table, const char *key, struct json_object *object,
                          const char *name)
{
    long long us = json_int(object, name, -1);
    _cleanup_free_ char *text = us < 0 ? NULL : text_duration(us);

    table_pair(table, key, text);
}

/* Percent done, or -1 when there is no progress. */
static int job_percent(struct json_object *job)
{
    struct json_object *progress = json_sub(job, "progress");
    long long current = json_int(progress, "current", 0), total = json_int(progress, "total", 0);

    if (!progress || total <= 0 || current < 0)
        return -1;
    return current >= total ? 100 : (int)((double)current / (double)total * 100);
}

char *show_job_title(struct json_object *job)
{
    const char *disk = json_string(job, "disk");

    return xasprintf("job %lld (%s of %s%s%s)", json_int(job, "id", 0),
                     or_unknown(json_string(job, "kind")), or_unknown(json_string(job, "domain")),
                     disk ? " " : "", disk ? disk : "");
}

/* The outcome's error as one text; owned by the caller, NULL when there is none. */
static char *error_text(struct json_object *outcome)
{
    struct json_object *error = json_sub(outcome, "error");
    const char *message = json_string(error, "message");
    const char *kind = json_string(json_sub(error, "data"), "kind");

    if (!error)
        return xstrdup(json_string(outcome, "error"));
    kind = kind ? kind : json_string(error, "kind");
    return xasprintf("%s%s%s%s", or_unknown(message), kind ? " (" : "", kind ? kind : "",
                     kind ? ")" : "");
}

static void pair_start(struct table *table, struct json_object *start)
{
    struct json_object *arguments = json_array(start, "arguments");
    _cleanup_free_ char *text = NULL;

    if (!arguments || json_object_array_length(arguments) < 2)
        return;
    text = text_quoted(json_object_get_string(json_object_array_get_idx(arguments, 1)));
    table_pairf(table, "Start with", "%s %s%s",
                json_object_get_string(json_object_array_get_idx(arguments, 0)), text,
                json_flag(start, "cont", 0) ? ", then cont" : "");
}

static void pair_outcome(struct table *table, struct json_object *outcome)
{
    _cleanup_free_ char *error = error_text(outcome);
    struct json_object *files = json_array(outcome, "files");

    table_pair(table, "Active", json_string(outcome, "active"));
    for (size_t i = 0; files && i < json_object_array_length(files); i++) {
        struct json_object *file = json_object_array_get_idx(files, i);
        const char *role = json_string(file, "role");

        table_pairf(table, "File", "%s is %s%s%s%s", or_unknown(json_string(file, "file")),
                    or_unknown(json_string(file, "state")), role ? " (" : "", role ? role : "",
                    role ? ")" : "");
    }
    pair_start(table, json_sub(outcome, "start"));
    table_pair(table, "Known by", json_string(outcome, "evidence"));
    pair_duration(table, "Guest paused", outcome, "paused_us");
    pair_duration(table, "Guest frozen", outcome, "frozen_us");
    table_pair(table, "Error", error);
}

static void pair_progress(struct table *table, struct json_object *job)
{
    struct json_object *progress = json_sub(job, "progress");
    _cleanup_free_ char *current = text_size(json_int(progress, "current", 0));
    _cleanup_free_ char *total = text_size(json_int(progress, "total", 0));

    if (job_percent(job) >= 0)
        table_pairf(table, "Progress", "%d %% (%s of %s)", job_percent(job), current, total);
}

/* The disks that a snapshot does not have. */
static void pair_left_out(struct table *table, struct json_object *job)
{
    struct json_object *list = json_array(job, "left_out");

    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        struct json_object *disk = json_object_array_get_idx(list, i);

        table_pairf(table, "Left out", "%s (%s)", or_unknown(json_string(disk, "disk")),
                    or_unknown(json_string(disk, "reason")));
    }
}

void show_job(struct json_object *result)
{
    _cleanup_table_ struct table *table = table_pairs();
    long long bandwidth = json_int(result, "bandwidth", -1);
    _cleanup_free_ char *speed = bandwidth < 0 ? NULL : text_bandwidth(bandwidth);

    table_pairf(table, "Job", "%lld", json_int(result, "id", 0));
    table_pair(table, "Kind", json_string(result, "kind"));
    table_pair(table, "Domain", json_string(result, "domain"));
    table_pair(table, "Disk", json_string(result, "disk"));
    table_pair(table, "State", json_string(result, "state"));
    table_pair(table, "Step", json_string(result, "step"));
    pair_progress(table, result);
    table_pair(table, "Stalled", json_string(json_sub(result, "stall"), "message"));
    table_pair(table, "Bandwidth", speed);
    pair_time(table, "Created", json_string(result, "created"));
    pair_time(table, "Updated", json_string(result, "updated"));
    pair_time(table, "Ended", json_string(result, "ended"));
    table_pair(table, "Request", json_string(result, "request_id"));
    table_pair(table, "Result", json_string(json_sub(result, "outcome"), "result"));
    pair_outcome(table, json_sub(result, "outcome"));
    pair_left_out(table, result);
    table_print(table, stdout);
}

void show_jobs(struct json_object *result)
{
    static const struct column columns[] = {
        {"JOB", COLUMN_RIGHT},      {"DOMAIN", 0},  {"DISK", 0},   {"KIND", 0}, {"STATE", 0},
        {"PROGRESS", COLUMN_RIGHT}, {"CREATED", 0}, {"RESULT", 0}, {NULL, 0},
    };
    _cleanup_table_ struct table *table = table_new(columns);
    struct json_object *jobs = json_array(result, "jobs");

    for (size_t i = 0; jobs && i < json_object_array_length(jobs); i++) {
        struct json_object *job = json_object_array_get_idx(jobs, i);
        const char *created = json_string(job, "created");
        _cleanup_free_ char *time = created ? text_time(created) : NULL;
        struct row *row = table_row(table, NULL);

        row_setf(row, 0, "%lld", json_int(job, "id", 0));
        row_set(row, 1, json_string(job, "domain"));
        row_set(row, 2, json_string(job, "disk"));
        row_set(row, 3, json_string(job, "kind"));
        row_set(row, 4, json_string(job, "state"));
        if (job_percent(job) >= 0)
            row_setf(row, 5, "%d %%", job_percent(job));
        row_set(row, 6, time);
        row_set(row, 7, json_string(json_sub(job, "outcome"), "result"));
    }
    table_print(table, stdout);
}

void show_outcome(struct json_object *result)
{
    _cleanup_table_ struct table *table = table_pairs();
    _cleanup_free_ char *title = show_job_title(result);
    struct json_object *outcome = json_sub(result, "outcome");
    const char *end = json_string(outcome, "result");

    if (json_int(result, "id", 0) == 0)
        return;
    if (!end)
        end = json_string(result, "state");
    text_line(stdout, "%s: %s", title, or_unknown(end));
    pair_progress(table, outcome ? NULL : result);
    table_pair(table, "Stalled", json_string(json_sub(result, "stall"), "message"));
    pair_outcome(table, outcome);
    pair_left_out(table, result);
    table_print(table, stdout);
}
