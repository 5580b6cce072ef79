#include "job/check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/memory.h"
#include "base/worker.h"
#include "domain/disk.h"
#include "domain/domains.h"
#include "domain/snapshot.h"
#include "job/check-chain.h"
#include "job/check-graph.h"
#include "job/check-left.h"
#include "job/check-use.h"
#include "job/engine.h"
#include "job/finding.h"
#include "job/job.h"
#include "job/leg.h"
#include "job/needed.h"
#include "journal/journal.h"
#include "proto/limits.h"
#include "qemu/process.h"
#include "qemu/view.h"

/* After this many rounds a finding on a disk that jobs change all the time counts if the round
 * before had it too. */
#define CHECK_ROUNDS 3

/* What the record said of a disk before QEMU was asked. */
struct was {
    char *target, *active;
};

struct check {
    TAILQ_ENTRY(check) link; /* engine::checks */
    struct engine *engine;   /* NULL: it has ended */
    char *domain;
    check_fn fn;
    void *arg;
    bool looking;       /* for a view */
    bool asking;        /* the history */
    uint64_t looks_for; /* its number */
    unsigned round;     /* from 1 on */
    uint64_t turns;     /* domain::turns when the round began */
    struct was *was;    /* of the first round */
    unsigned n_was;
    struct findings switched; /* by somebody else: only the first round can see it */
    struct findings now, before;

    /* The worker's, in the second half of a round. */
    struct check_chain *chains;
    struct check_kept *kept;
    struct left left;
    unsigned n_chains, n_kept;
};

static void check_clear_round(struct check *check)
{
    for (unsigned i = 0; i < check->n_chains; i++)
        check_chain_deinit(&check->chains[i]);
    for (unsigned i = 0; i < check->n_kept; i++)
        check_kept_deinit(&check->kept[i]);
    free(check->chains);
    free(check->kept);
    left_deinit(&check->left);
    check->chains = NULL;
    check->kept = NULL;
    check->n_chains = check->n_kept = 0;
}

static void check_free(void *arg)
{
    struct check *check = arg;

    if (check->engine)
        TAILQ_REMOVE(&check->engine->checks, check, link);
    check_clear_round(check);
    for (unsigned i = 0; i < check->n_was; i++) {
        free(check->was[i].target);
        free(check->was[i].active);
    }
    findings_deinit(&check->switched);
    findings_deinit(&check->now);
    findings_deinit(&check->before);
    free(check->was);
    free(check->domain);
    free(check);
}

/* Ends without findings; err NULL: the domain is gone. */
static void check_refuse(struct check *check, const struct error *err)
{
    _cleanup_error_ struct error gone = {0};
    check_fn fn = check->fn;
    void *arg = check->arg;

    if (!err)
        domains_missing(check->domain, &gone);
    check_free(check);
    fn(arg, NULL, err ? err : &gone);
}

static void check_answer(struct check *check)
{
    if (!domains_find(check->engine->domains, check->domain)) {
        check_refuse(check, NULL);
        return;
    }
    for (unsigned i = 0; i < check->switched.n; i++)
        findings_add(&check->now, check->switched.list[i]);
    check->switched.n = 0; /* handed over */
    findings_sort(&check->now);
    check->fn(check->arg, &check->now, NULL);
    check_free(check);
}

/* --- what the worker gets --- */

static bool disk_is_busy(const struct domain *domain, const struct record_disk *disk)
{
    return disk->held || job_on_disk(domain, disk->target);
}

static struct check_chain *check_add_chain(struct check *check, const struct domain *domain,
                                           const struct record_disk *disk)
{
    struct check_chain *chain;

    check->chains = xrealloc(check->chains, check->n_chains + 1, sizeof(*check->chains));
    chain = &check->chains[check->n_chains++];
    *chain = (struct check_chain){
        .domain = xstrdup(domain->record.name),
        .target = xstrdup(disk->target),
        .root = process_root(&domain->record.qemu),
        .own = strcmp(domain->record.name, check->domain) == 0,
        .known = disk->qdev || disk->device,
        .running = !domain_is_shutoff(domain),
        .busy = disk_is_busy(domain, disk),
    };
    return chain;
}

