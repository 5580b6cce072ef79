#include "job/finding.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

void findings_add(struct findings *findings, struct finding finding)
{
    findings->list = xrealloc(findings->list, findings->n + 1, sizeof(*findings->list));
    findings->list[findings->n++] = finding;
}

static void finding_deinit(struct finding *finding)
{
    free(finding->disk);
    free(finding->file);
    free(finding->what);
    free(finding->repair);
}

void findings_deinit(struct findings *findings)
{
    for (unsigned i = 0; i < findings->n; i++)
        finding_deinit(&findings->list[i]);
    free(findings->list);
    *findings = (struct findings){0};
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool finding_is_in(const struct finding *finding, const struct findings *findings)
{
    for (unsigned i = 0; i < findings->n; i++) {
        const struct finding *other = &findings->list[i];

        if (strcmp(other->kind, finding->kind) == 0 && same(other->disk, finding->disk) &&
            same(other->file, finding->file) && same(other->what, finding->what))
            return true;
    }
    return false;
}

void findings_keep_common(struct findings *findings, const struct findings *other)
{
    unsigned n = 0;

    for (unsigned i = 0; i < findings->n; i++) {
        if (finding_is_in(&findings->list[i], other))
            findings->list[n++] = findings->list[i];
        else
            finding_deinit(&findings->list[i]);
    }
    findings->n = n;
}

bool findings_concern(const struct findings *findings, const char *disk)
{
    for (unsigned i = 0; i < findings->n; i++)
        if (findings->list[i].disk && strcmp(findings->list[i].disk, disk) == 0)
            return true;
    return false;
}

static int text_compare(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "");
}

static int finding_compare(const void *a, const void *b)
{
    const struct finding *x = a, *y = b;
    int r = (int)y->level - (int)x->level;

    if (r == 0)
        r = text_compare(x->disk, y->disk);
    if (r == 0)
        r = text_compare(x->file, y->file);
    return r ? r : text_compare(x->what, y->what);
}

void findings_sort(struct findings *findings)
{
    if (findings->n)
        qsort(findings->list, findings->n, sizeof(*findings->list), finding_compare);
}

const char *finding_level_name(enum finding_level level)
{
    static const char *const names[] = {"info", "warning", "error"};

    return names[level];
}

static bool is_control(unsigned char byte)
{
    return byte < ' ' || byte == 0x7f;
}

/* Bash's $'…': names come from image headers, and a control character must not reach the shell as
 * itself. */
static char *word_escaped(const char *text)
{
    char *word = xrealloc(NULL, strlen(text) + 1, 4), *end = word;

    end = stpcpy(end, "$'");
    for (; *text; text++) {
        if (is_control((unsigned char)*text))
            end += sprintf(end, "\\%03o", (unsigned char)*text);
        else if (*text == '\'' || *text == '\\')
            end += sprintf(end, "\\%c", *text);
        else
            *end++ = *text;
    }
    strcpy(end, "'");
    return word;
}

static char *word_quoted(const char *text)
{
    char *word = xrealloc(NULL, strlen(text) + 1, 4), *end = word;

    *end++ = '\'';
    for (; *text; text++)
        end = *text == '\'' ? stpcpy(end, "'\\''") : mempcpy(end, text, 1);
    strcpy(end, "'");
    return word;
}

char *finding_word(const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-._/:=+,@%";

    if (text[0] && text[strspn(text, plain)] == '\0')
        return xstrdup(text);
    for (const char *p = text; *p; p++)
        if (is_control((unsigned char)*p))
            return word_escaped(text);
    return word_quoted(text);
}
