#include "daemon.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>

#include "api/context.h"
#include "api/hub.h"
#include "api/metrics.h"
#include "api/request.h"
#include "api/turn.h"
#include "api/wire.h"
#include "base/clock.h"
#include "base/crash.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/worker.h"
#include "conf/conf.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "journal/journal.h"
#include "notify.h"
#include "proto/snapvm-errors.h"
#include "rpc/server.h"

#define N_SIGNALS 3

/* History is cut down at start and then once an hour. */
#define PRUNE_MS (3600 * 1000)

/* The journal's writer copies the log back before it has grown past this. */
#define LOG_BYTES (4 * 1024 * 1024)

struct daemon {
    struct conf conf;
    char *conf_path; /* NULL: the default file */
    const struct conf_overrides *overrides;
    struct event_base *base;
    struct crash *crash;
    struct worker *worker;
    struct journal *journal;
    struct domains *domains;
    struct engine *engine;
    struct server *server;
    struct notify *notify;
    struct event *signals[N_SIGNALS];
    struct event *prune;
    struct daemon_context context;
    bool started; /* the server answers */
};

/* --- signals and reload --- */

/* Sockets, folders and bounds of the journal are those of the start; the rest follows the file. */
static int daemon_reload(void *arg, struct error *err)
{
    struct daemon *daemon = arg;
    struct conf fresh;

    conf_init(&fresh);
    if (conf_load(daemon->conf_path, &fresh, err) < 0) {
        conf_deinit(&fresh);
        return -1;
    }
    conf_apply(&fresh, daemon->overrides, NULL);
    conf_deinit(&daemon->conf);
    daemon->conf = fresh;
    log_set_level(daemon->conf.log_level);
    daemon->engine->options.agent_timeout_ms = (unsigned)fresh.agent_timeout_ms;
    daemon->engine->options.freeze_timeout_ms = (unsigned)fresh.freeze_timeout_ms;
    daemon->engine->options.lease_max_ms = (unsigned)fresh.lease_max_ms;
    daemon->domains->options.greeting_timeout_ms = (unsigned)fresh.greeting_timeout_ms;
    daemon->domains->options.command_timeout_ms = (unsigned)fresh.command_timeout_ms;
    log_info("the configuration was read again");
    return 0;
}

static void daemon_hangup(struct daemon *daemon)
{
    _cleanup_error_ struct error err = {0};

    notify_reloading();
    if (daemon_reload(daemon, &err) < 0)
        log_error("the configuration stays as it was: %s", err.message);
    notify_ready();
}

static void daemon_signal(evutil_socket_t signal, short what _unused_, void *arg)
{
    struct daemon *daemon = arg;

    if (signal == SIGHUP) {
        daemon_hangup(daemon);
        return;
    }
    log_info("stopping; running jobs are left to QEMU and to the next start");
    notify_stopping();
    daemon->context.stopping = true;
    event_base_loopbreak(daemon->base);
}

static void daemon_watch_signals(struct daemon *daemon)
{
    static const int numbers[N_SIGNALS] = {SIGTERM, SIGINT, SIGHUP};

    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < N_SIGNALS; i++) {
        daemon->signals[i] = evsignal_new(daemon->base, numbers[i], daemon_signal, daemon);
        event_add(daemon->signals[i], NULL);
    }
}

static void daemon_prune(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
    struct daemon *daemon = arg;
    struct journal_txn *txn = journal_begin(daemon->journal);

    journal_prune(txn);
    journal_commit(txn, "prune", NULL, NULL);
}

static void daemon_watch_history(struct daemon *daemon)
{
    struct timeval hour = clock_timeval_ms(PRUNE_MS);

    daemon->prune = event_new(daemon->base, -1, EV_PERSIST, daemon_prune, daemon);
    event_add(daemon->prune, &hour);
    daemon_prune(-1, 0, daemon);
}

/* --- start, in the order of the layers --- */

static void daemon_progress(void *arg, const struct job *job)
{
    struct daemon *daemon = arg;
    _cleanup_free_ char *text = wire_job_text(job), *body = xasprintf("{\"job\":%s}", text);

    if (daemon->context.hub)
        hub_progress(daemon->context.hub, job->record.domain, body);
}

static int daemon_open_journal(struct daemon *daemon, struct error *err)
{
    struct journal_options options = {
        .dir = daemon->conf.state_dir,
        .crash = daemon->crash,
        .worker = daemon->worker,
        .jobs_days = daemon->conf.jobs_days,
        .events = daemon->conf.events,
        .request_ids_hours = daemon->conf.request_ids_hours,
        .log_bytes = LOG_BYTES,
    };

    daemon->journal = journal_open(daemon->base, &options, err);
    return daemon->journal ? 0 : -1;
}

