/* Requests in flight on a connection, and the form of their answers. An answer comes when its call
 * is done, whatever the order; those of a batch are held together until the last one is there. */
#ifndef SNAPVM_RPC_REPLY_H
#define SNAPVM_RPC_REPLY_H

#include <stddef.h>

#include "base/error.h"

struct conn;

/* Takes on a line. A batch is only begun: reply_next() takes on one after another of its requests
 * for as long as conn->batch is set. */
void reply_line(struct conn *conn, const char *line, size_t size);
void reply_next(struct conn *conn);

/* Answers a line that was no request, with id null. */
void reply_malformed(struct conn *conn, const struct error *err);

/* A line for an error whose request is not known; owned by the caller. */
char *reply_error_line(const struct error *err);

/* Answers all that are open with the error. */
void reply_stop(struct conn *conn, const struct error *err);

/* Forgets all that are open: the calls go on, without an answer. */
void reply_drop(struct conn *conn);

#endif
