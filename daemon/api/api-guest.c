/* guest.*: the guest's agent and its file systems. */
#include <stdlib.h>
#include <string.h>

#include "api/answer.h"
#include "api/call.h"
#include "api/context.h"
#include "api/handlers.h"
#include "api/request.h"
#include "base/memory.h"
#include "conf/conf.h"
#include "domain/domains.h"
#include "domain/link.h"
#include "job/debt.h"
#include "job/engine.h"
#include "job/lease.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "qemu/agent.h"
#include "qemu/qmp-pci.h"

#define LEASE_MS 30000

/* --- guest.status --- */

/* A status on its way: where QEMU has the devices, what the agent is, what it has mounted. */
struct asking {
    struct call *call;
    char *domain, *kind;
    struct qmp_pci *devices;
    unsigned n_devices;
    unsigned waiting; /* for the agent's answers: those that run out of time come in any order */
    json_object *fs;
};

static struct domain *asking_domain(const struct asking *asking)
{
    return domains_find(call_context(asking->call)->domains, asking->domain);
}

static void asking_answer(struct asking *asking)
{
    const struct domain *domain = asking_domain(asking);
    json_object *result = json_object_new_object();

    json_add_string(result, "agent_state", domain ? domain_agent_state(domain) : "none");
    json_add_string(result, "freeze", domain ? domain_freeze_name(domain) : "unknown");
    json_add_string(result, "kind", asking->kind);
    json_object_object_add(result, "fs", asking->fs ? asking->fs : json_object_new_array());
    call_result(asking->call, result);
    qmp_pci_free(asking->devices, asking->n_devices);
    free(asking->domain);
    free(asking->kind);
    free(asking);
}

static void asking_answered(struct asking *asking)
{
    if (--asking->waiting == 0)
        asking_answer(asking);
}

static const char *asking_target(const struct asking *asking, const struct agent_disk *disk)
{
    const struct domain *domain = asking_domain(asking);
    const char *qdev = NULL;

    for (unsigned i = 0; i < asking->n_devices && disk->bus >= 0 && !qdev; i++)
        if (asking->devices[i].bus == disk->bus && asking->devices[i].slot == disk->slot &&
            asking->devices[i].function == disk->function)
            qdev = asking->devices[i].qdev;
    for (unsigned i = 0; domain && qdev && i < domain->record.n_disks; i++) {
        const struct record_disk *record = &domain->record.disks[i];

        if (record->qdev && strcmp(record->qdev, qdev) == 0)
            return record->target;
    }
    return NULL;
}

static json_object *wire_fs(const struct asking *asking, const struct agent_fs *fs)
{
    json_object *object = json_object_new_object(), *disks = json_object_new_array();

    json_add_string(object, "mountpoint", fs->mountpoint);
    json_add_string(object, "type", fs->type);
    json_add_string(object, "name", fs->name);
    json_add_string(object, "disk", NULL);
    for (unsigned i = 0; i < fs->n_disks; i++) {
        const char *target = asking_target(asking, &fs->disks[i]);
        json_object *disk = json_object_new_object();

        json_add_string(disk, "disk", target);
        json_add_string(disk, "dev", fs->disks[i].dev);
        json_object_array_add(disks, disk);
        if (fs->n_disks == 1)
            json_add_string(object, "disk", target);
    }
    json_object_object_add(object, "disks", disks);
    if (fs->total >= 0)
        json_add_int(object, "total_bytes", fs->total);
    if (fs->used >= 0)
        json_add_int(object, "used_bytes", fs->used);
    return object;
}

static void status_fs(void *arg, const struct agent_reply *reply, const struct error *err)
{
    struct asking *asking = arg;

    asking->fs = json_object_new_array();
    for (unsigned i = 0; !err && i < reply->n_fs; i++)
        json_object_array_add(asking->fs, wire_fs(asking, &reply->fs[i]));
    asking_answered(asking);
}

static void status_info(void *arg, const struct agent_reply *reply, const struct error *err)
{
    struct asking *asking = arg;

    if (!err && reply->version)
        xstrset(&asking->kind, reply->kernel ? "kernel" : "qemu-ga");
    asking_answered(asking);
}

