#include "api/hub.h"

#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "journal/journal.h"
#include "proto/json.h"
#include "proto/snapvm-errors.h"

#define PAGE_EVENTS 256

struct hub {
    struct journal *journal;
    int64_t last; /* the newest event that the journal handed over */
    TAILQ_HEAD(, subscriber) subscribers;
};

/* A page that is being read. It outlives a subscriber that goes away meanwhile. */
struct replay {
    struct subscriber *subscriber; /* NULL: gone */
};

static bool has_name(json_object *names, const char *name)
{
    if (!names)
        return true;
    for (size_t i = 0; name && i < json_object_array_length(names); i++)
        if (strcmp(json_object_get_string(json_object_array_get_idx(names, i)), name) == 0)
            return true;
    return false;
}

static bool subscriber_wants(const struct subscriber *subscriber, const char *kind,
                             const char *domain)
{
    return has_name(subscriber->kinds, kind) && has_name(subscriber->domains, domain);
}

/* The event as a line; owned by the caller. The body's members are put behind ours as text: it is
 * the journal's own, and the way to the subscriber is short. */
static char *event_line(const struct journal_event *event)
{
    _cleanup_json_ json_object *head = json_object_new_object();
    const char *body = event->body ? event->body : "{}";
    const char *text;
    char time[CLOCK_TEXT];

    if (event->seq)
        json_add_int(head, "seq", event->seq);
    json_add_string(head, "time", clock_text(event->time, time));
    json_add_string(head, "kind", event->kind);
    if (event->domain)
        json_add_string(head, "domain", event->domain);
    text = json_text(head);
    body += strspn(body, " ") + 1;
    return xasprintf("{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":%.*s%s%s}\n",
                     (int)strlen(text) - 1, text, body[strspn(body, " ")] == '}' ? "" : ",", body);
}

static void subscriber_send(struct subscriber *subscriber, const char *line)
{
    subscriber->ops->send(subscriber->arg, line, strlen(line));
}

/* An event for all that listen. Sending may end a subscription, but no other than its own. */
static void hub_spread(struct hub *hub, const struct journal_event *event)
{
    _cleanup_free_ char *line = NULL;
    struct subscriber *subscriber, *next;

    for (subscriber = TAILQ_FIRST(&hub->subscribers); subscriber; subscriber = next) {
        next = TAILQ_NEXT(subscriber, link);
        if (subscriber->state != LIVE)
            continue;
        if (event->seq)
            subscriber->seq = event->seq;
        else if (subscriber->ops->unsent(subscriber->arg) > 0)
            continue; /* the progress of a moment ago helps nobody who is late already */
        if (!subscriber_wants(subscriber, event->kind, event->domain))
            continue;
        if (!line)
            line = event_line(event);
        subscriber_send(subscriber, line);
    }
}

static void hub_event(void *arg, const struct journal_event *event)
{
    struct hub *hub = arg;

    hub->last = event->seq;
    hub_spread(hub, event);
}

void hub_progress(struct hub *hub, const char *domain, const char *body)
{
    struct journal_event event = {
        .time = clock_now(), .kind = "job.progress", .domain = domain, .body = body};

    hub_spread(hub, &event);
}

struct hub *hub_new(struct journal *journal)
{
    struct hub *hub = xzalloc(sizeof(*hub));

    hub->journal = journal;
    hub->last = journal_last_seq(journal);
    TAILQ_INIT(&hub->subscribers);
    journal_set_sink(journal, hub_event, hub);
    return hub;
}

struct hub *hub_free(struct hub *hub)
{
    struct subscriber *subscriber;

    if (!hub)
        return NULL;
    journal_set_sink(hub->journal, NULL, NULL);
    while ((subscriber = TAILQ_FIRST(&hub->subscribers)))
        hub_unsubscribe(subscriber);
    free(hub);
    return NULL;
}

void subscriber_init(struct subscriber *subscriber, const struct subscriber_ops *ops, void *arg)
{
    *subscriber = (struct subscriber){.ops = ops, .arg = arg};
}

void subscriber_deinit(struct subscriber *subscriber)
{
    hub_unsubscribe(subscriber);
}

