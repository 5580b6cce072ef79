/* The worker: order, threads, and what becomes of tasks when it ends. No test here waits by the
 * clock: eventfds and pipes tell when a task has come to a point. */
#include <check.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/worker.h"

#define TASKS 1000

struct trace {
    struct event_base *base;
    pthread_t loop;
    int runs, dones, drops; /* counted; `runs` belongs to the thread, the others to the loop */
    int order_faults, thread_faults;
    int last;        /* dones after which the loop ends */
    int started, go; /* eventfds of a task that waits */
};

struct numbered {
    struct trace *trace;
    int number;
};

static struct trace trace_make(void)
{
    struct trace trace = {.base = event_base_new(), .loop = pthread_self()};

    trace.started = eventfd(0, EFD_CLOEXEC);
    trace.go = eventfd(0, EFD_CLOEXEC);
    return trace;
}

static void trace_end(struct trace *trace)
{
    event_base_free(trace->base);
    close(trace->started);
    close(trace->go);
}

static struct numbered *numbered_new(struct trace *trace, int number)
{
    struct numbered *task = xzalloc(sizeof(*task));

    *task = (struct numbered){.trace = trace, .number = number};
    return task;
}

static void task_run(void *arg)
{
    struct numbered *task = arg;

    task->trace->thread_faults += pthread_equal(pthread_self(), task->trace->loop) != 0;
    task->trace->order_faults += task->trace->runs != task->number;
    task->trace->runs++;
}

static void task_done(void *arg)
{
    struct numbered *task = arg;
    struct trace *trace = task->trace;

    trace->thread_faults += !pthread_equal(pthread_self(), trace->loop);
    trace->order_faults += trace->dones != task->number;
    if (++trace->dones == trace->last)
        event_base_loopbreak(trace->base);
    free(task);
}

static void task_drop(void *arg)
{
    struct numbered *task = arg;

    task->trace->drops++;
    free(task);
}

/* Says that it has begun, and waits for leave to end. */
static void task_wait(void *arg)
{
    struct numbered *task = arg;
    eventfd_t count;

    eventfd_write(task->trace->started, 1);
    eventfd_read(task->trace->go, &count);
    task_run(arg);
}

START_TEST(test_order)
{
    struct trace trace = trace_make();
    struct worker *worker = worker_new(trace.base);

    ck_assert_ptr_nonnull(worker);
    trace.last = TASKS;
    for (int i = 0; i < TASKS; i++)
        worker_run(worker, task_run, task_done, task_drop, numbered_new(&trace, i));
    event_base_dispatch(trace.base);
    ck_assert_ptr_null(worker_free(worker));
    ck_assert_int_eq(trace.runs, TASKS);
    ck_assert_int_eq(trace.dones, TASKS);
    ck_assert_int_eq(trace.drops, 0);
    ck_assert_int_eq(trace.order_faults, 0);
    ck_assert_int_eq(trace.thread_faults, 0);
    trace_end(&trace);
}
END_TEST

static struct worker *chained;

static void task_chain(void *arg)
{
    struct numbered *task = arg;

    if (task->number + 1 < TASKS)
        worker_run(chained, task_run, task_chain, task_drop,
                   numbered_new(task->trace, task->number + 1));
    task_done(arg);
}

/* A task that is queued by the end of the one before it. */
START_TEST(test_chain)
{
    struct trace trace = trace_make();

    chained = worker_new(trace.base);
    trace.last = TASKS;
    worker_run(chained, task_run, task_chain, task_drop, numbered_new(&trace, 0));
    event_base_dispatch(trace.base);
    worker_free(chained);
    ck_assert_int_eq(trace.dones, TASKS);
    ck_assert_int_eq(trace.order_faults, 0);
    trace_end(&trace);
}
END_TEST

static void *let_go(void *arg)
{
    struct trace *trace = arg;

    eventfd_write(trace->go, 1);
    return NULL;
}

/* Freed while one task runs and others wait: the first ends, all are dropped, none is done. */
START_TEST(test_free_while_busy)
{
    struct trace trace = trace_make();
    struct worker *worker = worker_new(trace.base);
    pthread_t helper;
    eventfd_t count;

    worker_run(worker, task_wait, task_done, task_drop, numbered_new(&trace, 0));
    for (int i = 1; i < 10; i++)
        worker_run(worker, task_run, task_done, task_drop, numbered_new(&trace, i));
    eventfd_read(trace.started, &count);
    pthread_create(&helper, NULL, let_go, &trace);
    worker_free(worker);
    pthread_join(helper, NULL);
    ck_assert_int_ge(trace.runs, 1);
    ck_assert_int_eq(trace.dones, 0);
    ck_assert_int_eq(trace.drops, 10);
    trace_end(&trace);
}
END_TEST

/* A finished task whose end the loop has not seen is dropped as well. */
START_TEST(test_free_before_done)
{
    struct trace trace = trace_make();
    struct worker *worker = worker_new(trace.base);
    eventfd_t count;

    worker_run(worker, task_wait, task_done, task_drop, numbered_new(&trace, 0));
    eventfd_read(trace.started, &count);
    eventfd_write(trace.go, 1);
    worker_free(worker);
    ck_assert_int_eq(trace.runs, 1);
    ck_assert_int_eq(trace.dones, 0);
    ck_assert_int_eq(trace.drops, 1);
    trace_end(&trace);
}
END_TEST

static void run_nothing(void *arg _unused_)
{
}

/* `drop` may be left out by a task whose argument somebody else owns. */
START_TEST(test_no_drop)
{
    struct trace trace = trace_make();
    struct worker *worker = worker_new(trace.base);

    worker_run(worker, run_nothing, run_nothing, NULL, &trace);
    worker_free(worker);
    ck_assert_ptr_null(worker_free(NULL));
    trace_end(&trace);
}
END_TEST

static void task_signals(void *arg)
{
    struct numbered *task = arg;
    sigset_t blocked;

    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    task->trace->thread_faults += !sigismember(&blocked, SIGTERM) || !sigismember(&blocked, SIGHUP);
    task->trace->runs++;
}

/* Signals reach the loop: the thread blocks them, and the caller's mask is as it was. */
START_TEST(test_signals)
{
    struct trace trace = trace_make();
    struct worker *worker = worker_new(trace.base);
    sigset_t blocked;

    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    ck_assert_int_eq(sigismember(&blocked, SIGTERM), 0);
    trace.last = 1;
    worker_run(worker, task_signals, task_done, task_drop, numbered_new(&trace, 0));
    event_base_dispatch(trace.base);
    worker_free(worker);
    ck_assert_int_eq(trace.runs, 1);
    ck_assert_int_eq(trace.thread_faults, 0);
    trace_end(&trace);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("worker");
    TCase *tcase = tcase_create("worker");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, test_order);
    tcase_add_test(tcase, test_chain);
    tcase_add_test(tcase, test_free_while_busy);
    tcase_add_test(tcase, test_free_before_done);
    tcase_add_test(tcase, test_no_drop);
    tcase_add_test(tcase, test_signals);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
