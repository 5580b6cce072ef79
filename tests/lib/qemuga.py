"""qemu-ga in the test guest: started anew, killed and held by real signals, and with hooks."""

import os
import time

from machine import TIMEOUT

HOOK = "/run/hooks/fsfreeze-hook"


def put(guest, path, text):
    """A program of the guest's."""
    guest.sh(f"mkdir -p {os.path.dirname(path)}; cat >{path} <<'END-OF-FILE'\n{text}\nEND-OF-FILE\n"
             f"chmod 755 {path}")


def until(guest, condition):
    """What has no event is looked at again."""
    guest.sh(f"until {condition}; do usleep 5000; done")


def port_is_open(guest):
    return any(chardev["label"] == "agent" and chardev["frontend-open"]
               for chardev in guest.eyes.call("query-chardev"))


def wait_port(guest, opened=True):
    """This port has no id: nothing tells that it opens or closes, neither us nor the daemon."""
    deadline = time.monotonic() + TIMEOUT
    while port_is_open(guest) != opened:
        assert time.monotonic() < deadline, "the agent's port stays as it is"


def signal_agent(guest, name):
    guest.sh(f"kill -{name} $(cat /run/qga.pid)")


def kill_agent(guest, name="KILL"):
    """Until it is gone; its state file stays."""
    signal_agent(guest, name)
    until(guest, "! kill -0 $(cat /run/qga.pid) 2>/dev/null")


def run_agent(guest, *options, keep_state=True):
    """As a service manager does it, until its port is open."""
    if not keep_state:
        guest.sh("rm -f /run/qga.state.isfrozen")
    guest.sh("qemu-ga -m virtio-serial -p /dev/virtio-ports/org.qemu.guest_agent.0 -t /run"
             f" -l /run/qga.log {' '.join(options)} >/dev/null 2>&1 & echo $! >/run/qga.pid")
    wait_port(guest)


def start_agent(guest, *options):
    """Anew, with these options."""
    kill_agent(guest, "TERM")
    run_agent(guest, *options)


def start_hooked_agent(guest, script):
    """With a program that it calls before it freezes and after it has thawed, by `freeze` and
    `thaw`; $PPID is the agent."""
    put(guest, HOOK, "#!/bin/sh\n" + script)
    start_agent(guest, f"-F{HOOK}")
