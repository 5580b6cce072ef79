/* Turns at a domain's snapshot tree. A change of the tree is checked against what is in memory, and
 * memory follows once the change is durable; in between images may be looked at. So that no other
 * change is checked against a tree that is about to be another one, the calls take turns: one that
 * comes meanwhile waits, and is run again from the beginning of its handler.
 *
 * Jobs that change the tree hold it by being listed at their domain: turn_need_free(). */
#ifndef SNAPVM_API_TURN_H
#define SNAPVM_API_TURN_H

#include <stdbool.h>

#include "base/cleanup.h"
#include "base/error.h"

struct call;
struct domain;
struct event_base;
struct turns;

struct turns *turns_new(struct event_base *base);

/* Answers the calls that still wait with ShuttingDown. */
struct turns *turns_free(struct turns *turns);

/* The first thing in a handler that changes the tree of the domain that the call names: whether the
 * call has to wait. */
bool turn_waits(struct call *call);

/* From now on it is this call's turn, until turn_end(), which is called before the call is
 * answered. */
void turn_take(struct call *call);
void turn_end(struct call *call);

/* Busy (job) while a job of the domain is about to change its tree. */
int turn_need_free(const struct domain *domain, struct error *err);

DEFINE_CLEANUP(struct turns, turns_free)

#endif
