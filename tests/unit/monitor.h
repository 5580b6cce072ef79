/* A monitor that answers from the test's own loop: it greets, negotiates and answers the queries of
 * a view by texts. It may pass for another process than the test: who listens is the peer. */
#ifndef SNAPVM_TESTS_UNIT_MONITOR_H
#define SNAPVM_TESTS_UNIT_MONITOR_H

#include <stdbool.h>
#include <sys/types.h>

struct event;
struct event_base;

struct monitor {
    struct event_base *base;
    char *path;
    int listening, fd; /* fd: of the one connection; -1 */
    struct event *accepts, *reads;
    pid_t process;     /* that listens; 0: the test itself */
    bool silent;       /* accepts and says nothing, as one does that another client holds */
    unsigned accepted; /* connections so far */
    unsigned views;    /* whole views asked for so far */
    char line[16384];
    size_t n_line;
    const char *status, *nodes, *blockstats, *block, *jobs; /* JSON texts */
};

/* A running guest with the disk vd0 on node "top" over "base". */
void monitor_open(struct monitor *monitor, struct event_base *base, const char *path);

/* The same, listened to by a child process that lives until monitor_kill. */
void monitor_open_elsewhere(struct monitor *monitor, struct event_base *base, const char *path);

/* Closes the connection, as a peer does that goes away. */
void monitor_hang_up(struct monitor *monitor);

/* Closes everything but the process, and removes the socket. */
void monitor_close(struct monitor *monitor);

/* Ends the process and closes everything. Harmless to repeat. */
void monitor_kill(struct monitor *monitor);

/* Sends a line, such as an event, to the one who is connected. */
void monitor_say(struct monitor *monitor, const char *text);

#endif
