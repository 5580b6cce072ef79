"""A QMP client that keeps everything in the order in which it came, and reduces it to what two
QEMUs must agree on."""

import json
import re
import socket
import time

TIMEOUT = 20

# Numbers that differ from run to run, and are compared as "a number".
NUMBERS = {"date-sec", "date-nsec", "vm-clock-sec", "vm-clock-nsec", "len", "offset", "current-progress", "total-progress", "actual-size"}
# What the fake leaves out or leaves empty on purpose.
IGNORED = {"timestamp", "stats", "driver-specific", "perm", "shared-perm", "package", "cache",
           "ram", "setup-time", "total-time", "downtime", "expected-downtime"}
# How often they come is QEMU's own business; of the port, whether the guest has it open.
UNCOUNTED = ("MIGRATION_PASS", "VSERPORT_CHANGE")
FLICKER = (("paused", "running"), ("standby", "ready"))


class Trace:
    def __init__(self, path, folder):
        self.path, self.folder = path, folder
        self.seen = []
        self.connect()

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                self.sock.connect(self.path)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
        self.reader = self.sock.makefile("rb")
        self.read()

    def again(self):
        """Another connection, after the end of this one."""
        self.close()
        self.connect()

    def read(self):
        line = self.reader.readline()
        if not line:
            raise ConnectionError("the monitor was closed")
        message = json.loads(line)
        self.seen.append(message)
        return message

    def call(self, command, until=None, fds=(), **arguments):
        """Sends a command, with descriptors; reads up to its reply, and on until the event `until`
        = (name, status or None)."""
        arguments = {name.replace("_", "-"): value for name, value in arguments.items()}
        return self.send({"execute": command, "arguments": arguments}, until, fds)

    def send(self, request, until=None, fds=()):
        first = len(self.seen)
        line = request if isinstance(request, bytes) else json.dumps(request).encode()
        socket.send_fds(self.sock, [line + b"\n"], fds)
        reply = None
        while reply is None or not (until is None or self.has(until, self.seen[first:])):
            message = self.read()
            if "event" not in message:
                reply = message
        return reply

    def wait(self, event):
        """Reads on until the event (name, status or None)."""
        while not self.has(event, [self.read()]):
            pass

    def wait_reply(self, number):
        while self.seen[-1].get("id") != number:
            self.read()

    @staticmethod
    def has(event, messages):
        name, status = event
        return any(m.get("event") == name and status in (None, m["data"].get("status"))
                   for m in messages)

    def close(self):
        self.reader.close()
        self.sock.close()

    def normal(self):
        """Everything seen, without what may differ."""
        messages = [clean(message, self.folder) for message in self.seen
                    if "QMP" not in message and message.get("event") not in UNCOUNTED]
        return replies_first(one_error(without_flicker(messages)))


def clean(value, folder):
    if isinstance(value, dict):
        if "nodes" in value and "edges" in value:
            return by_name(value)
        numbers = NUMBERS | ({"virtual-size"} if value.get("format") == "file" else set())
        numbers |= {"vm-state-size"} if value.get("vm-state-size") else set()
        return {key: "NUMBER" if key in numbers else clean(item, folder)
                for key, item in value.items() if key not in IGNORED}
    if isinstance(value, list):
        return [clean(item, folder) for item in value]
    if isinstance(value, str):
        if value.startswith("json:"):
            return clean(json.loads(value[5:]), folder)
        return re.sub(r"#block\d+", "#block", value.replace(folder, "DIR"))
    return value


def by_name(graph):
    """The debug graph with names instead of numbers; a protocol node's random name is that of its
    parent."""
    names = {node["id"]: re.sub(r"#block\d+", "#block", node["name"]) for node in graph["nodes"]}
    nodes = sorted(f"{n['type']} {names[n['id']]}" for n in graph["nodes"])
    edges = sorted(f"{names[e['parent']]} {e['name']} {names[e['child']]}" for e in graph["edges"])
    return {"nodes": nodes, "edges": edges}


def without_flicker(messages):
    """A drain lets a job pause for an instant; how often is QEMU's own business."""
    kept = []
    for message in messages:
        kept.append(message)
        states = tuple(m["data"].get("status") for m in kept[-2:]
                       if m.get("event") == "JOB_STATUS_CHANGE")
        if states in FLICKER:
            del kept[-2:]
    return kept


def one_error(messages):
    """A job at an error tells it for each request that was under way: for one here."""
    return [message for message, before in zip(messages, [None, *messages])
            if message != before or message.get("event") != "BLOCK_JOB_ERROR"]


def replies_first(messages):
    """Jobs and migrations tell on either side of a reply how far they are, as QEMU's threads run: here
    a reply that holds nothing stands before the events that came since the one before."""
    kept = []
    for message in messages:
        at = len(kept)
        while message == {"return": {}} and at > 0 and "event" in kept[at - 1]:
            at -= 1
        kept.insert(at, message)
    return kept


def difference(fake, real, where="", extra=()):
    """The first difference as a sentence, or None. Members named in `extra` may be in the real one
    alone."""
    if isinstance(fake, dict) and isinstance(real, dict):
        for key in fake:
            if key not in real:
                return f"{where}.{key}: only the fake has it"
            found = difference(fake[key], real[key], f"{where}.{key}", extra)
            if found:
                return found
        for key in real:
            if key not in fake and key not in extra:
                return f"{where}.{key}: only the real one has it: {real[key]}"
        return None
    if isinstance(fake, list) and isinstance(real, list):
        for n, (one, other) in enumerate(zip(fake, real)):
            found = difference(one, other, f"{where}[{n}]", extra)
            if found:
                return found
        if len(fake) != len(real):
            longer = "fake" if len(fake) > len(real) else "real one"
            rest = max(fake, real, key=len)[min(len(fake), len(real))]
            return f"{where}: the {longer} goes on with {json.dumps(rest)[:300]}"
        return None
    if fake == real:
        return None
    return f"{where}: fake {json.dumps(fake)[:300]}, real {json.dumps(real)[:300]}"
