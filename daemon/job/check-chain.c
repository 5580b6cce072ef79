/* Each header is compared with the one layer that is known to lie below: by device and inode, since
 * one file has many names. Where QEMU and record know no further layer, a disk that was never seen
 * in a QEMU is followed by its headers alone. */
#include "job/check-chain.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "job/finding.h"
#include "proto/limits.h"

struct check_layer *check_chain_add(struct check_chain *chain, const char *file, const char *format)
{
    struct check_layer *layer;

    chain->layers = xrealloc(chain->layers, chain->n_layers + 1, sizeof(*chain->layers));
    layer = &chain->layers[chain->n_layers++];
    *layer = (struct check_layer){
        .file = xstrdup(file ? file : ""),
        .format = xstrdup(format),
        .path = file && file[0] == '/' ? check_chain_reach(chain, file) : NULL,
    };
    return layer;
}

void check_chain_deinit(struct check_chain *chain)
{
    for (unsigned i = 0; i < chain->n_layers; i++) {
        free(chain->layers[i].file);
        free(chain->layers[i].format);
        free(chain->layers[i].path);
        image_info_deinit(&chain->layers[i].info);
    }
    for (unsigned i = 0; i < chain->n_others; i++)
        free(chain->others[i]);
    free(chain->layers);
    free(chain->others);
    free(chain->domain);
    free(chain->target);
    free(chain->root);
}

char *check_chain_reach(const struct check_chain *chain, const char *file)
{
    return xasprintf("%s%s", chain->root, file);
}

/* --- repairs --- */

static const char *when(const struct check_chain *chain)
{
    return chain->running ? "once the guest is shut off: " : "";
}

/* Writes another backing name into a header; `below` NULL: none, if that is known. */
static char *repair_rebase(const struct check_chain *chain, const struct check_layer *layer,
                           const struct check_layer *below)
{
    _cleanup_free_ char *file = finding_word(layer->file);
    _cleanup_free_ char *name = finding_word(below ? below->file : "");
    const char *format = below && below->format ? below->format : "qcow2";

    if (!below && !chain->known)
        return xasprintf("find its right backing file, then %sqemu-img rebase -f qcow2 -u "
                         "-F FORMAT -b FILE %s",
                         when(chain), file);
    if (!below)
        return xasprintf("%sqemu-img rebase -f qcow2 -u -b '' %s", when(chain), file);
    return xasprintf("%sqemu-img rebase -f qcow2 -u -F %s -b %s %s", when(chain), format, name,
                     file);
}

/* A layer that is gone from its folder is still whole in a QEMU that has it open. */
static char *repair_missing(const struct check_chain *chain, unsigned i)
{
    const struct check_layer *layer = &chain->layers[i];
    _cleanup_free_ char *file = finding_word(layer->file);

    if (!chain->running)
        return xasprintf("put %s back, from a backup or from where it was moved to", file);
    if (i > 0)
        return xasprintf("while the guest runs: snapvmctl block pull %s %s", chain->domain,
                         chain->target);
    if (chain->n_layers > 1)
        return xasprintf("while the guest runs: snapvmctl block commit %s %s --active --shallow",
                         chain->domain, chain->target);
    return xasprintf("while the guest runs: ln -L /proc/PID/fd/N %s, of the QEMU's pid and file",
                     file);
}

/* --- one header --- */

static void add(struct findings *findings, const struct check_chain *chain, unsigned i,
                enum finding_level level, const char *kind, char *what, char *repair)
{
    findings_add(findings, (struct finding){.level = level,
                                            .kind = kind,
                                            .disk = xstrdup(chain->target),
                                            .file = xstrdup(chain->layers[i].file),
                                            .what = what,
                                            .repair = repair});
}

static bool is_readable(const char *format)
{
    return format && (strcmp(format, "qcow2") == 0 || strcmp(format, "raw") == 0);
}

