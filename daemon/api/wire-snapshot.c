/* A snapshot on the wire. A domain can have 10,000 of them, so the text is what is written, and the
 * value is read from it where one is needed. */
#include <stdio.h>
#include <stdlib.h>

#include "api/wire.h"
#include "base/clock.h"
#include "domain/snapshot.h"

/* `name` is a literal with all that stands before the value. */
static void put_text(FILE *out, const char *name, const char *text)
{
    fputs(name, out);
    json_write_text(out, text);
}

static void put_disk(FILE *out, const struct record_snapshot_disk *disk)
{
    put_text(out, "{\"disk\":", disk->disk);
    put_text(out, ",\"mode\":", disk->mode);
    put_text(out, ",\"file\":", disk->file);
    put_text(out, ",\"format\":", disk->format);
    put_text(out, ",\"backing\":", disk->backing);
    if (disk->backing && !disk->file) /* otherwise the overlay's header tells it */
        put_text(out, ",\"backing_format\":", disk->backing_format);
    fputc('}', out);
}

static void put_disks(FILE *out, const struct record_snapshot *record)
{
    fputs(",\"disks\":[", out);
    for (unsigned i = 0; i < record->n_disks; i++) {
        if (i > 0)
            fputc(',', out);
        put_disk(out, &record->disks[i]);
    }
    fputc(']', out);
}

static void put_record(FILE *out, const struct record_snapshot *record, unsigned children,
                       bool current)
{
    char time[CLOCK_TEXT];

    put_text(out, "{\"domain\":", record->domain);
    put_text(out, ",\"name\":", record->name);
    put_text(out, ",\"parent\":", record->parent);
    fprintf(out, ",\"children\":%u,\"current\":%s", children, current ? "true" : "false");
    put_text(out, ",\"created\":", record->created ? clock_text(record->created, time) : NULL);
    put_text(out, ",\"state\":", record->state);
    put_text(out, ",\"description\":", record->description);
    put_text(out, ",\"memory\":", record->memory);
    put_text(out, ",\"memory_file\":", record->memory_file);
    fprintf(out, ",\"quiesced\":%s", record->quiesced ? "true" : "false");
    put_text(out, ",\"quiesce_error\":", record->quiesce_error);
    put_disks(out, record);
    put_text(out, ",\"location\":", snapshot_record_location(record));
    fputc('}', out);
}

void wire_snapshot_text(FILE *out, const struct domain *domain, const struct snapshot *snapshot)
{
    put_record(out, &snapshot->record, snapshot->n_children, snapshot_is_current(domain, snapshot));
}

json_object *wire_snapshot_record(const struct record_snapshot *record, unsigned children,
                                  bool current)
{
    json_object *value;
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        abort();
    put_record(out, record, children, current);
    if (fclose(out) != 0)
        abort();
    value = json_tokener_parse(text);
    free(text);
    return value;
}

json_object *wire_snapshot(const struct domain *domain, const struct snapshot *snapshot)
{
    return wire_snapshot_record(&snapshot->record, snapshot->n_children,
                                snapshot_is_current(domain, snapshot));
}
