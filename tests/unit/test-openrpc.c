/* The method table and proto/openrpc.json say the same. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "api/method.h"
#include "base/memory.h"
#include "proto/errors.h"
#include "proto/json.h"
#include "proto/openrpc.h"

static json_object *document(void)
{
    json_object *value = NULL;

    ck_assert_int_eq(json_read(openrpc_json, sizeof(openrpc_json) - 1, 32, &value), JSON_OK);
    return value;
}

/* A schema, or the one in components that it refers to. */
static json_object *resolve(json_object *doc, json_object *schema)
{
    static const char prefix[] = "#/components/schemas/";
    const char *ref = json_string(schema, "$ref");

    if (!ref)
        return schema;
    ck_assert_msg(strncmp(ref, prefix, sizeof(prefix) - 1) == 0, "%s", ref);
    schema = json_sub(json_sub(json_sub(doc, "components"), "schemas"), ref + sizeof(prefix) - 1);
    ck_assert_msg(schema != NULL, "there is no %s", ref);
    return schema;
}

static void same_members(json_object *doc, json_object *schema, const struct param *members,
                         const char *where);

static void same_words(json_object *schema, const char *words, const char *where)
{
    json_object *list = json_array(schema, "enum");
    char joined[1024] = "";

    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        strcat(joined, i ? "|" : "");
        strcat(joined, json_object_get_string(json_object_array_get_idx(list, i)));
    }
    ck_assert_msg(strcmp(joined, words ? words : "") == 0, "%s: %s here, %s there", where, words,
                  joined);
}

static void same_scalar(json_object *schema, const char *type, const char *where)
{
    const char *said = json_string(schema, "type");

    ck_assert_msg(said && strcmp(said, type) == 0, "%s is %s, not %s", where, said, type);
    if (strcmp(type, "integer") == 0)
        ck_assert_msg(json_int(schema, "minimum", -1) == 0, "%s has another minimum", where);
}

static void same_type(json_object *doc, json_object *schema, const struct param *param,
                      const char *where)
{
    static const char *const types[] = {
        [PARAM_STRING] = "string",   [PARAM_INTEGER] = "integer", [PARAM_BOOLEAN] = "boolean",
        [PARAM_OBJECT] = "object",   [PARAM_STRINGS] = "string",  [PARAM_OBJECTS] = "object",
        [PARAM_INTEGERS] = "integer"};

    schema = resolve(doc, schema);
    if (param->type == PARAM_STRINGS || param->type == PARAM_OBJECTS ||
        param->type == PARAM_INTEGERS) {
        same_scalar(schema, "array", where);
        schema = resolve(doc, json_sub(schema, "items"));
    }
    same_scalar(schema, types[param->type], where);
    same_words(schema, param->words, where);
    if (param->members)
        same_members(doc, schema, param->members, where);
}

static bool is_required(json_object *schema, const char *name)
{
    json_object *required = json_array(schema, "required");

    for (size_t i = 0; required && i < json_object_array_length(required); i++)
        if (strcmp(json_object_get_string(json_object_array_get_idx(required, i)), name) == 0)
            return true;
    return false;
}

static void same_members(json_object *doc, json_object *schema, const struct param *members,
                         const char *where)
{
    json_object *properties = json_sub(schema, "properties");
    char path[200];
    int n = 0;

    ck_assert_msg(json_flag(schema, "additionalProperties", 1) == 0, "%s is open", where);
    for (; members->name; members++, n++) {
        json_object *property = json_sub(properties, members->name);

        snprintf(path, sizeof(path), "%s.%s", where, members->name);
        ck_assert_msg(property != NULL, "%s is not there", path);
        ck_assert_msg(is_required(schema, members->name) == members->required, "%s", path);
        same_type(doc, property, members, path);
    }
    ck_assert_msg(json_object_object_length(properties) == n, "%s has more members", where);
}

static json_object *find_named(json_object *list, const char *name)
{
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *value = json_object_array_get_idx(list, i);

        if (strcmp(json_string(value, "name"), name) == 0)
            return value;
    }
    return NULL;
}

static const char *text_or_empty(const char *text)
{
    return text ? text : "";
}

static void same_method(json_object *doc, json_object *said, const struct method *method)
{
    json_object *params = json_array(said, "params");
    const struct param *param;
    char path[200];
    size_t n;

    ck_assert_str_eq(json_string(said, "x-role"), method_role_name(method->role));
    ck_assert_str_eq(json_string(said, "paramStructure"), "by-name");
    ck_assert_str_eq(text_or_empty(json_string(said, "x-either")), text_or_empty(method->either));
    ck_assert_str_eq(text_or_empty(json_string(said, "x-writes")), text_or_empty(method->writes));
    for (n = 0; (param = method_param_at(method, n)); n++) {
        json_object *value = find_named(params, param->name);

        snprintf(path, sizeof(path), "%s %s", method->name, param->name);
        ck_assert_msg(value != NULL, "%s is not there", path);
        ck_assert_msg(json_flag(value, "required", 0) == param->required, "%s", path);
        same_type(doc, json_sub(value, "schema"), param, path);
    }
    ck_assert_msg(json_object_array_length(params) == n, "%s has more params", method->name);
    ck_assert_ptr_nonnull(json_sub(json_sub(said, "result"), "schema"));
}

START_TEST(test_methods)
{
    _cleanup_json_ json_object *doc = document();
    json_object *list = json_array(doc, "methods");
    const struct method *table;
    size_t n;

    table = method_table(&n);
    ck_assert_uint_eq(json_object_array_length(list), n);
    for (size_t i = 0; i < n; i++) {
        json_object *said = find_named(list, table[i].name);

        ck_assert_msg(said != NULL, "%s is not in the document", table[i].name);
        same_method(doc, said, &table[i]);
    }
}
END_TEST

START_TEST(test_errors)
{
    _cleanup_json_ json_object *doc = document();
    json_object *errors = json_sub(json_sub(doc, "components"), "errors");
    int n = 0;

#define SAME_ERROR(name, number, kind)                                     \
    ck_assert_int_eq(json_int(json_sub(errors, kind), "code", 0), number); \
    n++;
    SNAPVM_ERROR_LIST(SAME_ERROR)
#undef SAME_ERROR
    ck_assert_int_eq(json_object_object_length(errors), n);
}
END_TEST

/* Every reference, wherever it stands, leads somewhere. */
static void check_references(json_object *doc, json_object *value)
{
    const char *ref = json_string(value, "$ref");
    json_object *target = doc;
    char path[200], *save = NULL;

    if (ref) {
        snprintf(path, sizeof(path), "%s", ref);
        for (char *p = strtok_r(path, "#/", &save); p; p = strtok_r(NULL, "#/", &save))
            target = json_sub(target, p);
        ck_assert_msg(target != NULL, "%s leads nowhere", ref);
    }
    if (json_object_is_type(value, json_type_array))
        for (size_t i = 0; i < json_object_array_length(value); i++)
            check_references(doc, json_object_array_get_idx(value, i));
    if (!json_object_is_type(value, json_type_object))
        return;
    json_object_object_foreach (value, name, member) {
        (void)name;
        check_references(doc, member);
    }
}

START_TEST(test_references)
{
    _cleanup_json_ json_object *doc = document();

    ck_assert_str_eq(json_string(doc, "openrpc"), "1.2.6");
    check_references(doc, doc);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("openrpc");
    TCase *tcase = tcase_create("openrpc");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, test_methods);
    tcase_add_test(tcase, test_errors);
    tcase_add_test(tcase, test_references);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
