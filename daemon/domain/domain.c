#include "domain/domain.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "domain/link.h"
#include "domain/snapshot.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "qemu/agent.h"
#include "qemu/qmp-command.h"
#include "qemu/qmp.h"
#include "qemu/view.h"

struct domain *domain_new(struct domains *owner, const char *name)
{
    struct domain *domain = xzalloc(sizeof(*domain));

    domain->owner = owner;
    domain->record.name = xstrdup(name);
    domain->gone = true;
    domain->freeze = FREEZE_UNKNOWN;
    TAILQ_INIT(&domain->jobs);
    TAILQ_INIT(&domain->snapshots);
    domain->link = link_new(domain);
    return domain;
}

struct domain *domain_free(struct domain *domain)
{
    struct snapshot *snapshot;

    if (!domain)
        return NULL;
    assert(TAILQ_EMPTY(&domain->jobs));
    link_free(domain->link);
    while ((snapshot = TAILQ_FIRST(&domain->snapshots)))
        snapshot_remove(domain, snapshot);
    if (domain->debt) {
        record_debt_deinit(domain->debt);
        free(domain->debt);
    }
    view_free(domain->view);
    record_domain_deinit(&domain->record);
    free(domain->version);
    free(domain->announced);
    free(domain);
    return NULL;
}

const char *domain_state(const struct domain *domain)
{
    if (domain_is_shutoff(domain))
        return "shutoff";
    if (!domain->connected || !domain->view)
        return "unknown";
    return domain->view->running ? "running" : "paused";
}

const char *domain_agent_state(const struct domain *domain)
{
    if (!domain->record.agent)
        return "none";
    return domain->port_open && domain->agent && agent_is_up(domain->agent) ? "connected"
                                                                            : "disconnected";
}

const char *domain_freeze_name(const struct domain *domain)
{
    static const char *const names[] = {"thawed", "frozen", "thaw-owed", "unknown"};

    return names[domain->freeze];
}

bool domain_is_shutoff(const struct domain *domain)
{
    bool held = domain->qmp && qmp_process(domain->qmp)->pid; /* though it may never speak to us */

    return domain->gone && domain->deserted && !held;
}

bool domain_is_running(const struct domain *domain)
{
    return domain->connected && domain->view && domain->view->running;
}

bool domain_runs_in(const struct domain *domain, const struct process *qemu)
{
    return !domain->gone && process_same(&domain->record.qemu, qemu);
}

int domain_need_live(const struct domain *domain, struct error *err)
{
    if (domain->connected)
        return 0;
    if (domain_is_shutoff(domain)) {
        error_set(err, SNAPVM_ERROR_INVALID_STATE,
                  "domain %s is shut off: no QEMU answers on %s; start it and try again",
                  domain->record.name, domain->record.qmp);
        return error_text(err, "state", domain_state(domain));
    }
    return error_set(err, SNAPVM_ERROR_QEMU_GONE,
                     "the monitor %s of domain %s does not answer: another client may hold it",
                     domain->record.qmp, domain->record.name);
}

int domain_need_feature(const struct domain *domain, enum qmp_feature feature, struct error *err)
{
    /* The schema comes some milliseconds after the connection; every QEMU that is supported has
     * what is asked for here, and one that lacks it refuses the command itself. */
    if (!domain->schema_known || domain->schema.has[feature])
        return 0;
    error_set(err, SNAPVM_ERROR_UNSUPPORTED, "this QEMU (%s) lacks %s; a newer one has it",
              domain->version ? domain->version : "of unknown version", qmp_feature_name(feature));
    return error_text(err, "feature", qmp_feature_name(feature));
}

uint64_t domain_look(struct domain *domain)
{
    return link_look(domain->link, LOOK_ALL);
}

uint64_t domain_look_roots(struct domain *domain)
{
    return link_look(domain->link, LOOK_ROOTS);
}

uint64_t domain_look_jobs(struct domain *domain)
{
    return link_look(domain->link, LOOK_JOBS);
}

void domain_disconnect(struct domain *domain)
{
    link_free(domain->link);
    domain->link = NULL;
    domain->connected = false;
}

void domain_save(struct domain *domain, struct journal_txn *txn)
{
    const char *state = domain_state(domain);
    char *body;

    journal_put_domain(txn, &domain->record);
    if (domain->announced && strcmp(domain->announced, state) == 0)
        return;
    body = xasprintf("{\"state\":\"%s\"}", state);
    journal_add_event(txn, "domain.state", domain->record.name, body);
    free(body);
    xstrset(&domain->announced, state);
}

void domain_save_now(struct domain *domain)
{
    struct journal_txn *txn = journal_begin(domain->owner->journal);

    domain_save(domain, txn);
    journal_commit(txn, "domain", NULL, NULL);
}