static void layer_read(struct check_chain *chain, unsigned i, struct findings *findings)
{
    struct check_layer *layer = &chain->layers[i];
    _cleanup_free_ char *word = finding_word(layer->file);
    _cleanup_error_ struct error err = {0};
    const char *reason;

    if (!layer->format) {
        add(findings, chain, i, FINDING_INFO, "format-unknown",
            xasprintf("the format of %s is not known, so its header was not read", layer->file),
            xasprintf("snapvmctl domain undefine %s, then define it again with --disk "
                      "target=%s,file=%s,format=FORMAT",
                      chain->domain, chain->target, word));
        return;
    }
    if (!is_readable(layer->format))
        return;
    layer->read = image_read(layer->path, layer->format, &layer->info, &err) == 0;
    reason = error_get(&err, "reason");
    if (!layer->read)
        add(findings, chain, i, FINDING_ERROR, "image-unreadable",
            xasprintf("%s cannot be read as %s: %s", layer->file, layer->format,
                      reason ? reason : err.message),
            xasprintf("%sqemu-img check -f %s %s, or put it back from a backup", when(chain),
                      layer->format, word));
    else if (layer->info.corrupt)
        add(findings, chain, i, FINDING_ERROR, "image-corrupt",
            xasprintf("%s is marked as corrupt", layer->file),
            xasprintf("%sqemu-img check -f qcow2 -r all %s", when(chain), word));
}

static void layer_identify(struct check_layer *layer)
{
    layer->there = layer->path && image_identify(layer->path, &layer->id, NULL) == 0;
}

void check_chain_identify(struct check_chain *chain)
{
    for (unsigned i = 0; i < chain->n_layers; i++)
        layer_identify(&chain->layers[i]);
}

/* Finds and reads the layer's file. */
static void layer_look(struct check_chain *chain, unsigned i, struct findings *findings)
{
    struct check_layer *layer = &chain->layers[i];

    if (!layer->path)
        return;
    layer_identify(layer);
    if (layer->there)
        layer_read(chain, i, findings);
    else
        add(findings, chain, i, FINDING_ERROR, "image-missing",
            xasprintf("%s is not there", layer->file), repair_missing(chain, i));
}

/* --- the backing name --- */

/* Whether a name is one that only a block driver of QEMU understands: "nbd:…", "json:{…}". */
static bool is_plain(const char *name)
{
    return strncmp(name, "file:", 5) == 0 || name[strcspn(name, ":/")] != ':';
}