static void status_freeze(void *arg, const struct agent_reply *reply, const struct error *err)
{
    struct domain *domain = asking_domain(arg);

    /* A debt is ours to tell of; otherwise what the agent says of itself is all there is. Where it
     * denies a lease, somebody thawed, or the agent was started anew and forgot. */
    if (domain && !domain->debt)
        domain->freeze = err ? FREEZE_UNKNOWN : reply->frozen ? FREEZE_FROZEN : FREEZE_THAWED;
    else if (domain && !err && debt_is_lease(domain))
        domain->freeze = reply->frozen ? FREEZE_FROZEN : FREEZE_UNKNOWN;
    asking_answered(arg);
}

static bool status_can_ask(const struct domain *domain)
{
    return domain && domain_is_running(domain) && domain->agent && agent_is_up(domain->agent);
}

static void status_devices(void *arg, const struct qmp_pci *devices, unsigned n,
                           const struct error *err _unused_)
{
    struct asking *asking = arg;
    const struct domain *domain = asking_domain(asking);
    unsigned timeout_ms = call_context(asking->call)->engine->options.agent_timeout_ms;

    if (!status_can_ask(domain) || !domain->port_open) {
        asking_answer(asking);
        return;
    }
    asking->devices = xrealloc(NULL, n, sizeof(*devices));
    for (unsigned i = 0; i < n; i++) {
        asking->devices[i] = devices[i];
        asking->devices[i].qdev = xstrdup(devices[i].qdev);
    }
    asking->n_devices = n;
    asking->waiting = 3;
    agent_cork(domain->agent);
    agent_call(domain->agent, AGENT_INFO, NULL, 0, timeout_ms, status_info, asking);
    agent_call(domain->agent, AGENT_STATUS, NULL, 0, timeout_ms, status_freeze, asking);
    agent_call(domain->agent, AGENT_FSINFO, NULL, 0, timeout_ms, status_fs, asking);
    agent_uncork(domain->agent);
}

static void status_port_looked(void *arg)
{
    const struct domain *domain = asking_domain(arg);

    if (status_can_ask(domain) && domain->port_open)
        qmp_query_pci(domain->qmp, status_devices, arg);
    else
        asking_answer(arg);
}

void guest_status_handle(struct call *call)
{
    struct domain *domain = answer_need_domain(call);
    struct asking *asking;

    if (!domain)
        return;
    asking = xzalloc(sizeof(*asking));
    asking->call = call;
    asking->domain = xstrdup(domain->record.name);
    if (status_can_ask(domain))
        link_look_port(domain->link, status_port_looked, asking);
    else
        asking_answer(asking);
}

/* --- guest.freeze --- */

static int64_t freeze_lease_ms(struct call *call)
{
    int64_t lease_ms = json_int(call_params(call), "lease_ms", LEASE_MS);
    int64_t most = call_context(call)->conf->lease_max_ms;

    return lease_ms < most ? lease_ms : most;
}

static json_object *freeze_result(struct call *call, int64_t count)
{
    json_object *result = json_object_new_object();

    json_add_int(result, "count", count);
    json_add_int(result, "lease_ms", freeze_lease_ms(call));
    return result;
}

static void freeze_note(void *arg, int64_t count, struct journal_txn *txn)
{
    _cleanup_json_ json_object *result = freeze_result(arg, count);

    request_note_result(txn, arg, json_text(result));
}

static void freeze_done(void *arg, int64_t count, const struct error *err)
{
    struct call *call = arg;

    if (err)
        call_error(call, err);
    else
        call_result(call, freeze_result(call, count));
}

static int freeze_bad(struct error *err, const char *param, const char *sentence)
{
    error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "%s", sentence);
    return error_text(err, "param", param);
}

static int freeze_check(struct call *call, struct error *err)
{
    json_object *list = json_array(call_params(call), "mountpoints");

    if (freeze_lease_ms(call) < 1)
        return freeze_bad(err, "lease_ms", "a lease lasts one millisecond at least");
    if (list && json_object_array_length(list) == 0)
        return freeze_bad(err, "mountpoints",
                          "mountpoints is empty: leave it out to freeze all file systems");
    return 0;
}

