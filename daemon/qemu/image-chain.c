/* Headers are followed by name and told apart by device and inode, so that a loop ends the walk
 * under whatever names it goes round. */
#include "qemu/image-chain.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "proto/snapvm-errors.h"

/* libvirt's limit is 200, QEMU's own is memory. */
#define CHAIN_MAX 1000

static int chain_error(struct error *err, const char *file, const char *reason,
                       const char *sentence)
{
    error_set(err, SNAPVM_ERROR_IMAGE, "%s: %s", file, sentence);
    error_text(err, "file", file);
    return error_text(err, "reason", reason);
}

char *image_backing_path(const char *overlay, const char *backing)
{
    const char *slash = strrchr(overlay, '/');

    if (strncmp(backing, "file:", 5) == 0)
        backing += 5;
    else if (backing[strcspn(backing, ":/")] == ':')
        return NULL;
    if (backing[0] == '/')
        return xstrdup(backing);
    if (backing[0] == '\0' || !slash)
        return NULL;
    return xasprintf("%.*s/%s", (int)(slash - overlay), overlay, backing);
}

static int layer_check(const struct image_layer *layer, const struct image_info *info,
                       struct error *err)
{
    if (info->corrupt)
        return chain_error(err, layer->file, "corrupt",
                           "the image is marked as damaged: repair it with qemu-img check -r all");
    if (info->data_file || info->encrypted)
        return chain_error(err, layer->file, "unsupported format",
                           "images with a data file or encryption are not handled while the guest "
                           "is shut off");
    if (info->backing && !info->backing_format)
        return chain_error(err, layer->file, "no backing format",
                           "its header does not say in which format its backing file is, and "
                           "nothing is guessed: say it by qemu-img rebase -u -b FILE -F FORMAT");
    return 0;
}

static bool chain_has(const struct image_chain *chain, const struct image_id *id)
{
    for (unsigned i = 0; i < chain->n_layers; i++)
        if (image_same(&chain->layers[i].id, id))
            return true;
    return false;
}

/* Adds one layer; *file and *format (owned) become those of the next one, NULL at the bottom. */
static int chain_step(struct image_chain *chain, char **file, char **format, struct error *err)
{
    struct image_layer layer = {.file = *file, .format = *format};
    struct image_info info = {0};
    int r = -1;

    *file = *format = NULL;
    if (image_identify(layer.file, &layer.id, err) == 0 && chain_has(chain, &layer.id))
        chain_error(err, layer.file, "loop", "the chain of backing files leads back to it");
    else if (image_read(layer.file, layer.format, &info, err) == 0 &&
             image_holders(layer.file, &layer.holders, err) == 0)
        r = layer_check(&layer, &info, err);
    if (r == 0 && info.backing) {
        *file = image_backing_path(layer.file, info.backing);
        *format = TAKE_PTR(info.backing_format);
        if (!*file)
            r = chain_error(err, layer.file, "no local file", "its backing file is no local file");
    }
    layer.virtual_size = info.virtual_size;
    image_info_deinit(&info);
    chain->layers = xrealloc(chain->layers, chain->n_layers + 1, sizeof(*chain->layers));
    chain->layers[chain->n_layers++] = layer;
    return r;
}

int image_chain_read(const char *file, const char *format, struct image_chain *ret_chain,
                     struct error *err)
{
    _cleanup_free_ char *next = xstrdup(file), *next_format = xstrdup(format);
    struct image_chain chain = {0};
    int r = 0;

    while (r == 0 && next)
        r = chain.n_layers == CHAIN_MAX
                ? chain_error(err, file, "too long", "its chain of backing files has no end")
                : chain_step(&chain, &next, &next_format, err);
    if (r == 0)
        *ret_chain = chain;
    else
        image_chain_deinit(&chain);
    return r;
}

void image_chain_deinit(struct image_chain *chain)
{
    for (unsigned i = 0; i < chain->n_layers; i++) {
        free(chain->layers[i].file);
        free(chain->layers[i].format);
    }
    free(chain->layers);
    *chain = (struct image_chain){0};
}
