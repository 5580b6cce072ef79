/* Plans: an operation is a table of steps that is read on one screen. The same table runs it the
 * first time, after an error and after a crash; there is no second path for recovery.
 *
 * A success reply moves the job to the next step at once. An error, a time-out, a lost connection
 * or a restart makes the engine fetch a fresh view and ask the step's probe what is true. Before
 * the decision a failure takes the steps back in reverse; after it the only way is forward. */
#ifndef SNAPVM_JOB_PLAN_H
#define SNAPVM_JOB_PLAN_H

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"

struct job;
struct journal_txn;
struct view;

/* What the evidence says of a step's effect. */
enum seen {
    NOT_YET, /* it is not there, and nothing is under way that would bring it */
    MOVING,  /* it is under way: an event will tell */
    HOLDS,   /* it is there */
    LOST,    /* it cannot come any more */
};

enum step_flag {
    STEP_RECORD = 1 << 0,  /* the journal has the step before act is called */
    STEP_DECIDE = 1 << 1,  /* its record is the decision */
    STEP_WAIT = 1 << 2,    /* success of act means "accepted": wait until the probe says HOLDS */
    STEP_VERIFY = 1 << 3,  /* look at the graph even after a success */
    STEP_COMMITS = 1 << 4, /* once it holds, the steps before are no longer taken back */
    STEP_END = 1 << 5,     /* its record is the job's end */
};

struct step {
    const char *name; /* stored in the journal: renaming one is a migration */
    enum seen (*probe)(const struct job *, const struct view *); /* pure; NULL: no evidence */
    void (*act)(struct job *);  /* asks for the effect; harmless to repeat after NOT_YET */
    void (*undo)(struct job *); /* takes it back; harmless to repeat; NULL: nothing to take back */
    /* Called while the step's record is on its way, by job_lay: sends what act, or the next step's,
     * will send first. NULL: nothing that can be known before. */
    void (*lay)(struct job *);
    unsigned flags;
    bool (*skip)(const struct job *);  /* the step does not apply; NULL: it does */
    bool (*known)(const struct job *); /* its record would say nothing new; NULL: it would */
    void (*note)(struct job *, struct journal_txn *); /* what its record holds beside the job */
    const char *does, *image; /* for the manual: what it does; the right image if QEMU dies now */
    /* What settles a crash at it: what is looked at while QEMU lives, or the guest is shut off; and
     * once QEMU has ended, with all results that this may come to. NULL: no job is found there. */
    const char *lives, *gone;
};

struct plan {
    const char *name;  /* the job's kind; a kind may have several plans */
    const char *title; /* of its table in the manual; NULL: it is that of the plan before */
    const struct step *steps;
    unsigned n_steps;
    const char *undone; /* the result when all steps were taken back */
    const struct plan
        *before; /* whose steps were done before these, and are taken back too; NULL */
    /* Of guests that are shut off: fetches what the probes need from the image files, and then
     * calls engine_judge. Such a job needs no monitor, its probes get no view. NULL: QEMU is asked.
     */
    void (*look)(struct job *);
    /* Reads progress, readiness and stalls from a fresh view; may change the record. */
    void (*observe)(struct job *, const struct view *);
    /* After a restart, before anything is looked at: what memory must hold meanwhile; NULL: none.
     */
    void (*resume)(struct job *);
    /* After a restart or a reconnect, whether to go back (-1, with the reason) or on (0). NULL: on.
     */
    int (*forward)(const struct job *, const struct view *, struct error *err);
    /* The decision was made and its effect cannot come any more: chooses another step, or ends. */
    void (*lost)(struct job *);
    /* The QEMU has ended: concludes from records and files, and calls job_offline_done. */
    void (*offline)(struct job *);
    /* Fills outcome and files when the job ends with the given result. */
    void (*conclude)(struct job *, const char *result);
    /* What the record of every end holds beside the job; NULL: nothing. */
    void (*note_end)(struct job *, struct journal_txn *);
};

extern const struct plan plan_snapshot, plan_off_snapshot, plan_back, plan_drop, plan_commit,
    plan_copy, plan_keep, plan_copied, plan_merge, plan_pull, plan_off_commit, plan_off_active,
    plan_delete_inside, plan_delete, plan_off_delete, plan_off_revert, plan_memory,
    plan_memory_back, plan_memory_inside, plan_memory_drop, plan_load, plan_halt, plan_memory_halt;

/* The plan of a kind that has a step of that name, and its index; NULL for an unknown one. */
const struct plan *plan_of_step(const char *kind, const char *step, unsigned *ret_index);

/* Prints the tables for the manual, as roff (tbl) or as text. */
void plan_print_all(FILE *out, bool roff);

#endif