static void freeze_begin(struct call *call, struct domain *domain)
{
    json_object *list = json_array(call_params(call), "mountpoints");
    size_t n = list ? json_object_array_length(list) : 0;
    _cleanup_free_ const char **mountpoints = list ? xrealloc(NULL, n, sizeof(*mountpoints)) : NULL;
    _cleanup_error_ struct error err = {0};

    for (size_t i = 0; i < n; i++)
        mountpoints[i] = json_object_get_string(json_object_array_get_idx(list, i));
    if (freeze_check(call, &err) < 0 ||
        lease_begin(call_context(call)->engine, domain, mountpoints, (unsigned)n,
                    freeze_lease_ms(call), freeze_note, freeze_done, call, &err) < 0)
        call_error(call, &err);
}

void guest_freeze_handle(struct call *call)
{
    struct domain *domain;
    int64_t job;

    if (request_begin(call, &job) != REQUEST_NEW)
        return;
    domain = answer_need_domain(call);
    if (domain)
        freeze_begin(call, domain);
}

/* --- guest.thaw --- */

struct thawing {
    struct call *call;
    char *domain;
    json_object *result;
};

static void thaw_answer(void *arg, const struct error *err)
{
    struct thawing *thawing = arg;

    if (err)
        call_error(thawing->call, err);
    else
        call_result(thawing->call, json_object_get(thawing->result));
    json_object_put(thawing->result);
    free(thawing->domain);
    free(thawing);
}

/* The debt was struck out by a commit before this one. */
static void thaw_record(struct thawing *thawing, int64_t count)
{
    struct journal_txn *txn = journal_begin(call_context(thawing->call)->journal);

    thawing->result = json_object_new_object();
    json_add_int(thawing->result, "count", count);
    request_note_result(txn, thawing->call, json_text(thawing->result));
    journal_commit(txn, "thaw", thaw_answer, thawing);
}

/* Told as long as the debt stands: where QEMU has ended, nothing is frozen any more. */
static void thaw_collected(void *arg, bool confirmed, int64_t count)
{
    struct thawing *thawing = arg;
    const struct domain *domain =
        domains_find(call_context(thawing->call)->domains, thawing->domain);
    _cleanup_error_ struct error err = {0};
    const char *reason = "no answer";

    if (confirmed || !domain || !domain->debt) {
        thaw_record(thawing, confirmed ? count : 0);
        return;
    }
    if (!domain_is_running(domain))
        reason = "the guest does not run";
    error_set(&err, SNAPVM_ERROR_AGENT_UNAVAILABLE,
              "the thaw of domain %s cannot be confirmed yet (%s); it is tried on until it is",
              domain->record.name, reason);
    error_text(&err, "reason", reason);
    thaw_answer(thawing, &err);
}

/* The job that freezes for its own sake, and thaws by itself: NULL when none does. */
static const struct job *thaw_job(struct call *call, const struct domain *domain)
{
    return domain->debt ? engine_find(call_context(call)->engine, domain->debt->job) : NULL;
}

static int thaw_check(struct call *call, const struct domain *domain, struct error *err)
{
    const struct job *job = thaw_job(call, domain);

    if (job) {
        error_set(err, SNAPVM_ERROR_BUSY,
                  "job %lld has domain %s frozen for its snapshot, and thaws it by itself",
                  (long long)job->record.id, domain->record.name);
        return error_number(err, "job", job->record.id);
    }
    if (!domain->freezing)
        return 0;
    error_set(err, SNAPVM_ERROR_INVALID_STATE,
              "the freeze of domain %s is on its way; wait for its answer", domain->record.name);
    return error_text(err, "state", "freezing");
}

void guest_thaw_handle(struct call *call)
{
    _cleanup_error_ struct error err = {0};
    struct thawing *thawing;
    struct domain *domain;
    int64_t job;

    if (request_begin(call, &job) != REQUEST_NEW)
        return;
    domain = answer_need_domain(call);
    if (!domain)
        return;
    if (thaw_check(call, domain, &err) < 0) {
        call_error(call, &err);
        return;
    }
    thawing = xzalloc(sizeof(*thawing));
    thawing->call = call;
    thawing->domain = xstrdup(domain->record.name);
    if (domain->debt)
        debt_collect(call_context(call)->engine, domain, thaw_collected, thawing);
    else
        thaw_record(thawing, 0);
}
