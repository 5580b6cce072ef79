/* domain.*: who the guests are, and what their disks are. */
#include <string.h>

#include "api/answer.h"
#include "api/call.h"
#include "api/context.h"
#include "api/handlers.h"
#include "api/request.h"
#include "api/turn.h"
#include "api/wire.h"
#include "base/memory.h"
#include "domain/domains.h"
#include "domain/shutoff.h"
#include "domain/snapshot.h"
#include "job/check.h"
#include "job/debt.h"
#include "job/job.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "xml/domain-xml.h"
#include "xml/snapshot-xml.h"

static int bad_param(struct error *err, const char *param, const char *sentence)
{
    error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "%s", sentence);
    return error_text(err, "param", param);
}

/* --- domain.define --- */

static struct record_disk *define_disk(struct record_domain *record, const char *target,
                                       struct error *err)
{
    for (unsigned i = 0; i < record->n_disks; i++)
        if (strcmp(record->disks[i].target, target) == 0) {
            bad_param(err, "disks", "a disk's target is named twice");
            return NULL;
        }
    return record_domain_add_disk(record, target);
}

static int define_disks(struct record_domain *record, json_object *disks, struct error *err)
{
    for (size_t i = 0; disks && i < json_object_array_length(disks); i++) {
        json_object *from = json_object_array_get_idx(disks, i);
        const char *target = json_string(from, "target"), *file = json_string(from, "file");
        struct record_disk *disk;

        if (!domains_valid_name(target))
            return bad_param(err, "disks", "a target is letters, digits, '.', '_' and '-'");
        if (file && file[0] != '/')
            return bad_param(err, "disks", "a disk's file is an absolute path");
        disk = define_disk(record, target, err);
        if (!disk)
            return -1;
        xstrset(&disk->node, json_string(from, "node"));
        xstrset(&disk->format, json_string(from, "format"));
        if (file)
            record_disk_add_layer(disk, file, json_string(from, "format"));
    }
    return 0;
}

static int define_from_xml(struct record_domain *record, const char *xml, struct error *err)
{
    _cleanup_(domain_def_deinit) struct domain_def def;

    domain_def_init(&def);
    if (domain_xml_read(xml, strlen(xml), &def, err) < 0)
        return -1;
    record->document = snapshot_xml_of_domain(xml, strlen(xml));
    record->name = TAKE_PTR(def.name);
    record->uuid = TAKE_PTR(def.uuid);
    record->qmp = TAKE_PTR(def.qmp);
    record->agent = TAKE_PTR(def.agent);
    for (size_t i = 0; i < def.n_disks; i++) {
        struct record_disk *disk = define_disk(record, def.disks[i].target, err);

        if (!disk)
            return -1;
        disk->read_only = def.disks[i].read_only;
        xstrset(&disk->format, def.disks[i].format);
        if (def.disks[i].file)
            record_disk_add_layer(disk, def.disks[i].file, def.disks[i].format);
    }
    return 0;
}

static int define_read(struct record_domain *record, json_object *params, struct error *err)
{
    const char *xml = json_string(params, "xml");

    if (xml && define_from_xml(record, xml, err) < 0)
        return -1;
    /* What libvirt's description does not say (its own monitor is no place for others) may stand
     * beside it. */
    if (json_string(params, "name"))
        xstrset(&record->name, json_string(params, "name"));
    if (json_string(params, "uuid"))
        xstrset(&record->uuid, json_string(params, "uuid"));
    if (json_string(params, "qmp"))
        xstrset(&record->qmp, json_string(params, "qmp"));
    if (json_string(params, "agent"))
        xstrset(&record->agent, json_string(params, "agent"));
    if (!record->name || !domains_valid_name(record->name))
        return bad_param(err, "name",
                         "a domain's name is 1 to 64 letters, digits, '.', '_' and '-', and begins "
                         "with a letter or a digit");
    if (!record->qmp || record->qmp[0] != '/')
        return bad_param(err, "qmp", "the absolute path of the QMP socket is needed");
    if (record->agent && record->agent[0] != '/')
        return bad_param(err, "agent", "the agent's socket is an absolute path");
    return define_disks(record, json_array(params, "disks"), err);
}

struct defining {
    struct call *call;
    struct domain *domain;
    bool added;
};

static void defined(void *arg, const struct error *err)
{
    struct defining *defining = arg;
    struct call *call = defining->call;
    struct domains *domains = call_context(call)->domains;

    if (err && defining->added)
        domains_remove(domains, defining->domain);
    if (err)
        call_error(call, err);
    else
        call_result(call, wire_domain(defining->domain));
    free(defining);
}

static void define_store(struct call *call, struct domain *domain, bool added)
{
    struct journal_txn *txn = journal_begin(call_context(call)->journal);
    struct defining *defining = xzalloc(sizeof(*defining));
    _cleanup_json_ json_object *result = wire_domain(domain);

    *defining = (struct defining){.call = call, .domain = domain, .added = added};
    if (added)
        journal_add_event(txn, "domain.defined", domain->record.name, "{\"origin\":\"defined\"}");
    domain_save(domain, txn);
    if (added && domain->record.document)
        journal_put_domain_document(txn, domain->record.name, domain->record.document);
    request_note_result(txn, call, json_text(result));
    journal_commit(txn, "define", defined, defining);
}

