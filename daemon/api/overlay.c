#include "api/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "conf/conf.h"
#include "domain/domain.h"
#include "proto/snapvm-errors.h"
#include "qemu/image.h"

static void overlay_clean(char *text)
{
    for (; *text; text++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *text))
            *text = '_';
}

/* A device node lies among others, in memory: its folder is none for images. */
static bool is_device(const struct domain *domain, const char *file)
{
    _cleanup_free_ char *path = process_reach(&domain->record.qemu, file);
    struct stat st;

    return stat(path, &st) == 0 && S_ISBLK(st.st_mode);
}

char *overlay_default_file(const struct conf *conf, const struct domain *domain,
                           const struct record_disk *disk, const char *snapshot)
{
    bool device = is_device(domain, disk->chain[0].file) && conf->n_image_dirs > 0;
    _cleanup_free_ char *active = xstrdup(disk->chain[0].file);
    _cleanup_free_ char *name =
        xasprintf("%s-%s.%s.qcow2", domain->record.name, disk->target, snapshot);

    overlay_clean(name);
    return xasprintf("%s/%s", device ? conf->image_dirs[0] : dirname(active), name);
}

char *overlay_default_memory(const struct domain *domain, const char *overlay, const char *snapshot)
{
    _cleanup_free_ char *beside = xstrdup(overlay);
    _cleanup_free_ char *name = xasprintf("%s.%s.mem", domain->record.name, snapshot);

    overlay_clean(name);
    return xasprintf("%s/%s", dirname(beside), name);
}

static int overlay_image_error(struct error *err, const char *file, const char *reason,
                               const char *what)
{
    error_set(err, SNAPVM_ERROR_IMAGE, "%s: %s", file, what);
    error_text(err, "file", file);
    return error_text(err, "reason", reason);
}

/* The folder of a file in the guest's QEMU's root; -1 when it is missing. Folders compare by device
 * and inode: names do not tell across mount namespaces. */
static int overlay_folder(const struct domain *domain, const char *file)
{
    _cleanup_free_ char *copy = xstrdup(file), *path = NULL;

    path = process_reach(&domain->record.qemu, dirname(copy));
    return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static bool same_folder(int a, int b)
{
    struct stat x, y;

    return a >= 0 && b >= 0 && fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

static bool folder_is_below(int folder, int top)
{
    int at = fcntl(folder, F_DUPFD_CLOEXEC, 0);
    bool below = same_folder(at, top), root = false;

    while (!below && !root && at >= 0) {
        int up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);

        root = same_folder(at, up);
        close(at);
        at = up;
        below = same_folder(at, top);
    }
    if (at >= 0)
        close(at);
    return below;
}

static bool overlay_is_allowed(const struct conf *conf, const struct domain *domain, int folder)
{
    bool allowed = false;

    for (unsigned i = 0; i < domain->record.n_disks && !allowed; i++) {
        const struct record_disk *disk = &domain->record.disks[i];

        for (unsigned k = 0; k < disk->n_chain && !allowed; k++) {
            _cleanup_close_ int holds = overlay_folder(domain, disk->chain[k].file);

            allowed = same_folder(holds, folder) && !is_device(domain, disk->chain[k].file);
        }
    }
    for (size_t i = 0; i < conf->n_image_dirs && !allowed; i++) {
        _cleanup_free_ char *path = process_reach(&domain->record.qemu, conf->image_dirs[i]);
        _cleanup_close_ int top = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

        allowed = top >= 0 && folder_is_below(folder, top);
    }
    return allowed;
}

/* Whether a disk of the domain has the file in its chain, under whatever name. */
static bool overlay_is_used(const struct domain *domain, const char *path)
{
    struct image_id id, other;

    if (image_identify(path, &id, NULL) < 0)
        return false;
    for (unsigned i = 0; i < domain->record.n_disks; i++)
        for (unsigned k = 0; k < domain->record.disks[i].n_chain; k++) {
            _cleanup_free_ char *layer =
                process_reach(&domain->record.qemu, domain->record.disks[i].chain[k].file);

            if (image_identify(layer, &other, NULL) == 0 && image_same(&id, &other))
                return true;
        }
    return false;
}

static int overlay_check_reused(const struct domain *domain, const char *file, const char *path,
                                struct error *err)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return overlay_image_error(err, file, "missing",
                                   "there is no such file; make it, or leave out reuse");
    if (overlay_is_used(domain, path))
        return overlay_image_error(err, file, "in use",
                                   "a disk of this domain has it in its chain");
    return 0;
}

static int overlay_check_folder(const struct conf *conf, const struct domain *domain,
                                const char *file, struct error *err)
{
    _cleanup_close_ int folder = overlay_folder(domain, file);

    if (folder < 0)
        return overlay_image_error(err, file, "missing", "its folder is not there");
    if (overlay_is_allowed(conf, domain, folder))
        return 0;
    return overlay_image_error(err, file, "outside the allowed directories",
                               "images lie beside those of the domain that are files, or below a "
                               "folder of image_dirs in snapvmd.conf: name a file there");
}

int overlay_check_claim(const struct conf *conf, const struct domain *domain, const char *file,
                        struct error *err)
{
    _cleanup_free_ char *path = process_reach(&domain->record.qemu, file);

    return overlay_is_used(domain, path) ? 0 : overlay_check_folder(conf, domain, file, err);
}

int overlay_check_file(const struct conf *conf, const struct domain *domain, const char *file,
                       bool reuse, struct error *err)
{
    _cleanup_free_ char *path = NULL;
    struct stat st;

    if (file[0] != '/' || strlen(file) >= PATH_MAX) {
        error_set(err, SNAPVM_ERROR_INVALID_PARAMS, "%s: a new image needs an absolute path", file);
        return error_text(err, "param", "file");
    }
    path = process_reach(&domain->record.qemu, file);
    if (overlay_is_used(domain, path))
        return overlay_image_error(err, file, "in use",
                                   "a disk of this domain has it in its chain");
    if (overlay_check_folder(conf, domain, file, err) < 0)
        return -1;
    if (reuse)
        return overlay_check_reused(domain, file, path, err);
    if (lstat(path, &st) < 0)
        return 0;
    error_set(err, SNAPVM_ERROR_ALREADY_EXISTS,
              "%s is there already, and nothing is written over it; name another file", file);
    error_text(err, "object", "image");
    return error_text(err, "name", file);
}