/* Every image that a job on the disk touches. */
static void check_add_others(struct check_chain *chain, const struct domain *domain)
{
    const struct job *job;

    TAILQ_FOREACH (job, &domain->jobs, link) {
        for (unsigned i = 0; i < job->record.n_images; i++) {
            const struct record_image *image = &job->record.images[i];

            if (strcmp(image->disk, chain->target) != 0 || image->file[0] != '/')
                continue;
            chain->others = xrealloc(chain->others, chain->n_others + 1, sizeof(*chain->others));
            chain->others[chain->n_others++] = check_chain_reach(chain, image->file);
        }
    }
}

/* Whether a job of the domain writes into the file beside the guest. */
static bool job_writes(const struct domain *domain, const char *file)
{
    const struct job *job;

    TAILQ_FOREACH (job, &domain->jobs, link) {
        for (unsigned i = 0; i < job->record.n_images; i++)
            if (strcmp(job->record.images[i].role, "base") == 0 &&
                strcmp(job->record.kind, "pull") != 0 &&
                strcmp(job->record.images[i].file, file) == 0)
                return true;
    }
    return false;
}

/* The chain that QEMU shows, else the one that is recorded. */
static void check_gather_disk(struct check *check, const struct domain *domain,
                              const struct record_disk *disk)
{
    const struct view_node *node = domain->connected ? disk_top(domain, disk) : NULL;
    struct check_chain *chain;

    if (domain->connected && !node)
        return; /* without a medium, or not in this QEMU */
    chain = check_add_chain(check, domain, disk);
    check_add_others(chain, domain);
    for (; node && chain->n_layers <= LIMIT_CHAIN_LAYERS; node = view_below(domain->view, node)) {
        _cleanup_free_ char *file = process_absolute(&domain->record.qemu, node->file);

        check_chain_add(chain, file ? file : node->file, node->driver);
    }
    for (unsigned i = 0; !domain->connected && i < disk->n_chain; i++)
        check_chain_add(chain, disk->chain[i].file, disk->chain[i].format);
    for (unsigned i = 0; i < chain->n_layers; i++)
        chain->layers[i].writes = (i == 0 && !disk->read_only) ||
                                  job_writes(domain, chain->layers[i].file);
}

static void check_keep(struct check *check, const struct snapshot *snapshot, const char *disk,
                       const char *file, bool overlay, const char *root)
{
    if (!file || file[0] != '/')
        return;
    check->kept = xrealloc(check->kept, check->n_kept + 1, sizeof(*check->kept));
    check->kept[check->n_kept++] = (struct check_kept){
        .domain = xstrdup(check->domain),
        .snapshot = xstrdup(snapshot->record.name),
        .disk = xstrdup(disk),
        .file = xstrdup(file),
        .path = xasprintf("%s%s", root, file),
        .overlay = overlay,
    };
}

static void check_gather_snapshots(struct check *check, const struct domain *domain)
{
    _cleanup_free_ char *root = process_root(&domain->record.qemu);
    const struct snapshot *snapshot;

    TAILQ_FOREACH (snapshot, &domain->snapshots, link) {
        for (unsigned i = 0; i < snapshot->record.n_disks; i++) {
            const struct record_snapshot_disk *disk = &snapshot->record.disks[i];

            check_keep(check, snapshot, disk->disk, disk->backing, false, root);
            check_keep(check, snapshot, disk->disk, disk->file, strcmp(disk->mode, "external") == 0,
                       root);
        }
        check_keep(check, snapshot, NULL, snapshot->record.memory_file, false, root);
    }
}

/* Files of jobs that are active, of whatever domain, are theirs. */
static void check_gather_needed(struct check *check, const struct domain *domain)
{
    const struct job *job;

    needed_add_domain(&check->left.needed, domain);
    TAILQ_FOREACH (job, &domain->jobs, link) {
        for (unsigned i = 0; i < job->record.n_images; i++) {
            _cleanup_free_ char *path =
                process_reach(&job->record.qemu, job->record.images[i].file);

            needed_add_path(&check->left.needed, path);
        }
    }
}

