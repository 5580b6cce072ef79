#include "api/claim.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "api/definition.h"
#include "base/memory.h"
#include "base/worker.h"
#include "domain/domain.h"
#include "proto/snapvm-errors.h"
#include "qemu/image.h"

struct claim {
    STAILQ_ENTRY(claim) link; /* claims::list */
    char *snapshot, *disk;    /* disk: NULL for the memory */
    char *mode, *file, *format, *backing, *backing_format;
    char *found;                         /* the format of the backing, by the header; NULL: none */
    struct record_snapshot_disk *record; /* to get that, where nobody said it; NULL: none */
    bool memory;                         /* internal: the guest's memory is said to be inside */
};

struct claims {
    struct process qemu;
    STAILQ_HEAD(, claim) list;
    void (*done)(void *arg, const struct error *err);
    void *arg;
    struct error error;
};

struct claims *claims_new(const struct domain *domain)
{
    struct claims *claims = xzalloc(sizeof(*claims));

    claims->qemu = domain->record.qemu;
    STAILQ_INIT(&claims->list);
    return claims;
}

static void claims_free(void *arg)
{
    struct claims *claims = arg;
    struct claim *claim;

    while ((claim = STAILQ_FIRST(&claims->list))) {
        STAILQ_REMOVE_HEAD(&claims->list, link);
        free(claim->snapshot);
        free(claim->disk);
        free(claim->mode);
        free(claim->file);
        free(claim->format);
        free(claim->backing);
        free(claim->backing_format);
        free(claim->found);
        free(claim);
    }
    error_clear(&claims->error);
    free(claims);
}

static struct claim *claim_add(struct claims *claims, const char *snapshot, const char *disk,
                               const char *mode, const char *file)
{
    struct claim *claim = xzalloc(sizeof(*claim));

    *claim = (struct claim){.snapshot = xstrdup(snapshot),
                            .disk = xstrdup(disk),
                            .mode = xstrdup(mode),
                            .file = xstrdup(file)};
    STAILQ_INSERT_TAIL(&claims->list, claim, link);
    return claim;
}

/* The memory of an internal snapshot lies in the first of its images. */
void claims_add(struct claims *claims, struct definition *definition)
{
    const struct record_snapshot *record = &definition->record;
    bool memory = strcmp(record->memory, "internal") == 0;

    for (unsigned i = 0; i < record->n_disks; i++) {
        struct record_snapshot_disk *disk = &record->disks[i];
        struct claim *claim;

        if (strcmp(disk->mode, "no") == 0)
            continue;
        claim = claim_add(claims, record->name, disk->disk, disk->mode, disk->file);
        claim->format = xstrdup(disk->format);
        claim->backing = xstrdup(disk->backing);
        claim->backing_format = xstrdup(disk->backing_format);
        claim->record = disk;
        claim->memory = memory && strcmp(disk->mode, "internal") == 0;
        memory = memory && !claim->memory;
    }
    if (memory)
        claim_add(claims, record->name, NULL, "internal", NULL);
    if (record->memory_file)
        claim_add(claims, record->name, NULL, "external", record->memory_file);
}

/* --- on the worker --- */

static int claim_mismatch(const struct claim *claim, const char *what, const char *expected,
                          const char *found, struct error *err)
{
    error_set(err, SNAPVM_ERROR_MISMATCH,
              "snapshot \"%s\", disk %s: %s is %s, and not %s; correct the one or the other",
              claim->snapshot, claim->disk ? claim->disk : "memory", what, found, expected);
    error_text(err, "expected", expected);
    error_text(err, "found", found);
    return error_text(err, "file", claim->file);
}

/* The image with that name in QEMU's root; ImageError when it is not there. */
static char *claim_reach(const struct claims *claims, const struct claim *claim, const char *file,
                         struct image_id *ret_id, struct error *err)
{
    _cleanup_free_ char *path = process_reach(&claims->qemu, file);
    _cleanup_error_ struct error why = {0};

    if (image_identify(path, ret_id, &why) == 0)
        return TAKE_PTR(path);
    error_set(err, SNAPVM_ERROR_IMAGE,
              "snapshot \"%s\", %s: the image %s is not there: %s; bring it back, or correct its "
              "path",
              claim->snapshot, claim->disk ? claim->disk : "memory", file,
              error_get(&why, "reason"));
    error_text(err, "file", file);
    error_text(err, "reason", "missing");
    return NULL;
}

/* A name in a header starts from the folder of its image if it is relative. */
static char *claim_backing_path(const char *file, const char *backing)
{
    const char *slash = strrchr(file, '/');

    if (backing[0] == '/' || !slash)
        return xstrdup(backing);
    return xasprintf("%.*s/%s", (int)(slash - file), file, backing);
}

