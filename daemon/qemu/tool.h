/* Image tools (qemu-img) as child processes: started from the loop, which waits for none of them.
 * A tool dies with the daemon, by the kernel's hand, also after a kill -9. That takes as long as a
 * write that is under way, and a script in its place leaves what it started behind; so a daemon and
 * its tools share a lock, the leash, for which the next daemon waits before it looks at images. */
#ifndef SNAPVM_QEMU_TOOL_H
#define SNAPVM_QEMU_TOOL_H

#include "base/cleanup.h"
#include "base/error.h"

struct event_base;
struct tool;

/* The end of a tool: err NULL for exit status 0. Otherwise QemuError (class, desc, command) with
 * the last of what it printed, or Timeout. The tool is freed afterwards. */
typedef void (*tool_done_fn)(void *arg, const struct error *err);

/* Opens the leash in the state directory, a file tools.lock. Error: InternalError. */
int tool_leash_open(const char *dir, int *ret_leash, struct error *err);

/* Waits until the tools of every daemon before have ended, and takes it. Blocks. */
void tool_leash_take(int leash);

/* Starts argv[0] (looked up in PATH), NULL ends the array; the words are copied. Its output is read
 * and bounded, its input is empty, and beside these it has the leash (-1: none) open. `timeout_ms`
 * 0: none, for what copies data. Always answers by `done`, from the loop, also when it cannot be
 * started; once, unless tool_free comes first. */
struct tool *tool_run(struct event_base *base, int leash, const char *const *argv,
                      unsigned timeout_ms, tool_done_fn done, void *arg);

/* Kills it; `done` comes with an error as soon as it has ended. */
void tool_stop(struct tool *tool);

/* Kills it, waits for its end, and forgets it: `done` does not come. Takes NULL. */
struct tool *tool_free(struct tool *tool);

DEFINE_CLEANUP(struct tool, tool_free)

#endif
