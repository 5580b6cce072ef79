/* The layers of all branches of a domain as a forest, and what becomes of them when snapshots go.
 * The images are read on the worker's thread, where the names that the records give them are told
 * apart by device and inode. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/worker.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "domain/snapshot.h"
#include "job/delete-job.h"
#include "job/engine.h"
#include "job/internal.h"
#include "job/needed.h"
#include "job/revert-job.h"
#include "proto/snapvm-errors.h"
#include "qemu/image-chain.h"
#include "qemu/vmstate.h"

struct layer {
    struct image_layer image; /* owned */
    char *node;               /* that the domain's QEMU has it open as; NULL: none */
    struct layer *below;      /* NULL: the bottom */
    bool needed;              /* as it is */
    bool goes;                /* a snapshot that is deleted froze it, and nothing needs it */
    bool unsaved;             /* the active one, with data of its own that no snapshot froze */
    bool active;              /* the disk is on it now */
    bool goal;                /* what the snapshot froze that is gone back to */
    bool owned;               /* a deleted snapshot's: may be removed when it leads to nothing */
    bool begun;               /* a deletion before did not get done with the layer below */
    bool inside;              /* with a snapshot inside that stays, and reads through to below */
    bool leads;               /* to something needed, or is it */
    unsigned branches;        /* layers on it that lead to something */
    struct layer *above;      /* the last of these */
    struct layer *next;
};

/* What a record names. */
struct named {
    char *file, *format; /* format NULL: nobody said; headers may */
    bool needed, goes, owned, begun, active, goal;
    bool inside; /* a snapshot that stays is */
};

/* A layer that QEMU has open. */
struct open_layer {
    char *file, *node;
};

struct tree {
    char *target;
    struct named *named;
    unsigned n_named;
    struct open_layer *open; /* from the active layer down; none when no QEMU runs */
    unsigned n_open;
    struct needed *others; /* what the other disks of the domain need */
    struct layer *layers;
};

struct survey {
    struct job *job;
    bool reverts;
    struct tree *trees;
    unsigned n_trees;
    struct needed *others; /* what other domains need */
    char *memory;          /* the file with it, of a snapshot that is gone back to; NULL: none */
    struct error err;
    void (*done)(void *arg, const struct error *err);
    void *arg;
};

static void tree_free(struct tree *tree)
{
    struct layer *layer, *next;

    for (unsigned i = 0; i < tree->n_named; i++) {
        free(tree->named[i].file);
        free(tree->named[i].format);
    }
    for (layer = tree->layers; layer; layer = next) {
        next = layer->next;
        free(layer->image.file);
        free(layer->image.format);
        free(layer->node);
        free(layer);
    }
    for (unsigned i = 0; i < tree->n_open; i++) {
        free(tree->open[i].file);
        free(tree->open[i].node);
    }
    free(tree->open);
    needed_free(tree->others);
    free(tree->named);
    free(tree->target);
}

static void survey_free(void *arg)
{
    struct survey *survey = arg;

    for (unsigned i = 0; i < survey->n_trees; i++)
        tree_free(&survey->trees[i]);
    free(survey->trees);
    needed_free(survey->others);
    free(survey->memory);
    error_clear(&survey->err);
    free(survey);
}

/* --- what the records say, on the loop --- */

static struct named *tree_name(struct tree *tree, const char *file, const char *format)
{
    struct named *named;

    if (!file || file[0] != '/')
        return NULL;
    tree->named = xrealloc(tree->named, tree->n_named + 1, sizeof(*tree->named));
    named = &tree->named[tree->n_named++];
    *named = (struct named){.file = xstrdup(file), .format = xstrdup(format)};
    return named;
}

static void tree_name_snapshot(struct tree *tree, const struct record_snapshot_disk *disk,
                               bool deleted, bool goal)
{
    bool inside = disk->mode && strcmp(disk->mode, "internal") == 0;
    struct named *named;

    if (disk->mode && strcmp(disk->mode, "manual") == 0) {
        if (disk->file && disk->file[0] == '/') /* what somebody else took is nobody's to remove */
            needed_add_path(&tree->others, disk->file);
        return;
    }
    named = tree_name(tree, disk->file, disk->format);
    if (named && inside) {
        named->inside = !deleted;
    } else if (named) {
        named->owned = deleted;
        named->begun = deleted && !disk->backing;
    }
    if (inside)
        return;
    named = tree_name(tree, disk->backing, disk->backing_format);
    if (!named)
        return;
    named->needed = !deleted;
    named->goes = named->owned = deleted;
    named->goal = goal;
}

