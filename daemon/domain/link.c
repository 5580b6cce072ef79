#include "domain/link.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "domain/disk.h"
#include "domain/domain.h"
#include "domain/domains.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "qemu/agent.h"
#include "qemu/qmp-command.h"
#include "qemu/qmp.h"
#include "qemu/view.h"

#define RETRY_FIRST_MS 50
#define RETRY_LAST_MS 5000

struct domain_link {
    struct domain *domain;
    struct event *retry, *agent_retry;
    unsigned retry_ms, agent_retry_ms;
    int pidfd; /* of the QEMU that was seen last; -1 */
    struct event *ended;
    unsigned asked, running; /* looks; `asked` came while a query was on its way */
    uint64_t number;         /* of the newest query that was sent */
    struct event *again;     /* a query that QEMU refused is sent again */
};

static void link_connect(struct domain_link *link);
static void link_connect_agent(struct domain_link *link);
static void link_query(struct domain_link *link);

static void link_retry_fired(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    link_connect(arg);
}

static void link_agent_retry_fired(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    link_connect_agent(arg);
}

static void link_again(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    link_look(arg, LOOK_ALL);
}

struct domain_link *link_new(struct domain *domain)
{
    struct domain_link *link = xzalloc(sizeof(*link));
    struct event_base *base = domain->owner->base;

    link->domain = domain;
    link->pidfd = -1;
    link->retry_ms = link->agent_retry_ms = RETRY_FIRST_MS;
    link->retry = event_new(base, -1, 0, link_retry_fired, link);
    link->agent_retry = event_new(base, -1, 0, link_agent_retry_fired, link);
    link->again = event_new(base, -1, 0, link_again, link);
    return link;
}

static void link_forget_process(struct domain_link *link)
{
    if (link->ended)
        event_free(link->ended);
    link->ended = NULL;
    if (link->pidfd >= 0)
        close(link->pidfd);
    link->pidfd = -1;
}

struct domain_link *link_free(struct domain_link *link)
{
    if (!link)
        return NULL;
    link->domain->qmp = qmp_free(link->domain->qmp);
    link->domain->agent = agent_free(link->domain->agent);
    link_forget_process(link);
    event_free(link->retry);
    event_free(link->agent_retry);
    event_free(link->again);
    free(link);
    return NULL;
}

static void link_later(struct event *timer, unsigned *delay_ms)
{
    struct timeval delay = clock_timeval_ms(*delay_ms);

    event_add(timer, &delay);
    *delay_ms = *delay_ms * 2 > RETRY_LAST_MS ? RETRY_LAST_MS : *delay_ms * 2;
}

static void link_tell_state(struct domain *domain, const char *kind)
{
    struct journal_txn *txn = journal_begin(domain->owner->journal);

    if (kind)
        journal_add_event(txn, kind, domain->record.name, NULL);
    domain_save(domain, txn);
    journal_commit(txn, "domain", NULL, NULL);
}

/* The QEMU has ended: nothing of it will ever come back, and a new one is another. */
static void link_gone(struct domain_link *link)
{
    struct domain *domain = link->domain;

    link_forget_process(link);
    if (domain->gone)
        return;
    domain->gone = domain->deserted = true;
    domain->port_open = false;
    domain->freeze = FREEZE_UNKNOWN;
    log_info("domain %s: its QEMU (pid %d) has ended", domain->record.name,
             (int)domain->record.qemu.pid);
    domain->owner->handlers->away(domain->owner->handlers_arg, domain);
    link_tell_state(domain, NULL);
}

static void link_ended(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    struct domain_link *link = arg;

    /* The monitor's end may not have been read yet; its answers are worth nothing any more. */
    if (link->domain->qmp && !link->domain->connected)
        link->domain->qmp = qmp_free(link->domain->qmp);
    if (!link->domain->connected) {
        link_gone(link);
        link_later(link->retry, &link->retry_ms);
    }
}

