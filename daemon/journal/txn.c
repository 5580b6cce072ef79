#include "journal/txn.h"

#include <sqlite3.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"

#define HOUR_US (3600 * INT64_C(1000000))

struct journal_txn *journal_txn_free(struct journal_txn *txn)
{
    if (!txn)
        return NULL;
    script_deinit(&txn->script);
    error_clear(&txn->error);
    free(txn->events);
    free(txn);
    return NULL;
}

static void txn_put_disk(struct script *script, const char *domain, unsigned position,
                         const struct record_disk *disk)
{
    script_add(script, STATEMENT_PUT_DISK);
    script_text(script, domain);
    script_int(script, position);
    script_text(script, disk->target);
    script_text(script, disk->qdev);
    script_text(script, disk->device);
    script_text(script, disk->node);
    script_text(script, disk->format);
    script_int(script, disk->defined);
    script_int(script, disk->read_only);
    script_int(script, disk->firmware);

    for (unsigned i = 0; i < disk->n_chain; i++) {
        const struct record_layer *layer = &disk->chain[i];

        script_add(script, STATEMENT_PUT_LAYER);
        script_text(script, domain);
        script_int(script, position);
        script_int(script, disk->n_chain - 1 - i);
        script_text(script, layer->file);
        script_text(script, layer->format);
        script_text(script, layer->node);
        script_int(script, layer->virtual_size);
    }
    script_add(script, STATEMENT_TRIM_LAYERS);
    script_text(script, domain);
    script_int(script, position);
    script_int(script, disk->n_chain);
}

void journal_put_domain(struct journal_txn *txn, const struct record_domain *domain)
{
    struct script *script = &txn->script;

    script_add(script, STATEMENT_PUT_DOMAIN);
    script_text(script, domain->name);
    script_text(script, domain->uuid);
    script_int(script, domain->found);
    script_text(script, domain->qmp);
    script_text(script, domain->agent);
    script_text(script, domain->current_snapshot);
    script_process(script, &domain->qemu);

    for (unsigned i = 0; i < domain->n_disks; i++)
        txn_put_disk(script, domain->name, i, &domain->disks[i]);
    script_add(script, STATEMENT_TRIM_DISKS);
    script_text(script, domain->name);
    script_int(script, domain->n_disks);
}

void journal_put_domain_document(struct journal_txn *txn, const char *domain, const char *xml)
{
    script_add(&txn->script, STATEMENT_PUT_DOMAIN_DOCUMENT);
    script_text(&txn->script, domain);
    script_text(&txn->script, xml);
}

void journal_drop_domain(struct journal_txn *txn, const char *name)
{
    script_add(&txn->script, STATEMENT_DROP_DOMAIN);
    script_text(&txn->script, name);
}

static void txn_put_image(struct script *script, int64_t job, unsigned position,
                          const struct record_image *image)
{
    script_add(script, STATEMENT_PUT_IMAGE);
    script_int(script, job);
    script_int(script, position);
    script_text(script, image->disk);
    script_text(script, image->role);
    script_text(script, image->file);
    script_text(script, image->format);
    script_text(script, image->node);
    script_int(script, image->virtual_size);
    script_int(script, (int64_t)image->dev);
    script_int(script, (int64_t)image->ino);
    script_int(script, image->made);
    script_text(script, image->state);
    script_int(script, image->was_at);
}

static void txn_put_outcome(struct script *script, const struct record_job *job)
{
    _cleanup_free_ char *error = job->error.code ? record_error_text(&job->error) : NULL;

    script_text(script, job->result);
    script_text(script, job->active);
    script_text(script, job->evidence);
    script_text(script, error);
    script_int(script, job->paused_us);
    script_int(script, job->frozen_us);
    script_text(script, job->left_out);
}

static void txn_put_job_row(struct script *script, const struct record_job *job)
{
    script_add(script, STATEMENT_PUT_JOB);
    script_int(script, job->id);
    script_text(script, job->domain);
    script_text(script, job->disk);
    script_text(script, job->kind);
    script_text(script, job->state);
    script_text(script, job->step);
    script_int(script, job->flags);
    script_int(script, job->group);
    script_int(script, job->bandwidth);
    script_int(script, job->created);
    script_int(script, job->updated);
    script_int(script, job->ended);
    script_int(script, job->current);
    script_int(script, job->total);
    script_text(script, job->request_id);
    script_process(script, &job->qemu);
    script_text(script, job->snapshot);
    script_text(script, job->description);
    script_text(script, job->guest_state);
    script_text(script, job->quiesce_error);
    txn_put_outcome(script, job);
}

void journal_put_job(struct journal_txn *txn, const struct record_job *job)
{
    txn_put_job_row(&txn->script, job);
    for (unsigned i = 0; i < job->n_images; i++)
        txn_put_image(&txn->script, job->id, i, &job->images[i]);
    script_add(&txn->script, STATEMENT_TRIM_IMAGES);
    script_int(&txn->script, job->id);
    script_int(&txn->script, job->n_images);
}

void journal_drop_job(struct journal_txn *txn, int64_t id)
{
    script_add(&txn->script, STATEMENT_DROP_JOB);
    script_int(&txn->script, id);
}

static void txn_put_snapshot_disk(struct script *script, const struct record_snapshot *snapshot,
                                  unsigned position)
{
    const struct record_snapshot_disk *disk = &snapshot->disks[position];

    script_add(script, STATEMENT_PUT_SNAPSHOT_DISK);
    script_text(script, snapshot->domain);
    script_text(script, snapshot->name);
    script_int(script, position);
    script_text(script, disk->disk);
    script_text(script, disk->mode);
    script_text(script, disk->file);
    script_text(script, disk->format);
    script_text(script, disk->backing);
    script_text(script, disk->backing_format);
}

