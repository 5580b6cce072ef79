/* The tree of a domain's snapshots as metadata: forgotten, described in XML, put back. None of this
 * touches a guest or an image. A change is checked, made durable in one transaction with its events
 * and with what the request is remembered by, and then made in memory, all within one turn. */
#include <string.h>

#include "api/answer.h"
#include "api/call.h"
#include "api/claim.h"
#include "api/context.h"
#include "api/definition.h"
#include "api/handlers.h"
#include "api/overlay.h"
#include "api/request.h"
#include "api/turn.h"
#include "api/wire.h"
#include "base/clock.h"
#include "base/memory.h"
#include "domain/domains.h"
#include "domain/snapshot.h"
#include "job/engine.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"

static struct domain *domain_of(struct call *call)
{
    return domains_find(call_context(call)->domains, json_string(call_params(call), "domain"));
}

static void tell_current(struct journal_txn *txn, const struct domain *domain, const char *name)
{
    _cleanup_json_ json_object *body = json_object_new_object();

    json_add_string(body, "name", name);
    journal_set_current(txn, domain->record.name, name);
    journal_add_event(txn, "snapshot.current", domain->record.name, json_text(body));
}

/* --- snapshot.delete, of the metadata alone --- */

/* What is forgotten: the snapshot, all below it, or both. */
struct forgetting {
    struct call *call;
    bool itself, children;
    struct record_job job;
};

static void forgetting_free(struct forgetting *forgetting)
{
    record_job_deinit(&forgetting->job);
    free(forgetting);
}

/* The current one afterwards: the nearest that is left. */
static const char *current_without(const struct domain *domain, const struct snapshot *snapshot,
                                   const struct forgetting *forgetting)
{
    const struct snapshot *current = snapshot_find(domain, domain->record.current_snapshot);
    bool below = current != snapshot && current &&
                 snapshot_descends(domain, current, snapshot->record.name);

    if (!(current == snapshot ? forgetting->itself : below && forgetting->children))
        return domain->record.current_snapshot;
    return forgetting->itself ? snapshot->record.parent : snapshot->record.name;
}

static void forget_note(struct journal_txn *txn, const struct domain *domain, const char *name)
{
    _cleanup_json_ json_object *body = json_object_new_object();

    json_add_string(body, "name", name);
    journal_drop_snapshot(txn, domain->record.name, name);
    journal_add_event(txn, "snapshot.deleted", domain->record.name, json_text(body));
}

static void forget_note_tree(struct journal_txn *txn, const struct domain *domain,
                             struct snapshot *snapshot, const struct forgetting *forgetting)
{
    const char *current = current_without(domain, snapshot, forgetting);
    struct snapshot *below = snapshot;

    while (forgetting->children && (below = snapshot_next(domain, snapshot, below)))
        forget_note(txn, domain, below->record.name);
    if (forgetting->itself)
        forget_note(txn, domain, snapshot->record.name);
    if (forgetting->itself && !forgetting->children && snapshot->n_children > 0)
        journal_move_children(txn, domain->record.name, snapshot->record.name,
                              snapshot->record.parent);
    if (current != domain->record.current_snapshot)
        tell_current(txn, domain, current);
}

/* The work is done by one commit, so its job begins and ends with it. */
static void forget_note_job(struct journal_txn *txn, struct forgetting *forgetting)
{
    struct record_job *job = &forgetting->job;
    _cleanup_json_ json_object *body = json_object_new_object();

    job->ended = job->updated = job->created = clock_now();
    job->total = job->paused_us = job->frozen_us = -1;
    job->state = xstrdup("ended");
    job->step = xstrdup("forget");
    job->result = xstrdup("completed");
    job->evidence = xstrdup("query");
    journal_put_job(txn, job);
    json_object_object_add(body, "job", wire_job(job));
    journal_add_event(txn, "job.created", job->domain, json_text(body));
    journal_add_event(txn, "job.ended", job->domain, json_text(body));
    request_note_job(txn, forgetting->call, job->id);
}

static void forget_in_memory(struct domain *domain, struct snapshot *snapshot,
                             const struct forgetting *forgetting)
{
    _cleanup_free_ char *current = xstrdup(current_without(domain, snapshot, forgetting));

    /* A leaf each time: nothing moves up. */
    while (forgetting->children && snapshot->n_children > 0) {
        struct snapshot *leaf = TAILQ_FIRST(&snapshot->children);

        while (leaf->n_children > 0)
            leaf = TAILQ_FIRST(&leaf->children);
        snapshot_remove(domain, leaf);
    }
    if (forgetting->itself)
        snapshot_remove(domain, snapshot);
    xstrset(&domain->record.current_snapshot, current);
}