static void link_watch_process(struct domain_link *link)
{
    struct domain *domain = link->domain;

    link_forget_process(link);
    link->pidfd = process_pidfd(&domain->record.qemu);
    if (link->pidfd < 0)
        return;
    link->ended = event_new(domain->owner->base, link->pidfd, EV_READ, link_ended, link);
    event_add(link->ended, NULL);
}

static void link_schema(void *arg, const struct qmp_schema *schema, const struct error *err)
{
    struct domain_link *link = arg;

    if (err)
        return;
    link->domain->schema = *schema;
    link->domain->schema_known = true;
}

/* Whether the agent's port is open in the guest, as far as QEMU's list of devices tells. */
static bool link_port_open(const struct domain *domain, const struct view *view)
{
    for (unsigned i = 0; i < view->n_chardevs; i++) {
        const struct view_chardev *chardev = &view->chardevs[i];
        const char *path = chardev->file ? strstr(chardev->file, "unix:") : NULL;
        _cleanup_free_ char *name = NULL, *absolute = NULL;

        if (!path)
            continue;
        path += strlen("unix:");
        name = xstrndup(path, strcspn(path, ","));
        absolute = process_absolute(&domain->record.qemu, name);
        if (absolute && strcmp(absolute, domain->record.agent) == 0)
            return chardev->frontend_open;
    }
    return true; /* no such socket is seen by that name: only a call can tell */
}

static void link_connected(struct domain_link *link)
{
    struct domain *domain = link->domain;

    domain->connected = true;
    domain->gone = domain->deserted = false;
    link->agent_retry_ms = RETRY_FIRST_MS;
    disks_update(domain);
    log_info("domain %s: connected to QEMU %s, pid %d, %s", domain->record.name,
             domain->version ? domain->version : "?", (int)domain->record.qemu.pid,
             domain_state(domain));
    link_tell_state(domain, "domain.connected");
    if (!domain->schema_known)
        qmp_query_schema(domain->qmp, link_schema, link);
    link_connect_agent(link);
}

static void link_take_view(struct domain_link *link, struct view *view)
{
    struct domain *domain = link->domain;
    bool port_was_open = domain->port_open, first = !domain->connected;

    view_free(domain->view);
    domain->view = view;
    domain->port_open = domain->record.agent && link_port_open(domain, domain->view);
    if (first)
        link_connected(link);
    else if (disks_update(domain))
        domain_save_now(domain);
    if (!first && domain->port_open && !port_was_open)
        domain->owner->handlers->agent(domain->owner->handlers_arg, domain);
}

/* What a short look shows replaces its part of the view. */
static void link_merge(struct domain *domain, struct view *seen, unsigned looks)
{
    struct view *view = domain->view;
    struct view old = *view;

    if (looks & LOOK_JOBS) {
        view->jobs = seen->jobs;
        view->n_jobs = seen->n_jobs;
        view->status = seen->status;
        view->running = seen->running;
        seen->jobs = old.jobs;
        seen->n_jobs = old.n_jobs;
        seen->status = old.status;
    }
    if (looks & LOOK_MIGRATION) {
        view->migration = seen->migration;
        seen->migration = old.migration;
    }
    if (looks & LOOK_ROOTS) {
        view->disks = seen->disks;
        view->n_disks = seen->n_disks;
        seen->disks = old.disks;
        seen->n_disks = old.n_disks;
    }
    view_free(seen);
}

static void link_viewed(void *arg, struct view *view, const struct error *err)
{
    struct domain_link *link = arg;
    struct domain *domain = link->domain;
    unsigned looks = link->running;
    struct timeval delay = clock_timeval_ms(RETRY_LAST_MS);

    link->running = 0;
    if (err) {
        log_debug("domain %s: no view: %s", domain->record.name, err->message);
        event_add(link->again, &delay); /* in vain if the connection is what was lost */
        return;
    }
    domain->view_number = link->number;
    if (looks & LOOK_ALL)
        link_take_view(link, view);
    else
        link_merge(domain, view, looks);
    if (link->asked)
        link_query(link);
    domain->owner->handlers->viewed(domain->owner->handlers_arg, domain);
}

