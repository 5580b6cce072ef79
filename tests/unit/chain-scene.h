/* Three images in a folder of their own, top on middle on base, and a chain of them to be checked.
 */
#ifndef SNAPVM_TESTS_UNIT_CHAIN_SCENE_H
#define SNAPVM_TESTS_UNIT_CHAIN_SCENE_H

#include <check.h>
#include <stdint.h>

#include "job/check-chain.h"
#include "job/finding.h"

#define N(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))
#define SIZE (1 << 20)

extern struct chain_scene {
    char *folder, *top, *middle, *base;
    struct check_chain chain;
    struct findings findings;
} its;

/* The fixture of a test case. */
void chain_setup(void);
void chain_teardown(void);

/* A path in the folder, owned by the caller. */
char *in_folder(const char *name);

/* A qcow2 image whose header says just that; format NULL leaves it out. */
void put_image(const char *path, int64_t size, const char *backing, const char *format);
void put_raw(const char *path, int64_t size);

/* The kinds found, in their order, with the level's first letter before each; owned by the caller.
 */
char *finding_kinds(const struct findings *findings);

#endif
