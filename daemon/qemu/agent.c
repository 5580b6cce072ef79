/* The connection to a guest agent. What was sent and is unanswered stands in one queue, in the
 * order of sending, which is the order of the answers:
 *
 *     call, call (timed out), sync, call, call
 *
 * A line is the answer of the queue's head if that is a call; at the head of a sync it is stale and
 * dropped. The answer of any sync settles all that stands before it: those calls get none any more.
 * A call that ran out of time stays in the queue without its callback, for its answer may still
 * come and must not be taken for the next one's. An answer of the wrong shape puts the whole order
 * in doubt, so that it fails every call up to the next sync.
 *
 * A guest may send as much as it likes: what answers nothing is read slowly, and bounded in sum. */
#include "qemu/agent.h"

#include <errno.h>
#include <event2/event.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/memory.h"
#include "proto/snapvm-errors.h"
#include "qemu/agent-wire.h"

#define AGENT_READ_BYTES (16 * 1024)    /* handled in one turn of the loop */
#define AGENT_UNASKED_MAX (1024 * 1024) /* bytes without an answer in them */
#define AGENT_FRUITLESS_MAX 8         /* reads of lines without an answer, before we read slowly */
#define AGENT_NAP_MS 100              /* between such slow reads */
#define AGENT_UNSENT_MAX (256 * 1024) /* bytes that wait here for a peer that does not read */
#define AGENT_CONNECT_MS 5000         /* for a listener whose backlog is full */
#define AGENT_CONNECT_RETRY_MS 20

struct agent_entry {
    TAILQ_ENTRY(agent_entry) link; /* agent::sent or agent::refused */
    struct agent *agent;
    uint64_t number; /* grows with every entry */
    int64_t sync;    /* the id of a guest-sync-delimited; 0: a call */
    enum agent_call call;
    bool listed;
    const char *refusal; /* why it was never sent; NULL: it was */
    unsigned timeout_ms;
    struct event *timer; /* ends a call; tells of a refused one at once */
    agent_fn fn;         /* NULL: nobody waits for this answer any more */
    void *arg;
};

TAILQ_HEAD(agent_entries, agent_entry);

enum agent_state { AGENT_CONNECTING, AGENT_UP, AGENT_DOWN };

struct agent {
    struct event_base *base;
    char *path;
    struct agent_handlers handlers;
    void *arg;

    enum agent_state state;
    int fd;
    struct event *readable, *writable;
    struct event *timer; /* connects; ends a nap; tells of a write that failed */
    int64_t connect_until;
    int broken; /* errno of such a write */

    struct agent_entries sent, refused;
    uint64_t next_number;
    bool need_sync;

    char *out; /* what the socket did not take yet */
    size_t out_size, out_room;
    unsigned corked;

    struct agent_wire wire;
    size_t unasked;
    unsigned fruitless;
    bool answered; /* at least once on this connection */

    unsigned busy; /* callbacks of the loop in which we are */
    bool freed;    /* inside one of them: only the shell is left */
};

static void entry_free(struct agent_entry *entry)
{
    if (entry->timer)
        event_free(entry->timer);
    free(entry);
}

static void entry_remove(struct agent_entry *entry)
{
    TAILQ_REMOVE(entry->refusal ? &entry->agent->refused : &entry->agent->sent, entry, link);
    entry_free(entry);
}

/* Removes an entry and tells whoever waits for it. Either may have freed the agent afterwards. */
static void entry_finish(struct agent_entry *entry, const struct agent_reply *reply,
                         const struct error *err)
{
    agent_fn fn = entry->fn;
    void *arg = entry->arg;

    entry_remove(entry);
    if (fn)
        fn(arg, reply, err);
}

static void agent_enter(struct agent *agent)
{
    agent->busy++;
}

static void agent_leave(struct agent *agent)
{
    if (--agent->busy == 0 && agent->freed)
        free(agent);
}

static void event_drop(struct event **event)
{
    if (*event)
        event_free(*event);
    *event = NULL;
}

static void agent_close(struct agent *agent)
{
    event_drop(&agent->readable);
    event_drop(&agent->writable);
    event_drop(&agent->timer);
    cleanup_close(&agent->fd);
    agent->fd = -1;
    agent->state = AGENT_DOWN;
    agent->out_size = 0;
}

struct agent *agent_free(struct agent *agent)
{
    struct agent_entry *entry;

    if (!agent)
        return NULL;
    agent_close(agent);
    while ((entry = TAILQ_FIRST(&agent->sent)) || (entry = TAILQ_FIRST(&agent->refused)))
        entry_remove(entry);
    agent_wire_deinit(&agent->wire);
    free(agent->out);
    free(agent->path);
    agent->freed = true;
    if (!agent->busy)
        free(agent);
    return NULL;
}

