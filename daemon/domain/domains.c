#include "domain/domains.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "domain/finder.h"
#include "domain/link.h"
#include "domain/snapshot.h"
#include "journal/journal.h"
#include "proto/limits.h"
#include "proto/snapvm-errors.h"

/* Without '/' at the end: paths below it are compared as texts. */
static char *domains_folder(const char *path)
{
    size_t length = strlen(path);

    while (length > 1 && path[length - 1] == '/')
        length--;
    return xstrndup(path, length);
}

struct domains *domains_new(struct event_base *base, struct journal *journal, struct worker *worker,
                            struct crash *crash, const struct domains_options *options)
{
    struct domains *domains = xzalloc(sizeof(*domains));

    domains->base = base;
    domains->journal = journal;
    domains->worker = worker;
    domains->crash = crash;
    domains->options = *options;
    domains->options.guests_dir = domains_folder(options->guests_dir);
    return domains;
}

struct domains *domains_free(struct domains *domains)
{
    struct domain *domain, *next;

    if (!domains)
        return NULL;
    finder_free(domains->finder);
    HASH_ITER (hh, domains->map, domain, next) {
        domains_remove(domains, domain);
    }
    free((char *)domains->options.guests_dir);
    free(domains);
    return NULL;
}

void domains_set_handlers(struct domains *domains, const struct domain_handlers *handlers,
                          void *arg)
{
    domains->handlers = handlers;
    domains->handlers_arg = arg;
}

static void domains_insert(struct domains *domains, struct domain *domain)
{
    HASH_ADD_KEYPTR(hh, domains->map, domain->record.name, strlen(domain->record.name), domain);
}

static int domains_by_name(const struct domain *a, const struct domain *b)
{
    return strcmp(a->record.name, b->record.name);
}

void domains_load(struct domains *domains, struct journal_model *model)
{
    for (unsigned i = 0; i < model->n_domains; i++) {
        struct domain *domain = domain_new(domains, model->domains[i].name);

        record_domain_deinit(&domain->record);
        domain->record = model->domains[i];
        memset(&model->domains[i], 0, sizeof(model->domains[i]));
        domain->gone = !process_alive(&domain->record.qemu);
        domains_insert(domains, domain);
    }
    for (unsigned i = 0; i < model->n_snapshots; i++) {
        struct domain *domain = domains_find(domains, model->snapshots[i].domain);

        if (domain)
            snapshot_add(domain, &model->snapshots[i]);
    }
    for (struct domain *domain = domains->map; domain; domain = domain->hh.next)
        snapshots_link(domain);
    HASH_SORT(domains->map, domains_by_name);
}

int domains_start(struct domains *domains, struct error *err)
{
    struct domain *domain, *next;

    domains->finder = finder_new(domains, err);
    if (!domains->finder)
        return -1;
    HASH_ITER (hh, domains->map, domain, next) {
        finder_watch(domains->finder, domain->record.qmp);
        link_kick(domain->link);
    }
    return 0;
}

unsigned domains_count(const struct domains *domains)
{
    return HASH_COUNT(domains->map);
}

struct domain *domains_find(const struct domains *domains, const char *name)
{
    struct domain *domain = NULL;

    HASH_FIND_STR(domains->map, name, domain);
    return domain;
}

int domains_missing(const char *name, struct error *err)
{
    error_set(err, SNAPVM_ERROR_NOT_FOUND,
              "there is no domain \"%s\"; domain.list shows those that are known", name);
    error_text(err, "object", "domain");
    return error_text(err, "name", name);
}

struct domain *domains_need(const struct domains *domains, const char *name, struct error *err)
{
    struct domain *domain = domains_find(domains, name);

    if (!domain)
        domains_missing(name, err);
    return domain;
}