struct definition_read {
    struct call *call;
    struct record_domain record;
};

/* With what the headers say lies below the images, so that it is known before a QEMU was seen. */
static void define_looked(void *arg, struct shutoff *files)
{
    struct definition_read *read = arg;
    _cleanup_error_ struct error err = {0};
    struct domain *domain;
    bool added;

    shutoff_fill_all(files, &read->record);
    domain = domains_define(files->domains, &read->record, &added, &err);
    if (domain)
        define_store(read->call, domain, added);
    else
        call_error(read->call, &err);
    record_domain_deinit(&read->record);
    free(read);
}

void domain_define_handle(struct call *call)
{
    struct definition_read *read;
    _cleanup_error_ struct error err = {0};
    int64_t job;

    if (request_begin(call, &job) != REQUEST_NEW)
        return;
    read = xzalloc(sizeof(*read));
    read->call = call;
    if (define_read(&read->record, call_params(call), &err) == 0) {
        shutoff_look_at(call_context(call)->domains, &read->record, define_looked, read);
        return;
    }
    call_error(call, &err);
    record_domain_deinit(&read->record);
    free(read);
}

/* --- domain.undefine --- */

static int undefine_check(const struct domain *domain, bool forget, struct error *err)
{
    const struct job *job = TAILQ_FIRST(&domain->jobs);
    unsigned n = snapshot_count(domain);

    if (job) {
        error_set(err, SNAPVM_ERROR_BUSY, "job %lld of domain %s is active; wait for its end",
                  (long long)job->record.id, domain->record.name);
        return error_number(err, "job", job->record.id);
    }
    if ((domain->debt || domain->freezing) && !domain->gone) {
        error_set(err, SNAPVM_ERROR_INVALID_STATE,
                  "domain %s is frozen, or owed a thaw that is collected as soon as its agent "
                  "answers; guest.thaw ends a lease",
                  domain->record.name);
        return error_text(err, "state", domain_freeze_name(domain));
    }
    if (n == 0 || forget)
        return 0;
    error_set(err, SNAPVM_ERROR_HAS_SNAPSHOTS,
              "domain %s has %u snapshots; say snapshots: \"forget\" to drop their metadata",
              domain->record.name, n);
    return error_number(err, "count", n);
}

static void undefined(void *arg, const struct error *err)
{
    struct call *call = arg;
    struct domains *domains = call_context(call)->domains;
    struct domain *domain;

    turn_end(call);
    if (err) {
        call_error(call, err);
        return;
    }
    domain = domains_find(domains, json_string(call_params(call), "domain"));
    if (domain) {
        domain_disconnect(domain);
        debt_forget(domain);
        check_forget(call_context(call)->engine, domain);
        domains_remove(domains, domain);
    }
    call_result(call, json_object_new_object());
}

void domain_undefine_handle(struct call *call)
{
    _cleanup_error_ struct error err = {0};
    const char *snapshots = json_string(call_params(call), "snapshots");
    struct domain *domain;
    struct journal_txn *txn;
    int64_t job;

    if (turn_waits(call) || request_begin(call, &job) != REQUEST_NEW)
        return;
    domain = answer_need_domain(call);
    if (!domain)
        return;
    if (undefine_check(domain, snapshots && strcmp(snapshots, "forget") == 0, &err) < 0) {
        call_error(call, &err);
        return;
    }
    turn_take(call);
    txn = journal_begin(call_context(call)->journal);
    journal_drop_domain(txn, domain->record.name);
    journal_add_event(txn, "domain.undefined", domain->record.name, NULL);
    request_note_result(txn, call, "{}");
    journal_commit(txn, "undefine", undefined, call);
}

/* --- reading --- */

void domain_list_handle(struct call *call)
{
    json_object *result = json_object_new_object(), *array = json_object_new_array();
    struct domain *domain, *next;

    HASH_ITER (hh, call_context(call)->domains->map, domain, next) {
        json_object_array_add(array, wire_domain(domain));
    }
    json_object_object_add(result, "domains", array);
    call_result(call, result);
}

void domain_get_handle(struct call *call)
{
    struct domain *domain = answer_need_domain(call);

    if (domain && !answer_waits_settled(call, domain))
        call_result(call, wire_domain(domain));
}

void domain_blockdev_handle(struct call *call)
{
    struct domain *domain = answer_need_domain(call);
    json_object *result, *array;

    if (!domain || answer_waits_settled(call, domain))
        return;
    result = json_object_new_object();
    array = json_object_new_array();
    for (unsigned i = 0; i < domain->record.n_disks; i++) {
        const struct record_disk *disk = &domain->record.disks[i];
        json_object *object;

        if (disk->n_chain == 0)
            continue;
        object = json_object_new_object();
        json_add_string(object, "target", disk->target);
        json_object_object_add(object, "blockdev", wire_blockdev(domain, disk));
        json_object_array_add(array, object);
    }
    json_object_object_add(result, "disks", array);
    call_result(call, result);
}