/* Whether the snapshots that go have to do with this disk. */
static bool tree_changes(const struct tree *tree)
{
    for (unsigned i = 0; i < tree->n_named; i++)
        if (tree->named[i].owned || tree->named[i].goal)
            return true;
    return false;
}

static void tree_fill_open(struct tree *tree, const struct domain *domain,
                           const struct record_disk *disk)
{
    const struct view_node *node = disk_top(domain, disk);

    tree->open = xzalloc((disk->n_chain + 1) * sizeof(*tree->open));
    for (; node && tree->n_open < disk->n_chain; node = view_below(domain->view, node)) {
        struct open_layer *open = &tree->open[tree->n_open];

        open->file = xstrdup(disk->chain[tree->n_open++].file);
        open->node = xstrdup(node->name);
    }
}

static void tree_need(struct tree *tree, const char *target, const char *file)
{
    if (file && file[0] == '/' && strcmp(target, tree->target) != 0)
        needed_add_path(&tree->others, file);
}

/* A disk may lie on what a snapshot froze of another one. */
static void tree_fill_others(struct tree *tree, const struct domain *domain)
{
    const struct snapshot *snapshot;

    for (unsigned i = 0; i < domain->record.n_disks; i++)
        for (unsigned k = 0; k < domain->record.disks[i].n_chain; k++)
            tree_need(tree, domain->record.disks[i].target, domain->record.disks[i].chain[k].file);
    TAILQ_FOREACH (snapshot, &domain->snapshots, link) {
        for (unsigned i = 0; i < snapshot->record.n_disks; i++)
            tree_need(tree, snapshot->record.disks[i].disk, snapshot->record.disks[i].backing);
    }
}

static void tree_fill(struct tree *tree, const struct job *job, bool reverts,
                      const struct record_disk *disk)
{
    const struct domain *domain = job->domain;
    const struct snapshot *snapshot;
    struct named *active;

    tree->target = xstrdup(disk->target);
    active = disk->n_chain ? tree_name(tree, disk->chain[0].file, disk->chain[0].format) : NULL;
    if (active)
        active->needed = active->active = true;
    tree_fill_others(tree, domain);
    if (domain->connected)
        tree_fill_open(tree, domain, disk);
    TAILQ_FOREACH (snapshot, &domain->snapshots, link) {
        bool meant = strcmp(snapshot->record.name, job->record.snapshot) == 0;

        for (unsigned i = 0; i < snapshot->record.n_disks; i++)
            if (strcmp(snapshot->record.disks[i].disk, disk->target) == 0)
                tree_name_snapshot(tree, &snapshot->record.disks[i],
                                   !reverts && delete_takes(job, snapshot), reverts && meant);
    }
}

/* --- what the images say, on the worker --- */

static struct layer *tree_find(const struct tree *tree, const struct image_id *id)
{
    struct layer *layer = tree->layers;

    while (layer && !image_same(&layer->image.id, id))
        layer = layer->next;
    return layer;
}

/* Adds the layers of a chain that are not there yet; what lies below one that is, is too. */
static void tree_add(struct tree *tree, struct image_chain *chain)
{
    struct layer *above = NULL;

    for (unsigned i = 0; i < chain->n_layers; i++) {
        struct layer *layer = tree_find(tree, &chain->layers[i].id);
        bool known = layer != NULL;

        if (!known) {
            layer = xzalloc(sizeof(*layer));
            layer->image = chain->layers[i];
            chain->layers[i].file = chain->layers[i].format = NULL;
            layer->next = tree->layers;
            tree->layers = layer;
        }
        if (above)
            above->below = layer;
        if (known)
            return;
        above = layer;
    }
}

