/* A domain's whole snapshot tree as one bundle, and back: what moves with a guest to another host.
 * The bundle has the snapshots as snapshot.get tells them, without what the tree itself tells, in
 * the order of the tree, each with its description in XML. The same tree is the same text.
 *
 * An import is checked whole, looks at the images that it can see, and is one commit. */
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "api/answer.h"
#include "api/call.h"
#include "api/claim.h"
#include "api/context.h"
#include "api/definition.h"
#include "api/handlers.h"
#include "api/list.h"
#include "api/request.h"
#include "api/turn.h"
#include "api/wire.h"
#include "base/memory.h"
#include "domain/description.h"
#include "domain/domains.h"
#include "domain/snapshot.h"
#include "journal/journal.h"
#include "proto/snapvm-errors.h"
#include "xml/snapshot-xml.h"

#define BUNDLE_VERSION 1
#define PATH_SIZE 64

static int bad(struct error *err, const char *param, const char *sentence)
{
    error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "%s: %s", param, sentence);
    return error_text(err, "param", param);
}

/* --- snapshot.export --- */

/* The document of a snapshot among those of its domain, which are sorted by name as bytes. */
static const char *find_document(const struct journal_document *documents, unsigned n,
                                 const char *snapshot)
{
    unsigned from = 0;

    while (from < n) {
        unsigned middle = from + (n - from) / 2;
        int order = strcmp(documents[middle].snapshot, snapshot);

        if (order == 0)
            return documents[middle].xml;
        if (order < 0)
            from = middle + 1;
        else
            n = middle;
    }
    return NULL;
}

/* What snapshot.get tells of the tree around a snapshot. */
static const char *const told_by_the_tree[] = {"domain", "children", "current", "location"};

#define N_TOLD (sizeof(told_by_the_tree) / sizeof(told_by_the_tree[0]))

static json_object *bundle_snapshot(const struct domain *domain, const struct snapshot *snapshot,
                                    const char *document)
{
    _cleanup_free_ char *described = document ? NULL : description_make(domain, &snapshot->record);
    json_object *object = wire_snapshot(domain, snapshot);

    for (size_t i = 0; i < N_TOLD; i++)
        json_object_object_del(object, told_by_the_tree[i]);
    json_add_string(object, "xml", document ? document : described);
    return object;
}

static void export_read(void *arg, const struct journal_document *documents, unsigned n,
                        const struct error *err)
{
    struct call *call = arg;
    struct domain *domain;
    struct snapshot *at = NULL;
    json_object *bundle;
    struct list list;

    if (err) {
        call_error(call, err);
        return;
    }
    domain = answer_need_domain(call);
    if (!domain)
        return;
    list_begin(&list);
    while ((at = snapshot_next(domain, NULL, at)))
        list_add(&list, bundle_snapshot(domain, at, find_document(documents, n, at->record.name)));
    bundle = json_object_new_object();
    json_add_int(bundle, "version", BUNDLE_VERSION);
    json_add_string(bundle, "domain", domain->record.name);
    json_add_string(bundle, "current", domain->record.current_snapshot);
    json_object_object_add(bundle, "snapshots", list_end(&list));
    call_result(call, bundle);
}

void snapshot_export_handle(struct call *call)
{
    struct domain *domain = answer_need_domain(call);

    if (domain)
        journal_query_documents(call_context(call)->journal, domain->record.name, NULL, export_read,
                                call);
}

/* --- snapshot.import: the bundle --- */

struct entry {
    UT_hash_handle hh; /* import::by_name */
    struct definition definition;
    size_t seen; /* by which walk up the tree, 0: none */
};

/* A file that the bundle names, as it is called here. */
struct mapped {
    UT_hash_handle hh; /* import::mapped, by path */
    char *path, *there;
};

struct import {
    struct call *call;
    struct entry *entries;
    size_t n_entries;
    struct entry *by_name;
    struct mapped *mapped;
    char *current;
    json_object *paths; /* of the call; NULL: none */
    bool there;         /* the same tree is there already */
};

static void import_free(struct import *import)
{
    struct mapped *mapped, *next;

    HASH_ITER (hh, import->mapped, mapped, next) {
        HASH_DEL(import->mapped, mapped);
        free(mapped->path);
        free(mapped->there);
        free(mapped);
    }
    HASH_CLEAR(hh, import->by_name);
    for (size_t i = 0; i < import->n_entries; i++)
        definition_deinit(&import->entries[i].definition);
    free(import->entries);
    free(import->current);
    free(import);
}

