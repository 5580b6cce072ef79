/* A server with a real journal and stand-ins for the handlers behind it, and clients of it, all in
 * the test's own loop: nothing waits by the clock, and what has not happened can be told. */
#ifndef SNAPVM_TESTS_UNIT_RPC_FIXTURE_H
#define SNAPVM_TESTS_UNIT_RPC_FIXTURE_H

#include <stdbool.h>

#include "api/call.h"
#include "api/context.h"
#include "conf/conf.h"
#include "proto/json.h"

struct server;

#define FIXTURE_PENDING 512

/* What the stand-ins do and see; handlers reach it as the context's engine. */
struct stub {
    struct call *pending[FIXTURE_PENDING]; /* calls of job.wait and of jobs that wait */
    unsigned n_pending;
    unsigned runs; /* of domain.list, domain.define and snapshot.create, for real */
    unsigned reloads;
    bool fail_start; /* snapshot.create fails before it is recorded */
};

struct fixture {
    char *dir, *path;
    struct event_base *base;
    struct conf conf;
    struct daemon_context context;
    struct server *server;
    struct stub stub;
};

/* Starts the server; the limits and groups of fixture->conf may be changed at any time. */
struct fixture *fixture_new(void);
struct fixture *fixture_free(struct fixture *fixture);

/* Ends journal and server and starts them again on the same state. */
void fixture_restart(struct fixture *fixture);

/* Lets the loop do all that it can without waiting. */
void fixture_run(struct fixture *fixture);

/* Ends a pending call with {"n": n}. */
void fixture_answer(struct fixture *fixture, unsigned n);

/* Commits n events, each in a transaction of its own, without waiting for them. */
void fixture_events(struct fixture *fixture, const char *kind, const char *domain, unsigned n);

/* Runs until the journal has that event. */
void fixture_until_seq(struct fixture *fixture, int64_t seq);

struct client {
    struct fixture *fixture;
    int fd;
    struct frame *in;
    struct event *event;
    bool eof;
};

struct client *client_new(struct fixture *fixture);
/* For a descriptor that is connected already. */
struct client *client_adopt(struct fixture *fixture, int fd);
struct client *client_free(struct client *client);

/* A client that does not read leaves everything in its socket. */
void client_set_reading(struct client *client, bool reading);

void client_send(struct client *client, const char *text);
void client_send_bytes(struct client *client, const char *data, size_t size);

/* Runs until the next line is there; NULL at the end of the stream. Owned by the caller. */
json_object *client_line(struct client *client);

/* The next line if there is one already. */
json_object *client_peek(struct client *client);

/* Sends a request with that id and takes the next line, which must be its answer. */
json_object *client_call(struct client *client, int id, const char *method, const char *params);

/* Members of an answer: its result; the kind of its error ("" when it has none) and its data. */
json_object *answer_result(json_object *answer);
const char *answer_kind(json_object *answer);
json_object *answer_data(json_object *answer);

/* Asserts that the next line is an error of that kind, or the client's end for NULL. */
void client_expect(struct client *client, const char *kind);

#endif