/* The image of a snapshot that was lost leads nowhere; without the active one nothing is known. */
static int tree_read(struct tree *tree, struct error *err)
{
    for (unsigned i = 0; i < tree->n_named; i++) {
        const struct named *named = &tree->named[i];
        struct image_chain chain = {0};
        bool active = i == 0;

        if (!named->format)
            continue;
        if (image_chain_read(named->file, named->format, &chain, active ? err : NULL) == 0)
            tree_add(tree, &chain);
        else if (active)
            return -1;
        image_chain_deinit(&chain);
    }
    return 0;
}

static int tree_mismatch(const struct tree *tree, const char *open, const char *found,
                         struct error *err)
{
    error_set(
        err, SNAPVM_ERROR_MISMATCH,
        "disk %s: QEMU reads %s where the image headers tell of %s; nothing is changed before "
        "they agree: domain.check says more",
        tree->target, open, found);
    error_text(err, "expected", open);
    return error_text(err, "found", found);
}

/* The layers that QEMU has open are those that the headers tell of, and are called as QEMU calls
 * them. */
static int tree_match_open(struct tree *tree, struct error *err)
{
    struct layer *layer = NULL;
    struct image_id id;

    for (unsigned i = 0; i < tree->n_open; i++) {
        struct open_layer *open = &tree->open[i];

        if (image_identify(open->file, &id, err) < 0)
            return -1;
        layer = i == 0 ? tree_find(tree, &id) : layer->below;
        if (!layer || !image_same(&layer->image.id, &id))
            return tree_mismatch(tree, open->file, layer ? layer->image.file : "none", err);
        xstrset(&layer->image.file, open->file);
        xstrset(&layer->node, open->node);
    }
    if (layer && layer->below)
        return tree_mismatch(tree, "none", layer->below->image.file, err);
    return 0;
}

/* What a snapshot that stays froze has to be known with all that it reads through to. */
static int tree_unknown(const struct named *named, struct error *err)
{
    error_set(err, SNAPVM_ERROR_IMAGE,
              "another snapshot needs %s, and no overlay that can be read says in which format it "
              "is: nothing below it is merged before its chain can be read",
              named->file);
    error_text(err, "file", named->file);
    return error_text(err, "reason", "unknown format");
}

/* What the active layer holds is nowhere else, unless it holds nothing, or a snapshot froze it. */
static void tree_mark_unsaved(struct tree *tree)
{
    for (unsigned i = 0; i < tree->n_named; i++) {
        const struct named *named = &tree->named[i];
        struct image_inside inside = {0};
        struct layer *layer;
        struct image_id id;
        bool empty = false;

        if (!(named->needed || named->inside) || image_identify(named->file, &id, NULL) < 0)
            continue;
        layer = tree_find(tree, &id);
        if (layer && named->active && strcmp(layer->image.format, "qcow2") == 0)
            image_is_empty(layer->image.file, &empty, NULL);
        if (layer && named->inside)
            image_look_inside(layer->image.file, "", &inside, NULL);
        if (layer && (empty || inside.saved || !(named->active || named->inside)))
            layer->unsaved = false;
    }
}

static int tree_mark_named(struct tree *tree, struct error *err)
{
    for (unsigned i = 0; i < tree->n_named; i++) {
        const struct named *named = &tree->named[i];
        struct layer *layer;
        struct image_id id;

        if (image_identify(named->file, &id, NULL) < 0)
            continue; /* lost already */
        layer = tree_find(tree, &id);
        if (!layer && named->needed)
            return tree_unknown(named, err);
        if (!layer)
            continue;
        layer->unsaved |= named->active;
        layer->active |= named->active;
        layer->goal |= named->goal;
        layer->needed |= named->needed;
        layer->goes |= named->goes;
        layer->owned |= named->owned;
        layer->begun |= named->begun;
        layer->inside |= named->inside;
    }
    tree_mark_unsaved(tree);
    return 0;
}