static size_t folder_size(const char *folder)
{
    size_t size = strlen(folder);

    while (size > 0 && folder[size - 1] == '/')
        size--;
    return size;
}

/* The path with the first prefix that fits it changed; NULL where none does. Folders are prefixes
 * as a whole: /srv/a is none of /srv/ab. */
static char *import_map(void *arg, const char *path)
{
    const struct import *import = arg;

    for (size_t i = 0; import->paths && i < json_object_array_length(import->paths); i++) {
        json_object *pair = json_object_array_get_idx(import->paths, i);
        const char *from = json_string(pair, "from"), *to = json_string(pair, "to");
        size_t size = folder_size(from);

        if (strncmp(path, from, size) == 0 && (path[size] == '\0' || path[size] == '/'))
            return xasprintf("%.*s%s", (int)folder_size(to), to, path + size);
    }
    return NULL;
}

/* Two files there that are one here: whatever is in it, it is not both. */
static int import_note_path(struct import *import, const char *path, const char *there,
                            struct error *err)
{
    struct mapped *mapped;

    HASH_FIND_STR(import->mapped, path, mapped);
    if (mapped && strcmp(mapped->there, there) != 0) {
        error_set(err, SNAPVM_ERROR_INVALID_PARAMS,
                  "paths: %s and %s would both be %s; give each a folder of its own", mapped->there,
                  there, path);
        return error_text(err, "param", "paths");
    }
    if (mapped)
        return 0;
    mapped = xzalloc(sizeof(*mapped));
    mapped->path = xstrdup(path);
    mapped->there = xstrdup(there);
    HASH_ADD_KEYPTR(hh, import->mapped, mapped->path, strlen(mapped->path), mapped);
    return 0;
}

static int map_text(struct import *import, char **path, struct error *err)
{
    char *there = *path;

    if (!there)
        return 0;
    *path = import_map(import, there);
    if (!*path)
        *path = xstrdup(there);
    if (import_note_path(import, *path, there, err) < 0) {
        free(there);
        return -1;
    }
    free(there);
    return 0;
}

static int import_map_entry(struct import *import, struct definition *definition, struct error *err)
{
    struct record_snapshot *record = &definition->record;
    char *document;

    if (!import->paths)
        return 0;
    if (map_text(import, &record->memory_file, err) < 0)
        return -1;
    for (unsigned i = 0; i < record->n_disks; i++)
        if (map_text(import, &record->disks[i].file, err) < 0 ||
            map_text(import, &record->disks[i].backing, err) < 0)
            return -1;
    if (!definition->document)
        return 0;
    document = snapshot_xml_map_paths(definition->document, import_map, import);
    free(definition->document);
    definition->document = document;
    return 0;
}

static int import_check_paths(json_object *paths, struct error *err)
{
    for (size_t i = 0; paths && i < json_object_array_length(paths); i++) {
        json_object *pair = json_object_array_get_idx(paths, i);

        if (json_string(pair, "from")[0] != '/' || json_string(pair, "to")[0] != '/')
            return bad(err, "paths", "each is changed from one absolute path to another");
    }
    return 0;
}

/* The tree is told by the parents and by bundle.current: an entry that tells it as well might say
 * something else. */
static int import_check_entry(json_object *object, const char *path, struct error *err)
{
    for (size_t i = 0; json_object_is_type(object, json_type_object) && i < N_TOLD; i++) {
        _cleanup_free_ char *param = xasprintf("%s.%s", path, told_by_the_tree[i]);

        if (json_object_object_get_ex(object, told_by_the_tree[i], NULL))
            return bad(err, param, "the bundle as a whole tells this; leave it out");
    }
    return 0;
}

static int import_read_entry(struct import *import, struct domain *domain, json_object *object,
                             struct error *err)
{
    struct entry *entry = &import->entries[import->n_entries], *same;
    char path[PATH_SIZE];

    snprintf(path, sizeof(path), "bundle.snapshots[%zu]", import->n_entries);
    if (import_check_entry(object, path, err) < 0 ||
        definition_from_json(domain, object, path, &entry->definition, err) < 0)
        return -1;
    import->n_entries++;
    definition_complete(&entry->definition, NULL);
    if (import_map_entry(import, &entry->definition, err) < 0)
        return -1;
    HASH_FIND_STR(import->by_name, entry->definition.record.name, same);
    if (same) {
        error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "%s: the bundle has another snapshot \"%s\"",
                  path, entry->definition.record.name);
        return error_text(err, "param", path);
    }
    HASH_ADD_KEYPTR(hh, import->by_name, entry->definition.record.name,
                    strlen(entry->definition.record.name), entry);
    return 0;
}

