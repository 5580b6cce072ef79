/* Features by schema: the part of QEMU 7.2's that matters (data/qmp/schema.json), pieces taken out
 * of it or put in, and shapes that are none. */
#include "qemu/qmp-schema.h"

#include <string.h>

#include "base/log.h"
#include "proto/json.h"
#include "proto/snapvm-errors.h"
#include "qmp-peer.h"

static json_object *recorded(void)
{
    json_object *object = json_object_from_file(TEST_DATA "/qmp/schema.json");

    ck_assert_ptr_nonnull(object);
    return object;
}

/* The element of a list whose "name" it is, and its place. */
static json_object *find(json_object *list, const char *name, size_t *ret_index)
{
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *object = json_object_array_get_idx(list, i);

        if (strcmp(json_string(object, "name"), name) == 0) {
            *ret_index = i;
            return object;
        }
    }
    ck_abort_msg("no '%s' in the list", name);
}

static void take_out(json_object *list, const char *name)
{
    size_t index;

    find(list, name, &index);
    ck_assert_int_eq(json_object_array_del_idx(list, index, 1), 0);
}

START_TEST(of_7_2)
{
    _cleanup_json_ json_object *object = recorded();
    struct qmp_schema schema;

    qmp_schema_read(json_array(object, "commands"), json_array(object, "schema"), &schema);
    for (int i = 0; i < QMP_N_FEATURES; i++)
        ck_assert_msg(schema.has[i] ==
                          (i != QMP_FEATURE_BACKING_MASK && i != QMP_FEATURE_ACTIVELY_SYNCED),
                      "%s", qmp_feature_name((enum qmp_feature)i));
}
END_TEST

static const struct lack_row {
    const char *command;
    enum qmp_feature lost, also; /* also: the same one where there is no second */
} lack_rows[] = {
    {"block-commit", QMP_FEATURE_TWO_PHASE, QMP_FEATURE_TWO_PHASE},
    {"job-finalize", QMP_FEATURE_TWO_PHASE, QMP_FEATURE_TWO_PHASE},
    {"transaction", QMP_FEATURE_TRANSACTION, QMP_FEATURE_TRANSACTION},
    {"stop", QMP_FEATURE_STOP, QMP_FEATURE_STOP},
    {"cont", QMP_FEATURE_STOP, QMP_FEATURE_STOP},
    {"human-monitor-command", QMP_FEATURE_HMP, QMP_FEATURE_HMP},
    {"set-action", QMP_FEATURE_SET_ACTION, QMP_FEATURE_SET_ACTION},
    {"snapshot-load", QMP_FEATURE_SNAPSHOT_JOBS, QMP_FEATURE_SNAPSHOT_JOBS},
    {"block-stream", QMP_FEATURE_STREAM_BOTTOM, QMP_FEATURE_STREAM_BOTTOM},
    {"blockdev-mirror", QMP_FEATURE_MIRROR, QMP_FEATURE_SYNC_WRITES},
};

START_TEST(command_lacking)
{
    _cleanup_json_ json_object *object = recorded();
    const struct lack_row *row = &lack_rows[_i];
    struct qmp_schema whole, schema;

    qmp_schema_read(json_array(object, "commands"), json_array(object, "schema"), &whole);
    take_out(json_array(object, "commands"), row->command);
    qmp_schema_read(json_array(object, "commands"), json_array(object, "schema"), &schema);
    for (unsigned i = 0; i < QMP_N_FEATURES; i++)
        ck_assert_int_eq(schema.has[i], whole.has[i] && i != row->lost && i != row->also);
}
END_TEST

START_TEST(argument_lacking)
{
    _cleanup_json_ json_object *object = recorded();
    json_object *list = json_array(object, "schema"), *type;
    struct qmp_schema schema;
    size_t at;

    type = find(list, json_string(find(list, "block-commit", &at), "arg-type"), &at);
    take_out(json_array(type, "members"), "auto-finalize");
    qmp_schema_read(json_array(object, "commands"), list, &schema);
    ck_assert(!schema.has[QMP_FEATURE_TWO_PHASE] && schema.has[QMP_FEATURE_STREAM_BOTTOM]);
}
END_TEST

