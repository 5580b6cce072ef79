#include "base/worker.h"

#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/queue.h>

#include "base/memory.h"

struct task {
    STAILQ_ENTRY(task) link; /* worker::waiting or worker::finished */
    worker_fn run, done, drop;
    void *arg;
};

STAILQ_HEAD(task_list, task);

struct worker {
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows up to `wake` */
    pthread_cond_t work;
    struct task_list waiting, finished;
    bool ending;
    int wake; /* eventfd: something is in `finished` */
    struct event *event;
};

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct task *task;

    pthread_mutex_lock(&worker->lock);
    for (;;) {
        while (STAILQ_EMPTY(&worker->waiting) && !worker->ending)
            pthread_cond_wait(&worker->work, &worker->lock);
        if (worker->ending)
            break;
        task = STAILQ_FIRST(&worker->waiting);
        STAILQ_REMOVE_HEAD(&worker->waiting, link);
        pthread_mutex_unlock(&worker->lock);
        task->run(task->arg);
        pthread_mutex_lock(&worker->lock);
        STAILQ_INSERT_TAIL(&worker->finished, task, link);
        eventfd_write(worker->wake, 1);
    }
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

static void worker_woken(evutil_socket_t fd, short what _unused_, void *arg)
{
    struct worker *worker = arg;
    struct task_list finished = STAILQ_HEAD_INITIALIZER(finished);
    struct task *task;
    eventfd_t count;

    eventfd_read(fd, &count);
    pthread_mutex_lock(&worker->lock);
    STAILQ_CONCAT(&finished, &worker->finished);
    pthread_mutex_unlock(&worker->lock);
    while ((task = STAILQ_FIRST(&finished))) {
        STAILQ_REMOVE_HEAD(&finished, link);
        task->done(task->arg);
        free(task);
    }
}

struct worker *worker_new(struct event_base *base)
{
    struct worker *worker = xzalloc(sizeof(*worker));
    sigset_t all, old;
    int r;

    STAILQ_INIT(&worker->waiting);
    STAILQ_INIT(&worker->finished);
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->work, NULL);
    worker->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    worker->event = event_new(base, worker->wake, EV_READ | EV_PERSIST, worker_woken, worker);
    event_add(worker->event, NULL);
    /* Signals belong to the loop's thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    r = pthread_create(&worker->thread, NULL, worker_main, worker);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r == 0)
        return worker;
    event_free(worker->event);
    close(worker->wake);
    free(worker);
    return NULL;
}

static void worker_drop(struct task_list *list)
{
    struct task *task;

    while ((task = STAILQ_FIRST(list))) {
        STAILQ_REMOVE_HEAD(list, link);
        if (task->drop)
            task->drop(task->arg);
        free(task);
    }
}

struct worker *worker_free(struct worker *worker)
{
    if (!worker)
        return NULL;
    pthread_mutex_lock(&worker->lock);
    worker->ending = true;
    pthread_cond_signal(&worker->work);
    pthread_mutex_unlock(&worker->lock);
    pthread_join(worker->thread, NULL);
    worker_drop(&worker->waiting);
    worker_drop(&worker->finished);
    event_free(worker->event);
    close(worker->wake);
    pthread_mutex_destroy(&worker->lock);
    pthread_cond_destroy(&worker->work);
    free(worker);
    return NULL;
}

void worker_run(struct worker *worker, worker_fn run, worker_fn done, worker_fn drop, void *arg)
{
    struct task *task = xzalloc(sizeof(*task));

    *task = (struct task){.run = run, .done = done, .drop = drop, .arg = arg};
    pthread_mutex_lock(&worker->lock);
    STAILQ_INSERT_TAIL(&worker->waiting, task, link);
    pthread_mutex_unlock(&worker->lock);
    pthread_cond_signal(&worker->work); /* who is woken finds the lock free */
}