/* What the header names against what is said: the same file, by whatever name. */
static int claim_check_backing(const struct claims *claims, const struct claim *claim,
                               const char *backing, struct error *err)
{
    struct image_id said_id, found_id;
    _cleanup_free_ char *named = backing ? claim_backing_path(claim->file, backing) : NULL;
    _cleanup_free_ char *found = NULL, *said = NULL;

    if (!claim->backing && (!named || named[0] != '/'))
        return 0;
    if (!named)
        return claim_mismatch(claim, "the backing file", claim->backing, "none", err);
    if (named[0] != '/')
        return claim_mismatch(claim, "the backing file", claim->backing, backing, err);
    found = claim_reach(claims, claim, named, &found_id, err);
    if (!found)
        return -1;
    if (!claim->backing || strcmp(claim->backing, named) == 0)
        return 0;
    said = claim_reach(claims, claim, claim->backing, &said_id, err);
    if (!said)
        return -1;
    return image_same(&said_id, &found_id)
               ? 0
               : claim_mismatch(claim, "the backing file", claim->backing, named, err);
}

static int claim_check_header(const struct claims *claims, struct claim *claim, const char *path,
                              struct error *err)
{
    struct image_info info;
    int r;

    if (image_read(path, "qcow2", &info, err) < 0)
        return -1;
    r = claim_check_backing(claims, claim, info.backing, err);
    if (r == 0 && claim->backing_format && info.backing_format &&
        strcmp(claim->backing_format, info.backing_format) != 0)
        r = claim_mismatch(claim, "the format of the backing file", claim->backing_format,
                           info.backing_format, err);
    claim->found = TAKE_PTR(info.backing_format);
    image_info_deinit(&info);
    return r;
}

/* Of the two formats that can be told from what an image begins with. */
static int claim_check_format(const struct claim *claim, const char *path, const char *format,
                              const char *what, bool *ret_qcow2, struct error *err)
{
    bool raw = format && strcmp(format, "raw") == 0, qcow2;

    *ret_qcow2 = false;
    if (!format || (!raw && strcmp(format, "qcow2") != 0))
        return 0;
    if (image_has_magic(path, &qcow2, err) < 0)
        return -1;
    if (qcow2 == raw)
        return claim_mismatch(claim, what, format, qcow2 ? "qcow2" : "another one", err);
    *ret_qcow2 = qcow2;
    return 0;
}

static int claim_check_external(const struct claims *claims, struct claim *claim, const char *path,
                                struct error *err)
{
    bool qcow2;

    if (claim_check_format(claim, path, claim->format, "the format of the overlay", &qcow2, err) <
        0)
        return -1;
    return qcow2 ? claim_check_header(claims, claim, path, err) : 0;
}

static int claim_check_internal(const struct claim *claim, const char *path, struct error *err)
{
    struct image_inside inside;
    bool qcow2;

    if (image_has_magic(path, &qcow2, err) < 0)
        return -1;
    if (!qcow2)
        return claim_mismatch(claim, "the format of the image", "qcow2", "another one", err);
    if (image_look_inside(path, claim->snapshot, &inside, err) < 0)
        return -1;
    if (!inside.has)
        return claim_mismatch(claim, "the snapshot inside the image", claim->snapshot, "none", err);
    if (claim->memory && !inside.memory)
        return claim_mismatch(claim, "the memory inside the image", "that of the guest", "none",
                              err);
    return 0;
}

static int claim_check(const struct claims *claims, struct claim *claim, struct error *err)
{
    bool internal = strcmp(claim->mode, "internal") == 0;
    _cleanup_free_ char *path = NULL, *below = NULL;
    struct image_id id;
    bool qcow2;

    if (internal && !claim->file)
        return claim_mismatch(claim, "the image of an internal snapshot", "named", "not known",
                              err);
    if (claim->file) {
        path = claim_reach(claims, claim, claim->file, &id, err);
        if (!path)
            return -1;
    }
    if (internal)
        return claim_check_internal(claim, path, err);
    if (claim->backing) {
        below = claim_reach(claims, claim, claim->backing, &id, err);
        if (!below)
            return -1;
    }
    if (path && claim->disk && strcmp(claim->mode, "external") == 0)
        return claim_check_external(claims, claim, path, err);
    return below ? claim_check_format(claim, below, claim->backing_format,
                                      "the format of the image it froze", &qcow2, err)
                 : 0;
}

static void claims_run(void *arg)
{
    struct claims *claims = arg;
    struct claim *claim;

    STAILQ_FOREACH (claim, &claims->list, link) {
        if (claim_check(claims, claim, &claims->error) < 0)
            return;
    }
}

static void claims_done(void *arg)
{
    struct claims *claims = arg;
    struct claim *claim;

    STAILQ_FOREACH (claim, &claims->list, link) {
        if (claim->record && claim->record->backing && !claim->record->backing_format)
            claim->record->backing_format = TAKE_PTR(claim->found);
    }
    claims->done(claims->arg, claims->error.code ? &claims->error : NULL);
    claims_free(claims);
}

void claims_check(struct claims *claims, struct worker *worker,
                  void (*done)(void *arg, const struct error *err), void *arg)
{
    claims->done = done;
    claims->arg = arg;
    worker_run(worker, claims_run, claims_done, claims_free, claims);
}