/* As later QEMUs describe it: the element of query-block-jobs has a variant for mirrors. */
START_TEST(later_members)
{
    _cleanup_json_ json_object *object = recorded();
    json_object *list = json_array(object, "schema"), *type, *member = json_object_new_object();
    struct qmp_schema schema;
    size_t at;

    type = find(list, json_string(find(list, "block-commit", &at), "arg-type"), &at);
    json_add_string(member, "name", "backing-mask-protocol");
    json_object_array_add(json_array(type, "members"), member);
    type = find(list, json_string(find(list, "query-block-jobs", &at), "ret-type"), &at);
    type = find(list, json_string(type, "element-type"), &at);
    json_object_object_add(type, "variants",
                           json_tokener_parse("[{\"case\":\"commit\",\"type\":\"0\"},"
                                              "{\"case\":\"mirror\",\"type\":\"new\"}]"));
    json_object_array_add(list,
                          json_tokener_parse("{\"name\":\"new\",\"meta-type\":\"object\","
                                             "\"members\":[{\"name\":\"actively-synced\"}]}"));
    qmp_schema_read(json_array(object, "commands"), list, &schema);
    ck_assert(schema.has[QMP_FEATURE_BACKING_MASK] && schema.has[QMP_FEATURE_ACTIVELY_SYNCED]);
}
END_TEST

static const char *const hostile[] = {
    "{}",
    "[]",
    "[null,1,\"block-commit\",[],{}]",
    "[{\"name\":1},{\"name\":\"block-commit\",\"arg-type\":7}]",
    "[{\"name\":\"block-commit\",\"arg-type\":\"block-commit\",\"members\":{}}]",
    "[{\"name\":\"query-block-jobs\",\"ret-type\":\"query-block-jobs\",\"element-type\":\"x\"}]",
};

START_TEST(hostile_shapes)
{
    _cleanup_json_ json_object *object = json_tokener_parse(hostile[_i]);
    _cleanup_json_ json_object *whole = recorded();
    struct qmp_schema schema;

    qmp_schema_read(json_array(whole, "commands"), object, &schema);
    ck_assert(!schema.has[QMP_FEATURE_TWO_PHASE] && schema.has[QMP_FEATURE_STOP]);
    qmp_schema_read(NULL, object, &schema);
    for (unsigned i = 0; i < QMP_N_FEATURES; i++)
        ck_assert(!schema.has[i]);
}
END_TEST

START_TEST(names)
{
    for (int i = 0; i < QMP_N_FEATURES; i++)
        ck_assert_ptr_nonnull(qmp_feature_name((enum qmp_feature)i));
    ck_assert_str_eq(qmp_feature_name(QMP_FEATURE_STREAM_BOTTOM), "block-stream.bottom");
}
END_TEST

static void schema_fn(void *arg, const struct qmp_schema *schema, const struct error *err)
{
    asked_fn(arg, NULL, err);
    ck_assert(!schema == !!err);
    if (schema)
        ck_assert(schema->has[QMP_FEATURE_STOP]);
}

/* Asked, answered in either order, refused, and freed half-way. */
START_TEST(query)
{
    static const char *const replies[][2] = {
        {"{\"return\":[{\"name\":\"stop\"},{\"name\":\"cont\"}],\"id\":2}\n",
         "{\"return\":[],\"id\":3}\n"},
        {"{\"return\":[],\"id\":3}\n",
         "{\"return\":[{\"name\":\"stop\"},{\"name\":\"cont\"}],\"id\":2}\n"},
        {"{\"error\":{\"class\":\"CommandNotFound\"},\"id\":2}\n", "{\"return\":[],\"id\":3}\n"},
    };
    struct asked asked = {0};
    struct peer peer;

    peer_up(&peer, 10000, NULL);
    asked.peer = &peer;
    qmp_query_schema(peer.qmp, schema_fn, &asked);
    ck_assert_str_eq(peer_line(&peer), "{\"execute\":\"query-commands\",\"id\":2}");
    ck_assert_str_eq(peer_line(&peer), "{\"execute\":\"query-qmp-schema\",\"id\":3}");
    peer_say(&peer, replies[_i][0]);
    peer_settle(&peer);
    ck_assert(!asked.done);
    peer_say(&peer, replies[_i][1]);
    peer_until(&peer, &asked.done);
    ck_assert_int_eq(asked.err.code, _i == 2 ? SNAPVM_ERROR_QEMU : 0);
    asked_deinit(&asked);
    qmp_query_schema(peer.qmp, schema_fn, &asked);
    peer_say(&peer, "{\"return\":[],\"id\":4}\n");
    peer_settle(&peer);
    peer_deinit(&peer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("qmp-schema");
    TCase *tcase = tcase_create("features");
    SRunner *runner = srunner_create(suite);
    int failed;

    log_set_level(LOG_ERR);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, of_7_2);
    tcase_add_loop_test(tcase, command_lacking, 0, sizeof(lack_rows) / sizeof(lack_rows[0]));
    tcase_add_test(tcase, argument_lacking);
    tcase_add_test(tcase, later_members);
    tcase_add_loop_test(tcase, hostile_shapes, 0, sizeof(hostile) / sizeof(hostile[0]));
    tcase_add_test(tcase, names);
    tcase_add_loop_test(tcase, query, 0, 3);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