bool agent_is_up(const struct agent *agent)
{
    return agent->state == AGENT_UP;
}

/* Fails what was put into a list before the given number; callbacks may add to it meanwhile. */
static void agent_fail(struct agent *agent, struct agent_entries *list, uint64_t before,
                       const struct error *err)
{
    struct agent_entry *entry;

    while (!agent->freed && (entry = TAILQ_FIRST(list)) && entry->number < before)
        entry_finish(entry, NULL, err);
}

struct agent *agent_drop(struct agent *agent, const struct error *why)
{
    if (!agent)
        return NULL;
    agent_enter(agent);
    agent_close(agent);
    agent_fail(agent, &agent->sent, UINT64_MAX, why);
    agent_fail(agent, &agent->refused, UINT64_MAX, why);
    if (!agent->freed)
        agent_free(agent);
    agent_leave(agent);
    return NULL;
}

bool agent_has_answered(const struct agent *agent)
{
    return agent->answered && agent->unasked <= AGENT_UNASKED_MAX;
}

static int agent_unavailable(struct error *err, const struct agent *agent, const char *reason)
{
    error_set(err, SNAPVM_ERROR_AGENT_UNAVAILABLE, "no use of the guest agent at '%s': %s",
              agent->path, reason);
    return error_text(err, "reason", reason);
}

/* The end of the connection. The agent may be freed afterwards. */
static void agent_lose(struct agent *agent, const char *reason)
{
    uint64_t before = agent->next_number;
    _cleanup_error_ struct error err = {0};

    agent_unavailable(&err, agent, reason);
    agent_close(agent);
    agent_fail(agent, &agent->sent, before, &err);
    if (!agent->freed)
        agent_fail(agent, &agent->refused, before, &err);
    if (!agent->freed && agent->handlers.down)
        agent->handlers.down(agent->arg, &err);
}

static void agent_lose_errno(struct agent *agent, int errnum)
{
    char buffer[128];

    agent_lose(agent, strerror_r(errnum, buffer, sizeof(buffer)));
}

static void timer_start(struct event *timer, unsigned ms)
{
    struct timeval tv = clock_timeval_ms(ms);

    evtimer_add(timer, &tv);
}

/* Writes what waits. An error is told from the loop, for this may stand below an agent_call. */
static void agent_flush(struct agent *agent)
{
    while (agent->out_size > 0 && !agent->broken) {
        ssize_t n = send(agent->fd, agent->out, agent->out_size, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            event_add(agent->writable, NULL);
            return;
        }
        if (n < 0) {
            agent->broken = errno;
            event_active(agent->timer, EV_TIMEOUT, 0);
            return;
        }
        agent->out_size -= (size_t)n;
        memmove(agent->out, agent->out + n, agent->out_size);
    }
}

static void agent_put(struct agent *agent, const char *text)
{
    size_t size = strlen(text);

    if (agent->out_size + size > agent->out_room) {
        agent->out_room = 2 * (agent->out_size + size);
        agent->out = xrealloc(agent->out, agent->out_room, 1);
    }
    memcpy(agent->out + agent->out_size, text, size);
    agent->out_size += size;
}

/* The head was given an answer that cannot be its own: nothing up to the next sync can be trusted
 * to get the right one. */
static void agent_doubt(struct agent *agent, const struct error *err)
{
    struct agent_entry *entry;
    uint64_t before = agent->next_number;

    TAILQ_FOREACH (entry, &agent->sent, link) {
        if (entry->sync) {
            before = entry->number;
            break;
        }
    }
    /* Where a sync stands behind them already, the calls behind it are in step. */
    if (before == agent->next_number)
        agent->need_sync = true;
    agent_fail(agent, &agent->sent, before, err);
}

static void agent_fruitful(struct agent *agent)
{
    agent->unasked = 0;
    agent->fruitless = 0;
    agent->answered = true;
}

static void agent_take_answer(struct agent *agent, const struct agent_message *message)
{
    struct agent_entry *head = TAILQ_FIRST(&agent->sent);
    _cleanup_error_ struct error err = {0};
    struct agent_reply reply = {0};
    int r;

    if (!head || head->sync)
        return;
    r = agent_wire_reply(message, head->call, &reply, &err);
    if (r < 0 && err.code == SNAPVM_ERROR_AGENT_UNAVAILABLE) {
        agent_doubt(agent, &err);
        return;
    }
    agent_fruitful(agent);
    entry_finish(head, r < 0 ? NULL : &reply, r < 0 ? &err : NULL);
    agent_reply_deinit(&reply);
}