static int import_circle(const char *child, struct error *err)
{
    error_set(err, SNAPVM_ERROR_INVALID_PARAMS,
              "bundle: the parents of snapshot \"%s\" make a circle", child);
    return error_text(err, "param", "bundle");
}

/* Each walk up ends at a root, or where an earlier one has been; one that meets itself is a
 * circle. */
static int import_check_tree(struct import *import, struct error *err)
{
    for (size_t i = 0; i < import->n_entries; i++) {
        struct entry *entry = &import->entries[i];

        while (!entry->seen) {
            const char *parent = entry->definition.record.parent;
            const char *child = entry->definition.record.name;

            entry->seen = i + 1;
            if (!parent)
                break;
            HASH_FIND_STR(import->by_name, parent, entry);
            if (!entry) {
                error_set(err, SNAPVM_ERROR_NOT_FOUND,
                          "the bundle does not have the snapshot \"%s\", which is the parent of "
                          "\"%s\"",
                          parent, child);
                error_text(err, "object", "snapshot");
                return error_text(err, "name", parent);
            }
            if (entry->seen == i + 1)
                return import_circle(child, err);
        }
    }
    return 0;
}

static int import_check_current(struct import *import, struct error *err)
{
    struct entry *entry = NULL;

    if (import->current)
        HASH_FIND_STR(import->by_name, import->current, entry);
    if (entry || !import->current)
        return 0;
    error_set(err, SNAPVM_ERROR_INVALID_PARAMS,
              "bundle.current: the bundle does not have the snapshot \"%s\"", import->current);
    return error_text(err, "param", "bundle.current");
}

static int import_check_bundle(json_object *bundle, struct error *err)
{
    json_object *current = json_member(bundle, "current"), *of = json_member(bundle, "domain");

    json_object_object_foreach (bundle, name, value) {
        if (strcmp(name, "version") != 0 && strcmp(name, "domain") != 0 &&
            strcmp(name, "current") != 0 && strcmp(name, "snapshots") != 0) {
            error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "bundle.%s is not known here", name);
            return error_text(err, "param", "bundle");
        }
        (void)value;
    }
    if (json_int(bundle, "version", 0) != BUNDLE_VERSION)
        return bad(err, "bundle.version", "this is no bundle of version 1");
    if (!json_array(bundle, "snapshots"))
        return bad(err, "bundle.snapshots", "the bundle has no list of snapshots");
    if (current && !json_object_is_type(current, json_type_string))
        return bad(err, "bundle.current", "this has to be the name of a snapshot or null");
    if (of && !json_object_is_type(of, json_type_string))
        return bad(err, "bundle.domain", "this has to be the name of a domain");
    return 0;
}

static int import_read(struct import *import, struct domain *domain, struct error *err)
{
    json_object *params = call_params(import->call), *bundle = json_sub(params, "bundle");
    json_object *snapshots = json_array(bundle, "snapshots");
    size_t n = snapshots ? json_object_array_length(snapshots) : 0;

    import->paths = json_array(params, "paths");
    if (import_check_bundle(bundle, err) < 0 || import_check_paths(import->paths, err) < 0)
        return -1;
    import->current = xstrdup(json_string(bundle, "current"));
    import->entries = xzalloc((n + 1) * sizeof(*import->entries));
    for (size_t i = 0; i < n; i++)
        if (import_read_entry(import, domain, json_object_array_get_idx(snapshots, i), err) < 0)
            return -1;
    if (import_check_tree(import, err) < 0)
        return -1;
    return import_check_current(import, err);
}

/* --- snapshot.import: what is there --- */

static bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

/* Whether all records of the domain are those of the bundle, and the other way round. */
static bool import_is_there(const struct import *import, const struct domain *domain)
{
    if (snapshot_count(domain) != import->n_entries ||
        !same_text(domain->record.current_snapshot, import->current))
        return false;
    for (size_t i = 0; i < import->n_entries; i++) {
        const struct definition *definition = &import->entries[i].definition;
        const struct snapshot *there = snapshot_find(domain, definition->record.name);

        if (!there || definition_difference(definition, &there->record))
            return false;
    }
    return true;
}

static int has_snapshots(const struct domain *domain, struct error *err)
{
    error_set(err, SNAPVM_ERROR_HAS_SNAPSHOTS,
              "domain %s has %u snapshots, and they are not those of the bundle; an import is not "
              "mixed with others: snapshot.delete with metadata_only and children forgets them",
              domain->record.name, snapshot_count(domain));
    return error_number(err, "count", snapshot_count(domain));
}

