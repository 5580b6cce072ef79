/* A domain: one guest, its QEMU as far as one is there, and what is known of its disks. The record
 * is the durable half; connection, view and process are what is true of the QEMU at this moment. */
#ifndef SNAPVM_DOMAIN_DOMAIN_H
#define SNAPVM_DOMAIN_DOMAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uthash.h>

#include "base/error.h"
#include "journal/record.h"
#include "qemu/process.h"
#include "qemu/qmp-schema.h"

struct agent;
struct debt_run;
struct domain_link;
struct domains;
struct job;
struct journal_txn;
struct lease;
struct qmp;
struct view;

enum domain_freeze {
    FREEZE_THAWED,
    FREEZE_FROZEN,
    FREEZE_THAW_OWED, /* we owe a thaw that could not be confirmed yet */
    FREEZE_UNKNOWN,
};

TAILQ_HEAD(job_list, job);
TAILQ_HEAD(snapshot_list, snapshot);

struct domain {
    struct record_domain record;
    struct domains *owner;
    UT_hash_handle hh;        /* domains::map, by record.name */
    struct domain_link *link; /* upkeep of the connections: link.c */
    struct qmp *qmp;          /* NULL or not up: away */
    struct agent *agent;
    struct view *view;    /* as last seen; kept while away, NULL before the first */
    bool switching;       /* a pivot of ours holds the vCPUs for a moment: that is no news */
    bool saving;          /* a job saves the guest's memory: views show the migration too */
    uint64_t view_number; /* of the query that the view is from; grows */
    bool connected;       /* the monitor is up and a view was taken since */
    bool gone;            /* the QEMU of record.qemu has ended (or there never was one) */
    bool deserted;  /* nobody listens on the monitor's socket: no other QEMU is there either */
    bool port_open; /* a program in the guest has the agent's port open */
    struct qmp_schema schema;
    bool schema_known;
    char *version;   /* of the QEMU connected now */
    char *announced; /* the state that the last domain.state event told */
    enum domain_freeze freeze;
    struct record_debt *debt;       /* NULL: none; owned */
    struct debt_run *collecting;    /* how the debt is being collected: job/debt.h */
    struct lease *freezing;         /* a client's freeze on its way: job/lease.h; NULL: none */
    struct job_list jobs;           /* that have not ended, oldest first */
    uint64_t turns;                 /* jobs that came or went: grows */
    struct snapshot_list snapshots; /* in the order of their creation */
    struct snapshot *snapshot_map;  /* the same by name */
};

/* "running", "paused", "shutoff" or "unknown". */
const char *domain_state(const struct domain *domain);

/* "connected", "disconnected" or "none". */
const char *domain_agent_state(const struct domain *domain);

const char *domain_freeze_name(const struct domain *domain);

/* Whether a guest runs that could be frozen, as last seen. */
bool domain_is_running(const struct domain *domain);

/* Whether no QEMU runs: the one that was known has ended, and nobody listens on the socket. A
 * monitor that somebody else holds is silent, and no proof. */
bool domain_is_shutoff(const struct domain *domain);

/* Whether QEMU runs in the process that a job recorded. */
bool domain_runs_in(const struct domain *domain, const struct process *qemu);

/* Refuses what needs a live QEMU: InvalidState (state) or QemuGone. */
int domain_need_live(const struct domain *domain, struct error *err);

/* Refuses what this QEMU lacks: Unsupported (feature). */
int domain_need_feature(const struct domain *domain, enum qmp_feature feature, struct error *err);

/* Asks for a view that is queried after this call, and returns its number: the handler `viewed` is
 * called for every view that comes, and with domain->view_number at least that number it is the one
 * that was asked for. */
uint64_t domain_look(struct domain *domain);

/* The same for jobs and run state alone, which are merged into the view: cheap with long chains. */
uint64_t domain_look_jobs(struct domain *domain);

/* The same for the disks' roots alone: what a switch did. */
uint64_t domain_look_roots(struct domain *domain);

/* Puts the domain's record and a domain.state event, if the state changed, into a transaction. */
void domain_save(struct domain *domain, struct journal_txn *txn);

/* The same in a transaction of its own. */
void domain_save_now(struct domain *domain);

/* Closes the connections for good, before the domain is removed. */
void domain_disconnect(struct domain *domain);

struct domain *domain_new(struct domains *owner, const char *name);
struct domain *domain_free(struct domain *domain);

#endif
