"""Migrations of the fake QEMU, into a file that is named by a descriptor.

What matters of them: a migration goes on after its reply; when it has ended well the guest stands
in `postmigrate`, its images are inactive and their locks are dropped until `cont`; the event that
tells the end comes a moment before the run state has followed. What is saved is how far the guest
had written, so that a test can hold it against the images.
"""

import json
import os
import struct

from fakegraph import QmpError

MAGIC = b"QEVM\x00\x00\x00\x03"
CAPABILITIES = ("xbzrle", "auto-converge", "events", "postcopy-ram", "release-ram",
                "pause-before-switchover", "multifd", "background-snapshot")
TOTAL = 8 << 20


class Migration:
    def __init__(self, machine):
        self.machine = machine
        self.status = None
        self.error = None
        self.capabilities = dict.fromkeys(CAPABILITIES, False)
        self.received = None    # the last descriptor that came with the client's bytes
        self.fds = {}           # by name
        self.fd = None          # of the migration under way; None: to somewhere else

    def take(self, fds):
        for fd in fds:
            self.forget()
            self.received = fd

    def forget(self):
        """The client has gone, or sent another one."""
        if self.received is not None:
            os.close(self.received)
            self.received = None

    @property
    def active(self):
        return self.status in ("setup", "active", "cancelling")

    def move(self, status):
        self.status = status
        if self.capabilities["events"]:
            self.machine.event("MIGRATION", {"status": status})

    # ---- commands ----

    def getfd(self, name):
        if self.received is None:
            raise QmpError("No file descriptor supplied via SCM_RIGHTS")
        if name in self.fds:
            os.close(self.fds[name])
        self.fds[name], self.received = self.received, None

    def closefd(self, name):
        if name not in self.fds:
            raise QmpError(f"File descriptor named '{name}' not found")
        os.close(self.fds.pop(name))

    def start(self, uri):
        if self.active:
            raise QmpError("There's a migration process in progress")
        if self.machine.status == "postmigrate":
            raise QmpError("Can't migrate the vm that was paused due to previous migration")
        self.fd = self.error = None
        self.move("setup")
        if uri.startswith("fd:") and uri[3:] not in self.fds:
            self.error = f"File descriptor named '{uri[3:]}' has not been found"
            self.move("failed")
            raise QmpError(self.error)
        if uri.startswith("fd:"):
            self.fd = self.fds.pop(uri[3:])
        self.machine.later(self.begin)

    def begin(self):
        if self.status != "setup":
            return
        self.move("active")
        if self.fd is not None:
            os.set_blocking(self.fd, False)
        if self.fd is None or self.write(MAGIC):
            self.machine.later(self.go_on)

    def go_on(self):
        """To its end, unless the test keeps it."""
        if self.status != "active" or "saving" in self.machine.holds:
            return
        if self.machine.running:
            self.machine.status = "paused"
            self.machine.event("STOP")
        if self.fd is not None and not self.write(self.stream()):
            return
        self.end()
        self.machine.content.flush_all()
        self.machine.graph.inactivate()
        self.machine.status = "finish-migrate"
        self.move("completed")

    def settle(self):
        """The run state follows: nobody sees the moment in between for longer than one look."""
        if self.machine.status == "finish-migrate" and self.status == "completed":
            self.machine.status = "postmigrate"

    def stream(self):
        """As long as the real one: its description ends it."""
        text = json.dumps({"configuration": {"writes": self.machine.content.writes}}).encode()
        return b"\x00\x06" + struct.pack(">I", len(text)) + text

    def write(self, data):
        try:
            os.write(self.fd, data)
            return True
        except OSError as error:
            self.end()
            self.error = f"Unable to write to file: {error.strerror}"
            self.move("failed")
            return False

    def cancel(self):
        if self.status not in ("setup", "active"):
            return
        self.move("cancelling")
        self.machine.later(self.cancelled)

    def cancelled(self):
        self.end()
        self.move("cancelled")

    def end(self):
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def query(self):
        if self.status is None:
            return {}
        answer = {"status": self.status}
        if self.status in ("active", "completed"):
            left = TOTAL if self.status == "active" else 0
            answer["ram"] = {"total": TOTAL, "remaining": left, "transferred": TOTAL - left}
        if self.error and self.status == "failed":
            answer["error-desc"] = self.error
        return answer

    def set_capabilities(self, states):
        for entry in states:
            if entry["capability"] not in self.capabilities:
                raise QmpError(f"Parameter 'capability' does not accept value "
                               f"'{entry['capability']}'")
            self.capabilities[entry["capability"]] = entry["state"]


def saved_writes(path):
    """How far the guest had written on each disk when this file was saved; None when it is not
    whole."""
    with open(path, "rb") as saved:
        data = saved.read()
    start = data.find(b"\x00\x06", len(MAGIC))
    if not data.startswith(MAGIC) or start < 0:
        return None
    size, = struct.unpack_from(">I", data, start + 2)
    text = data[start + 6:]
    return json.loads(text)["configuration"]["writes"] if len(text) == size else None
