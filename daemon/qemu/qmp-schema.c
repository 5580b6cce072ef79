/* query-commands names the commands. query-qmp-schema describes their arguments and results in one
 * flat list: a command points to types by name, types point to further types, and the names of
 * types are numbers that mean nothing from one build to the next, so that one begins at a command
 * and follows. */
#include "qemu/qmp-schema.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "proto/json.h"
#include "qemu/qmp.h"

static size_t list_length(json_object *list)
{
    return json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
}

/* The element of a list of objects whose member `key` is that text; NULL without one. */
static json_object *list_find(json_object *list, const char *key, const char *text)
{
    for (size_t i = 0; text && i < list_length(list); i++) {
        json_object *object = json_object_array_get_idx(list, i);
        const char *value = json_string(object, key);

        if (value && strcmp(value, text) == 0)
            return object;
    }
    return NULL;
}

/* The entry to which a member of another one points by name. */
static json_object *schema_follow(json_object *schema, json_object *entry, const char *member)
{
    return list_find(schema, "name", json_string(entry, member));
}

static bool schema_has_argument(json_object *schema, const char *command, const char *argument)
{
    json_object *entry = list_find(schema, "name", command);
    json_object *type = schema_follow(schema, entry, "arg-type");

    return list_find(json_array(type, "members"), "name", argument);
}

/* Whether a query-block-jobs element of a mirror has a member. */
static bool schema_has_mirror_result(json_object *schema, const char *member)
{
    json_object *entry = list_find(schema, "name", "query-block-jobs");
    json_object *list = schema_follow(schema, entry, "ret-type");
    json_object *element = schema_follow(schema, list, "element-type");
    json_object *variant = list_find(json_array(element, "variants"), "case", "mirror");
    json_object *type = schema_follow(schema, variant, "type");

    return list_find(json_array(type, "members"), "name", member);
}

/* What a feature needs: commands, and perhaps an argument of the first of them. */
static const struct feature_row {
    const char *name;
    const char *commands[3];
    const char *argument;
} feature_rows[QMP_N_FEATURES] = {
    [QMP_FEATURE_TWO_PHASE] = {"block-commit.auto-finalize",
                               {"block-commit", "job-finalize", "job-dismiss"},
                               "auto-finalize"},
    [QMP_FEATURE_TRANSACTION] = {"transaction.blockdev-snapshot",
                                 {"transaction", "blockdev-snapshot", "blockdev-add"},
                                 NULL},
    [QMP_FEATURE_STOP] = {"stop", {"stop", "cont"}, NULL},
    [QMP_FEATURE_HMP] = {"human-monitor-command", {"human-monitor-command"}, NULL},
    [QMP_FEATURE_SET_ACTION] = {"set-action", {"set-action"}, NULL},
    [QMP_FEATURE_SNAPSHOT_JOBS] = {"snapshot-save", {"snapshot-save", "snapshot-load"}, NULL},
    [QMP_FEATURE_STREAM_BOTTOM] = {"block-stream.bottom", {"block-stream"}, "bottom"},
    [QMP_FEATURE_MIRROR] = {"blockdev-mirror", {"blockdev-mirror"}, "auto-finalize"},
    [QMP_FEATURE_SYNC_WRITES] = {"blockdev-mirror.copy-mode", {"blockdev-mirror"}, "copy-mode"},
    [QMP_FEATURE_BACKING_MASK] = {"block-commit.backing-mask-protocol",
                                  {"block-commit"},
                                  "backing-mask-protocol"},
    [QMP_FEATURE_ACTIVELY_SYNCED] = {"query-block-jobs.actively-synced",
                                     {"query-block-jobs"},
                                     NULL},
};

const char *qmp_feature_name(enum qmp_feature feature)
{
    return (unsigned)feature < QMP_N_FEATURES ? feature_rows[feature].name : "unknown";
}

static bool feature_is_there(const struct feature_row *row, json_object *commands,
                             json_object *schema)
{
    for (unsigned i = 0; i < 3 && row->commands[i]; i++)
        if (!list_find(commands, "name", row->commands[i]))
            return false;
    return !row->argument || schema_has_argument(schema, row->commands[0], row->argument);
}

void qmp_schema_read(json_object *commands, json_object *schema, struct qmp_schema *ret_schema)
{
    for (unsigned i = 0; i < QMP_N_FEATURES; i++)
        ret_schema->has[i] = feature_is_there(&feature_rows[i], commands, schema);
    if (!schema_has_mirror_result(schema, "actively-synced"))
        ret_schema->has[QMP_FEATURE_ACTIVELY_SYNCED] = false;
}

/* Both replies of one query; the callback is called with the later of them. */
struct schema_query {
    qmp_schema_fn fn;
    void *arg;
    unsigned waiting; /* replies that are still to come, or to be dropped */
    json_object *commands, *schema;
    struct error err;
};

static void schema_query_unref(void *arg)
{
    struct schema_query *query = arg;

    if (--query->waiting > 0)
        return;
    json_object_put(query->commands);
    json_object_put(query->schema);
    error_clear(&query->err);
    free(query);
}

static void schema_query_replied(struct schema_query *query, const struct error *err)
{
    struct qmp_schema schema;

    if (err && !query->err.code)
        error_copy(&query->err, err);
    if (query->waiting == 1 && query->err.code) {
        query->fn(query->arg, NULL, &query->err);
    } else if (query->waiting == 1) {
        qmp_schema_read(query->commands, query->schema, &schema);
        query->fn(query->arg, &schema, NULL);
    }
    schema_query_unref(query);
}

static void commands_replied(void *arg, json_object *result, const struct error *err)
{
    struct schema_query *query = arg;

    query->commands = json_object_get(result);
    schema_query_replied(query, err);
}

static void schema_replied(void *arg, json_object *result, const struct error *err)
{
    struct schema_query *query = arg;

    query->schema = json_object_get(result);
    schema_query_replied(query, err);
}

void qmp_query_schema(struct qmp *qmp, qmp_schema_fn fn, void *arg)
{
    struct schema_query *query = xzalloc(sizeof(*query));
    struct qmp_request request = {.drop = schema_query_unref, .arg = query};

    query->fn = fn;
    query->arg = arg;
    query->waiting = 2;
    qmp_cork(qmp);
    request.command = "query-commands";
    request.fn = commands_replied;
    qmp_send(qmp, &request);
    request.command = "query-qmp-schema";
    request.fn = schema_replied;
    qmp_send(qmp, &request);
    qmp_uncork(qmp);
}
