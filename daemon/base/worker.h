/* One thread beside the loop for what may block on a disk: making and removing image files, reading
 * headers and history. Tasks run one after another; a task's `run` sees only its own argument, its
 * `done` is called on the loop's thread. */
#ifndef SNAPVM_BASE_WORKER_H
#define SNAPVM_BASE_WORKER_H

#include "base/cleanup.h"

struct event_base;
struct worker;

typedef void (*worker_fn)(void *arg);

/* Starts the thread. Returns NULL when the system refuses one. */
struct worker *worker_new(struct event_base *base);

/* Ends the thread after the task that it runs. Tasks that wait are dropped, neither run nor done;
 * their `drop`, if given, frees their argument. */
struct worker *worker_free(struct worker *worker);

/* Queues a task: run(arg) on the thread, then done(arg) on the loop. */
void worker_run(struct worker *worker, worker_fn run, worker_fn done, worker_fn drop, void *arg);

DEFINE_CLEANUP(struct worker, worker_free)

#endif