static void check_gather_folders(struct check *check, const struct domain *domain)
{
    _cleanup_free_ char *root = process_root(&domain->record.qemu);

    for (unsigned i = 0; i < domain->record.n_disks; i++) {
        const struct record_disk *disk = &domain->record.disks[i];

        for (unsigned k = 0; k < disk->n_chain; k++)
            left_add_folder(&check->left, domain->record.name, disk->target, disk->chain[k].file,
                            root);
    }
}

/* What an outcome called worthless, or whole and in nobody's use; copies are what was wanted. The
 * memory of a snapshot is needed by its record alone. */
static bool image_may_be_left(const struct record_image *image)
{
    if (!image->state || !image->file || image->file[0] != '/')
        return false;
    return strcmp(image->state, "invalid") == 0 || strcmp(image->state, "removed") == 0 ||
           (strcmp(image->state, "valid") == 0 &&
            (leg_merges(image) || strcmp(image->role, "memory") == 0));
}

static void check_gather_files(struct check *check, const struct domain *domain,
                               const struct record_job *jobs, unsigned n)
{
    _cleanup_free_ char *root = process_root(&domain->record.qemu);

    for (unsigned i = 0; i < n; i++) {
        const struct record_image *image = &jobs[i].images[0];
        struct left_file *file;

        if (!image_may_be_left(image))
            continue;
        file = left_add_file(&check->left);
        file->file = xstrdup(image->file);
        file->path = xasprintf("%s%s", root, image->file);
        file->disk = image->disk && image->disk[0] ? xstrdup(image->disk) : NULL;
        file->state = xstrdup(image->state);
        file->job = jobs[i].id;
        file->id = (struct image_id){.dev = image->dev, .ino = image->ino};
    }
}

/* Of other domains only the identities matter; the headers of theirs tell no more than those of
 * ours, except where nobody knows their chain. */
static void check_run(void *arg)
{
    struct check *check = arg;
    struct findings scrap = {0};

    for (unsigned i = 0; i < check->n_chains; i++) {
        if (check->chains[i].own || !check->chains[i].known)
            check_chain_run(&check->chains[i], check->chains[i].own ? &check->now : &scrap);
        else
            check_chain_identify(&check->chains[i]);
    }
    check_shared_run(check->chains, check->n_chains, &check->now);
    for (unsigned i = 0; i < check->n_kept; i++)
        check_kept_run(&check->kept[i], &check->now);
    left_run(&check->left, &check->now);
    findings_deinit(&scrap);
}

/* --- rounds --- */

static void check_round(struct check *check);

/* Whether what was found may be the trace of a job on its way. */
static bool check_is_doubtful(const struct check *check, const struct domain *domain)
{
    if (domain->turns != check->turns)
        return true;
    for (unsigned i = 0; i < check->n_chains; i++)
        if (check->chains[i].own && check->chains[i].busy &&
            findings_concern(&check->now, check->chains[i].target))
            return true;
    return false;
}

static void check_ran(void *arg)
{
    struct check *check = arg;
    const struct domain *domain;
    bool doubtful;

    if (!check->engine) {
        check_free(check);
        return;
    }
    domain = domains_find(check->engine->domains, check->domain);
    doubtful = domain && check_is_doubtful(check, domain);
    check_clear_round(check);
    if (doubtful && check->round < CHECK_ROUNDS) {
        check_round(check);
        return;
    }
    if (doubtful)
        findings_keep_common(&check->now, &check->before);
    check_answer(check);
}

static void check_asked(void *arg, const struct record_job *jobs, unsigned n,
                        const struct error *err)
{
    struct check *check = arg;
    const struct domain *domain = domains_find(check->engine->domains, check->domain);

    check->asking = false;
    if (!domain || err) {
        check_refuse(check, err);
        return;
    }
    check_gather_files(check, domain, jobs, n);
    worker_run(check->engine->domains->worker, check_run, check_ran, check_free, check);
}