static void forgot(void *arg, const struct error *err)
{
    struct forgetting *forgetting = arg;
    struct call *call = forgetting->call;
    struct domain *domain = domain_of(call);

    turn_end(call);
    if (err) {
        call_error(call, err);
    } else {
        forget_in_memory(domain, snapshot_find(domain, forgetting->job.snapshot), forgetting);
        call_context(call)->engine->total++;
        request_started(call, forgetting->job.id);
        call_result(call, wire_job(&forgetting->job));
    }
    forgetting_free(forgetting);
}

static void forget_start(struct call *call, struct domain *domain, struct snapshot *snapshot)
{
    struct journal *journal = call_context(call)->journal;
    struct journal_txn *txn = journal_begin(journal);
    struct forgetting *forgetting = xzalloc(sizeof(*forgetting));
    const struct record_disk *first = domain->record.n_disks ? domain->record.disks : NULL;

    forgetting->call = call;
    forgetting->itself = !json_flag(call_params(call), "children_only", 0);
    forgetting->children = !forgetting->itself || json_flag(call_params(call), "children", 0);
    forgetting->job = (struct record_job){
        .id = journal_next_job(journal),
        .domain = xstrdup(domain->record.name),
        .kind = xstrdup("snapshot-delete"),
        .snapshot = xstrdup(snapshot->record.name),
        .request_id = xstrdup(json_string(call_params(call), "request_id")),
        .active = xstrdup(first && first->n_chain ? first->chain[0].file : NULL),
    };
    forget_note_tree(txn, domain, snapshot, forgetting);
    forget_note_job(txn, forgetting);
    turn_take(call);
    journal_commit(txn, "forget", forgot, forgetting);
}

static int delete_check(const struct domain *domain, json_object *params, struct error *err)
{
    if (json_flag(params, "children", 0) && json_flag(params, "children_only", 0)) {
        error_set(err, SNAPVM_ERROR_INVALID_PARAMS,
                  "children means the snapshot as well, children_only leaves it: say one of them");
        return error_text(err, "param", "children_only");
    }
    return turn_need_free(domain, err);
}

void snapshot_delete_handle(struct call *call)
{
    const char *name = json_string(call_params(call), "name");
    _cleanup_error_ struct error err = {0};
    struct snapshot *snapshot = NULL;
    struct domain *domain;

    if (turn_waits(call) || !answer_is_new(call, "ended"))
        return;
    domain = answer_need_domain(call);
    if (!domain)
        return;
    if (delete_check(domain, call_params(call), &err) == 0)
        snapshot = snapshot_need(domain, name, &err);
    if (!snapshot)
        call_error(call, &err);
    else if (json_flag(call_params(call), "metadata_only", 0))
        forget_start(call, domain, snapshot);
    else
        snapshot_delete_data(call, domain);
}

/* --- snapshot.xml --- */

static void xml_read(void *arg, const struct journal_document *documents, unsigned n,
                     const struct error *err)
{
    struct call *call = arg;
    _cleanup_error_ struct error gone = {0};
    struct domain *domain = answer_need_domain(call);
    struct snapshot *snapshot;
    json_object *result;

    if (!domain)
        return;
    snapshot = snapshot_need(domain, json_string(call_params(call), "name"), &gone);
    if (err || !snapshot) {
        call_error(call, err ? err : &gone);
        return;
    }
    result = json_object_new_object();
    {
        _cleanup_free_ char *xml =
            definition_xml(domain, &snapshot->record, n ? documents[0].xml : NULL);

        json_add_string(result, "xml", xml);
    }
    call_result(call, result);
}

void snapshot_xml_handle(struct call *call)
{
    const char *name = json_string(call_params(call), "name");
    _cleanup_error_ struct error err = {0};
    struct domain *domain = answer_need_domain(call);

    if (!domain)
        return;
    if (snapshot_need(domain, name, &err))
        journal_query_documents(call_context(call)->journal, domain->record.name, name, xml_read,
                                call);
    else
        call_error(call, &err);
}

/* --- snapshot.redefine --- */