static void daemon_make_model(struct daemon *daemon)
{
    const struct conf *conf = &daemon->conf;
    struct domains_options domains = {
        .guests_dir = conf->guests_dir,
        .greeting_timeout_ms = (unsigned)conf->greeting_timeout_ms,
        .command_timeout_ms = (unsigned)conf->command_timeout_ms,
    };
    struct engine_options engine = {
        .agent_timeout_ms = (unsigned)conf->agent_timeout_ms,
        .freeze_timeout_ms = (unsigned)conf->freeze_timeout_ms,
        .lease_max_ms = (unsigned)conf->lease_max_ms,
        .qemu_img = conf->qemu_img,
        .state_dir = conf->state_dir,
    };
    struct engine_hooks hooks = {wire_job_text, daemon_progress, daemon};

    daemon->domains =
        domains_new(daemon->base, daemon->journal, daemon->worker, daemon->crash, &domains);
    daemon->engine = engine_new(daemon->domains, &engine, &hooks);
}

static int daemon_load(struct daemon *daemon, struct error *err)
{
    struct journal_model model = {0};

    if (journal_load(daemon->journal, &model, err) < 0)
        return -1;
    domains_load(daemon->domains, &model);
    daemon->context.requests = requests_new(daemon->base, model.requests, model.n_requests);
    daemon->context.turns = turns_new(daemon->base);
    daemon->context.hub = hub_new(daemon->journal);
    engine_load(daemon->engine, &model);
    journal_model_deinit(&model);
    return 0;
}

static void daemon_fill_context(struct daemon *daemon)
{
    daemon->context = (struct daemon_context){
        .conf = &daemon->conf,
        .journal = daemon->journal,
        .crash = daemon->crash,
        .event_base = daemon->base,
        .worker = daemon->worker,
        .domains = daemon->domains,
        .engine = daemon->engine,
        .metrics = metrics_new(),
        .started = clock_now(),
        .reload = daemon_reload,
        .reload_arg = daemon,
    };
}

/* Everything of it or an error; daemon_free takes what was made so far. */
static int daemon_make(struct daemon *daemon, struct error *err)
{
    int fd;

    if (notify_listen_fd(&fd, err) < 0)
        return -1;
    daemon->worker = worker_new(daemon->base);
    if (!daemon->worker)
        return error_set(err, SNAPVM_ERROR_INTERNAL, "the system refuses a thread");
    if (daemon_open_journal(daemon, err) < 0)
        return -1;
    daemon_make_model(daemon);
    daemon_fill_context(daemon);
    if (daemon_load(daemon, err) < 0)
        return -1;
    daemon->server = server_new(&daemon->context, fd, err);
    if (!daemon->server || domains_start(daemon->domains, err) < 0)
        return -1;
    daemon_watch_signals(daemon);
    daemon_watch_history(daemon);
    daemon->notify = notify_new(daemon->base);
    return 0;
}

struct daemon *daemon_new(struct conf *conf, const char *config_path,
                          const struct conf_overrides *overrides, struct error *err)
{
    struct daemon *daemon = xzalloc(sizeof(*daemon));

    daemon->conf = *conf;
    memset(conf, 0, sizeof(*conf));
    daemon->conf_path = xstrdup(config_path);
    daemon->overrides = overrides;
    daemon->base = event_base_new();
    daemon->crash = crash_new();
    return daemon_make(daemon, err) < 0 ? daemon_free(daemon) : daemon;
}

/* --- run and stop --- */

/* What the last run left undone in guests that are gone is settled before anybody is answered: an
 * answer names the right disk or is not given. */
static int daemon_settle(struct daemon *daemon)
{
    while (engine_is_settling(daemon->engine) && !daemon->context.stopping)
        if (event_base_loop(daemon->base, EVLOOP_ONCE) < 0)
            return -1;
    return 0;
}

int daemon_run(struct daemon *daemon)
{
    int r = daemon_settle(daemon);

    if (r == 0 && !daemon->context.stopping) {
        server_start(daemon->server);
        daemon->started = true;
        notify_status("%u domains", domains_count(daemon->domains));
        notify_ready();
        log_info("ready at %s", daemon->conf.socket);
        r = event_base_dispatch(daemon->base) < 0 ? -1 : 0;
    }
    if (r < 0)
        log_error("the event loop failed: %s", strerror(errno));
    server_stop(daemon->server);
    return r;
}

struct daemon *daemon_free(struct daemon *daemon)
{
    if (!daemon)
        return NULL;
    daemon->notify = notify_free(daemon->notify);
    if (daemon->prune)
        event_free(daemon->prune);
    for (int i = 0; i < N_SIGNALS; i++)
        if (daemon->signals[i])
            event_free(daemon->signals[i]);
    daemon->worker = worker_free(daemon->worker);
    server_free(daemon->server);
    turns_free(daemon->context.turns);
    requests_free(daemon->context.requests);
    engine_free(daemon->engine);
    domains_free(daemon->domains);
    hub_free(daemon->context.hub);
    journal_free(daemon->journal);
    metrics_free(daemon->context.metrics);
    crash_free(daemon->crash);
    event_base_free(daemon->base);
    conf_deinit(&daemon->conf);
    free(daemon->conf_path);
    free(daemon);
    return NULL;
}
