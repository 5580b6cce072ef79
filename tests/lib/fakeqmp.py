"""The QMP side of the fake QEMU: greeting, negotiation, one command at a time, events between the
replies.

As with the real one: events that come while nobody is connected are lost; commands that are queued
when the client goes are dropped; a reply is never delivered to another client; a command's events
come before its reply, unless QEMU does the work after it.
"""

import json
import time

from fakegraph import QmpError
from fakegraph import Killed
from fakemachine import VERSION
from fakestall import Broken

NOT_NEGOTIATED = "Expecting capabilities negotiation with 'qmp_capabilities'"
ALREADY_NEGOTIATED = "Capabilities negotiation is already complete, command ignored"


class Stray:
    """A byte that is in no text: what came before it, and was not whole, is forgotten."""


class Monitor:
    """Bytes in, bytes out; the process around it owns the sockets."""

    def __init__(self, machine, faults, log):
        self.machine, self.faults, self.log = machine, faults, log
        self.decoder = json.JSONDecoder()
        self.connected = False
        self.die = None             # QEMU dies now: "silent", or "replied", its output sent
        self._reset()
        machine.send_event = self.event

    def _reset(self):
        self.input, self.output = "", b""
        self.queue = []
        self.negotiated = self.blocked = self.drop = False

    def connect(self):
        self._reset()
        self.connected = True
        self.send({"QMP": {"version": VERSION, "capabilities": ["oob"]}})

    def disconnect(self):
        self._reset()
        self.machine.migration.forget()
        self.connected = False

    # ---- out ----

    def send(self, message):
        if self.connected and not self.drop:
            self.output += json.dumps(message).encode() + b"\r\n"

    def event(self, name, data):
        self.log("event", name, data or {})
        if self.faults.take("event", name) or not self.negotiated:
            return
        now = time.time()
        stamp = {"seconds": int(now), "microseconds": int(now % 1 * 1e6)}
        message = {"timestamp": stamp, "event": name}
        if data is not None:
            message["data"] = data
        self.send(message)

    def reply(self, request, **answer):
        if isinstance(request, dict) and "id" in request:
            answer["id"] = request["id"]
        self.send(answer)

    def refuse(self, request, desc, cls="GenericError"):
        self.reply(request, error={"class": cls, "desc": desc})

    # ---- in ----

    def feed(self, data, fds=()):
        """JSON values one after the other; lines need not end where they do. A descriptor is kept
        until the next one, or the command that takes it."""
        self.machine.migration.take(fds)
        self.input += data.decode("utf-8", "replace")
        while self.input.lstrip():
            self.input = self.input.lstrip()
            try:
                request, end = self.decoder.raw_decode(self.input)
            except ValueError:
                if "\ufffd" in self.input:
                    self.input = self.input.split("\ufffd", 1)[1]
                    self.queue.append(Stray())
                    self.run()
                    continue
                if "\n" not in self.input:
                    return
                line, self.input = self.input.split("\n", 1)
                self.refuse(None, f"JSON parse error, invalid keyword '{line.strip()}'")
                continue
            self.input = self.input[end:]
            self.queue.append(request)
            self.run()

    def run(self):
        while self.queue and not self.blocked and not self.drop and not self.die:
            self.handle(self.queue.pop(0))
            if not self.die:    # whose guest has one instant more, see fakeqemu
                self.machine.tick()
                self.machine.run_deferred()

    def handle(self, request):
        if isinstance(request, Stray):
            return self.refuse(None, "JSON parse error, stray '\ufffd'")
        if not isinstance(request, dict):
            return self.refuse(None, "QMP input must be a JSON object")
        for member in request:
            if member not in ("execute", "arguments", "id", "exec-oob"):
                return self.refuse(request, f"QMP input member '{member}' is unexpected")
        if "execute" not in request:
            return self.refuse(request, "QMP input lacks member 'execute'")
        name, arguments = request["execute"], request.get("arguments", {})
        self.log("qmp", name, arguments)
        if name == "qmp_capabilities" or not self.negotiated:
            return self.negotiate(request, name)
        fault = self.faults.take("on", name)
        if fault:
            return self.faulty(fault, request, name, arguments)
        return self.perform(request, name, arguments)

    def negotiate(self, request, name):
        if name != "qmp_capabilities":
            return self.refuse(request, NOT_NEGOTIATED, "CommandNotFound")
        if self.negotiated:
            return self.refuse(request, ALREADY_NEGOTIATED, "CommandNotFound")
        self.negotiated = True
        return self.reply(request, **{"return": {}})

    def perform(self, request, name, arguments):
        try:
            answer = self.machine.execute(name, arguments)
        except QmpError as error:
            return self.refuse(request, error.desc, error.cls)
        return self.reply(request, **{"return": answer})

    def faulty(self, fault, request, name, arguments):
        kind = fault["do"]
        if kind == "refuse":
            return self.refuse(request, fault.get("desc", "refused by order"),
                               fault.get("class", "GenericError"))
        if kind == "others":
            for other, more in fault["commands"]:
                self.machine.execute(other, more)
                self.machine.run_deferred()
            return self.perform(request, name, arguments)
        if kind == "break":
            self.machine.broken.append(Broken(**fault["image"]))
            return self.perform(request, name, arguments)
        if kind in ("stop", "cont"):
            self.machine.execute(kind, {})
            return self.perform(request, name, arguments)
        if kind.startswith("die-in-"):
            self.machine.die_behind = int(kind[len("die-in-"):])
            try:
                self.perform(request, name, arguments)
            except Killed:
                self.die = "silent"
            return None
        if kind.startswith("die"):
            if kind != "die-before":
                self.perform(request, name, arguments)
            self.die = "replied" if kind == "die-replied" else "silent"
            return None
        if kind == "quit":
            self.machine.execute("quit", {})
            self.blocked = True
            return None
        if kind == "drop-replied":
            self.perform(request, name, arguments)
            self.drop = self.blocked = True
            return None
        if kind in ("drop-before", "never-before"):
            self.drop = kind == "drop-before"
            self.blocked = True
            return None
        # All others execute it; they differ in what becomes of the reply.
        events = len(self.output)
        self.perform(request, name, arguments)
        lines = self.output[events:].splitlines(keepends=True)
        self.output = self.output[:events] + b"".join(lines[:-1])
        self.blocked = True
        if kind == "late":
            self.faults.held.append(lambda: self._late(lines[-1]))
        elif kind == "drop-after":
            self.drop = True
        elif kind != "never":
            raise ValueError(f"no such fault of a command: {kind}")
        return None

    def _late(self, line):
        if self.connected and self.blocked:
            self.output += line
            self.blocked = False
            self.run()
