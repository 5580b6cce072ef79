/* A file is called left over only if nothing needs it: no chain, snapshot or node of any domain, by
 * device and inode, no layer that one of these reads through to, and no job that is active. */
#include "job/check-left.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "job/finding.h"
#include "job/needed.h"
#include "proto/limits.h"

struct left_file *left_add_file(struct left *left)
{
    left->files = xrealloc(left->files, left->n_files + 1, sizeof(*left->files));
    memset(&left->files[left->n_files], 0, sizeof(*left->files));
    return &left->files[left->n_files++];
}

/* As the names of overlays are made. */
static char *left_prefix(const char *domain, const char *disk)
{
    char *prefix = xasprintf("%s-%s.", domain, disk);

    for (char *p = prefix; *p; p++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *p))
            *p = '_';
    return prefix;
}

void left_add_folder(struct left *left, const char *domain, const char *disk, const char *file,
                     const char *root)
{
    const char *slash = file[0] == '/' ? strrchr(file, '/') : NULL;
    _cleanup_free_ char *name = slash ? xstrndup(file, (size_t)(slash - file)) : NULL;

    for (unsigned i = 0; name && i < left->n_folders; i++)
        if (strcmp(left->folders[i].name, name) == 0 && strcmp(left->folders[i].disk, disk) == 0)
            return;
    if (!name)
        return;
    left->folders = xrealloc(left->folders, left->n_folders + 1, sizeof(*left->folders));
    left->folders[left->n_folders++] = (struct left_folder){
        .disk = xstrdup(disk),
        .path = xasprintf("%s%s/", root, name),
        .prefix = left_prefix(domain, disk),
        .name = xstrdup(name),
    };
}

void left_deinit(struct left *left)
{
    for (unsigned i = 0; i < left->n_files; i++) {
        free(left->files[i].file);
        free(left->files[i].path);
        free(left->files[i].disk);
        free(left->files[i].state);
    }
    for (unsigned i = 0; i < left->n_folders; i++) {
        free(left->folders[i].disk);
        free(left->folders[i].name);
        free(left->folders[i].path);
        free(left->folders[i].prefix);
    }
    free(left->files);
    free(left->folders);
    needed_free(left->needed);
    *left = (struct left){0};
}

/* Whether there is a file of that name that nothing needs. */
static bool left_is_there(const struct left *left, const char *path, struct image_id *ret_id)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
           image_identify(path, ret_id, NULL) == 0 && !needed_has(left->needed, ret_id);
}

static void file_is_left(const struct left_file *file, struct findings *findings)
{
    _cleanup_free_ char *word = finding_word(file->file);
    bool removed = strcmp(file->state, "removed") == 0, valid = strcmp(file->state, "valid") == 0;

    findings_add(findings,
                 (struct finding){
                     .level = removed ? FINDING_WARNING : FINDING_INFO,
                     .kind = "leftover-file",
                     .disk = xstrdup(file->disk),
                     .file = xstrdup(file->file),
                     .what = removed
                                 ? xasprintf("%s, which job %lld removed, is still there",
                                             file->file, (long long)file->job)
                                 : xasprintf("nothing needs %s since job %lld: by itself it is %s",
                                             file->file, (long long)file->job,
                                             valid ? "whole" : "worth nothing"),
                     .repair = valid ? xasprintf("rm %s, unless you keep it as a copy", word)
                                     : xasprintf("rm %s", word),
                 });
}

/* Another file may have got the name of one that was removed since. */
static void left_check_file(const struct left *left, const struct left_file *file,
                            struct findings *findings)
{
    struct image_id id;

    if (!left_is_there(left, file->path, &id))
        return;
    if (file->id.ino && !image_same(&file->id, &id))
        return;
    if (!file->id.ino && strcmp(file->state, "removed") == 0)
        return;
    file_is_left(file, findings);
}

static bool left_is_told(const struct left *left, const char *path)
{
    for (unsigned i = 0; i < left->n_files; i++)
        if (strcmp(left->files[i].path, path) == 0)
            return true;
    return false;
}

/* DOMAIN-TARGET.SNAPSHOT.qcow2 */
static bool left_is_named(const struct left_folder *folder, const char *entry)
{
    size_t size = strlen(folder->prefix);
    const char *end = strrchr(entry, '.');

    return strncmp(entry, folder->prefix, size) == 0 && end > entry + size &&
           strcmp(end, ".qcow2") == 0;
}

static void left_check_entry(const struct left *left, const struct left_folder *folder,
                             const char *entry, struct findings *findings)
{
    _cleanup_free_ char *path = xasprintf("%s%s", folder->path, entry);
    _cleanup_free_ char *file = xasprintf("%s/%s", folder->name, entry), *word = NULL;
    struct image_id id;

    if (!left_is_named(folder, entry) || left_is_told(left, path) ||
        !left_is_there(left, path, &id))
        return;
    word = finding_word(file);
    findings_add(
        findings,
        (struct finding){
            .level = FINDING_INFO,
            .kind = "leftover-file",
            .disk = xstrdup(folder->disk),
            .file = xstrdup(file),
            .what = xasprintf("%s is named like an overlay of this disk, and no record "
                              "and no image needs it",
                              file),
            .repair = xasprintf("look at it with qemu-img info -f qcow2 %s, then rm it", word),
        });
}

static void left_check_folder(const struct left *left, const struct left_folder *folder,
                              struct findings *findings)
{
    DIR *dir = opendir(folder->path);
    const struct dirent *entry;
    unsigned n = 0;

    if (!dir)
        return;
    while (n++ < LIMIT_CHECK_FILES && (entry = readdir(dir)))
        left_check_entry(left, folder, entry->d_name, findings);
    closedir(dir);
}

void left_run(struct left *left, struct findings *findings)
{
    needed_follow(&left->needed);
    for (unsigned i = 0; i < left->n_files; i++)
        left_check_file(left, &left->files[i], findings);
    for (unsigned i = 0; i < left->n_folders; i++)
        left_check_folder(left, &left->folders[i], findings);
}
