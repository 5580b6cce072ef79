#include "api/metrics.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/context.h"
#include "api/method.h"
#include "base/clock.h"
#include "base/memory.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "journal/journal.h"

struct metrics *metrics_new(void)
{
    struct metrics *metrics = xzalloc(sizeof(*metrics));
    size_t n;

    method_table(&n);
    metrics->answered = xzalloc(n * sizeof(uint64_t));
    metrics->failed = xzalloc(n * sizeof(uint64_t));
    return metrics;
}

struct metrics *metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return NULL;
    free(metrics->answered);
    free(metrics->failed);
    free(metrics);
    return NULL;
}

void metrics_count(struct metrics *metrics, const struct method *method, bool failed)
{
    size_t n;
    size_t row = (size_t)(method - method_table(&n));

    (failed ? metrics->failed : metrics->answered)[row]++;
}

/* What one metric is, and its samples behind it. */
static void write_head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP snapvm_%s %s\n# TYPE snapvm_%s %s\n", name, help, name, type);
}

static void write_one(FILE *out, const char *name, const char *type, const char *help,
                      int64_t value)
{
    write_head(out, name, type, help);
    fprintf(out, "snapvm_%s %lld\n", name, (long long)value);
}

static void write_requests(FILE *out, const struct metrics *metrics)
{
    const struct method *table;
    size_t n;

    table = method_table(&n);
    write_head(out, "requests_total", "counter", "Requests answered, by method and result.");
    for (size_t i = 0; i < n; i++)
        fprintf(out,
                "snapvm_requests_total{method=\"%s\",result=\"ok\"} %llu\n"
                "snapvm_requests_total{method=\"%s\",result=\"error\"} %llu\n",
                table[i].name, (unsigned long long)metrics->answered[i], table[i].name,
                (unsigned long long)metrics->failed[i]);
}

char *metrics_text(const struct daemon_context *context)
{
    const struct metrics *metrics = context->metrics;
    int64_t active, total;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        abort();
    engine_counts(context->engine, &active, &total);
    write_one(out, "uptime_seconds", "gauge", "Seconds since the daemon started.",
              (clock_now() - context->started) / 1000000);
    write_one(out, "connections", "gauge", "Open connections.", (int64_t)metrics->connections);
    write_one(out, "connections_total", "counter", "Connections accepted.",
              (int64_t)metrics->connections_total);
    write_one(out, "connections_refused_total", "counter", "Connections over the bound.",
              (int64_t)metrics->refused);
    write_one(out, "connections_cut_off_total", "counter", "Readers that were too slow.",
              (int64_t)metrics->cut_off);
    write_one(out, "malformed_total", "counter", "Lines that were no request.",
              (int64_t)metrics->malformed);
    write_requests(out, metrics);
    write_one(out, "events_total", "counter", "Number of the newest event.",
              journal_last_seq(context->journal));
    write_one(out, "domains", "gauge", "Domains that are known.", domains_count(context->domains));
    write_one(out, "jobs_active", "gauge", "Jobs that have not ended.", active);
    write_one(out, "jobs", "gauge", "Jobs on record.", total);
    if (fclose(out) != 0)
        abort();
    return text;
}