struct redefining {
    struct call *call;
    struct definition definition;
    bool current; /* becomes the current one */
};

static void redefining_free(struct redefining *redefining)
{
    definition_deinit(&redefining->definition);
    free(redefining);
}

static void redefine_fail(struct redefining *redefining, const struct error *err)
{
    struct call *call = redefining->call;

    redefining_free(redefining);
    turn_end(call);
    call_error(call, err);
}

static json_object *redefined_result(const struct redefining *redefining,
                                     const struct domain *domain)
{
    const struct record_snapshot *record = &redefining->definition.record;
    const char *current = domain->record.current_snapshot;

    return wire_snapshot_record(record, snapshot_children(domain, record->name),
                                redefining->current ||
                                    (current && strcmp(current, record->name) == 0));
}

static void redefined(void *arg, const struct error *err)
{
    struct redefining *redefining = arg;
    struct call *call = redefining->call;
    struct domain *domain = domain_of(call);
    const char *name = redefining->definition.record.name;
    json_object *result;

    if (err) {
        redefine_fail(redefining, err);
        return;
    }
    result = redefined_result(redefining, domain);
    if (redefining->current)
        xstrset(&domain->record.current_snapshot, name);
    if (!snapshot_find(domain, name))
        snapshot_add(domain, &redefining->definition.record);
    redefining_free(redefining);
    turn_end(call);
    call_result(call, result);
}

static void redefine_store(struct redefining *redefining)
{
    struct call *call = redefining->call;
    const struct domain *domain = domain_of(call);
    const struct record_snapshot *record = &redefining->definition.record;
    struct journal_txn *txn = journal_begin(call_context(call)->journal);
    _cleanup_json_ json_object *result = redefined_result(redefining, domain);

    if (!snapshot_find(domain, record->name)) {
        _cleanup_free_ char *body = record_snapshot_event(record->name, record->quiesced);

        journal_put_snapshot(txn, record);
        if (redefining->definition.document)
            journal_put_document(txn, record->domain, record->name,
                                 redefining->definition.document);
        journal_add_event(txn, "snapshot.created", record->domain, body);
    }
    if (redefining->current)
        tell_current(txn, domain, record->name);
    request_note_result(txn, call, json_text(result));
    journal_commit(txn, "redefine", redefined, redefining);
}

static void redefine_looked(void *arg, const struct error *err)
{
    if (err)
        redefine_fail(arg, err);
    else
        redefine_store(arg);
}

static int exists_otherwise(const struct record_snapshot *there, const char *difference,
                            struct error *err)
{
    error_set(err, SNAPVM_ERROR_ALREADY_EXISTS,
              "domain %s has a snapshot \"%s\" already, and the two differ in %s; snapshot.delete "
              "with metadata_only forgets the one that is there",
              there->domain, there->name, difference);
    error_text(err, "object", "snapshot");
    return error_text(err, "name", there->name);
}

/* The one that is there has the same record. Whether it has the same document is seen when both are
 * written down for that record. */
static void redefine_compare(void *arg, const struct journal_document *documents, unsigned n,
                             const struct error *err)
{
    struct redefining *redefining = arg;
    const struct domain *domain = domain_of(redefining->call);
    const struct record_snapshot *there =
        &snapshot_find(domain, redefining->definition.record.name)->record;
    _cleanup_error_ struct error other = {0};
    _cleanup_free_ char *old = NULL, *new = NULL;

    if (!err) {
        old = definition_xml(domain, there, n ? documents[0].xml : NULL);
        new = definition_xml(domain, there, redefining->definition.document);
        if (strcmp(old, new) != 0)
            exists_otherwise(there, "what their XML says beside it", &other);
    }
    if (err || other.code)
        redefine_fail(redefining, err ? err : &other);
    else
        redefine_store(redefining);
}

static int redefine_check_parent(const struct domain *domain, const struct record_snapshot *record,
                                 struct error *err)
{
    const struct snapshot *parent;

    if (!record->parent)
        return 0;
    parent = snapshot_find(domain, record->parent);
    if (strcmp(record->parent, record->name) == 0 ||
        (parent && snapshot_descends(domain, parent, record->name))) {
        error_set(err, SNAPVM_ERROR_INVALID_PARAMS,
                  "\"%s\" cannot be the parent of \"%s\", from which it descends: that would be a "
                  "circle",
                  record->parent, record->name);
        return error_text(err, "param", "parent");
    }
    if (parent)
        return 0;
    error_set(err, SNAPVM_ERROR_NOT_FOUND,
              "domain %s has no snapshot \"%s\", which is to be the parent of \"%s\"; redefine "
              "that one first",
              domain->record.name, record->parent, record->name);
    error_text(err, "object", "snapshot");
    return error_text(err, "name", record->parent);
}