bool domains_valid_name(const char *name)
{
    size_t length = strlen(name);

    if (length == 0 || length > LIMIT_DOMAIN_NAME || !isalnum((unsigned char)name[0]))
        return false;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
            return false;
    return true;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Whether a definition says nothing else than what is known already. */
static bool domains_same_definition(struct domain *domain, const struct record_domain *definition)
{
    if (!same_text(domain->record.qmp, definition->qmp) ||
        !same_text(domain->record.agent, definition->agent))
        return false;
    if (definition->uuid && !same_text(domain->record.uuid, definition->uuid))
        return false;
    for (unsigned i = 0; i < definition->n_disks; i++) {
        bool known = false;

        for (unsigned k = 0; k < domain->record.n_disks && !known; k++)
            known = domain->record.disks[k].defined &&
                    same_text(domain->record.disks[k].target, definition->disks[i].target) &&
                    same_text(domain->record.disks[k].node, definition->disks[i].node);
        if (!known)
            return false;
    }
    return true;
}

static struct domain *domains_exists(const char *name, struct error *err)
{
    error_set(err, SNAPVM_ERROR_ALREADY_EXISTS,
              "domain %s is known with another content; undefine it first", name);
    error_text(err, "object", "domain");
    error_text(err, "name", name);
    return NULL;
}

static void domains_random_uuid(char **uuid)
{
    char text[37] = "";
    FILE *file = fopen("/proc/sys/kernel/random/uuid", "re");

    if (file && fgets(text, sizeof(text), file))
        xstrset(uuid, text);
    if (file)
        fclose(file);
}

static void domains_copy_definition(struct record_domain *record,
                                    const struct record_domain *definition)
{
    xstrset(&record->uuid, definition->uuid);
    if (!record->uuid)
        domains_random_uuid(&record->uuid);
    xstrset(&record->qmp, definition->qmp);
    xstrset(&record->agent, definition->agent);
    xstrset(&record->document, definition->document);
    record->found = definition->found;
    for (unsigned i = 0; i < definition->n_disks; i++) {
        const struct record_disk *from = &definition->disks[i];
        struct record_disk *disk = record_domain_add_disk(record, from->target);

        xstrset(&disk->node, from->node);
        xstrset(&disk->format, from->format);
        disk->defined = true;
        disk->read_only = from->read_only;
        for (unsigned k = 0; k < from->n_chain; k++)
            record_disk_add_layer(disk, from->chain[k].file, from->chain[k].format)->virtual_size =
                from->chain[k].virtual_size;
    }
}

struct domain *domains_define(struct domains *domains, const struct record_domain *definition,
                              bool *ret_added, struct error *err)
{
    struct domain *domain = domains_find(domains, definition->name);

    *ret_added = false;
    if (domain)
        return domains_same_definition(domain, definition) ? domain
                                                           : domains_exists(definition->name, err);
    domain = domain_new(domains, definition->name);
    domains_copy_definition(&domain->record, definition);
    domains_insert(domains, domain);
    HASH_SORT(domains->map, domains_by_name);
    *ret_added = true;
    if (domains->finder) {
        finder_watch(domains->finder, domain->record.qmp);
        link_kick(domain->link);
    }
    return domain;
}

static void domains_adopt(struct domains *domains, const char *name)
{
    struct record_domain definition = {.name = xstrdup(name), .found = true};
    struct domain *domain;
    struct stat st;
    bool added;

    definition.qmp = xasprintf("%s/%s/qmp.sock", domains->options.guests_dir, name);
    definition.agent = xasprintf("%s/%s/agent.sock", domains->options.guests_dir, name);
    if (stat(definition.agent, &st) < 0)
        xstrset(&definition.agent, NULL);
    domain = domains_define(domains, &definition, &added, NULL);
    if (domain && added) {
        struct journal_txn *txn = journal_begin(domains->journal);

        journal_add_event(txn, "domain.defined", name, "{\"origin\":\"found\"}");
        domain_save(domain, txn);
        journal_commit(txn, "domain", NULL, NULL);
    }
    link_kick(domain->link);
    record_domain_deinit(&definition);
}

/* Known guests may have got an agent, or lost it, since they were seen first. */
static void domains_found_agent(struct domains *domains, struct domain *domain)
{
    _cleanup_free_ char *agent =
        xasprintf("%s/%s/agent.sock", domains->options.guests_dir, domain->record.name);
    struct stat st;

    if (domain->record.found && !domain->record.agent && stat(agent, &st) == 0)
        domain->record.agent = TAKE_PTR(agent);
}

void domains_found(struct domains *domains, const char *name)
{
    struct domain *domain = domains_find(domains, name);

    if (!domain) {
        domains_adopt(domains, name);
        return;
    }
    domains_found_agent(domains, domain);
    link_kick(domain->link);
}

void domains_remove(struct domains *domains, struct domain *domain)
{
    HASH_DEL(domains->map, domain);
    domain_free(domain);
}
