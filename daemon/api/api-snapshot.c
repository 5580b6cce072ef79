/* snapshot.list, get and current: read from memory. */
#include <limits.h>
#include <string.h>

#include "api/answer.h"
#include "api/call.h"
#include "api/context.h"
#include "api/handlers.h"
#include "api/list.h"
#include "api/request.h"
#include "api/turn.h"
#include "api/wire.h"
#include "base/memory.h"
#include "domain/domains.h"
#include "domain/snapshot.h"
#include "journal/journal.h"

static bool list_wants(const struct snapshot *snapshot, json_object *params)
{
    const char *location = json_string(params, "location");

    if (json_flag(params, "roots", 0) && snapshot->parent)
        return false;
    if (json_flag(params, "leaves", 0) && snapshot->n_children > 0)
        return false;
    return !location || strcmp(location, snapshot_location(snapshot)) == 0;
}

/* What a list goes through: all, or all below one; by the tree or by the time of creation. */
struct listing {
    struct domain *domain;
    const struct snapshot *top; /* NULL: all */
    bool by_tree;
};

static struct snapshot *listing_next(const struct listing *listing, struct snapshot *at)
{
    if (listing->by_tree)
        return snapshot_next(listing->domain, listing->top, at);
    do
        at = at ? TAILQ_NEXT(at, link) : TAILQ_FIRST(&listing->domain->snapshots);
    while (
        at && listing->top &&
        (at == listing->top || !snapshot_descends(listing->domain, at, listing->top->record.name)));
    return at;
}

static json_object *list_answer(const struct listing *listing, struct snapshot *after,
                                json_object *params)
{
    json_object *result = json_object_new_object();
    long long left = json_int(params, "limit", LLONG_MAX);
    struct list list;
    struct snapshot *at = after;

    if (!at && listing->by_tree)
        at = (struct snapshot *)listing->top;
    list_begin(&list);
    while (left > 0 && (at = listing_next(listing, at)))
        if (list_wants(at, params)) {
            wire_snapshot_text(list_next(&list), listing->domain, at);
            left--;
        }
    json_object_object_add(result, "snapshots", list_end(&list));
    json_add_string(result, "current", listing->domain->record.current_snapshot);
    return result;
}

void snapshot_list_handle(struct call *call)
{
    json_object *params = call_params(call);
    const char *parent = json_string(params, "parent"), *after = json_string(params, "after");
    struct listing listing = {.by_tree = json_flag(params, "topological", 0)};
    _cleanup_error_ struct error err = {0};
    struct snapshot *behind = NULL;

    listing.domain = answer_need_domain(call);
    if (!listing.domain)
        return;
    if (parent)
        listing.top = snapshot_need(listing.domain, parent, &err);
    if (after && !err.code)
        behind = snapshot_need(listing.domain, after, &err);
    if (err.code)
        call_error(call, &err);
    else
        call_result(call, list_answer(&listing, behind, params));
}

void snapshot_get_handle(struct call *call)
{
    struct domain *domain = answer_need_domain(call);
    _cleanup_error_ struct error err = {0};
    struct snapshot *snapshot;

    if (!domain)
        return;
    snapshot = snapshot_need(domain, json_string(call_params(call), "name"), &err);
    if (snapshot)
        call_result(call, wire_snapshot(domain, snapshot));
    else
        call_error(call, &err);
}

static json_object *current_result(const char *name)
{
    json_object *result = json_object_new_object();

    json_add_string(result, "name", name);
    return result;
}

static void current_stored(void *arg, const struct error *err)
{
    struct call *call = arg;
    const char *name = json_string(call_params(call), "name");
    struct domain *domain =
        domains_find(call_context(call)->domains, json_string(call_params(call), "domain"));

    turn_end(call);
    if (err) {
        call_error(call, err);
        return;
    }
    if (domain)
        xstrset(&domain->record.current_snapshot, name);
    call_result(call, current_result(name));
}

static void current_set(struct call *call, struct domain *domain, const char *name)
{
    _cleanup_error_ struct error err = {0};
    _cleanup_json_ json_object *result = current_result(name);
    struct journal_txn *txn;

    if (turn_need_free(domain, &err) < 0 || !snapshot_need(domain, name, &err)) {
        call_error(call, &err);
        return;
    }
    turn_take(call);
    txn = journal_begin(call_context(call)->journal);
    journal_set_current(txn, domain->record.name, name);
    journal_add_event(txn, "snapshot.current", domain->record.name, json_text(result));
    request_note_result(txn, call, json_text(result));
    journal_commit(txn, "current", current_stored, call);
}

void snapshot_current_handle(struct call *call)
{
    const char *name = json_string(call_params(call), "name");
    struct domain *domain;
    int64_t job;

    if (name && (turn_waits(call) || request_begin(call, &job) != REQUEST_NEW))
        return;
    domain = answer_need_domain(call);
    if (!domain)
        return;
    if (name)
        current_set(call, domain, name);
    else
        call_result(call, current_result(domain->record.current_snapshot));
}
