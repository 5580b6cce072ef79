/* Parameters against the method table, one row a case. */
#include <check.h>

#include "api/method.h"
#include "base/memory.h"
#include "proto/json.h"
#include "proto/snapvm-errors.h"

struct check_case {
    const char *method, *params;
    const char *param; /* that the error names; NULL: it is right */
};

static const struct check_case cases[] = {
    {"domain.list", "{}", NULL},
    {"domain.list", "{\"x\":1}", "x"},
    {"domain.get", "{}", "domain"},
    {"domain.get", "{\"domain\":\"web\"}", NULL},
    {"domain.get", "{\"domain\":7}", "domain"},
    {"domain.get", "{\"domain\":null}", "domain"},
    {"domain.get", "{\"domain\":\"w\\u0000eb\"}", "domain"},
    {"domain.get", "{\"domain\":\"web\",\"request_id\":\"1\"}", "request_id"},
    /* words, integers, booleans */
    {"domain.undefine", "{\"domain\":\"w\",\"snapshots\":\"forget\"}", NULL},
    {"domain.undefine", "{\"domain\":\"w\",\"snapshots\":\"for\"}", "snapshots"},
    {"domain.undefine", "{\"domain\":\"w\",\"snapshots\":\"\"}", "snapshots"},
    {"domain.undefine", "{\"domain\":\"w\",\"snapshots\":\"refuse|forget\"}", "snapshots"},
    {"block.commit", "{\"domain\":\"w\",\"disk\":\"vda\",\"bandwidth\":0}", NULL},
    {"block.commit", "{\"domain\":\"w\",\"disk\":\"vda\",\"bandwidth\":-1}", "bandwidth"},
    {"block.commit", "{\"domain\":\"w\",\"disk\":\"vda\",\"bandwidth\":1.5}", "bandwidth"},
    {"block.commit", "{\"domain\":\"w\",\"disk\":\"vda\",\"bandwidth\":9223372036854775807}", NULL},
    {"block.commit", "{\"domain\":\"w\",\"disk\":\"vda\",\"bandwidth\":9223372036854775808}",
     "bandwidth"},
    {"block.commit", "{\"domain\":\"w\",\"disk\":\"vda\",\"active\":1}", "active"},
    {"block.commit", "{\"domain\":\"w\",\"disk\":\"vda\",\"actve\":true}", "actve"},
    /* nested */
    {"snapshot.create", "{\"domain\":\"w\",\"disks\":[{\"disk\":\"vda\",\"mode\":\"no\"}]}", NULL},
    {"snapshot.create", "{\"domain\":\"w\",\"disks\":{}}", "disks"},
    {"snapshot.create", "{\"domain\":\"w\",\"disks\":[{\"disk\":\"vda\"},7]}", "disks[1]"},
    {"snapshot.create", "{\"domain\":\"w\",\"disks\":[{\"disk\":\"vda\"},{}]}", "disks[1].disk"},
    {"snapshot.create", "{\"domain\":\"w\",\"disks\":[{\"disk\":\"vda\",\"fiel\":\"x\"}]}",
     "disks[0].fiel"},
    {"snapshot.create", "{\"domain\":\"w\",\"memory\":{\"mode\":\"ram\"}}", "memory.mode"},
    {"event.subscribe", "{\"domains\":[\"a\",\"b\"],\"kinds\":[\"job.ended\"]}", NULL},
    {"event.subscribe", "{\"domains\":[\"a\",1]}", "domains[1]"},
    {"event.subscribe", "{\"kinds\":[\"job.end\"]}", "kinds[0]"},
    {"job.pivot", "{\"jobs\":[1,-2]}", "jobs[1]"},
    /* alternatives */
    {"job.get", "{\"job\":3}", NULL},
    {"job.get", "{}", "job"},
    {"job.get", "{\"domain\":\"w\",\"disk\":\"vda\"}", NULL},
    {"job.get", "{\"domain\":\"w\"}", "job"},
    {"job.get", "{\"job\":3,\"domain\":\"w\"}", "job"},
    {"job.pivot", "{\"job\":3,\"jobs\":[3]}", "job"},
    {"domain.define", "{\"name\":\"w\",\"qmp\":\"/q\"}", NULL},
    {"domain.define", "{\"name\":\"w\",\"xml\":\"<domain/>\"}", "name"},
    /* what comes along */
    {"block.commit", "{\"domain\":\"w\",\"disk\":\"v\",\"wait\":\"ready\",\"timeout_ms\":5}", NULL},
    {"block.commit", "{\"domain\":\"w\",\"disk\":\"v\",\"wait\":\"yes\"}", "wait"},
    {"block.commit", "{\"domain\":\"w\",\"disk\":\"v\",\"timeout_ms\":-5}", "timeout_ms"},
    {"domain.undefine", "{\"domain\":\"w\",\"wait\":\"no\"}", "wait"},
    {"domain.undefine", "{\"domain\":\"w\",\"request_id\":\"\"}", "request_id"},
    {"domain.undefine", "{\"domain\":\"w\",\"request_id\":5}", "request_id"},
    {"job.wait", "{\"job\":1,\"for\":\"ready\",\"timeout_ms\":5}", NULL},
};