static void link_query(struct domain_link *link)
{
    struct domain *domain = link->domain;

    link->running = domain->connected && domain->view ? link->asked : LOOK_ALL;
    if (domain->saving)
        link->running |= LOOK_MIGRATION;
    link->asked = 0;
    link->number++;
    qmp_query_view(domain->qmp, link->running, link_viewed, link);
}

uint64_t link_look(struct domain_link *link, unsigned looks)
{
    if (!link->domain->qmp || !qmp_is_up(link->domain->qmp))
        return link->number + 1; /* the view after the next connect tells */
    link->asked |= looks;
    if (link->running)
        return link->number + 1;
    link_query(link);
    return link->number;
}

struct port_look {
    struct domain *domain;
    link_port_fn fn;
    void *arg;
};

static void link_port_looked(void *arg, struct view *view, const struct error *err _unused_)
{
    _cleanup_free_ struct port_look *look = arg;
    struct domain *domain = look->domain;

    if (view && !domain->port_open && link_port_open(domain, view)) {
        domain->port_open = true;
        domain->owner->handlers->agent(domain->owner->handlers_arg, domain);
    }
    view_free(view);
    look->fn(look->arg);
}

void link_look_port(struct domain_link *link, link_port_fn fn, void *arg)
{
    struct domain *domain = link->domain;
    struct port_look *look;

    if (domain->port_open || !domain->record.agent || !domain->connected) {
        fn(arg);
        return;
    }
    look = xzalloc(sizeof(*look));
    *look = (struct port_look){.domain = domain, .fn = fn, .arg = arg};
    qmp_query_view(domain->qmp, LOOK_PORTS, link_port_looked, look);
}

/* Whether something waits for the QEMU that was known, which lives or is still about to end. */
static bool link_is_bound(const struct domain *domain)
{
    return !domain->gone && (!TAILQ_EMPTY(&domain->jobs) || domain->debt) &&
           process_alive(&domain->record.qemu);
}

static void link_up(void *arg)
{
    struct domain_link *link = arg;
    struct domain *domain = link->domain;
    const struct process *process = qmp_process(domain->qmp);

    if (process->pid == 0) {
        /* Nothing could tell this QEMU from the next one on its socket: a wrong disk would follow.
         */
        log_error("domain %s: its QEMU runs in another pid namespace and cannot be identified; "
                  "run snapvmd in a namespace that sees it",
                  domain->record.name);
        domain->qmp = qmp_free(domain->qmp);
        link_later(link->retry, &link->retry_ms);
        return;
    }
    if (!process_same(process, &domain->record.qemu) && link_is_bound(domain)) {
        /* What the old one still does to the images decides how its jobs end. */
        log_warning(
            "domain %s: another QEMU (pid %d) answers on %s, while the one that its jobs run "
            "in (pid %d) has not ended: it is waited for",
            domain->record.name, (int)process->pid, domain->record.qmp,
            (int)domain->record.qemu.pid);
        domain->qmp = qmp_free(domain->qmp);
        link_later(link->retry, &link->retry_ms);
        return;
    }
    link->retry_ms = RETRY_FIRST_MS;
    if (!process_same(process, &domain->record.qemu)) {
        /* Another QEMU than the one that was known: that one is over. */
        if (!domain->gone)
            link_gone(link);
        domain->record.qemu = *process;
        domain->schema_known = false;
    }
    xstrset(&domain->version, qmp_version(domain->qmp));
    link_watch_process(link);
    link->running = 0;
    link->asked = LOOK_ALL;
    link_query(link);
}

