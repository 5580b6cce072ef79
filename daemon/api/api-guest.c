/* guest.*: the guest's agent and its file systems. */
#include <string.h>

#include "api/answer.h"
#include "api/call.h"
#include "api/context.h"
#include "api/handlers.h"
#include "base/memory.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "qemu/agent.h"

/* A status on its way: what the agent is, then what it has mounted. */
struct asking {
    struct call *call;
    char *domain, *kind;
};

static void asking_answer(struct asking *asking, json_object *fs)
{
    const struct domain *domain = domains_find(call_context(asking->call)->domains, asking->domain);
    json_object *result = json_object_new_object();

    json_add_string(result, "agent_state", domain ? domain_agent_state(domain) : "none");
    json_add_string(result, "freeze", domain ? domain_freeze_name(domain) : "unknown");
    json_add_string(result, "kind", asking->kind);
    json_object_object_add(result, "fs", fs ? fs : json_object_new_array());
    call_result(asking->call, result);
    free(asking->domain);
    free(asking->kind);
    free(asking);
}

static json_object *wire_fs(const struct agent_fs *fs)
{
    json_object *object = json_object_new_object(), *disks = json_object_new_array();

    json_add_string(object, "mountpoint", fs->mountpoint);
    json_add_string(object, "type", fs->type);
    json_add_string(object, "name", fs->name);
    for (unsigned i = 0; i < fs->n_disks; i++)
        json_object_array_add(disks, json_object_new_string(fs->disks[i]));
    json_object_object_add(object, "disks", disks);
    return object;
}

static void status_fs(void *arg, const struct agent_reply *reply, const struct error *err)
{
    json_object *array = json_object_new_array();

    for (unsigned i = 0; !err && i < reply->n_fs; i++)
        json_object_array_add(array, wire_fs(&reply->fs[i]));
    asking_answer(arg, array);
}

static void status_info(void *arg, const struct agent_reply *reply, const struct error *err)
{
    struct asking *asking = arg;

    if (!err && reply->version)
        xstrset(&asking->kind, "qemu-ga");
}

static void status_freeze(void *arg, const struct agent_reply *reply, const struct error *err)
{
    struct asking *asking = arg;
    struct domain *domain = domains_find(call_context(asking->call)->domains, asking->domain);

    /* A debt is ours to tell of; otherwise what the agent says of itself is all there is. */
    if (domain && !domain->debt)
        domain->freeze = err ? FREEZE_UNKNOWN : reply->frozen ? FREEZE_FROZEN : FREEZE_THAWED;
}

void guest_status_handle(struct call *call)
{
    struct domain *domain = answer_need_domain(call);
    unsigned timeout_ms;
    struct asking *asking;

    if (!domain)
        return;
    asking = xzalloc(sizeof(*asking));
    asking->call = call;
    asking->domain = xstrdup(domain->record.name);
    if (!domain_is_running(domain) || !domain->port_open || !domain->agent ||
        !agent_is_up(domain->agent)) {
        asking_answer(asking, NULL);
        return;
    }
    timeout_ms = call_context(call)->engine->options.agent_timeout_ms;
    agent_cork(domain->agent);
    agent_call(domain->agent, AGENT_INFO, NULL, 0, timeout_ms, status_info, asking);
    agent_call(domain->agent, AGENT_STATUS, NULL, 0, timeout_ms, status_freeze, asking);
    agent_call(domain->agent, AGENT_FSINFO, NULL, 0, timeout_ms, status_fs, asking);
    agent_uncork(domain->agent);
}