/* Where a header's name leads: relative ones begin at the folder of their image. */
static char *layer_resolve(const struct check_layer *layer, const char *name)
{
    const char *slash = strrchr(layer->file, '/');

    if (strncmp(name, "file:", 5) == 0)
        name += 5;
    if (name[0] == '/' || !slash)
        return xstrdup(name);
    return xasprintf("%.*s%s", (int)(slash + 1 - layer->file), layer->file, name);
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* While a job changes the chain a header may be ahead of what was seen, or behind it. */
static bool layer_may_name(const struct check_chain *chain, unsigned i, const struct image_id *id)
{
    struct image_id other;

    for (unsigned k = i + 1; chain->busy && k < chain->n_layers; k++)
        if (chain->layers[k].there && image_same(&chain->layers[k].id, id))
            return true;
    for (unsigned k = 0; chain->busy && k < chain->n_others; k++)
        if (image_identify(chain->others[k], &other, NULL) == 0 && image_same(&other, id))
            return true;
    return false;
}

/* The layer at or above i that has this identity; -1 when there is none. */
static int layer_above(const struct check_chain *chain, unsigned i, const struct image_id *id)
{
    for (unsigned k = 0; k <= i; k++)
        if (chain->layers[k].there && image_same(&chain->layers[k].id, id))
            return (int)k;
    return -1;
}

/* What lies below by all that is known, for sentences. */
static char *below_name(const struct check_chain *chain, const struct check_layer *below)
{
    if (below)
        return xasprintf("the layer below is %s", below->file);
    return xstrdup(chain->known ? "nothing lies below it" : "the chain cannot be read below it");
}

static void name_is_wrong(struct check_chain *chain, unsigned i, const struct check_layer *below,
                          const char *resolved, const struct image_id *id,
                          struct findings *findings)
{
    const struct check_layer *layer = &chain->layers[i];
    const char *name = layer->info.backing;
    _cleanup_free_ char *is = below_name(chain, below);
    bool relative = name[0] != '/' && below && strcmp(last_part(name), last_part(below->file)) == 0;
    int above = id ? layer_above(chain, i, id) : -1;
    char *what, *repair = repair_rebase(chain, layer, below);

    if (above >= 0) {
        what = xasprintf("the chain is a loop: the header of %s names %s as its backing file, "
                         "which lies %s; %s",
                         layer->file, name, above == (int)i ? "there itself" : "above it", is);
        add(findings, chain, i, FINDING_ERROR, "backing-loop", what, repair);
    } else if (relative) {
        what = xasprintf("the header of %s names %s, which leads to %s from its folder; %s",
                         layer->file, name, resolved, is);
        add(findings, chain, i, FINDING_ERROR, "backing-relative", what, repair);
    } else if (!id) {
        what = xasprintf("the header of %s names %s as its backing file, which is not there; %s",
                         layer->file, name, is);
        add(findings, chain, i, FINDING_ERROR, "backing-missing", what, repair);
    } else {
        what =
            xasprintf("the header of %s names another backing file, %s; %s", layer->file, name, is);
        add(findings, chain, i, FINDING_ERROR, "backing-other", what, repair);
    }
}

/* Whether the header's name leads to the layer below, which may be NULL: none. */
static bool name_fits(struct check_chain *chain, unsigned i, const struct check_layer *below,
                      struct findings *findings)
{
    const struct check_layer *layer = &chain->layers[i];
    _cleanup_free_ char *resolved = layer_resolve(layer, layer->info.backing);
    _cleanup_free_ char *path = check_chain_reach(chain, resolved);
    struct image_id id;
    bool there;

    if (!is_plain(layer->info.backing)) {
        add(findings, chain, i, FINDING_WARNING, "backing-other",
            xasprintf("the header of %s names %s, which is no plain file", layer->file,
                      layer->info.backing),
            repair_rebase(chain, layer, below));
        return false;
    }
    if (below && strcmp(resolved, below->file) == 0)
        return true; /* whether it is there is told of itself */
    there = image_identify(path, &id, NULL) == 0;
    if (there &&
        ((below && below->there && image_same(&id, &below->id)) || layer_may_name(chain, i, &id)))
        return true;
    name_is_wrong(chain, i, below, resolved, there ? &id : NULL, findings);
    return false;
}

static void format_is_wrong(struct check_chain *chain, unsigned i, const struct check_layer *below,
                            struct findings *findings)
{
    const struct check_layer *layer = &chain->layers[i];
    const char *format = layer->info.backing_format;
    bool raw = below->format && strcmp(below->format, "raw") == 0;

    if (chain->busy)
        return; /* of which layer the header speaks is not known */
    if (!format)
        add(findings, chain, i, raw ? FINDING_ERROR : FINDING_WARNING, "backing-format-missing",
            xasprintf("the header of %s does not say the format of its backing file, which a "
                      "guest can fake to whoever guesses it",
                      layer->file),
            repair_rebase(chain, layer, below));
    else if (is_readable(below->format) && strcmp(format, below->format) != 0)
        add(findings, chain, i, FINDING_ERROR, "backing-format-wrong",
            xasprintf("the header of %s says that its backing file is %s, it is %s", layer->file,
                      format, below->format),
            repair_rebase(chain, layer, below));
}

static void layer_is_smaller(struct check_chain *chain, unsigned i, const struct check_layer *below,
                             struct findings *findings)
{
    const struct check_layer *layer = &chain->layers[i];
    _cleanup_free_ char *file = finding_word(layer->file);

    if (!layer->read || !below->read || layer->info.virtual_size >= below->info.virtual_size)
        return;
    add(findings, chain, i, FINDING_ERROR, "overlay-smaller",
        xasprintf("%s is %lld bytes large, smaller than %s below it with %lld: the disk is cut",
                  layer->file, (long long)layer->info.virtual_size, below->file,
                  (long long)below->info.virtual_size),
        xasprintf("%sqemu-img resize -f %s %s %lld", when(chain), layer->format, file,
                  (long long)below->info.virtual_size));
}

/* A header against the layer below, which was looked at. */
static void layer_compare(struct check_chain *chain, unsigned i, struct findings *findings)
{
    const struct check_layer *layer = &chain->layers[i];
    const struct check_layer *below = i + 1 < chain->n_layers ? &chain->layers[i + 1] : NULL;

    if (below)
        layer_is_smaller(chain, i, below, findings);
    if (!layer->read || strcmp(layer->format, "qcow2") != 0 || (below && !below->path))
        return;
    if (!layer->info.backing) {
        if (below && !chain->busy)
            add(findings, chain, i, FINDING_ERROR, "backing-none",
                xasprintf("the header of %s names no backing file; the layer below is %s",
                          layer->file, below->file),
                repair_rebase(chain, layer, below));
        return;
    }
    if (name_fits(chain, i, below, findings) && below)
        format_is_wrong(chain, i, below, findings);
}

/* The next layer of a chain that nobody knows, as the header has it; false at the bottom. */
static bool chain_follow(struct check_chain *chain, struct findings *findings)
{
    const struct check_layer *layer = &chain->layers[chain->n_layers - 1];
    _cleanup_free_ char *resolved = NULL, *path = NULL, *word = NULL;
    struct image_id id;

    if (!layer->read || !layer->info.backing || !is_plain(layer->info.backing))
        return false;
    resolved = layer_resolve(layer, layer->info.backing);
    path = check_chain_reach(chain, resolved);
    if (image_identify(path, &id, NULL) < 0 || layer_above(chain, chain->n_layers - 1, &id) >= 0)
        return false; /* layer_compare tells it */
    if (layer->info.backing_format) {
        check_chain_add(chain, resolved, layer->info.backing_format);
        return true;
    }
    word = finding_word(resolved);
    add(findings, chain, chain->n_layers - 1, FINDING_ERROR, "backing-format-missing",
        xasprintf("the header of %s does not say the format of its backing file %s; what lies "
                  "below was not looked at",
                  layer->file, resolved),
        xasprintf("%sqemu-img rebase -f qcow2 -u -F FORMAT -b %s %s", when(chain), word,
                  layer->file));
    return false;
}

static void chain_is_long(struct check_chain *chain, unsigned i, struct findings *findings)
{
    add(findings, chain, i, FINDING_WARNING, "chain-too-long",
        xasprintf("the chain has more than %d layers; those below %s were not looked at",
                  LIMIT_CHAIN_LAYERS, chain->layers[i].file),
        xasprintf("snapvmctl block pull %s %s", chain->domain, chain->target));
}

void check_chain_run(struct check_chain *chain, struct findings *findings)
{
    bool more = chain->n_layers > 0;
    unsigned i;

    for (i = 0; i < chain->n_layers && i < LIMIT_CHAIN_LAYERS; i++)
        layer_look(chain, i, findings);
    for (i = 0; i < chain->n_layers && i < LIMIT_CHAIN_LAYERS; i++) {
        if (i + 1 == chain->n_layers && !chain->known && more) {
            more = chain_follow(chain, findings);
            if (more && chain->n_layers <= LIMIT_CHAIN_LAYERS)
                layer_look(chain, i + 1, findings);
            if (!more && chain->layers[i].info.backing && !chain->layers[i].info.backing_format)
                continue; /* it was told why nothing is known of what lies below */
        }
        layer_compare(chain, i, findings);
    }
    if (i < chain->n_layers)
        chain_is_long(chain, i - 1, findings);
}