static void tree_mark(struct tree *tree, const struct needed *others)
{
    struct layer *layer;

    needed_follow(&tree->others);
    for (layer = tree->layers; layer; layer = layer->next)
        layer->needed |= needed_has(others, &layer->image.id) ||
                         needed_has(tree->others, &layer->image.id);
    for (layer = tree->layers; layer; layer = layer->next)
        for (struct layer *at = layer; (layer->needed || layer->inside) && at; at = at->below)
            at->leads = true;
    for (layer = tree->layers; layer; layer = layer->next)
        if (layer->begun && layer->leads && layer->below)
            layer->below->goes = true;
    for (layer = tree->layers; layer; layer = layer->next)
        layer->goes &= !layer->needed;
    for (layer = tree->layers; layer; layer = layer->next)
        if (layer->inside && layer->below)
            layer->below->goes = false; /* what would be merged down is kept where it is */
    for (layer = tree->layers; layer; layer = layer->next)
        if (layer->leads && layer->below) {
            layer->below->branches++;
            layer->below->above = layer;
        }
}

static void survey_run(void *arg)
{
    struct survey *survey = arg;

    if (survey->memory)
        vmstate_need_whole(survey->memory, &survey->err);
    needed_follow(&survey->others);
    for (unsigned i = 0; i < survey->n_trees && !survey->err.code; i++)
        if (tree_changes(&survey->trees[i]) && tree_read(&survey->trees[i], &survey->err) == 0 &&
            tree_match_open(&survey->trees[i], &survey->err) == 0 &&
            tree_mark_named(&survey->trees[i], &survey->err) == 0)
            tree_mark(&survey->trees[i], survey->others);
}

/* --- what is to be done, on the loop --- */

static void survey_put(struct survey *survey, const struct tree *tree, const char *role,
                       const struct layer *layer)
{
    struct record_image *image =
        record_job_add_image(&survey->job->record, tree->target, role, layer->image.file);

    xstrset(&image->format, layer->image.format);
    xstrset(&image->node, layer->node);
    image->virtual_size = layer->image.virtual_size;
}

/* One that nobody but the domain's QEMU may have open. */
static void survey_add(struct survey *survey, const struct tree *tree, const char *role,
                       const struct layer *layer)
{
    const struct image_holders *holders = &layer->image.holders;

    survey_put(survey, tree, role, layer);
    if (!survey->err.code && !layer->node && (holders->readers || holders->writers))
        image_in_use(&survey->err, layer->image.file);
}

static bool is_merged(const struct layer *layer)
{
    return layer->goes && layer->branches == 1;
}

static bool is_worthless(const struct layer *layer)
{
    return layer->owned && !layer->leads && layer->below;
}

/* Tools open what lies below as well, which nobody may be writing to. */
static void survey_check_below(struct survey *survey, const struct layer *base)
{
    for (const struct layer *at = base->below; at && !survey->err.code; at = at->below)
        if (at->image.holders.writers)
            image_in_use(&survey->err, at->image.file);
}

/* From the top down, as a job's record has them; behind them what has to lie on the base. */
static void survey_add_strand(struct survey *survey, const struct tree *tree,
                              const struct layer *top)
{
    const struct layer *base = top->below;

    survey_add(survey, tree, "top", top);
    for (; base->below && is_merged(base->below); base = base->below)
        survey_add(survey, tree, "intermediate", base);
    survey_add(survey, tree, "base", base);
    if (!top->node)
        survey_check_below(survey, base);
    for (const struct layer *above = tree->layers; above; above = above->next)
        if (above->below == top && !is_worthless(above))
            survey_add(survey, tree, "above", above);
}

/* QEMU has one job a disk. */
static void survey_two(struct survey *survey, const struct tree *tree)
{
    error_set(&survey->err, SNAPVM_ERROR_UNSUPPORTED,
              "layers in two places of disk %s would be merged, which needs a guest that is shut "
              "off: delete the snapshots one by one",
              tree->target);
    error_text(&survey->err, "feature", "merging in two places of a running guest's disk");
}

static void survey_add_tree(struct survey *survey, const struct tree *tree)
{
    unsigned open = 0;

    for (const struct layer *top = tree->layers; top; top = top->next)
        if (top->leads && !is_merged(top) && top->below && is_merged(top->below)) {
            survey_add_strand(survey, tree, top);
            open += top->node != NULL;
        }
    if (open > 1 && !survey->err.code)
        survey_two(survey, tree);
    for (const struct layer *layer = tree->layers; layer; layer = layer->next)
        if (is_worthless(layer))
            survey_add(survey, tree, "branch", layer);
}

