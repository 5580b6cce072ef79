#include "qemu/qmp-state.h"

#include "proto/json.h"
#include "qemu/qmp-do.h"

static json_object *state_arguments(const struct qmp_state *state)
{
    json_object *arguments = json_object_new_object(), *list = json_object_new_array();

    json_add_string(arguments, "job-id", state->job);
    json_add_string(arguments, "tag", state->name);
    json_add_string(arguments, "vmstate", state->memory);
    for (unsigned i = 0; i < state->n; i++)
        json_object_array_add(list, json_object_new_string(state->nodes[i]));
    json_object_object_add(arguments, "devices", list);
    return arguments;
}

void qmp_state_save(struct qmp *qmp, const struct qmp_state *state, qmp_done_fn fn, void *arg)
{
    qmp_do(qmp, "snapshot-save", state_arguments(state), fn, arg);
}

void qmp_state_load(struct qmp *qmp, const struct qmp_state *state, qmp_done_fn fn, void *arg)
{
    qmp_do(qmp, "snapshot-load", state_arguments(state), fn, arg);
}
