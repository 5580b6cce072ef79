/* Stands in for libFuzzer in `make check`: feeds a fuzz target every file of its corpus, so that
 * what was once found stays found, with any compiler. The corpus of fuzz-NOUN is corpus/NOUN. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX (4 * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "re");
    uint8_t *data, *exact;
    size_t size;

    if (!file) {
        perror(path);
        return -1;
    }
    data = malloc(INPUT_MAX);
    if (!data)
        abort();
    size = fread(data, 1, INPUT_MAX, file);
    fclose(file);
    /* Of exactly that size, so that a sanitizer sees a read behind the end. */
    exact = malloc(size ? size : 1);
    if (!exact)
        abort();
    memcpy(exact, data, size);
    free(data);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 0;
}

int main(int argc, char **argv)
{
    const char *srcdir = getenv("srcdir"), *noun = argc > 0 ? strstr(argv[0], "fuzz-") : NULL;
    struct dirent *entry;
    char path[4096];
    int files = 0;
    DIR *dir;

    for (const char *next = noun; next; next = strstr(next + 1, "fuzz-"))
        noun = next;
    snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".",
             noun ? noun + strlen("fuzz-") : "");
    dir = opendir(path);
    if (!dir) {
        perror(path);
        return EXIT_FAILURE;
    }
    while ((entry = readdir(dir))) {
        char name[8192];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (replay_file(name) < 0)
            return EXIT_FAILURE;
        files++;
    }
    closedir(dir);
    printf("%d files of %s\n", files, path);
    return files ? EXIT_SUCCESS : EXIT_FAILURE;
}