/* --- the same for going back --- */

static void survey_unsaved(struct survey *survey, const struct tree *tree,
                           const struct layer *layer)
{
    error_set(&survey->err, SNAPVM_ERROR_INVALID_STATE,
              "what was written to disk %s since the last snapshot is in %s alone, and the disk "
              "would be left without it: take a snapshot first, or say force",
              tree->target, layer->image.file);
    error_text(&survey->err, "state", "shutoff");
}

static void survey_goal_missing(struct survey *survey, const char *target)
{
    error_set(&survey->err, SNAPVM_ERROR_IMAGE,
              "the image that snapshot \"%s\" froze of disk %s (snapshot.get names it) cannot be "
              "read, or nothing says in which format it is: bring it back",
              survey->job->record.snapshot, target);
    error_text(&survey->err, "file", target);
    error_text(&survey->err, "reason", "missing");
}

/* What the disk is on now. */
static void survey_leave(struct survey *survey, const struct tree *tree, const struct layer *layer)
{
    if (layer->unsaved && !job_has(survey->job, JOB_FORCE))
        survey_unsaved(survey, tree, layer);
    else if (layer->image.holders.writers)
        image_in_use(&survey->err, layer->image.file);
    survey_put(survey, tree, "left", layer);
}

/* The overlay's layers, in the order of the chain, and what is left. */
static void survey_go_back(struct survey *survey, const struct tree *tree)
{
    const struct layer *goal = NULL;

    if (!job_image(survey->job, tree->target, "overlay"))
        return;
    for (const struct layer *layer = tree->layers; layer; layer = layer->next) {
        goal = layer->goal ? layer : goal;
        if (layer->active && !survey->err.code)
            survey_leave(survey, tree, layer);
    }
    if (!goal) {
        survey_goal_missing(survey, tree->target);
        return;
    }
    job_image(survey->job, tree->target, "overlay")->virtual_size = goal->image.virtual_size;
    survey_put(survey, tree, "source", goal);
    for (const struct layer *layer = goal->below; layer; layer = layer->below)
        survey_put(survey, tree, "below", layer);
}

static void survey_done(void *arg)
{
    struct survey *survey = arg;

    for (unsigned i = 0; i < survey->n_trees && !survey->err.code; i++) {
        if (survey->reverts)
            survey_go_back(survey, &survey->trees[i]);
        else
            survey_add_tree(survey, &survey->trees[i]);
    }
    if (!survey->reverts && !survey->err.code)
        delete_prepare(survey->job);
    if (survey->reverts && internal_has(survey->job) && !survey->err.code)
        internal_survey(survey->job, survey->done, survey->arg);
    else
        survey->done(survey->arg, survey->err.code ? &survey->err : NULL);
    survey_free(survey);
}

static void survey_start(struct job *job, struct survey *survey)
{
    struct record_domain *record = &job->domain->record;
    struct domain *domain, *next;

    survey->trees = xzalloc((record->n_disks + 1) * sizeof(*survey->trees));
    for (unsigned i = 0; i < record->n_disks; i++)
        if (record->disks[i].n_chain > 0)
            tree_fill(&survey->trees[survey->n_trees++], job, survey->reverts, &record->disks[i]);
    HASH_ITER (hh, job->engine->domains->map, domain, next) {
        if (domain != job->domain)
            needed_add_domain(&survey->others, domain);
    }
    worker_run(job->engine->domains->worker, survey_run, survey_done, survey_free, survey);
}

void delete_survey(struct job *job, void (*done)(void *arg, const struct error *err), void *arg)
{
    struct survey *survey = xzalloc(sizeof(*survey));

    *survey = (struct survey){.job = job, .done = done, .arg = arg};
    survey_start(job, survey);
}

void revert_survey(struct job *job, void (*done)(void *arg, const struct error *err), void *arg)
{
    struct survey *survey = xzalloc(sizeof(*survey));

    *survey = (struct survey){.job = job, .reverts = true, .done = done, .arg = arg};
    if (job_image(job, NULL, "memory") && !job_image(job, NULL, "memory")->node)
        survey->memory = process_reach(&job->record.qemu, job_image(job, NULL, "memory")->file);
    survey_start(job, survey);
}
