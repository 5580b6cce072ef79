#include "domain/shutoff.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/worker.h"
#include "domain/domain.h"
#include "domain/domains.h"
#include "proto/snapvm-errors.h"

int shutoff_need(const struct domain *domain, const char *what, struct error *err)
{
    const char *state = domain_state(domain);

    if (strcmp(state, "shutoff") == 0)
        return 0;
    error_set(err, SNAPVM_ERROR_INVALID_STATE, "domain %s is %s: %s", domain->record.name,
              strcmp(state, "unknown") == 0 ? "in an unknown state, its monitor does not answer"
                                            : state,
              what);
    return error_text(err, "state", state);
}

static void shutoff_run(void *arg)
{
    struct shutoff *files = arg;

    for (unsigned i = 0; i < files->n_disks; i++) {
        struct shutoff_disk *disk = &files->disks[i];

        if (disk->file && disk->format)
            image_chain_read(disk->file, disk->format, &disk->chain, &disk->error);
    }
}

static void shutoff_free(void *arg)
{
    struct shutoff *files = arg;

    for (unsigned i = 0; i < files->n_disks; i++) {
        struct shutoff_disk *disk = &files->disks[i];

        free(disk->target);
        free(disk->file);
        free(disk->format);
        image_chain_deinit(&disk->chain);
        error_clear(&disk->error);
    }
    free(files->disks);
    free(files->domain);
    free(files);
}

static void shutoff_done(void *arg)
{
    struct shutoff *files = arg;

    files->done(files->arg, files);
    shutoff_free(files);
}

void shutoff_look_at(struct domains *domains, const struct record_domain *record,
                     void (*done)(void *arg, struct shutoff *files), void *arg)
{
    struct shutoff *files = xzalloc(sizeof(*files));

    files->domains = domains;
    files->domain = xstrdup(record->name);
    files->done = done;
    files->arg = arg;
    files->disks = xrealloc(NULL, record->n_disks + 1, sizeof(*files->disks));
    for (unsigned i = 0; i < record->n_disks; i++) {
        const struct record_disk *from = &record->disks[i];
        const struct record_layer *active = from->n_chain ? &from->chain[0] : NULL;
        struct shutoff_disk *disk = &files->disks[files->n_disks++];

        *disk = (struct shutoff_disk){.target = xstrdup(from->target)};
        if (!active || active->file[0] != '/')
            continue;
        disk->file = xstrdup(active->file);
        disk->format = xstrdup(active->format ? active->format : from->format);
    }
    worker_run(domains->worker, shutoff_run, shutoff_done, shutoff_free, files);
}

void shutoff_look(struct domain *domain, void (*done)(void *arg, struct shutoff *files), void *arg)
{
    shutoff_look_at(domain->owner, &domain->record, done, arg);
}

static int shutoff_disk_error(const struct record_disk *disk, const char *reason,
                              const char *sentence, struct error *err)
{
    error_set(err, SNAPVM_ERROR_IMAGE, "disk %s: %s", disk->target, sentence);
    error_text(err, "file", disk->n_chain ? disk->chain[0].file : "");
    return error_text(err, "reason", reason);
}

static int shutoff_mismatch(const struct record_disk *disk, const char *expected, const char *found,
                            struct error *err)
{
    error_set(err, SNAPVM_ERROR_MISMATCH,
              "disk %s: QEMU last read %s where the image headers tell of %s; nothing is changed "
              "before they agree: domain.check says more",
              disk->target, expected, found);
    error_text(err, "expected", expected);
    return error_text(err, "found", found);
}

/* The record has the chain as QEMU had it open, which need not be what the headers say. */
static int shutoff_check(const struct record_disk *disk, const struct image_chain *chain,
                         struct error *err)
{
    for (unsigned i = 1; i < disk->n_chain; i++) {
        struct image_id id;

        if (i >= chain->n_layers)
            return shutoff_mismatch(disk, disk->chain[i].file, "none", err);
        if (strcmp(disk->chain[i].file, chain->layers[i].file) == 0)
            continue;
        if (image_identify(disk->chain[i].file, &id, NULL) < 0 ||
            !image_same(&id, &chain->layers[i].id))
            return shutoff_mismatch(disk, disk->chain[i].file, chain->layers[i].file, err);
    }
    return 0;
}

static void shutoff_fill(struct record_disk *disk, const struct image_chain *chain)
{
    for (unsigned i = 0; i < chain->n_layers; i++) {
        const struct image_layer *layer = &chain->layers[i];

        if (i == disk->n_chain)
            record_disk_add_layer(disk, layer->file, layer->format);
        if (!disk->chain[i].format)
            xstrset(&disk->chain[i].format, layer->format);
        disk->chain[i].virtual_size = layer->virtual_size;
    }
}

static const struct shutoff_disk *shutoff_find(const struct shutoff *files, const char *target)
{
    for (unsigned i = 0; i < files->n_disks; i++)
        if (strcmp(files->disks[i].target, target) == 0)
            return &files->disks[i];
    return NULL;
}

const struct shutoff_disk *shutoff_take(const struct shutoff *files, struct record_disk *disk,
                                        struct error *err)
{
    const struct shutoff_disk *seen = shutoff_find(files, disk->target);

    if (disk->n_chain == 0) {
        shutoff_disk_error(disk, "missing",
                           "nobody said which image it has, and no QEMU with it was seen yet", err);
        return NULL;
    }
    if (disk->chain[0].file[0] != '/') {
        shutoff_disk_error(disk, "no plain file", "its image is no plain local file", err);
        return NULL;
    }
    if (!disk->chain[0].format && !disk->format) {
        shutoff_disk_error(disk, "no format",
                           "nobody said in which format its image is, and nothing is guessed: "
                           "define the domain with it",
                           err);
        return NULL;
    }
    if (!seen || !seen->file || strcmp(seen->file, disk->chain[0].file) != 0) {
        error_set(err, SNAPVM_ERROR_INVALID_STATE,
                  "disk %s has changed just now; look at it and try again", disk->target);
        error_text(err, "state", "shutoff");
        return NULL;
    }
    if (seen->error.code) {
        error_copy(err, &seen->error);
        return NULL;
    }
    if (shutoff_check(disk, &seen->chain, err) < 0)
        return NULL;
    shutoff_fill(disk, &seen->chain);
    xstrset(&disk->format, NULL); /* it was said of this image, and is taken at its word */
    return seen;
}

void shutoff_fill_all(const struct shutoff *files, struct record_domain *record)
{
    for (unsigned i = 0; i < record->n_disks; i++) {
        const struct shutoff_disk *seen = shutoff_find(files, record->disks[i].target);

        if (seen && seen->file && !seen->error.code)
            shutoff_fill(&record->disks[i], &seen->chain);
    }
}
