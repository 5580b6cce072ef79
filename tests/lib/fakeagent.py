"""A scripted qemu-ga in a scripted guest, behind the agent socket of the fake QEMU.

What matters of the real one (7.2):
 - QEMU reads the socket only while the machine runs and the agent has its port open. Until then
   bytes stay in the host's socket, where closing it takes them back. What QEMU has read is in the
   guest: nothing takes that back.
 - A 0xFF byte resets the agent's parser. It answers with an unasked-for error line, then serves
   what follows; guest-sync-delimited puts another 0xFF before its own reply.
 - Half a command left by an earlier client spoils the next line: errors, and no answer to it.
 - Answers go to whoever is connected when they are ready.
 - While frozen it serves six commands only, and says CommandNotFound to all others.
 - The kernel's module, which speaks the same wire, thaws by itself when the host is silent: its status
   then says after how many ms. By order alone here (thaw_in_ms, dead_man).
 - Freeze counts the file systems that it froze, those frozen by others not among them; thaw undoes
   all, whoever froze them, and counts these. The status is the agent's own flag: it is kept in a
   file that a restarted agent reads, when it finds it.
"""

import json

ALLOWED = ("guest-ping", "guest-sync", "guest-sync-delimited", "guest-info",
           "guest-fsfreeze-status", "guest-fsfreeze-thaw")
COMMANDS = ALLOWED + ("guest-fsfreeze-freeze", "guest-fsfreeze-freeze-list",
                      "guest-get-fsinfo", "guest-get-time")
RESET = b"\xff"


class AgentError(Exception):
    def __init__(self, desc, cls="GenericError"):
        super().__init__(desc)
        self.desc, self.cls = desc, cls