void journal_put_snapshot(struct journal_txn *txn, const struct record_snapshot *snapshot)
{
    struct script *script = &txn->script;

    script_add(script, STATEMENT_PUT_SNAPSHOT);
    script_text(script, snapshot->domain);
    script_text(script, snapshot->name);
    script_text(script, snapshot->parent);
    script_text(script, snapshot->description);
    script_text(script, snapshot->state);
    script_text(script, snapshot->memory);
    script_int(script, snapshot->quiesced);
    script_text(script, snapshot->quiesce_error);
    script_int(script, snapshot->created);
    script_text(script, snapshot->memory_file);

    for (unsigned i = 0; i < snapshot->n_disks; i++)
        txn_put_snapshot_disk(script, snapshot, i);
    script_add(script, STATEMENT_TRIM_SNAPSHOT_DISKS);
    script_text(script, snapshot->domain);
    script_text(script, snapshot->name);
    script_int(script, snapshot->n_disks);
}

void journal_drop_snapshot(struct journal_txn *txn, const char *domain, const char *name)
{
    script_add(&txn->script, STATEMENT_DROP_SNAPSHOT);
    script_text(&txn->script, domain);
    script_text(&txn->script, name);
}

void journal_move_children(struct journal_txn *txn, const char *domain, const char *name,
                           const char *parent)
{
    script_add(&txn->script, STATEMENT_MOVE_CHILDREN);
    script_text(&txn->script, domain);
    script_text(&txn->script, name);
    script_text(&txn->script, parent);
}

void journal_put_document(struct journal_txn *txn, const char *domain, const char *snapshot,
                          const char *xml)
{
    script_add(&txn->script, STATEMENT_PUT_DOCUMENT);
    script_text(&txn->script, domain);
    script_text(&txn->script, snapshot);
    script_text(&txn->script, xml);
}

void journal_set_current(struct journal_txn *txn, const char *domain, const char *name)
{
    script_add(&txn->script, STATEMENT_SET_CURRENT);
    script_text(&txn->script, domain);
    script_text(&txn->script, name);
}

void journal_put_debt(struct journal_txn *txn, const struct record_debt *debt)
{
    struct script *script = &txn->script;

    script_add(script, STATEMENT_PUT_DEBT);
    script_text(script, debt->domain);
    script_process(script, &debt->qemu);
    script_int(script, debt->since);
    script_int(script, debt->deadline);
    script_int(script, debt->job);
    script_int(script, debt->count);
    script_int(script, debt->listed);
}

void journal_drop_debt(struct journal_txn *txn, const char *domain)
{
    script_add(&txn->script, STATEMENT_DROP_DEBT);
    script_text(&txn->script, domain);
}

void journal_put_request(struct journal_txn *txn, const struct record_request *request)
{
    struct script *script = &txn->script;

    script_add(script, STATEMENT_PUT_REQUEST);
    script_text(script, request->id);
    script_text(script, request->method);
    script_text(script, request->params);
    script_int(script, request->job);
    script_text(script, request->result);
    script_int(script, request->time);
}

void journal_add_event(struct journal_txn *txn, const char *kind, const char *domain,
                       const char *body)
{
    txn->events = xrealloc(txn->events, txn->n_events + 1, sizeof(*txn->events));
    txn->events[txn->n_events++] = (struct txn_event){
        .time = clock_now(),
        .kind = script_keep(&txn->script, kind),
        .domain = script_keep(&txn->script, domain),
        .body = script_keep(&txn->script, body),
    };
}

void journal_prune(struct journal_txn *txn)
{
    struct script *script = &txn->script;
    int64_t now = clock_now();

    script_add(script, STATEMENT_PRUNE_JOBS);
    script_int(script, now - txn->keep->jobs_days * 24 * HOUR_US);
    script_add(script, STATEMENT_PRUNE_REQUESTS);
    script_int(script, now - txn->keep->request_ids_hours * HOUR_US);
    script_add(script, STATEMENT_PRUNE_EVENTS);
    script_int(script, txn->keep->events);
    txn->prunes = true;
}

struct journal_event txn_event(const struct journal_txn *txn, unsigned i)
{
    const struct txn_event *event = &txn->events[i];

    return (struct journal_event){
        .seq = event->seq,
        .time = event->time,
        .kind = script_at(&txn->script, event->kind),
        .domain = script_at(&txn->script, event->domain),
        .body = script_at(&txn->script, event->body),
    };
}

static int txn_run_event(struct journal_txn *txn, unsigned i, struct statement_set *set)
{
    struct journal_event event = txn_event(txn, i);
    int rc;

    statement_bind_int(set, STATEMENT_ADD_EVENT, 1, event.time);
    statement_bind_text(set, STATEMENT_ADD_EVENT, 2, event.kind);
    statement_bind_text(set, STATEMENT_ADD_EVENT, 3, event.domain);
    statement_bind_text(set, STATEMENT_ADD_EVENT, 4, event.body);
    rc = statement_run(set, STATEMENT_ADD_EVENT);
    if (rc == SQLITE_OK)
        txn->events[i].seq = sqlite3_last_insert_rowid(set->db);
    return rc;
}

/* The events come first, so that a prune in the same transaction counts them. */
int txn_run(struct journal_txn *txn, struct statement_set *set)
{
    int rc = SQLITE_OK;

    for (unsigned i = 0; i < txn->n_events && rc == SQLITE_OK; i++)
        rc = txn_run_event(txn, i, set);
    if (rc == SQLITE_OK)
        rc = script_run(&txn->script, set);
    if (rc == SQLITE_OK && txn->prunes)
        rc = statement_number(set, STATEMENT_FIRST_EVENT, 0, &txn->first_seq);
    return rc;
}