/* What is kept goes from journal_first_seq() to hub->last without a gap. */
static int check_kept(const struct hub *hub, int64_t since, struct error *err)
{
    int64_t first = journal_first_seq(hub->journal);

    if (since == hub->last || (since < hub->last && first > 0 && since >= first - 1))
        return 0;
    error_set(err, SNAPVM_ERROR_NOT_FOUND,
              since > hub->last
                  ? "there is no event %lld yet: this is another history; read the state anew"
                  : "not all events after %lld are kept; read the state anew and subscribe from "
                    "there",
              (long long)since);
    error_text(err, "object", "event");
    error_number(err, "first", first);
    return -1;
}

int hub_subscribe(struct hub *hub, struct subscriber *subscriber, int64_t since,
                  json_object *domains, json_object *kinds, int64_t *ret_seq, struct error *err)
{
    if (since >= 0 && check_kept(hub, since, err) < 0)
        return -1;
    hub_unsubscribe(subscriber);
    subscriber->hub = hub;
    subscriber->state = SUBSCRIBER_NEW;
    subscriber->seq = since >= 0 ? since : hub->last;
    subscriber->domains = json_object_get(domains);
    subscriber->kinds = json_object_get(kinds);
    TAILQ_INSERT_TAIL(&hub->subscribers, subscriber, link);
    *ret_seq = hub->last;
    return 0;
}

void hub_unsubscribe(struct subscriber *subscriber)
{
    if (!subscriber->hub)
        return;
    TAILQ_REMOVE(&subscriber->hub->subscribers, subscriber, link);
    if (subscriber->replay)
        subscriber->replay->subscriber = NULL;
    subscriber->replay = NULL;
    json_object_put(subscriber->domains);
    json_object_put(subscriber->kinds);
    subscriber->domains = subscriber->kinds = NULL;
    subscriber->hub = NULL;
}

static void subscriber_advance(struct subscriber *subscriber);

static void subscriber_fail(struct subscriber *subscriber, const char *why)
{
    hub_unsubscribe(subscriber);
    subscriber->ops->fail(subscriber->arg, why);
}

/* Sends a page, as far as the connection takes it: the rest is read again when it has drained.
 * Returns whether the subscription still stands. */
static bool replay_page(struct subscriber *subscriber, const struct journal_event *events,
                        unsigned n)
{
    struct replay *replay = subscriber->replay;

    for (unsigned i = 0; i < n && subscriber->ops->unsent(subscriber->arg) == 0; i++) {
        _cleanup_free_ char *line = NULL;

        if (events[i].seq != subscriber->seq + 1) {
            subscriber_fail(subscriber, "events were dropped before it took them");
            return false;
        }
        subscriber->seq = events[i].seq;
        if (!subscriber_wants(subscriber, events[i].kind, events[i].domain))
            continue;
        line = event_line(&events[i]);
        subscriber_send(subscriber, line);
        if (!replay->subscriber)
            return false;
    }
    return true;
}

static void replay_read(void *arg, const struct journal_event *events, unsigned n,
                        const struct error *err)
{
    struct replay *replay = arg;
    struct subscriber *subscriber = replay->subscriber;

    if (subscriber && (err || n == 0))
        subscriber_fail(subscriber, err ? err->message : "events were dropped");
    else if (subscriber && replay_page(subscriber, events, n)) {
        subscriber->replay = NULL;
        subscriber_advance(subscriber);
    }
    free(replay);
}

/* Becomes LIVE, or asks for the next page if the connection has sent what it had. */
static void subscriber_advance(struct subscriber *subscriber)
{
    struct hub *hub = subscriber->hub;

    subscriber->state = subscriber->seq < hub->last ? BEHIND : LIVE;
    if (subscriber->state == LIVE || subscriber->replay ||
        subscriber->ops->unsent(subscriber->arg) > 0)
        return;
    subscriber->replay = xzalloc(sizeof(*subscriber->replay));
    subscriber->replay->subscriber = subscriber;
    journal_query_events(hub->journal, subscriber->seq, hub->last, PAGE_EVENTS, replay_read,
                         subscriber->replay);
}

void hub_start(struct subscriber *subscriber)
{
    if (subscriber->hub && subscriber->state == SUBSCRIBER_NEW)
        subscriber_advance(subscriber);
}

void hub_drained(struct subscriber *subscriber)
{
    if (subscriber->hub && subscriber->state == BEHIND)
        subscriber_advance(subscriber);
}
