"""A guest whose kernel freezes by guest/virtio-fsfreeze.ko: what its live tests have in common."""

from agentclient import AgentError
from guest import MIXED
from machine import TestTimeout
from mixed import missing_tools
from suite import Skip, equal

FREEZE, THAW, STATUS = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw", "guest-fsfreeze-status"
MODULE = "/modules/virtio-fsfreeze.ko"
PARAMETERS = "/sys/module/virtio_fsfreeze/parameters"


def mixed_guest(world, name="web", agent="kernel"):
    reason = missing_tools()
    if reason:
        raise Skip(reason)
    return world.linux(name, agent=agent, file_systems=MIXED)


def has_holders(guest):
    """Whether its kernel tells freezes of the kernel from those of an administrator: from 6.6 on."""
    major, minor = guest.sh("uname -r").split(".")[:2]
    return (int(major), int(minor)) >= (6, 6)


def set_deadman(guest, milliseconds):
    guest.sh(f"echo {milliseconds} >{PARAMETERS}/deadman_ms")


def set_rate(guest, target, rate):
    other = {name: 0 for name in ("bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr")}
    path = f"/machine/peripheral/{target}/virtio-backend"
    guest.eyes.call("block_set_io_throttle", id=path, bps=rate, **other)


def hold_disk(guest, target):
    """A disk that finishes a write in an hour."""
    set_rate(guest, target, 1)


def release_disk(guest, target):
    set_rate(guest, target, 0)


def expect_timeout(agent, seconds=1):
    try:
        line = agent.line(seconds)
    except TestTimeout:
        return
    raise AssertionError(f"no answer was expected, but it said {line}")


def expect_refusal(agent, command):
    try:
        result = agent.call(command)
    except AgentError as error:
        return str(error)
    raise AssertionError(f"{command} was to be refused, but it answered {result}")


def stop_writer(guest, name):
    """Until nobody has it open any more: neither the writer nor what it has called."""
    mine = f"grep -ls '/run/data/[{name[0]}]{name[1:]}' /proc/[0-9]*/cmdline"
    guest.sh(f"kill $({mine} | cut -d / -f 3); while {mine}; do usleep 20000; done")


def check_stands_still(guest, names):
    """None of those writers completes anything. What was completed before the freeze may be told a
    moment after it: the writer has to run for that, on a processor that others want too."""
    guest.sh("usleep 200000")
    before = guest.acked()
    guest.sh("usleep 200000")
    now = guest.acked()
    equal({name: now[name] for name in names}, {name: before[name] for name in names}, "writes")


def freeze_and_thaw(agent, count):
    equal(agent.call(FREEZE), count, "freeze")
    equal(agent.call(THAW), count, "thaw")
