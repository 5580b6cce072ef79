"""Which rows of the recovery tables a run of the daemon went through, read from its log."""

import collections
import functools
import re
import subprocess

from daemon import daemon_program

TITLE = re.compile(r"\S.* \(job kind ([a-z-]+)\)$")
STEP = re.compile(r"  ([a-z-]+) +record: ")
CRASH = re.compile(r" +(QEMU lives|looked at|QEMU has ended): (.*)")
# A copy walks the table of active commits, and back to it from its end without pivot.
TABLES = {"copy": ("copy", "active-commit"), "memory-snapshot": ("memory-snapshot", "snapshot")}

EVENT = re.compile(r" info: job (\d+): (?:(looked at again|its QEMU has ended),? at step ([a-z-]+)"
                   r"|([a-z-]+) of domain \S+ ended: ([a-z-]+))")

# How a job was found: "lives" with its QEMU, or by its files where the guest is shut off; or "gone".
Row = collections.namedtuple("Row", "kind step found result")


def rows(log):
    """The rows of the jobs that ended, each with its result. What was found first may have been
    found anew: after a second crash, or when QEMU ended meanwhile."""
    found, ended = collections.defaultdict(list), set()
    for job, how, step, kind, result in EVENT.findall(log):
        if step:
            found[job].append((step, "gone" if "ended" in how else "lives"))
        else:
            ended.update(Row(kind, step, how, result) for step, how in found.pop(job, ()))
    return ended


def printed():
    return subprocess.run([daemon_program(), "--print-plans"], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


@functools.cache
def silent():
    """The (kind, step) of plans of whose crashes no table tells."""
    kind, steps = None, set()
    for line in printed().splitlines():
        if title := TITLE.match(line):
            kind = title[1]
        elif name := STEP.match(line):
            steps.add((kind, name[1]))
    return steps - set(tables())


@functools.cache
def tables():
    """{(kind, step): {"lives": text, "gone": results}} as the daemon prints it; only steps at which
    a job may be found."""
    found, kind, step = {}, None, None
    for line in printed().splitlines():
        if title := TITLE.match(line):
            kind = title[1]
        elif name := STEP.match(line):
            step = name[1]
        elif crash := CRASH.match(line):
            row = found.setdefault((kind, step), {"lives": None, "gone": set()})
            if crash[1] == "QEMU has ended":
                row["gone"] = set(crash[2].rpartition(": ")[2].split(", "))
            else:
                row["lives"] = crash[2]
    return found


def listed(row):
    """The tables' row of a row that was seen: its key and what it says, or None."""
    for kind in TABLES.get(row.kind, (row.kind,)):
        if (kind, row.step) in tables():
            return (kind, row.step), tables()[kind, row.step]
    return None


def unlisted(seen):
    """What was seen and is not in the tables, in words; None where all is."""
    for row in seen:
        found = listed(row)
        if (row.kind, row.step) in silent():
            continue
        if found is None or row.found == "gone" and row.result not in found[1]["gone"]:
            return f"the table of {row.kind} has no {row.result} of a job that was found at " \
                   f"{row.step}, QEMU {row.found}"
    return None
