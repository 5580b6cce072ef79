/* A snapshot of two disks whose layers base-a and base-b are files: over-a and over-b are its
 * overlays. One scene a test; the fixture of files_case makes and clears it. */
#ifndef SNAPVM_TESTS_UNIT_FILES_SCENE_H
#define SNAPVM_TESTS_UNIT_FILES_SCENE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "tests/unit/domain-fixture.h"

#define N(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))
#define SIZE (1 << 20)

extern struct scene {
    struct stage stage;
    struct domain *domain;
    struct job *job;
    char *base[2], *over[2];
    bool done, told, empty;
    struct error err; /* of the last call */
} scene;

TCase *files_case(const char *name);

/* Call files.h and wait for the answer: the code of the error. */
int create(void);
int take_back(void);
int clear(void);

bool is_dry(void);

/* The overlay of a disk by its number. */
struct record_image *overlay(int i);

/* A path in the stage's folder, owned by the caller; whether something bears a name. */
char *at(const char *name);
bool is_there(const char *path);

/* An empty qcow2 file over a layer, and data in one. */
void make_overlay(const char *path, const char *below, const char *backing, int64_t size);
void put_data(const char *path);

/* The first bytes of a file as text, owned by the caller. */
char *content(const char *path);

#endif
