/* libsnapvm: a connection to snapvmd, the daemon that owns live snapshots and block jobs of guests.
 *
 * It is a thin wrap of the socket: methods, their parameters and results are those of the public
 * contract (`snapvmctl rpc discover` prints it), as json-c objects. A call can wait for its answer
 * (snapvm_call), or be sent and answered through a callback, from any event loop that can watch a
 * file descriptor:
 *
 *     snapvm_send(...)                       as often as wanted
 *     watch snapvm_fd() for snapvm_events()  (read it again after every dispatch and every send)
 *     snapvm_dispatch()                      when it is ready; callbacks run in here
 *
 * Both ways can be mixed on one connection. Answers may come in another order than the calls.
 *
 * The library starts no thread, keeps no state outside the connection, and neither raises nor
 * catches a signal. A connection belongs to one thread at a time, and so do the json-c objects that
 * are given to it; several threads may each use their own. Running out of memory aborts. */
#ifndef SNAPVM_H
#define SNAPVM_H

#include <stdint.h>

#include "snapvm-errors.h"

#ifdef __cplusplus
extern "C" {
#endif

struct json_object;
struct snapvm; /* a connection */

/* Where the daemon listens unless SNAPVM_SOCKET or the caller says otherwise. */
#define SNAPVM_SOCKET_DEFAULT "/run/snapvm/snapvmd.sock"

/* What went wrong on this side of the socket. The daemon's own errors have the codes of
 * snapvm-errors.h, and it never sends one of these. */
enum snapvm_local_code {
    SNAPVM_LOCAL_NO_DAEMON = -1,    /* kind "NoDaemon": nobody could be connected to */
    SNAPVM_LOCAL_DISCONNECTED = -2, /* kind "Disconnected": whether the call took effect is not
                                     * known; ask again with the same request_id */
    SNAPVM_LOCAL_BAD_ANSWER = -3,   /* kind "BadAnswer": the peer does not speak the protocol */
};

/* An error. Start with SNAPVM_ERROR_INIT; functions that fail fill it (it may be NULL where a
 * function takes one), functions that succeed leave it alone. */
struct snapvm_error {
    int code;                 /* enum snapvm_error_code or snapvm_local_code; 0: no error */
    char *kind;               /* what a program tests: "NotFound" */
    char *message;            /* a sentence for a person; may contain what a guest supplied */
    struct json_object *data; /* the error's further members, or NULL */
};

#define SNAPVM_ERROR_INIT \
    {                     \
        0, 0, 0, 0        \
    }

/* Releases what the error holds; it can be filled again afterwards. */
void snapvm_error_clear(struct snapvm_error *err);

/* Connects to the daemon at path; NULL is the environment's SNAPVM_SOCKET, else
 * SNAPVM_SOCKET_DEFAULT. It waits only for a daemon whose queue of new connections is full, 5 s at
 * most. NULL with NoDaemon in err when nobody listens. */
struct snapvm *snapvm_connect(const char *path, struct snapvm_error *err);

/* The same over a connected stream socket that the caller has; the connection owns it from now on,
 * and does not change its flags. For callers that may not wait at all, or that are given a socket.
 */
struct snapvm *snapvm_adopt(int fd);

/* Ends the connection and returns NULL; NULL is allowed. Calls on their way are answered with
 * Disconnected first. The daemon takes nothing back of what it was asked to do. May be called from
 * a callback of this connection. */
struct snapvm *snapvm_disconnect(struct snapvm *conn);

/* Calls a method and waits for its answer. params is an object or NULL and stays the caller's.
 * timeout_ms bounds the wait, -1 does not: after it the error is Timeout, the work goes on and its
 * answer is dropped. On success 0 and the result, which the caller puts (it is NULL for JSON's
 * null; ret_result may be NULL). On an error -1. Events and answers to other calls that arrive
 * meanwhile reach their callbacks from inside this function. */
int snapvm_call(struct snapvm *conn, const char *method, struct json_object *params, int timeout_ms,
                struct json_object **ret_result, struct snapvm_error *err);

/* The answer to a call: err is NULL on success. Result and error are valid during the callback;
 * json_object_get() keeps a result. */
typedef void (*snapvm_answer_fn)(struct json_object *result, const struct snapvm_error *err,
                                 void *data);

/* Calls a method without waiting: what the socket does not take at once is kept and written by
 * snapvm_dispatch. params is an object or NULL, stays the caller's, and may be changed afterwards.
 * Returns the call's id (above 0), and then the callback is called exactly once, unless
 * snapvm_forget comes first, never from inside this function; or -1 with Disconnected when the
 * connection is already lost. The callback may be NULL. */
int64_t snapvm_send(struct snapvm *conn, const char *method, struct json_object *params,
                    snapvm_answer_fn callback, void *data, struct snapvm_error *err);

/* The answer of this call is no longer wanted: its callback will not be called. The daemon goes on
 * with the work. An id that is not waiting is ignored. */
void snapvm_forget(struct snapvm *conn, int64_t id);

/* An event: the object with seq, time, kind, domain and what the kind adds; valid during the
 * callback. */
typedef void (*snapvm_event_fn)(struct json_object *event, void *data);

/* Sets the function that events are given to; NULL drops them. One a connection. Events only come
 * after `event.subscribe`, by snapvm_subscribe or as any other call. */
void snapvm_on_event(struct snapvm *conn, snapvm_event_fn callback, void *data);

/* snapvm_on_event and then `event.subscribe` with these params (NULL, or an object with since,
 * domains, kinds), waiting for the answer as snapvm_call does. ret_seq (may be NULL) is the number
 * of the last event before the subscription; the first events may reach the callback before this
 * returns. NotFound: the events after `since` are no longer
 * kept, and data has `first`. */
int snapvm_subscribe(struct snapvm *conn, struct json_object *params, snapvm_event_fn callback,
                     void *data, int timeout_ms, int64_t *ret_seq, struct snapvm_error *err);

/* The descriptor to watch, the connection's own: neither read, write nor close it. */
int snapvm_fd(const struct snapvm *conn);

/* What to watch it for, in poll()'s terms: POLLIN, with POLLOUT while there is something to write;
 * 0 once the connection is lost. */
short snapvm_events(const struct snapvm *conn);

/* Writes and reads what is possible without waiting, and calls the callbacks of what has arrived.
 * It reads a bounded amount: a flood of events does not keep the caller's loop. -1 once the
 * connection is lost or was ended by a callback; calls on their way have had their callbacks with
 * the error then, and all that is left to do is snapvm_disconnect (if no callback did it). */
int snapvm_dispatch(struct snapvm *conn, struct snapvm_error *err);

#ifdef __cplusplus
}
#endif

#endif