static void check_gather(struct check *check, const struct domain *domain)
{
    const struct domain *each, *next;

    check->looking = false;
    check->asking = true;
    if (domain->connected)
        check_graph_run(domain, &check->now);
    HASH_ITER (hh, check->engine->domains->map, each, next) {
        for (unsigned i = 0; i < each->record.n_disks; i++)
            check_gather_disk(check, each, &each->record.disks[i]);
        check_gather_needed(check, each);
    }
    check_gather_snapshots(check, domain);
    check_gather_folders(check, domain);
    journal_query_touched(check->engine->domains->journal, check->domain, LIMIT_CHECK_FILES,
                          check_asked, check);
}

static void check_round(struct check *check)
{
    struct domain *domain = domains_find(check->engine->domains, check->domain);

    if (!domain) {
        check_answer(check);
        return;
    }
    findings_deinit(&check->before);
    check->before = check->now;
    check->now = (struct findings){0};
    check->round++;
    check->turns = domain->turns;
    if (!domain->connected) {
        check_gather(check, domain);
        return;
    }
    check->looking = true;
    check->looks_for = domain_look(domain);
}

/* --- what QEMU is on, and the record did not know --- */

static void check_remember(struct check *check, const struct domain *domain)
{
    check->was = xrealloc(NULL, domain->record.n_disks + 1, sizeof(*check->was));
    for (unsigned i = 0; i < domain->record.n_disks; i++) {
        const struct record_disk *disk = &domain->record.disks[i];

        if (disk->n_chain && !disk_is_busy(domain, disk))
            check->was[check->n_was++] = (struct was){
                .target = xstrdup(disk->target),
                .active = xstrdup(disk->chain[0].file),
            };
    }
}

static void check_compare(struct check *check, struct domain *domain)
{
    for (unsigned i = 0; i < check->n_was && check->turns == domain->turns; i++) {
        const struct was *was = &check->was[i];
        const struct record_disk *disk = disk_find(domain, was->target);

        if (!disk || !disk->n_chain || strcmp(disk->chain[0].file, was->active) == 0)
            continue;
        findings_add(&check->switched,
                     (struct finding){
                         .level = FINDING_ERROR,
                         .kind = "active-differs",
                         .disk = xstrdup(was->target),
                         .file = xstrdup(disk->chain[0].file),
                         .what = xasprintf("the record named %s as the active layer, QEMU is on "
                                           "%s: somebody else switched it; the record follows now",
                                           was->active, disk->chain[0].file),
                         .repair = xasprintf("snapvmctl domain blockdev %s tells what to start "
                                             "the guest from now",
                                             domain->record.name),
                     });
    }
}

void check_viewed(struct engine *engine, struct domain *domain)
{
    struct check *check;

    TAILQ_FOREACH (check, &engine->checks, link) {
        if (!check->looking || strcmp(check->domain, domain->record.name) != 0 ||
            domain->view_number < check->looks_for)
            continue;
        if (check->round == 1)
            check_compare(check, domain);
        check_gather(check, domain);
    }
}

void check_away(struct engine *engine, struct domain *domain)
{
    struct check *check;

    TAILQ_FOREACH (check, &engine->checks, link) {
        if (check->looking && strcmp(check->domain, domain->record.name) == 0)
            check_gather(check, domain);
    }
}

void check_domain(struct engine *engine, struct domain *domain, check_fn fn, void *arg)
{
    struct check *check = xzalloc(sizeof(*check));

    *check = (struct check){
        .engine = engine,
        .domain = xstrdup(domain->record.name),
        .fn = fn,
        .arg = arg,
    };
    TAILQ_INSERT_TAIL(&engine->checks, check, link);
    if (domain->connected)
        check_remember(check, domain);
    check_round(check);
}

void check_forget(struct engine *engine, const struct domain *domain)
{
    struct check *check, *next;

    for (check = TAILQ_FIRST(&engine->checks); check; check = next) {
        next = TAILQ_NEXT(check, link);
        if (check->looking && strcmp(check->domain, domain->record.name) == 0)
            check_refuse(check, NULL);
    }
}

void check_drop_all(struct engine *engine)
{
    struct check *check;

    while ((check = TAILQ_FIRST(&engine->checks))) {
        if (check->looking || check->asking) {
            check_free(check);
            continue;
        }
        TAILQ_REMOVE(&engine->checks, check, link);
        check->engine = NULL; /* the worker has it */
    }
}
