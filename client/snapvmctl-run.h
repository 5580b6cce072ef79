/* From a command line that was read to an exit status: one connection, one method, its result. */
#ifndef SNAPVM_CLIENT_SNAPVMCTL_RUN_H
#define SNAPVM_CLIENT_SNAPVMCTL_RUN_H

struct args;
struct snapvm;

enum run_status {
    RUN_DONE = 0,
    RUN_REFUSED = 1,   /* the daemon said no, or the job failed */
    RUN_USAGE = 2,     /* the command line is wrong */
    RUN_TIMEOUT = 3,   /* the wait ran out, the work goes on */
    RUN_NO_DAEMON = 4, /* nobody listens, or the connection was lost */
};

/* Connects and runs the verb; results go to stdout, errors to stderr. */
int run_args(const struct args *args);

/* Prints events until the connection ends. */
int run_events(struct snapvm *conn, const struct args *args);

/* Prints the names that exist, one a line, for the completion: "domain", or "disk", "snapshot",
 * "job" of a domain (jobs also without one). Errors are not worth a word there. */
int run_names(const char *what, const char *domain);

#endif
