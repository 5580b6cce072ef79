#include "api/target.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "api/block.h"
#include "base/memory.h"
#include "job/needed.h"
#include "proto/snapvm-errors.h"
#include "qemu/image.h"
#include "qemu/measure.h"

void target_deinit(struct target *target)
{
    for (unsigned i = 0; i < target->n_layers; i++) {
        free(target->layers[i].path);
        free(target->layers[i].format);
    }
    free(target->layers);
    needed_free(target->needed);
    free(target->path);
    free(target->name);
    free(target->format);
    free(target->backing);
    free(target->backing_name);
}

void target_add_layer(struct target *target, const char *path, const char *format)
{
    target->layers = xrealloc(target->layers, target->n_layers + 1, sizeof(*target->layers));
    target->layers[target->n_layers++] =
        (struct target_layer){.path = xstrdup(path), .format = xstrdup(format)};
}

/* --- a file that the caller prepared --- */

static int mismatch(struct error *err, const struct target *target, const char *what,
                    const char *expected, const char *found)
{
    error_set(err, SNAPVM_ERROR_MISMATCH, "%s has %s %s, and should have %s", target->name, what,
              found, expected);
    error_text(err, "expected", expected);
    return error_text(err, "found", found);
}

static int check_size(const struct target *target, const struct image_info *info, struct error *err)
{
    _cleanup_free_ char *expected = xasprintf("%" PRId64, target->virtual_size);
    _cleanup_free_ char *found = xasprintf("%" PRId64, info->virtual_size);

    if (info->virtual_size == target->virtual_size)
        return 0;
    return mismatch(err, target, "the size", expected, found);
}

/* QEMU would read through to what the header names at the next start. */
static int check_backing(const struct target *target, const struct image_info *info,
                         struct error *err)
{
    const char *found = info->backing ? info->backing : "none";
    struct image_id named, wanted;

    if (!target->backing && !info->backing)
        return 0;
    if (target->backing && info->backing && info->backing[0] == '/' &&
        image_identify(info->backing, &named, NULL) == 0 &&
        image_identify(target->backing, &wanted, NULL) == 0 && image_same(&named, &wanted))
        return 0;
    return mismatch(err, target, "the backing file",
                    target->backing ? target->backing_name : "none", found);
}

/* What a shallow copy does not write has to read through to the layer below. */
static int check_empty(const struct target *target, struct error *err)
{
    bool empty = false;

    if (!target->backing)
        return 0;
    if (image_is_empty(target->path, &empty, err) < 0)
        return -1;
    if (empty)
        return 0;
    return block_image_error(
        err, target->name, "not empty",
        "a shallow copy needs an empty image: make it with qemu-img create -b");
}

static int check_unused(struct target *target, struct error *err)
{
    struct image_id id;

    if (image_identify(target->path, &id, err) < 0)
        return -1;
    needed_follow(&target->needed);
    if (!needed_has(target->needed, &id))
        return 0;
    return block_image_error(err, target->name, "in use",
                             "a disk or a snapshot of a domain needs it");
}

static int check_reused(struct target *target, struct error *err)
{
    struct image_info info = {0};
    struct stat st;
    int r = -1;

    if (lstat(target->path, &st) < 0 || !S_ISREG(st.st_mode))
        return block_image_error(err, target->name, "no plain file",
                                 "the target of a copy has to be a plain file, and no link");
    if (check_unused(target, err) < 0 || image_read(target->path, target->format, &info, err) < 0)
        return -1;
    if (info.data_file || info.encrypted || info.corrupt)
        block_image_error(err, target->name, "unfit",
                          "it has a data file, is encrypted or damaged: make a new one");
    else if (check_size(target, &info, err) == 0 && check_backing(target, &info, err) == 0)
        r = check_empty(target, err);
    image_info_deinit(&info);
    return r;
}

/* --- room --- */

static int64_t target_needs(const struct target *target)
{
    struct measure_layer *layers = xzalloc((target->n_layers + 1) * sizeof(*layers));
    int64_t data;

    for (unsigned i = 0; i < target->n_layers; i++)
        layers[i] = (struct measure_layer){target->layers[i].path, target->layers[i].format};
    data = measure_data(layers, target->n_layers, target->virtual_size);
    free(layers);
    return data < 0 ? -1 : measure_image(target->format, target->virtual_size, data);
}

/* What a prepared file takes up already is there to be written over. */
static int64_t target_room(const struct target *target)
{
    _cleanup_free_ char *folder = xstrdup(target->path);
    int64_t free_bytes;
    struct stat st;

    *strrchr(folder, '/') = '\0';
    free_bytes = measure_free(folder[0] ? folder : "/");
    if (free_bytes >= 0 && target->reuse && stat(target->path, &st) == 0)
        free_bytes += (int64_t)st.st_blocks * 512;
    return free_bytes;
}

static int check_room(const struct target *target, struct error *err)
{
    int64_t room = target_room(target), needs;

    if (room < 0 ||
        room >= measure_image(target->format, target->virtual_size, target->virtual_size))
        return 0;
    needs = target_needs(target);
    if (needs <= room)
        return 0;
    return error_set(err, SNAPVM_ERROR_NO_SPACE,
                     "the copy needs about %" PRId64 " bytes, and %" PRId64
                     " are free in the file system of %s",
                     needs, room, target->name);
}

int target_check(struct target *target, struct error *err)
{
    if (target->reuse && check_reused(target, err) < 0)
        return -1;
    return check_room(target, err);
}