static void link_down(void *arg, const struct error *why)
{
    struct domain_link *link = arg;
    struct domain *domain = link->domain;
    bool was = domain->connected;
    bool alive = process_alive(&domain->record.qemu);
    bool told = domain->deserted == (why->code == SNAPVM_ERROR_NOT_FOUND);

    domain->deserted = why->code == SNAPVM_ERROR_NOT_FOUND;
    domain->qmp = qmp_free(domain->qmp);
    domain->connected = domain->switching = false;
    link->running = link->asked = 0;
    domain->agent = agent_drop(domain->agent, why);
    event_del(link->agent_retry);
    if (was) {
        log_info("domain %s: monitor lost: %s", domain->record.name, why->message);
        link_tell_state(domain, "domain.disconnected");
        if (alive)
            domain->owner->handlers->away(domain->owner->handlers_arg, domain);
    } else {
        log_debug("domain %s: %s", domain->record.name, why->message);
    }
    if (alive && link->pidfd < 0)
        link_watch_process(link); /* of before the daemon's start: its end counts too */
    if (!alive && !domain->gone)
        link_gone(link);
    else if (!told && domain->gone)
        link_tell_state(domain, NULL);
    link_later(link->retry, &link->retry_ms);
}

static void link_event(void *arg, const struct qmp_event *event)
{
    struct domain_link *link = arg;
    struct domain *domain = link->domain;

    if (!domain->connected)
        return; /* the first view is on its way and is newer */
    switch (event->kind) {
    case QMP_EVENT_STOP:
    case QMP_EVENT_RESUME:
        domain->view->running = event->kind == QMP_EVENT_RESUME;
        xstrset(&domain->view->status, domain->view->running ? "running" : "paused");
        if (!domain->switching)
            link_tell_state(domain, NULL);
        if (domain->view->running)
            domain->owner->handlers->agent(domain->owner->handlers_arg, domain);
        break;
    case QMP_EVENT_PORT:
        domain_look(domain);
        break;
    case QMP_EVENT_JOB_STATUS:
        /* The query on its way may have been answered before this. */
        if (link->running & (LOOK_JOBS | LOOK_ALL))
            link->asked |= LOOK_JOBS;
        break;
    default:
        break;
    }
    domain->owner->handlers->event(domain->owner->handlers_arg, domain, event);
}

static void link_connect(struct domain_link *link)
{
    static const struct qmp_handlers handlers = {link_up, link_down, link_event};
    struct domain *domain = link->domain;
    struct domains *domains = domain->owner;
    struct qmp_options options = {
        .path = domain->record.qmp,
        .greeting_timeout_ms = domains->options.greeting_timeout_ms,
        .command_timeout_ms = domains->options.command_timeout_ms,
        .crash = domains->crash,
    };

    if (domain->qmp)
        return;
    event_del(link->retry);
    domain->qmp = qmp_new(domains->base, &options, &handlers, link);
}

static void link_agent_up(void *arg)
{
    struct domain_link *link = arg;

    link->domain->owner->handlers->agent(link->domain->owner->handlers_arg, link->domain);
}

static void link_agent_down(void *arg, const struct error *why)
{
    struct domain_link *link = arg;

    log_debug("domain %s: agent: %s", link->domain->record.name, why->message);
    if (agent_has_answered(link->domain->agent))
        link->agent_retry_ms = RETRY_FIRST_MS;
    link->domain->agent = agent_free(link->domain->agent);
    if (link->domain->connected)
        link_later(link->agent_retry, &link->agent_retry_ms);
}

static void link_connect_agent(struct domain_link *link)
{
    static const struct agent_handlers handlers = {link_agent_up, link_agent_down};
    struct domain *domain = link->domain;

    if (!domain->record.agent || domain->agent || !domain->connected)
        return;
    event_del(link->agent_retry);
    domain->agent = agent_new(domain->owner->base, domain->record.agent, &handlers, link);
}

void link_renew_agent(struct domain_link *link)
{
    _cleanup_error_ struct error why = {0};

    error_set(&why, SNAPVM_ERROR_AGENT_UNAVAILABLE, "the agent's connection was made anew");
    error_text(&why, "reason", "connection renewed");
    link->domain->agent = agent_drop(link->domain->agent, &why);
    link_connect_agent(link);
}

void link_kick(struct domain_link *link)
{
    struct domain *domain = link->domain;

    if (domain->gone && domain->record.qemu.pid && process_alive(&domain->record.qemu))
        domain->gone = false; /* known from before the daemon started, and still there */
    link->retry_ms = RETRY_FIRST_MS;
    link_connect(link);
    link_connect_agent(link);
}
