/* Records, image headers and QEMU's graph held against each other: domain.check. A check looks at a
 * fresh view, then reads files on the worker's thread. What a job is changing in that time counts
 * as right both ways, and a round in which jobs came or went is done again. */
#ifndef SNAPVM_JOB_CHECK_H
#define SNAPVM_JOB_CHECK_H

#include "base/error.h"

struct check;
struct domain;
struct engine;
struct findings;

/* Checks a domain. The callback comes once, from the loop, with the findings (borrowed), or with
 * NotFound when the domain was undefined meanwhile. */
typedef void (*check_fn)(void *arg, const struct findings *findings, const struct error *err);
void check_domain(struct engine *engine, struct domain *domain, check_fn fn, void *arg);

/* The domain is about to be dropped: its checks are answered. */
void check_forget(struct engine *engine, const struct domain *domain);

/* --- inside the job layer --- */

/* A view is here, or the monitor is away. */
void check_viewed(struct engine *engine, struct domain *domain);
void check_away(struct engine *engine, struct domain *domain);

/* Drops all checks without an answer: the engine ends. */
void check_drop_all(struct engine *engine);

#endif
