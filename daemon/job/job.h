/* A job: one walk over a plan. The record is its durable half; phase, replies and clocks die with
 * the process and are made anew from the evidence. */
#ifndef SNAPVM_JOB_JOB_H
#define SNAPVM_JOB_JOB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uthash.h>

#include "base/error.h"
#include "job/plan.h"
#include "journal/record.h"

struct domain;
struct engine;
struct event;
struct evidence;
struct holds;
struct qmp;
struct record_disk;
struct tool;

enum job_phase {
    PHASE_NEW,       /* its first record is on the way to the journal */
    PHASE_RECORDING, /* a step's record is */
    PHASE_ACTING,    /* replies are outstanding */
    PHASE_LOOKING,   /* a fresh view is on its way, to be judged */
    PHASE_WAITING,   /* for an event, or for the user */
    PHASE_RETRYING,  /* a step that must be done failed; a timer runs */
    PHASE_AWAY,      /* the monitor is away */
    PHASE_OFFLINE,   /* its QEMU has ended; files are looked at */
    PHASE_PASSENGER, /* another job walks the common pivot */
    PHASE_ENDING,    /* its last record is on the way */
    PHASE_ENDED,
};

TAILQ_HEAD(waiter_list, waiter);

struct job {
    struct record_job record;
    struct engine *engine;
    struct domain *domain;
    TAILQ_ENTRY(job) link; /* domain::jobs */
    UT_hash_handle hh;     /* engine::jobs, by record.id */
    const struct plan *plan;
    unsigned step;
    enum job_phase phase;
    uint64_t looks_for;   /* in PHASE_LOOKING: the number of the view to be judged */
    uint64_t asked;       /* the number of a view that shows what the act did; 0: none */
    bool believed;        /* the act's replies left no doubt: it need not be verified */
    bool resumed;         /* looks before it acts: after a restart or a reconnect */
    char *news;           /* body of a job.ready that goes with the next record; NULL: none */
    bool doubted;         /* an act was answered with an error, or not at all */
    bool shown;           /* the view shows all that the job did: none is needed at its end */
    bool recovered;       /* was resumed at least once: tells the evidence */
    bool acted;           /* the step's act succeeded */
    bool committed;       /* a STEP_COMMITS step holds */
    bool stepping_back;   /* the undo of the present step was called */
    struct error failure; /* why the step's act failed, until a view is judged */
    struct event *timer;
    unsigned retry_ms;
    struct waiter_list waiters;
    struct job *leader;   /* of the common pivot; itself when alone */
    struct job **members; /* of a leader: all, itself first */
    unsigned n_members;
    unsigned outstanding; /* replies of the present act */
    bool let_go;          /* somebody else let the vCPUs go that we held */
    bool struck;          /* QEMU told an I/O error since the last view */
    bool read_failed;     /* the last I/O error that QEMU told was one of reading */
    struct error reply_error;
    int64_t held_since, frozen_since; /* monotonic; 0: not */
    int64_t progress_told;            /* monotonic: when job.progress was sent last */
    struct error no_freeze;           /* why the agent, asked beforehand, is not to freeze */
    int64_t asked_agent;              /* monotonic: when it answered; 0: not */
    int64_t froze;                    /* file systems that the freeze counted; -1: none was tried */
    bool status_frozen;               /* and the agent said frozen */
    int64_t lease;                    /* since when the lease stands that is used; 0: none is */
    bool dry;                         /* the overlays were found empty after QEMU's end */
    struct evidence *seen;            /* of the record's images, in its order: job/evidence.h */
    unsigned n_seen;
    struct holds *holds; /* images that writers are kept out of: job/hold.h; NULL: none */
    struct tool *tool;   /* that works for it: job/image-tool.h; NULL: none */
    const char *tool_effect;
    unsigned tool_image; /* that it writes */
    void (*tool_done)(struct job *, const struct error *);
    void (*internal_done)(struct job *, const struct error *); /* job/internal.h */
    unsigned merged; /* of what the present act does one after another: how many it began */
    bool touched;    /* what a snapshot froze that is deleted was written to */
    struct {
        bool accepted; /* QEMU has taken our migration, or job */
        bool begun;    /* the file has something in it */
        bool foreign;  /* the migration that is under way is not ours */
        void (*then)(struct job *);
    } memory; /* of the guest, while it is saved: memory.h */
    struct {
        bool sync_writes;
        int64_t granularity, buf_size;
    } copy; /* what QEMU is to be asked for; see copy.h */
};

/* A job of that kind for a domain, with the next id; not started. */
struct job *job_new(struct engine *engine, struct domain *domain, const char *kind);
struct job *job_free(struct job *job);

const struct step *job_step(const struct job *job);

/* Whether it stands before the step of that name in its plan. */
bool job_is_before(const struct job *job, const char *step);
bool job_has(const struct job *job, enum record_job_flag flag);

/* Its monitor; only in acts and undos, which run while it is up. */
struct qmp *job_qmp(const struct job *job);

/* Its images: the first with that role of a disk (NULL: of any), NULL when there is none. */
struct record_image *job_image(const struct job *job, const char *disk, const char *role);

/* The job that holds a disk, NULL when it is free. */
struct job *job_on_disk(const struct domain *domain, const char *target);

/* Busy (job) while any job of the domain has not ended. */
int job_need_free(const struct domain *domain, struct error *err);

/* The same of one disk. */
int job_need_free_disk(const struct domain *domain, const char *target, struct error *err);

/* Why the work of a leader and its members failed: what is noted of one of them already, or what
 * QEMU says of its job (QemuError). False, and no error, when nothing tells. */
bool job_why_failed(const struct job *leader, struct error *err);

/* Names in QEMU: "snapvm-17-vda", filter "snapvm-17-vda-f". Written into the buffer. */
#define JOB_NAME_SIZE 96
const char *job_qemu_name(const struct job *job, const char *disk, char buffer[JOB_NAME_SIZE]);
const char *job_filter_name(const struct job *job, const char *disk, char buffer[JOB_NAME_SIZE]);

/* --- for plans: the end of an act or of an undo, called once for each --- */

/* Success (err NULL), or a failure after which only a look can tell what is true. */
void job_acted(struct job *job, const struct error *err);

/* A failure that is certain: nothing was done that the undo does not take back. */
void job_failed(struct job *job, const struct error *err);

/* The end of work on files: success (err NULL), or a failure that is certain. */
void job_filed(struct job *job, const struct error *err);

/* Counts replies of one act: expect n, then each reply calls job_reply (a qmp_done_fn); the last
 * one calls job_acted with the first error. */
void job_expect(struct job *job, unsigned n);
void job_reply(void *job, const struct error *err);

/* Calls `lay` where the monitor is there: the command that it sends is only laid out (qmp_lay),
 * while something else is waited for. NULL: nothing. */
void job_lay(struct job *job, void (*lay)(struct job *));

/* As job_reply, for effects that may be gone already: errors other than a lost monitor are none. */
void job_reply_lenient(void *job, const struct error *err);

/* Moves to a step by name, in the same plan or another one of its kind, and goes on from there. */
void job_go(struct job *job, const struct plan *plan, const char *step);

/* The end of plan::offline: the result, with evidence "recovered-offline". */
void job_offline_done(struct job *job, const char *result, const struct error *why);

#endif