static void agent_take_sync(struct agent *agent, int64_t id)
{
    _cleanup_error_ struct error err = {0};
    struct agent_entry *entry;
    uint64_t number;

    TAILQ_FOREACH (entry, &agent->sent, link)
        if (entry->sync && entry->sync == id)
            break;
    if (!entry)
        return;
    number = entry->number;
    entry_remove(entry);
    agent_fruitful(agent);
    agent_unavailable(&err, agent, "no answer");
    agent_fail(agent, &agent->sent, number, &err);
}

/* A line over the bound is skipped to its end. A guest with very many mounts has such a list of
 * file systems, which is then unknown; no other honest answer is long. */
static void agent_take_too_long(struct agent *agent)
{
    struct agent_entry *head = TAILQ_FIRST(&agent->sent);
    _cleanup_error_ struct error err = {0};

    if (!head || head->sync)
        return;
    agent_unavailable(&err, agent, "an answer over the bound");
    if (head->call == AGENT_FSINFO)
        entry_finish(head, NULL, &err);
    else
        agent_doubt(agent, &err);
}

/* What costs is to understand lines; a long one is skipped for next to nothing. */
static void agent_take_lines(struct agent *agent)
{
    bool lines = false;

    for (; !agent->freed && agent->state == AGENT_UP; lines = true) {
        struct agent_message message;
        enum agent_line line = agent_wire_next(&agent->wire, &message);

        if (line == AGENT_LINE_NONE)
            break;
        if (line == AGENT_LINE_SYNC)
            agent_take_sync(agent, message.sync);
        else if (line == AGENT_LINE_TOO_LONG)
            agent_take_too_long(agent);
        else /* garbage is an answer without a value */
            agent_take_answer(agent, &message);
        agent_message_deinit(&message);
    }
    agent->fruitless += lines;
}

/* After each read: whether the guest only talks. */
static void agent_judge(struct agent *agent)
{
    if (agent->unasked > AGENT_UNASKED_MAX) {
        agent_lose(agent, "it sends without being asked");
    } else if (agent->fruitless > AGENT_FRUITLESS_MAX) {
        event_del(agent->readable);
        timer_start(agent->timer, AGENT_NAP_MS);
    }
}

