#include "job/image-tool.h"

#include <stdio.h>
#include <string.h>

#include "base/crash.h"
#include "base/memory.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "job/files.h"
#include "job/job.h"
#include "qemu/tool.h"

/* A header is one write; what copies data takes as long as it takes. */
#define HEADER_TIMEOUT_MS 60000
#define N_WORDS 16

static void image_tool_ended(void *arg, const struct error *err)
{
    struct job *job = arg;
    image_tool_fn done = job->tool_done;

    job->tool = NULL;
    crash_point(job->engine->domains->crash, "effect.done", job->tool_effect);
    if (err)
        done(job, err);
    else
        files_sync_image(job, job->tool_image, done);
}

static void image_tool_run(struct job *job, const char *const *words, unsigned timeout_ms,
                           const struct record_image *written, image_tool_fn done)
{
    struct domains *domains = job->engine->domains;

    job->tool_done = done;
    job->tool_effect = words[1];
    job->tool_image = (unsigned)(written - job->record.images);
    job->tool =
        tool_run(domains->base, job->engine->leash, words, timeout_ms, image_tool_ended, job);
    crash_point(domains->crash, "effect.sent", words[1]);
}

void image_tool_commit(struct job *job, const struct record_image *top,
                       const struct record_image *base, image_tool_fn done)
{
    const char *words[N_WORDS] = {
        job->engine->options.qemu_img, "commit", "-q", "-d", "-f", top->format, "-b", base->file};
    char rate[32];
    unsigned n = 8;

    if (job->record.bandwidth > 0) {
        snprintf(rate, sizeof(rate), "%lld", (long long)job->record.bandwidth);
        words[n++] = "-r";
        words[n++] = rate;
    }
    words[n++] = top->file;
    image_tool_run(job, words, 0, base, done);
}

void image_tool_rebase(struct job *job, const struct record_image *above,
                       const struct record_image *base, image_tool_fn done)
{
    const char *words[N_WORDS] = {
        job->engine->options.qemu_img,
        "rebase",
        "-u",
        "-f",
        above->format,
        "-F",
        base->format,
        "-b",
        base->file,
        above->file,
    };

    image_tool_run(job, words, HEADER_TIMEOUT_MS, above, done);
}

/* qemu-img snapshot takes no -f: the format is said with the file, in which commas are doubled. */
static char *image_tool_options(const struct record_image *image)
{
    char *options = xzalloc(2 * strlen(image->file) + strlen(image->format) + 64);
    char *at = options + sprintf(options, "driver=%s,file.filename=", image->format);

    for (const char *p = image->file; *p; p++) {
        if (*p == ',')
            *at++ = ',';
        *at++ = *p;
    }
    return options;
}

static void image_tool_inside(struct job *job, const char *what, const char *which,
                              const struct record_image *image, image_tool_fn done)
{
    _cleanup_free_ char *options = image_tool_options(image);
    const char *words[N_WORDS] = {
        job->engine->options.qemu_img, "snapshot", "-q", what, which, "--image-opts", options,
    };

    image_tool_run(job, words, 0, image, done);
}

void image_tool_snapshot(struct job *job, const struct record_image *image, image_tool_fn done)
{
    image_tool_inside(job, "-c", image->node, image, done);
}

void image_tool_drop(struct job *job, const struct record_image *image, image_tool_fn done)
{
    image_tool_inside(job, "-d", image->node, image, done);
}

void image_tool_apply(struct job *job, const struct record_image *image, const char *number,
                      image_tool_fn done)
{
    image_tool_inside(job, "-a", number, image, done);
}

void image_tool_stop(struct job *job)
{
    if (job->tool)
        tool_stop(job->tool);
}
