/* All domains: defined by clients, or found in the guests folder, where NAME/qmp.sock is the
 * monitor of the guest NAME and NAME/agent.sock its agent. */
#ifndef SNAPVM_DOMAIN_DOMAINS_H
#define SNAPVM_DOMAIN_DOMAINS_H

#include <stdbool.h>

#include "domain/domain.h"

struct crash;
struct event_base;
struct finder;
struct journal;
struct journal_model;
struct qmp_event;
struct worker;

struct domains_options {
    const char *guests_dir;
    unsigned greeting_timeout_ms, command_timeout_ms;
};

/* The layer above: called from the loop. */
struct domain_handlers {
    /* A view that was asked for, or the first after a connect, is here. */
    void (*viewed)(void *arg, struct domain *domain);
    /* The monitor was lost, or, with domain->gone, the QEMU has ended. May come twice. */
    void (*away)(void *arg, struct domain *domain);
    void (*event)(void *arg, struct domain *domain, const struct qmp_event *event);
    /* The agent's socket stands, its port was opened, or the guest goes on: thaws may go through.
     */
    void (*agent)(void *arg, struct domain *domain);
};

struct domains {
    struct event_base *base;
    struct journal *journal;
    struct worker *worker;
    struct crash *crash;
    struct domains_options options; /* guests_dir is owned */
    const struct domain_handlers *handlers;
    void *handlers_arg;
    struct domain *map;
    struct finder *finder;
};

struct domains *domains_new(struct event_base *base, struct journal *journal, struct worker *worker,
                            struct crash *crash, const struct domains_options *options);
struct domains *domains_free(struct domains *domains);

void domains_set_handlers(struct domains *domains, const struct domain_handlers *handlers,
                          void *arg);

/* Takes domains and snapshots out of the model. Nothing is connected yet. */
void domains_load(struct domains *domains, struct journal_model *model);

/* Begins to watch the guests folder and to connect. */
int domains_start(struct domains *domains, struct error *err);

unsigned domains_count(const struct domains *domains);

/* NULL when there is none; domains_need sets NotFound (object domain), as domains_missing does. */
struct domain *domains_find(const struct domains *domains, const char *name);
struct domain *domains_need(const struct domains *domains, const char *name, struct error *err);
int domains_missing(const char *name, struct error *err);

/* Whether a name may be a domain's: [A-Za-z0-9][A-Za-z0-9._-]{0,63}. */
bool domains_valid_name(const char *name);

/* Adds a domain of that definition (copied), and starts to connect. The same content again returns
 * the one that is there; other content is AlreadyExists. The caller saves it. */
struct domain *domains_define(struct domains *domains, const struct record_domain *definition,
                              bool *ret_added, struct error *err);

/* A guest in the guests folder: added, or, when it is known, connected. */
void domains_found(struct domains *domains, const char *name);

/* Drops a domain from memory. */
void domains_remove(struct domains *domains, struct domain *domain);

#endif
