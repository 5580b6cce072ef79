/* The engine walks jobs over their plans: records before it acts where the plan says so, believes a
 * yes, looks after everything else, decides once, and tells clients only what is durable. */
#ifndef SNAPVM_JOB_ENGINE_H
#define SNAPVM_JOB_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/error.h"
#include "job/job.h"

struct domains;
struct engine;
struct journal_model;
struct journal_txn;

struct engine_options {
    unsigned agent_timeout_ms, freeze_timeout_ms, lease_max_ms;
    const char *image_dirs; /* ':' between; NULL none; owned by the caller */
    const char *qemu_img;   /* the program; copied */
    const char *state_dir;  /* not kept; NULL: nobody waits for its image tools */
};

struct engine_hooks {
    /* The job as JSON text for events; owned by the caller. */
    char *(*encode)(const struct job *job);
    /* Progress for subscribers; neither numbered nor kept. */
    void (*progress)(void *arg, const struct job *job);
    void *arg;
};

TAILQ_HEAD(check_list, check);

struct engine {
    struct domains *domains;
    struct engine_options options;
    struct engine_hooks hooks;
    struct job *jobs;         /* that have not ended */
    int64_t total;            /* all that are kept */
    struct check_list checks; /* that are under way */
    int leash;                /* of the image tools: qemu/tool.h; -1: none */
    bool stopping;
};

struct engine *engine_new(struct domains *domains, const struct engine_options *options,
                          const struct engine_hooks *hooks);
struct engine *engine_free(struct engine *engine);

/* Takes jobs and debts out of the model, and begins to settle those whose QEMU has ended. */
void engine_load(struct engine *engine, struct journal_model *model);

/* Whether a job still has to be settled from records and files alone: until then the daemon is not
 * ready to answer. */
bool engine_is_settling(const struct engine *engine);

void engine_counts(const struct engine *engine, int64_t *ret_active, int64_t *ret_total);

/* A job that has not ended; NULL when there is none of that id. */
struct job *engine_find(const struct engine *engine, int64_t id);

/* Starts a job: `note` (may be NULL) adds to the transaction of its first record; `done` tells that
 * the intent is durable (or why it is not: the job is gone then). */
typedef void (*engine_note_fn)(void *arg, struct job *job, struct journal_txn *txn);
typedef void (*engine_started_fn)(void *arg, struct job *job, const struct error *err);
void engine_start(struct job *job, engine_note_fn note, engine_started_fn done, void *arg);

/* Waits for a job to be ready or ended. The callback comes once: with the job (whose record is
 * durable), or with Timeout. A job that ends answers every waiter. */
enum engine_wait {
    WAIT_BEGUN, /* the job is in QEMU */
    WAIT_READY,
    WAIT_ENDED,
};
typedef void (*engine_waited_fn)(void *arg, struct job *job, const struct error *err);
void engine_wait(struct job *job, enum engine_wait what, int64_t timeout_ms, engine_waited_fn fn,
                 void *arg); /* timeout 0: none */

/* Commands of a user on running jobs. Each is durable before `done` is called; errors of their
 * state come at once by the return value. Active commits and copies alone have a pivot. */
int engine_pivot(struct job **jobs, unsigned n, bool pause_never, engine_note_fn note,
                 engine_started_fn done, void *arg, struct error *err);
int engine_cancel(struct job *job, bool force, engine_note_fn note, engine_started_fn done,
                  void *arg, struct error *err);
int engine_set_speed(struct job *job, int64_t bandwidth, engine_started_fn done, void *arg,
                     struct error *err);
int engine_pause(struct job *job, bool pause, engine_started_fn done, void *arg, struct error *err);

/* Something happened that a plan waits for. */
void engine_kick(struct job *job);

/* --- inside the job layer --- */

/* Ends a job with that result; its record and event go to the journal. */
void engine_end(struct job *job, const char *result);

/* Takes back what was done, or, where that is no longer possible, tries on. */
void engine_fail(struct job *job, const struct error *err);

/* Saves a job (and the other members of its pivot) as it is, in a transaction of its own. */
void engine_save(struct job *job, const char *name);

void engine_tell(struct job *job, struct journal_txn *txn, const char *kind);

#endif