class Agent:
    def __init__(self, path, filesystems, log, faults):
        self.path = path
        self.filesystems = filesystems      # [{"mountpoint", perhaps "type"}]
        self.frozen_mounts = set()          # what the guest's kernel holds frozen, by whomever
        self.flag = False                   # what the agent believes
        self.state_file = False
        self.port_open = True
        self.thaw_in_ms = None              # said beside "frozen", where it is the kernel's module
        self.hung = False                   # stopped: takes bytes and does not look at them
        self.inbox = b""                    # bytes that are in the guest
        self.half = b""                     # the parser's unfinished line
        self.out = []                       # lines for whoever is connected
        self.log, self.faults = log, faults
        self.connected = False
        self.freezes = 0                    # freeze commands that were executed
        self.died = None                    # set by a fault: the whole QEMU is to die
        self.stops = False                  # set by a fault: the machine is to stop

    # ---- what the machine asks ----

    @property
    def frozen(self):
        return bool(self.frozen_mounts)

    def chardev(self):
        name = f"unix:{self.path},server=on"
        return {"label": "qga", "frontend-open": self.port_open,
                "filename": name if self.connected else "disconnected:" + name}

    def guest_reset(self):
        self.frozen_mounts.clear()
        self.flag = self.state_file = False
        self.inbox = self.half = b""

    def die(self):
        """kill -9 of the agent: what is frozen stays frozen."""
        self.port_open = False
        self.half = b""

    def restart(self, keep_state=True):
        self.port_open = True
        self.state_file = self.state_file and keep_state
        self.flag = self.state_file
        self.hung = False

    # ---- the wire ----

    def take(self, data):
        self.inbox += data

    def run(self):
        """Serves what is in the guest; the caller sees to it that the machine runs."""
        while b"\n" in self.inbox and self.port_open and not self.hung:
            line, self.inbox = self.inbox.split(b"\n", 1)
            line, self.half = self.half + line, b""
            while RESET in line:
                broken, line = line.split(RESET, 1)
                text = broken.decode(errors="replace")
                self.error(f"JSON parse error, stray '{text}\ufffd'")
            if line.strip():
                self.serve(line)

    def client_left(self):
        """A half line stays in the parser, and the next client's first line joins it."""
        self.connected = False
        self.half += self.inbox if b"\n" not in self.inbox else b""
        self.inbox = self.inbox if b"\n" in self.inbox else b""

    def send(self, line, prefix=b""):
        self.out.append(prefix + line + b"\n")

    def error(self, desc, cls="GenericError", call_id=None):
        reply = {"error": {"class": cls, "desc": desc}}
        if call_id is not None:
            reply["id"] = call_id
        self.send(json.dumps(reply).encode())

    def serve(self, line):
        try:
            request = json.loads(line)
            name, arguments = request["execute"], request.get("arguments", {})
        except (ValueError, KeyError, TypeError):
            # The parser is out of step: one error for each token that it cannot place.
            for _ in range(3):
                self.error("JSON parse error, expecting value")
            return
        self.log("agent", name, arguments)
        fault = self.faults.take("agent", name)
        if fault:
            self.faulty(fault, name, arguments)
        else:
            self.answer(name, arguments)

    def answer(self, name, arguments):
        try:
            value = self.execute(name, arguments)
            prefix = RESET if name == "guest-sync-delimited" else b""
            beside = {"thaw-in-ms": self.thaw_in_ms} if value == "frozen" and self.thaw_in_ms else {}
            self.send(json.dumps({"return": value, **beside}).encode(), prefix)
        except AgentError as error:
            self.error(error.desc, error.cls)

    # ---- commands ----

    def execute(self, name, arguments):
        if name not in COMMANDS:
            raise AgentError(f"The command {name} has not been found", "CommandNotFound")
        if self.flag and name not in ALLOWED:
            raise AgentError(f"Command {name} has been disabled: the agent is in frozen state",
                             "CommandNotFound")
        if name in ("guest-sync", "guest-sync-delimited"):
            return arguments["id"]
        if name == "guest-info":
            return {"version": "7.2.22", "supported_commands": [
                {"name": n, "enabled": not self.flag or n in ALLOWED, "success-response": True}
                for n in COMMANDS]}
        if name == "guest-fsfreeze-status":
            return "frozen" if self.flag else "thawed"
        if name == "guest-fsfreeze-freeze":
            return self.freeze([fs["mountpoint"] for fs in self.filesystems])
        if name == "guest-fsfreeze-freeze-list":
            return self.freeze(arguments.get("mountpoints", []))
        if name == "guest-fsfreeze-thaw":
            return self.thaw()
        if name == "guest-get-fsinfo":
            return [self.fsinfo(n, fs) for n, fs in enumerate(self.filesystems)]
        if name == "guest-get-time":
            return 0
        return {}

    def freeze(self, mountpoints):
        fresh = [fs["mountpoint"] for fs in self.filesystems
                 if fs["mountpoint"] in mountpoints and fs["mountpoint"] not in self.frozen_mounts]
        self.freezes += 1
        self.frozen_mounts.update(fresh)
        # With nothing to freeze it goes back to thawed and calls that a success of 0.
        self.flag = self.state_file = bool(fresh)
        return len(fresh)

    def thaw(self):
        count = len(self.frozen_mounts)
        self.frozen_mounts.clear()
        self.flag = self.state_file = False
        return count

    @staticmethod
    def fsinfo(number, fs):
        name = "vd" + chr(97 + number)
        slot = {"domain": 0, "bus": 0, "slot": 2 + number, "function": 0}
        return {"name": name, "type": fs.get("type", "ext4"), "mountpoint": fs["mountpoint"],
                "total-bytes": 223465472, "used-bytes": 14336,
                "disk": [{"bus-type": "virtio", "bus": 0, "unit": 0, "target": 0,
                          "dev": "/dev/" + name, "pci-controller": slot}]}

    # ---- what can go wrong ----

    def faulty(self, fault, name, arguments):
        """`do` of a fault: refuse and die-before do not execute the command, all others do."""
        kind = fault["do"]
        if kind == "refuse":
            return self.error(fault.get("desc", "refused"), fault.get("class", "GenericError"))
        if kind == "hang":                          # takes it, looks at it only when woken
            line = json.dumps({"execute": name, "arguments": arguments}).encode()
            self.inbox = line + b"\n" + self.inbox
            self.hung = True
            return None
        if kind in ("die-before", "qemu-dies-before"):
            return self.die() if kind == "die-before" else self.qemu_dies()
        before = len(self.out)
        self.answer(name, arguments)
        mine, self.out = self.out[before:], self.out[:before]
        if kind == "late":                          # executed at once, answered when released
            self.faults.held.append(lambda: self.out.extend(mine))
        elif kind == "stop-after":                  # answered, and then the machine stands
            self.out.extend(mine)
            self.stops = True
        elif kind == "error-after":
            self.error(fault.get("desc", "failed after all"))
        elif kind == "count":
            self.send(json.dumps({"return": fault["count"]}).encode())
        elif kind == "garbage":
            self.out.append(b"\x00\x01}{ no JSON \xfe\n")
        elif kind == "endless":                     # a line that does not end
            self.out.append(b'{"return": "' + b"x" * (4 << 20))
        elif kind == "deep":
            self.out.append(b'{"return": ' + b"[" * 5000 + b"]" * 5000 + b"}\n")
        elif kind == "die":
            self.die()
        elif kind == "qemu-dies":
            self.qemu_dies()
        elif kind != "never":
            raise ValueError(f"no such fault of the agent: {kind}")
        return None

    def qemu_dies(self):
        self.died = True
