/* Image tools (qemu-img) as child processes: started from the loop, which waits for none of them.
 * A tool dies with the daemon, by the kernel's hand, also after a kill -9: whoever finds a job of a
 * daemon that was killed finds its tool ended, or still dying with the image's locks held. */
#ifndef SNAPVM_QEMU_TOOL_H
#define SNAPVM_QEMU_TOOL_H

#include "base/cleanup.h"
#include "base/error.h"

struct event_base;
struct tool;

/* The end of a tool: err NULL for exit status 0. Otherwise QemuError (class, desc, command) with
 * the last of what it printed, or Timeout. The tool is freed afterwards. */
typedef void (*tool_done_fn)(void *arg, const struct error *err);

/* Starts argv[0] (looked up in PATH), NULL ends the array; the words are copied. Its output is read
 * and bounded, its input is empty. `timeout_ms` 0: none, for what copies data. Always answers by
 * `done`, from the loop, also when it cannot be started; once, unless tool_free comes first. */
struct tool *tool_run(struct event_base *base, const char *const *argv, unsigned timeout_ms,
                      tool_done_fn done, void *arg);

/* Kills it; `done` comes with an error as soon as it has ended. */
void tool_stop(struct tool *tool);

/* Kills it, waits for its end, and forgets it: `done` does not come. Takes NULL. */
struct tool *tool_free(struct tool *tool);

DEFINE_CLEANUP(struct tool, tool_free)

#endif