static int redefine_read(struct domain *domain, json_object *params, struct definition *definition,
                         struct error *err)
{
    const char *xml = json_string(params, "xml"), *difference;
    const struct snapshot *there;
    int r =
        xml ? definition_from_xml(domain, xml, json_flag(params, "validate", 0), definition, err)
            : definition_from_json(domain, json_sub(params, "snapshot"), "snapshot", definition,
                                   err);

    if (r < 0 || redefine_check_parent(domain, &definition->record, err) < 0)
        return -1;
    there = snapshot_find(domain, definition->record.name);
    definition_complete(definition, there ? &there->record : NULL);
    difference = there ? definition_difference(definition, &there->record) : NULL;
    return difference ? exists_otherwise(&there->record, difference, err) : 0;
}

static int redefine_check_validate(json_object *params, struct error *err)
{
    if (!json_flag(params, "validate", 0) || json_string(params, "xml"))
        return 0;
    error_set(err, SNAPVM_ERROR_INVALID_PARAMS,
              "only XML is held against a schema: give xml, or leave validate out");
    return error_text(err, "param", "validate");
}

/* What is claimed here is gone back to, merged and removed later on, by the daemon and with its
 * rights: those of an operator end at the images of the domain and at image_dirs. */
static int redefine_check_folders(const struct call *call, const struct domain *domain,
                                  const struct record_snapshot *record, struct error *err)
{
    const struct conf *conf = call_context(call)->conf;

    if (call_role(call) == ROLE_ADMIN || snapshot_find(domain, record->name))
        return 0;
    for (unsigned i = 0; i < record->n_disks; i++) {
        const struct record_snapshot_disk *disk = &record->disks[i];

        if ((disk->file && overlay_check_claim(conf, domain, disk->file, err) < 0) ||
            (disk->backing && overlay_check_claim(conf, domain, disk->backing, err) < 0))
            return -1;
    }
    return record->memory_file ? overlay_check_claim(conf, domain, record->memory_file, err) : 0;
}

/* By itself it becomes the current one only where the current one is its parent. */
static bool redefine_makes_current(const struct domain *domain, const char *name,
                                   const char *parent, json_object *params)
{
    const char *current = domain->record.current_snapshot;
    bool is_parent = current && parent && strcmp(current, parent) == 0;

    if (current && strcmp(current, name) == 0)
        return false;
    return json_flag(params, "current", is_parent && !snapshot_find(domain, name));
}

static void redefine_start(struct call *call, struct domain *domain, struct definition *definition)
{
    struct daemon_context *context = call_context(call);
    struct redefining *redefining = xzalloc(sizeof(*redefining));
    const struct record_snapshot *record = &definition->record;
    struct claims *claims;

    redefining->call = call;
    redefining->definition = *definition;
    redefining->current =
        redefine_makes_current(domain, record->name, record->parent, call_params(call));
    *definition = (struct definition){0};
    record = &redefining->definition.record;
    turn_take(call);
    if (!snapshot_find(domain, record->name)) {
        claims = claims_new(domain);
        claims_add(claims, &redefining->definition);
        claims_check(claims, context->worker, redefine_looked, redefining);
    } else if (redefining->definition.document) {
        journal_query_documents(context->journal, record->domain, record->name, redefine_compare,
                                redefining);
    } else {
        redefine_store(redefining);
    }
}

void snapshot_redefine_handle(struct call *call)
{
    _cleanup_(definition_deinit) struct definition definition = {0};
    _cleanup_error_ struct error err = {0};
    struct domain *domain;
    int64_t job;

    if (turn_waits(call) || request_begin(call, &job) != REQUEST_NEW)
        return;
    domain = answer_need_domain(call);
    if (!domain)
        return;
    if (turn_need_free(domain, &err) < 0 || redefine_check_validate(call_params(call), &err) < 0 ||
        redefine_read(domain, call_params(call), &definition, &err) < 0 ||
        redefine_check_folders(call, domain, &definition.record, &err) < 0)
        call_error(call, &err);
    else
        redefine_start(call, domain, &definition);
}