static void on_readable(evutil_socket_t fd, _unused_ short what, void *arg)
{
    struct agent *agent = arg;
    char data[AGENT_READ_BYTES];
    ssize_t n = recv(fd, data, sizeof(data), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    agent_enter(agent);
    if (n < 0) {
        agent_lose_errno(agent, errno);
    } else if (n == 0) {
        agent_lose(agent, "closed by the other side");
    } else {
        agent->unasked += (size_t)n;
        agent_wire_feed(&agent->wire, data, (size_t)n);
        agent_take_lines(agent);
        if (!agent->freed && agent->state == AGENT_UP)
            agent_judge(agent);
    }
    agent_leave(agent);
}

static void on_writable(_unused_ evutil_socket_t fd, _unused_ short what, void *arg)
{
    agent_flush(arg);
}

static void agent_connected(struct agent *agent)
{
    agent->state = AGENT_UP;
    agent->readable = event_new(agent->base, agent->fd, EV_READ | EV_PERSIST, on_readable, agent);
    agent->writable = event_new(agent->base, agent->fd, EV_WRITE, on_writable, agent);
    event_add(agent->readable, NULL);
    if (agent->handlers.up)
        agent->handlers.up(agent->arg);
}

/* A Unix socket connects at once or says EAGAIN while the listener's backlog is full; then nothing
 * but another try tells when there is room. */
static void agent_connect(struct agent *agent)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(agent->path) >= sizeof(address.sun_path)) {
        agent_lose(agent, "the name of the socket is too long");
        return;
    }
    memcpy(address.sun_path, agent->path, strlen(agent->path));
    if (agent->fd < 0)
        agent->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (agent->fd >= 0 && connect(agent->fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        agent_connected(agent);
    else if ((errno == EAGAIN || errno == EINTR) && clock_monotonic() < agent->connect_until)
        timer_start(agent->timer, AGENT_CONNECT_RETRY_MS);
    else
        agent_lose_errno(agent, errno);
}

static void on_timer(_unused_ evutil_socket_t fd, _unused_ short what, void *arg)
{
    struct agent *agent = arg;

    agent_enter(agent);
    if (agent->state == AGENT_CONNECTING)
        agent_connect(agent);
    else if (agent->broken)
        agent_lose_errno(agent, agent->broken);
    else
        event_add(agent->readable, NULL);
    agent_leave(agent);
}

struct agent *agent_new(struct event_base *base, const char *path,
                        const struct agent_handlers *handlers, void *arg)
{
    struct agent *agent = xzalloc(sizeof(*agent));

    agent->base = base;
    agent->path = xstrdup(path);
    agent->handlers = *handlers;
    agent->arg = arg;
    agent->fd = -1;
    agent->need_sync = true;
    agent->connect_until = clock_monotonic() + AGENT_CONNECT_MS * INT64_C(1000);
    TAILQ_INIT(&agent->sent);
    TAILQ_INIT(&agent->refused);
    agent_wire_init(&agent->wire);
    agent->timer = evtimer_new(base, on_timer, agent);
    event_active(agent->timer, EV_TIMEOUT, 0);
    return agent;
}

static void entry_refuse(struct agent_entry *entry)
{
    _cleanup_error_ struct error err = {0};

    agent_unavailable(&err, entry->agent, entry->refusal);
    entry_finish(entry, NULL, &err);
}

/* The entry stays, without anybody who waits for it, for the sake of the order. */
static void entry_expire(struct agent_entry *entry)
{
    agent_fn fn = TAKE_PTR(entry->fn);
    _cleanup_error_ struct error err = {0};

    error_set(&err, SNAPVM_ERROR_AGENT_UNAVAILABLE,
              "the guest agent did not answer %s within %u ms: is it running in the guest?",
              agent_wire_command(entry->call, entry->listed), entry->timeout_ms);
    error_text(&err, "reason", "no answer");
    entry->agent->need_sync = true;
    if (fn)
        fn(entry->arg, NULL, &err);
}

static void on_entry_timer(_unused_ evutil_socket_t fd, _unused_ short what, void *arg)
{
    struct agent_entry *entry = arg;
    struct agent *agent = entry->agent;

    agent_enter(agent);
    if (entry->refusal)
        entry_refuse(entry);
    else
        entry_expire(entry);
    agent_leave(agent);
}

static struct agent_entry *entry_new(struct agent *agent, const char *refusal)
{
    struct agent_entry *entry = xzalloc(sizeof(*entry));

    entry->agent = agent;
    entry->number = agent->next_number++;
    entry->refusal = refusal;
    TAILQ_INSERT_TAIL(refusal ? &agent->refused : &agent->sent, entry, link);
    return entry;
}

/* Puts a sync into the stream. Entries at the end of the queue that nobody waits for are forgotten:
 * the sync's answer settles them anyway, and so the queue is bounded by the calls that wait. */
static void agent_put_sync(struct agent *agent)
{
    _cleanup_free_ char *text = NULL;
    struct agent_entry *last, *sync;
    int64_t id = 0;

    while ((last = TAILQ_LAST(&agent->sent, agent_entries)) && !last->fn)
        entry_remove(last);
    while (id == 0) {
        if (getrandom(&id, sizeof(id), 0) != sizeof(id))
            id = 0;
        id &= INT64_MAX;
    }
    sync = entry_new(agent, NULL);
    sync->sync = id;
    text = agent_wire_sync(id);
    agent_put(agent, text);
    agent->need_sync = false;
}

/* A caller who waits for an answer is not to be kept by a nap. */
static void agent_wake(struct agent *agent)
{
    agent->fruitless = 0;
    if (!agent->broken && evtimer_pending(agent->timer, NULL)) {
        evtimer_del(agent->timer);
        event_add(agent->readable, NULL);
    }
}

void agent_call(struct agent *agent, enum agent_call call, const char *const *mountpoints,
                unsigned n_mountpoints, unsigned timeout_ms, agent_fn fn, void *arg)
{
    const char *refusal = agent->state != AGENT_UP             ? "not connected"
                          : agent->out_size > AGENT_UNSENT_MAX ? "it takes no more calls"
                                                               : NULL;
    _cleanup_free_ char *text = NULL;
    struct agent_entry *entry;

    if (!refusal) {
        text = agent_wire_request(call, mountpoints, n_mountpoints);
        if (agent->need_sync)
            agent_put_sync(agent);
        agent_put(agent, text);
        if (!agent->corked)
            agent_flush(agent);
        agent_wake(agent);
    }
    entry = entry_new(agent, refusal);
    entry->call = call;
    entry->listed = mountpoints != NULL;
    entry->timeout_ms = timeout_ms;
    entry->fn = fn;
    entry->arg = arg;
    entry->timer = evtimer_new(agent->base, on_entry_timer, entry);
    if (refusal)
        event_active(entry->timer, EV_TIMEOUT, 0);
    else
        timer_start(entry->timer, timeout_ms);
}

void agent_desync(struct agent *agent)
{
    agent->need_sync = true;
}

void agent_cork(struct agent *agent)
{
    agent->corked++;
}

void agent_uncork(struct agent *agent)
{
    if (--agent->corked == 0 && agent->state == AGENT_UP)
        agent_flush(agent);
}

size_t agent_unsent(const struct agent *agent)
{
    int queued = 0;

    if (agent->state != AGENT_UP || ioctl(agent->fd, SIOCOUTQ, &queued) < 0)
        queued = 0;
    return (size_t)queued + agent->out_size;
}
