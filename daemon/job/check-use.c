#include "job/check-use.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "job/check-chain.h"
#include "job/finding.h"

/* --- shared images --- */

/* A layer in a disk's chain, whose file is there. */
struct use {
    const struct check_chain *chain;
    const struct check_layer *layer;
};

/* By identity, the checked domain's own first. */
static int use_compare(const void *a, const void *b)
{
    const struct use *x = a, *y = b;

    if (x->layer->id.dev != y->layer->id.dev)
        return x->layer->id.dev < y->layer->id.dev ? -1 : 1;
    if (x->layer->id.ino != y->layer->id.ino)
        return x->layer->id.ino < y->layer->id.ino ? -1 : 1;
    return (int)y->chain->own - (int)x->chain->own;
}

static const char *use_how(const struct use *own, const struct use *other)
{
    if (own->layer->writes && other->layer->writes)
        return "both write to it";
    if (other->layer->writes)
        return "which writes to it";
    return own->layer->writes ? "while this disk writes to it" : "both only read it";
}

static char *use_repair(const struct use *own, const struct use *other, bool writes)
{
    if (!writes)
        return xstrdup("nothing, as long as nothing is committed into it");
    if (strcmp(own->chain->domain, other->chain->domain) == 0)
        return xstrdup("give each disk an overlay of its own");
    return xasprintf("snapvmctl domain undefine %s if that is no guest any more, otherwise give "
                     "each an overlay of its own",
                     other->chain->domain);
}

static void use_is_shared(const struct use *own, const struct use *other, struct findings *findings)
{
    bool writes = own->layer->writes || other->layer->writes;

    findings_add(findings,
                 (struct finding){
                     .level = writes ? FINDING_ERROR : FINDING_INFO,
                     .kind = "image-shared",
                     .disk = xstrdup(own->chain->target),
                     .file = xstrdup(own->layer->file),
                     .what = xasprintf("%s is an image of the disk %s of domain %s too: %s",
                                       own->layer->file, other->chain->target, other->chain->domain,
                                       use_how(own, other)),
                     .repair = use_repair(own, other, writes),
                 });
}

/* What lies below a shared image is shared too, and is not told again. */
static bool use_goes_on(const struct use *a, const struct use *b)
{
    const struct check_layer *above_a = a->layer - 1, *above_b = b->layer - 1;

    return a->layer > a->chain->layers && b->layer > b->chain->layers && above_a->there &&
           above_b->there && image_same(&above_a->id, &above_b->id);
}

/* One finding an image and disk of the checked domain: the other use that matters most. */
static void use_group(const struct use *group, unsigned n, struct findings *findings)
{
    for (unsigned i = 0; i < n && group[i].chain->own; i++) {
        const struct use *worst = NULL;
        bool told = false;

        for (unsigned k = 0; k < i; k++)
            told |= group[k].chain == group[i].chain;
        for (unsigned k = 0; k < n && !told; k++)
            if (group[k].chain != group[i].chain && !use_goes_on(&group[i], &group[k]) &&
                (!worst || (group[k].layer->writes && !worst->layer->writes)))
                worst = &group[k];
        if (worst)
            use_is_shared(&group[i], worst, findings);
    }
}

void check_shared_run(const struct check_chain *chains, unsigned n, struct findings *findings)
{
    _cleanup_free_ struct use *uses = NULL;
    unsigned n_uses = 0, size;

    for (unsigned i = 0; i < n; i++) {
        uses = xrealloc(uses, n_uses + chains[i].n_layers + 1, sizeof(*uses));
        for (unsigned k = 0; k < chains[i].n_layers; k++)
            if (chains[i].layers[k].there)
                uses[n_uses++] = (struct use){&chains[i], &chains[i].layers[k]};
    }
    if (n_uses)
        qsort(uses, n_uses, sizeof(*uses), use_compare);
    for (unsigned i = 0; i < n_uses; i += size) {
        for (size = 1;
             i + size < n_uses && image_same(&uses[i].layer->id, &uses[i + size].layer->id);)
            size++;
        use_group(&uses[i], size, findings);
    }
}

/* --- snapshots --- */

static void overlay_is_gone(const struct check_kept *kept, const char *snapshot,
                            struct findings *findings)
{
    findings_add(findings,
                 (struct finding){
                     .level = FINDING_WARNING,
                     .kind = "snapshot-gone",
                     .disk = xstrdup(kept->disk),
                     .file = xstrdup(kept->file),
                     .what = xasprintf("the overlay %s, which snapshot %s began, is gone: merged "
                                       "back or removed, so the layer below may have changed since",
                                       kept->file, kept->snapshot),
                     .repair = xasprintf("snapvmctl snapshot delete %s %s --metadata-only",
                                         kept->domain, snapshot),
                 });
}

static void layer_is_gone(const struct check_kept *kept, const char *snapshot,
                          struct findings *findings)
{
    _cleanup_free_ char *file = finding_word(kept->file);

    findings_add(findings,
                 (struct finding){
                     .level = FINDING_ERROR,
                     .kind = "snapshot-gone",
                     .disk = xstrdup(kept->disk),
                     .file = xstrdup(kept->file),
                     .what = xasprintf("%s, which holds the %s as of snapshot %s, is gone",
                                       kept->file, kept->disk ? "disk" : "memory", kept->snapshot),
                     .repair = xasprintf("put %s back, or forget the snapshot: snapvmctl snapshot "
                                         "delete %s %s --metadata-only",
                                         file, kept->domain, snapshot),
                 });
}

void check_kept_run(const struct check_kept *kept, struct findings *findings)
{
    _cleanup_free_ char *snapshot = finding_word(kept->snapshot);
    struct stat st;

    if (stat(kept->path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR))
        return;
    if (kept->overlay)
        overlay_is_gone(kept, snapshot, findings);
    else
        layer_is_gone(kept, snapshot, findings);
}

void check_kept_deinit(struct check_kept *kept)
{
    free(kept->domain);
    free(kept->snapshot);
    free(kept->disk);
    free(kept->file);
    free(kept->path);
}
