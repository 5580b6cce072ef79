/* The one table of methods: name, role, parameters with their types, handler. A request is checked
 * against its row before the handler sees it: unknown, missing and ill-typed parameters are refused
 * by name. proto/openrpc.json says the same for machines; a test compares the two. */
#ifndef SNAPVM_API_METHOD_H
#define SNAPVM_API_METHOD_H

#include <stdbool.h>
#include <stddef.h>

#include "api/call.h"
#include "proto/json.h"

enum param_type {
    PARAM_STRING,
    PARAM_INTEGER, /* 0 and up */
    PARAM_BOOLEAN,
    PARAM_OBJECT,
    PARAM_STRINGS, /* array of strings */
    PARAM_OBJECTS, /* array of objects */
    PARAM_INTEGERS,
};

struct param {
    const char *name;
    enum param_type type;
    bool required;
    const char *words; /* allowed values of the string(s), "none|preferred|required"; NULL: any */
    const struct param *members; /* of PARAM_OBJECT(S): checked the same way; NULL: not checked */
};

struct method {
    const char *name;
    enum call_role role;
    bool changes;                       /* takes request_id */
    bool waits;                         /* takes wait and timeout_ms */
    const struct param *params;         /* ends with a row without name; NULL: none */
    void (*handler)(struct call *call); /* NULL: answered Unsupported */
    /* Alternatives of which exactly one is given, and whole: "job|domain+disk"; NULL: none. */
    const char *either;
    /* The parameter that makes a reader's method change something, and then needs an operator. */
    const char *writes;
};

/* NULL for an unknown name. */
const struct method *method_find(const char *name);
const struct method *method_table(size_t *ret_n);

/* The row of a parameter, those that `changes` and `waits` bring along included; NULL for an
 * unknown one. With the index instead of the name: one after another, NULL behind the last. */
const struct param *method_param(const struct method *method, const char *name);
const struct param *method_param_at(const struct method *method, size_t i);

/* The role that a call with these params needs, and whether it changes something. */
enum call_role method_needs(const struct method *method, json_object *params);
bool method_alters(const struct method *method, json_object *params);

/* "reader", "operator", "admin"; "none" for a stranger. */
const char *method_role_name(enum call_role role);

/* Checks params (an object) against a row; InvalidParams with `param` otherwise. */
int method_check(const struct method *method, json_object *params, struct error *err);

#endif
