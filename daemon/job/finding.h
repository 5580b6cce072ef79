/* What a check found: a fact, how bad it is, and how a person repairs it. */
#ifndef SNAPVM_JOB_FINDING_H
#define SNAPVM_JOB_FINDING_H

#include <stdbool.h>

enum finding_level {
    FINDING_INFO,    /* good to know; nothing is wrong */
    FINDING_WARNING, /* nothing is lost, but somebody may be misled, or something is left over */
    FINDING_ERROR,   /* who starts the guest, or reads the images, may get wrong data */
};

struct finding {
    enum finding_level level;
    const char *kind; /* a literal */
    char *disk;       /* its target; NULL: of the whole domain */
    char *file;       /* the image that it is about; NULL: none */
    char *what, *repair;
};

struct findings {
    struct finding *list;
    unsigned n;
};

/* Adds one; its texts are taken over. */
void findings_add(struct findings *findings, struct finding finding);
void findings_deinit(struct findings *findings);

/* Leaves those that are in `other` too. */
void findings_keep_common(struct findings *findings, const struct findings *other);

/* The worst first, then by disk and file. */
void findings_sort(struct findings *findings);

bool findings_concern(const struct findings *findings, const char *disk);

const char *finding_level_name(enum finding_level level);

/* A text as one word of a shell's line, quoted where it must be; owned by the caller. */
char *finding_word(const char *text);

#endif
