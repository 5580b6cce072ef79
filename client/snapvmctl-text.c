#include "client/snapvmctl-text.h"

#include <langinfo.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "base/memory.h"
#include "proto/json.h"

/* The character at p and its length in bytes; 0 where the bytes are no UTF-8. */
static size_t character_at(const char *p, uint32_t *ret_character)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = (unsigned char)*p;
    uint32_t character;
    size_t size;

    size = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (size == 0 || first > 0xf4)
        return 0;
    character = size == 1 ? first : first & (0x7fU >> size);
    for (size_t i = 1; i < size; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        character = character << 6 | (p[i] & 0x3f);
    }
    if (character < least[size] || character > 0x10ffff)
        return 0;
    *ret_character = character;
    return size;
}

/* Characters that act on a terminal, or on the order in which it shows others. */
static bool character_acts(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x061c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

char *text_clean(const char *text, const char *keep)
{
    bool utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    char *clean = xrealloc(NULL, strlen(text) + 1, 4), *end = clean;
    uint32_t character;
    size_t size;

    for (; *text; text += size) {
        size = character_at(text, &character);
        if (size && (utf8 || size == 1) &&
            (!character_acts(character) || (size == 1 && strchr(keep, *text)))) {
            end = mempcpy(end, text, size);
            continue;
        }
        size = size ? size : 1;
        for (size_t i = 0; i < size; i++)
            end += sprintf(end, "\\%03o", (unsigned char)text[i]);
    }
    *end = '\0';
    return clean;
}

void text_line(FILE *out, const char *format, ...)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_free_ char *clean = NULL;
    va_list args;

    va_start(args, format);
    text = xvasprintf(format, args);
    va_end(args);
    clean = text_clean(text, "");
    fprintf(out, "%s\n", clean);
}

void text_lines(FILE *out, const char *text)
{
    _cleanup_free_ char *clean = text_clean(text, "\n\t");
    size_t size = strlen(clean);

    fputs(clean, out);
    if (size && clean[size - 1] != '\n')
        fputc('\n', out);
}

void text_json(FILE *out, struct json_object *value)
{
    uint32_t character;
    size_t size;

    for (const char *p = json_text(value); *p; p += size) {
        size = character_at(p, &character);
        if (size && character_acts(character)) {
            fprintf(out, "\\u%04x", character);
            continue;
        }
        size = size ? size : 1;
        fwrite(p, 1, size, out);
    }
    fputc('\n', out);
}

char *text_size(int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double size = (double)bytes;
    size_t unit = 0;

    while (size >= 1024 && unit < sizeof(units) / sizeof(units[0]) - 1) {
        size /= 1024;
        unit++;
    }
    /* Whole numbers of a unit are the usual case for disks and need no ".0". */
    if (size == (double)(int64_t)size)
        return xasprintf("%lld %s", (long long)size, units[unit]);
    return xasprintf("%.1f %s", size, units[unit]);
}

char *text_bandwidth(int64_t bytes_per_second)
{
    _cleanup_free_ char *size = NULL;

    if (bytes_per_second == 0)
        return xstrdup("unlimited");
    size = text_size(bytes_per_second);
    return xasprintf("%s/s", size);
}

char *text_duration(int64_t us)
{
    int64_t seconds = us / 1000000;

    if (us < 1000)
        return xasprintf("%lld us", (long long)us);
    if (us < 1000000)
        return xasprintf("%.1f ms", (double)us / 1000);
    if (seconds < 60)
        return xasprintf("%.1f s", (double)us / 1000000);
    if (seconds < 3600)
        return xasprintf("%lld min %02lld s", (long long)(seconds / 60), (long long)(seconds % 60));
    return xasprintf("%lld h %02lld min", (long long)(seconds / 3600),
                     (long long)(seconds % 3600 / 60));
}

char *text_time(const char *rfc3339)
{
    size_t size = strlen(rfc3339);

    if (size < 20 || rfc3339[10] != 'T' || rfc3339[size - 1] != 'Z')
        return xstrdup(rfc3339);
    return xasprintf("%.10s %.8sZ", rfc3339, rfc3339 + 11);
}

char *text_quoted(const char *text)
{
    char *quoted = xrealloc(NULL, strlen(text) + 1, 4), *end = quoted;

    *end++ = '\'';
    for (; *text; text++)
        end = *text == '\'' ? stpcpy(end, "'\\''") : mempcpy(end, text, 1);
    strcpy(end, "'");
    return quoted;
}