/* --- snapshot.import: the change --- */

static struct domain *import_domain(const struct import *import)
{
    return domains_find(call_context(import->call)->domains,
                        json_string(call_params(import->call), "domain"));
}

static void import_fail(struct import *import, const struct error *err)
{
    struct call *call = import->call;

    import_free(import);
    turn_end(call);
    call_error(call, err);
}

static int entry_order(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    return snapshot_order(&x->definition.record, &y->definition.record);
}

/* In whatever order the bundle had them. */
static void import_in_memory(struct import *import, struct domain *domain)
{
    HASH_CLEAR(hh, import->by_name); /* the entries are moved, and their names go into the tree */
    qsort(import->entries, import->n_entries, sizeof(*import->entries), entry_order);
    for (size_t i = 0; i < import->n_entries && !import->there; i++)
        snapshot_add(domain, &import->entries[i].definition.record);
    snapshots_link(domain);
    xstrset(&domain->record.current_snapshot, import->current);
}

static void imported(void *arg, const struct error *err)
{
    struct import *import = arg;
    struct domain *domain = import_domain(import);
    struct call *call = import->call;

    if (err) {
        import_fail(import, err);
        return;
    }
    import_in_memory(import, domain);
    import_free(import);
    turn_end(call);
    call_result(call, json_object_new_object());
}

static void import_note(struct journal_txn *txn, const struct definition *definition)
{
    const struct record_snapshot *record = &definition->record;
    _cleanup_free_ char *body = record_snapshot_event(record->name, record->quiesced);

    journal_put_snapshot(txn, record);
    if (definition->document)
        journal_put_document(txn, record->domain, record->name, definition->document);
    journal_add_event(txn, "snapshot.created", record->domain, body);
}

static void import_store(struct import *import)
{
    const char *domain = import_domain(import)->record.name;
    struct journal_txn *txn = journal_begin(call_context(import->call)->journal);
    _cleanup_json_ json_object *body = json_object_new_object();

    for (size_t i = 0; i < import->n_entries && !import->there; i++)
        import_note(txn, &import->entries[i].definition);
    if (import->current && !import->there) {
        json_add_string(body, "name", import->current);
        journal_set_current(txn, domain, import->current);
        journal_add_event(txn, "snapshot.current", domain, json_text(body));
    }
    request_note_result(txn, import->call, "{}");
    journal_commit(txn, "import", imported, import);
}

static void import_looked(void *arg, const struct error *err)
{
    if (err)
        import_fail(arg, err);
    else
        import_store(arg);
}

/* The records are the same: the documents must be, too. */
static void import_compare(void *arg, const struct journal_document *documents, unsigned n,
                           const struct error *err)
{
    struct import *import = arg;
    const struct domain *domain = import_domain(import);
    _cleanup_error_ struct error other = {0};

    for (size_t i = 0; i < import->n_entries && !err && !other.code; i++) {
        const struct definition *definition = &import->entries[i].definition;
        const char *there = find_document(documents, n, definition->record.name);
        _cleanup_free_ char *described = there ? NULL
                                               : description_make(domain, &definition->record);

        if (definition->document && strcmp(definition->document, there ? there : described) != 0)
            has_snapshots(domain, &other);
    }
    import->there = true;
    import_looked(import, err ? err : other.code ? &other : NULL);
}

static void import_start(struct import *import, struct domain *domain)
{
    struct daemon_context *context = call_context(import->call);
    struct claims *claims;

    turn_take(import->call);
    if (snapshot_count(domain) > 0) {
        journal_query_documents(context->journal, domain->record.name, NULL, import_compare,
                                import);
        return;
    }
    claims = claims_new(domain);
    for (size_t i = 0; i < import->n_entries; i++)
        claims_add(claims, &import->entries[i].definition);
    claims_check(claims, context->worker, import_looked, import);
}

void snapshot_import_handle(struct call *call)
{
    _cleanup_error_ struct error err = {0};
    struct import *import;
    struct domain *domain;
    int64_t job;

    if (turn_waits(call) || request_begin(call, &job) != REQUEST_NEW)
        return;
    domain = answer_need_domain(call);
    if (!domain)
        return;
    import = xzalloc(sizeof(*import));
    import->call = call;
    if (turn_need_free(domain, &err) == 0 && import_read(import, domain, &err) == 0 &&
        snapshot_count(domain) > 0 && !import_is_there(import, domain))
        has_snapshots(domain, &err);
    if (!err.code) {
        import_start(import, domain);
        return;
    }
    import_free(import);
    call_error(call, &err);
}