START_TEST(test_params)
{
    const struct check_case *c = &cases[_i];
    _cleanup_json_ json_object *params = json_tokener_parse(c->params);
    _cleanup_error_ struct error err = {0};
    int r = method_check(method_find(c->method), params, &err);

    if (!c->param) {
        ck_assert_msg(r == 0, "%s %s: %s", c->method, c->params, err.message);
        return;
    }
    ck_assert_msg(r < 0, "%s %s is taken", c->method, c->params);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_INVALID_PARAMS);
    ck_assert_str_eq(error_get(&err, "param"), c->param);
    ck_assert_ptr_nonnull(strstr(err.message, c->param));
}
END_TEST

/* Characters are counted, not bytes. */
START_TEST(test_request_id)
{
    _cleanup_json_ json_object *params = json_tokener_parse("{\"domain\":\"w\"}");
    const struct method *method = method_find("domain.undefine");
    _cleanup_error_ struct error err = {0};
    char id[2 * 129 + 1];

    for (int i = 0; i < 129; i++)
        memcpy(id + 2 * i, "\xc3\xa4", 2);
    id[2 * 128] = '\0';
    json_object_object_add(params, "request_id", json_object_new_string(id));
    ck_assert_int_eq(method_check(method, params, &err), 0);
    id[2 * 128] = '\xc3';
    id[2 * 129] = '\0';
    json_object_object_add(params, "request_id", json_object_new_string(id));
    ck_assert_int_lt(method_check(method, params, &err), 0);
    ck_assert_str_eq(error_get(&err, "param"), "request_id");
}
END_TEST

/* A long name of a parameter does not make a long answer. */
START_TEST(test_long_name)
{
    _cleanup_json_ json_object *params = json_object_new_object();
    _cleanup_error_ struct error err = {0};
    char name[5000];

    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    json_object_object_add(params, name, NULL);
    ck_assert_int_lt(method_check(method_find("domain.list"), params, &err), 0);
    ck_assert_uint_lt(strlen(err.message), 300);
}
END_TEST

/* Reading the current snapshot is a reader's, setting it an operator's. */
START_TEST(test_needs)
{
    _cleanup_json_ json_object *get = json_tokener_parse("{\"domain\":\"w\"}");
    _cleanup_json_ json_object *set = json_tokener_parse("{\"domain\":\"w\",\"name\":\"s\"}");
    const struct method *method = method_find("snapshot.current");

    ck_assert_int_eq(method_needs(method, get), ROLE_READER);
    ck_assert_int_eq(method_needs(method, set), ROLE_OPERATOR);
    ck_assert(!method_alters(method, get));
    ck_assert(method_alters(method, set));
    ck_assert_int_eq(method_needs(method_find("domain.define"), set), ROLE_ADMIN);
    ck_assert_ptr_null(method_find("domain"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("method");
    TCase *tcase = tcase_create("method");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tcase, test_params, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(tcase, test_request_id);
    tcase_add_test(tcase, test_long_name);
    tcase_add_test(tcase, test_needs);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
