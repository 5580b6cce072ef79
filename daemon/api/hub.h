/* Events to subscribers. The journal hands over each event once it is durable; the hub passes it on
 * to every subscriber that wants it.
 *
 * A subscriber is at a number: the newest event that it has, or did not want. When that is the
 * newest of all it is LIVE and gets what comes. Otherwise it is BEHIND: what it lacks is read from
 * the journal, a page at a time and no faster than its connection takes it, while what comes in
 * meanwhile is left to the pages that follow. So there is one order, nothing is lost or sent twice,
 * and a subscriber that replays a day of history costs one page of memory. */
#ifndef SNAPVM_API_HUB_H
#define SNAPVM_API_HUB_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/error.h"
#include "proto/json.h"

struct hub;
struct journal;
struct replay;

/* What the connection does for its subscriber. */
struct subscriber_ops {
    void (*send)(void *arg, const char *line, size_t size); /* a line with its '\n' */
    size_t (*unsent)(void *arg);                            /* bytes that wait to be taken */
    void (*fail)(void *arg, const char *why);               /* it cannot go on without a gap */
};

struct subscriber {
    TAILQ_ENTRY(subscriber) link; /* hub::subscribers */
    const struct subscriber_ops *ops;
    void *arg;

    struct hub *hub;                             /* NULL: not subscribed */
    enum { SUBSCRIBER_NEW, BEHIND, LIVE } state; /* NEW: its answer is not sent yet */
    int64_t seq;                                 /* the newest that it has or did not want */
    json_object *domains, *kinds;                /* arrays of the wanted names; NULL: all */
    struct replay *replay;                       /* the page that is being read */
};

/* Takes the journal's sink over; the journal outlives the hub. */
struct hub *hub_new(struct journal *journal);
struct hub *hub_free(struct hub *hub);

/* For the main program, which gives this to the engine: an event that is neither numbered nor
 * kept, for whoever listens and keeps up. body: JSON text of the event's further members. */
void hub_progress(struct hub *hub, const char *domain, const char *body);

void subscriber_init(struct subscriber *subscriber, const struct subscriber_ops *ops, void *arg);
void subscriber_deinit(struct subscriber *subscriber);

/* Subscribes, in place of an earlier subscription: to all after `since`, or from now on with -1.
 * Nothing is sent before hub_start(). Returns the number of the newest event. NotFound with `first`
 * when an event after `since` is no longer kept. */
int hub_subscribe(struct hub *hub, struct subscriber *subscriber, int64_t since,
                  json_object *domains, json_object *kinds, int64_t *ret_seq, struct error *err);
void hub_unsubscribe(struct subscriber *subscriber);

/* The answer to the subscription is on its way: events may follow. */
void hub_start(struct subscriber *subscriber);

/* The connection has sent all that it had. */
void hub_drained(struct subscriber *subscriber);

#endif
