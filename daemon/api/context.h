/* What handlers reach: the parts of the daemon, made at start by the main program, which owns all
 * of them and hands this one struct down. */
#ifndef SNAPVM_API_CONTEXT_H
#define SNAPVM_API_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct conf;
struct crash;
struct domains;
struct engine;
struct event_base;
struct hub;
struct journal;
struct metrics;
struct requests;
struct turns;
struct worker;

struct daemon_context {
    const struct conf *conf; /* changed by a reload: keep no pointer into it */
    struct journal *journal;
    struct crash *crash; /* may be NULL */
    struct event_base *event_base;
    struct worker *worker;
    struct domains *domains;
    struct engine *engine;
    struct hub *hub;           /* events to subscribers */
    struct requests *requests; /* what request_id remembers */
    struct turns *turns;       /* at the domains' snapshot trees */
    struct metrics *metrics;
    int64_t started; /* microseconds since 1970 */
    bool stopping;   /* what would change something is answered ShuttingDown */

    /* Reads the configuration again; an error means that nothing changed. */
    int (*reload)(void *arg, struct error *err);
    void *reload_arg;
};

#endif
