"""A fake QEMU for tests: its own process, a QMP socket, perhaps an agent socket, and everything
behind them as data.

    fake = FakeQemu(folder, [disk("vda", [base, top])])
    fake.arm(on="job-finalize", do="die-after")
    ...
    fake.fault("vda", top)          # None, or what a guest started from `top` would miss

It is forked from the test, so it starts in milliseconds; it dies with the test (PR_SET_PDEATHSIG).
It never waits for a clock. The test talks to it over a socket pair; when it dies, by order or by a
fault, its last words over that pair are its whole state, so that the test can still ask what the
images hold.

Behaviour lives beside it: fakemachine (commands, guest), fakegraph and fakeshow (block graph),
fakejobs (block jobs), fakestall (what cannot be read or written), fakemigrate (migrations), fakestate (memory inside
images),fakecontent (what images hold), fakeagent (guest agent), fakefaults (what goes wrong), fakeqmp (the
wire). That they do as QEMU does is proven by tests/plans/test-fake-is-real.
"""

import ctypes
import json
import os
import select
import signal
import socket
import sys
import traceback

from fakeagent import Agent
from fakecontent import Content, image_key
from fakefaults import Faults
from fakegraph import QmpError
from fakemachine import Machine
from fakeqmp import Monitor
from fakestall import Broken

PR_SET_PDEATHSIG = 1


def disk(name, files, style="blockdev", **more):
    """`files`: base first. `style`: how it was given to QEMU, by -blockdev (named nodes) or by
    -drive."""
    return {"name": name, "files": files, "style": style, **more}


class _Server:
    """The child's side."""

    def __init__(self, control, options):
        self.control = control
        self.options = options
        self.entries = []
        self.faults = Faults()
        self.machine = Machine(options["running"])
        if options["content"]:
            self.machine.content = Content.from_json(options["content"])
        self.machine.add_disks(options["disks"], seed=not options["content"])
        if options["agent_path"]:
            self.machine.agent = Agent(options["agent_path"], options["filesystems"], self.log,
                                       self.faults)
        self.agent = self.machine.agent
        self.monitor = Monitor(self.machine, self.faults, self.log)
        self.die_with_client = None
        self.control_input = b""
        self.poll = select.poll()
        self.qmp_listener = self.listen(options["qmp_path"])
        self.agent_listener = self.listen(options["agent_path"]) if self.agent else None
        self.qmp = self.agent_client = None

    @staticmethod
    def listen(path):
        if os.path.exists(path):
            os.unlink(path)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(1)
        return listener

    def log(self, channel, name, more):
        self.entries.append({"channel": channel, "name": name, "data": more})

    # ---- the loop ----

    def watched(self):
        """One client a socket: others may connect, and wait. The agent's bytes are read only while
        the machine runs and the agent has its port open; a client that goes away is noticed all the
        same."""
        reading = self.agent and self.machine.running and self.agent.port_open
        pairs = [(self.control, select.POLLIN)]
        if self.qmp:
            pairs.append((self.qmp, select.POLLIN | (select.POLLOUT if self.monitor.output else 0)))
        else:
            pairs.append((self.qmp_listener, select.POLLIN))
        if self.agent_client:
            sending = select.POLLOUT if self.agent.out and not self.agent.hung else 0
            pairs.append((self.agent_client, (select.POLLIN if reading else 0) | sending))
        elif self.agent_listener:
            pairs.append((self.agent_listener, select.POLLIN))
        return pairs

    def run(self):
        handlers = {"control": self.on_control,
                    "qmp": self.on_qmp, "qmp_listener": self.on_qmp_listener,
                    "agent_client": self.on_agent, "agent_listener": self.on_agent_listener}
        while True:
            pairs = self.watched()
            for sock, mask in pairs:
                self.poll.register(sock, mask)
            ready = dict(self.poll.poll())
            for sock, _ in pairs:
                self.poll.unregister(sock)
            for name, handler in handlers.items():
                sock = getattr(self, name)
                if sock is not None and sock.fileno() in ready:
                    handler(ready[sock.fileno()])
            self.settle()

    def settle(self):
        if not self.monitor.die:
            self.machine.run_deferred()
        if self.agent and self.machine.running:
            self.agent.run()
        if self.agent and self.agent.stops:
            self.agent.stops = False
            self.machine.execute("stop", {})
        if self.monitor.die == "replied":
            self.flush()
        if self.monitor.die or (self.agent and self.agent.died):
            self.die()
        self.flush()
        if self.monitor.drop:
            self.qmp_gone()
        if self.machine.quitting:
            self.die()

    def flush(self):
        """What fits goes out now, the rest when the peer has read."""
        if self.qmp and self.monitor.output:
            sent = self.try_send(self.qmp, self.monitor.output)
            self.monitor.output = self.monitor.output[sent:]
        if self.agent_client and self.agent.out:
            data = b"".join(self.agent.out)
            rest = data[self.try_send(self.agent_client, data):]
            self.agent.out = [rest] if rest else []

    @staticmethod
    def try_send(sock, data):
        try:
            return sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)

    @staticmethod
    def receive(sock):
        try:
            return sock.recv(65536)
        except OSError:
            return b""

    @staticmethod
    def receive_with_fds(sock):
        try:
            data, fds, _, _ = socket.recv_fds(sock, 65536, 4)
        except OSError:
            return b"", ()
        return data, fds

    # ---- QMP ----

    def on_qmp_listener(self, _):
        self.qmp, _ = self.qmp_listener.accept()
        self.log("connection", "qmp", {"open": True})
        self.monitor.connect()

    def on_qmp(self, mask):
        if not mask & (select.POLLIN | select.POLLHUP | select.POLLERR):
            return
        if self.die_with_client == "drop" and mask & select.POLLHUP:
            self.die()
        data, fds = self.receive_with_fds(self.qmp)
        if data:
            self.monitor.feed(data, fds)
            return
        if self.die_with_client:
            self.die()
        self.qmp_gone()

    def qmp_gone(self):
        self.qmp.close()
        self.qmp = None
        self.monitor.disconnect()
        self.log("connection", "qmp", {"open": False})

    # ---- agent ----

    def on_agent_listener(self, _):
        self.agent_client, _ = self.agent_listener.accept()
        self.agent.connected = True
        self.log("connection", "agent", {"open": True})

    def on_agent(self, mask):
        if mask & select.POLLIN:
            data = self.receive(self.agent_client)
            if data:
                self.agent.take(data)
                return
        elif not mask & (select.POLLHUP | select.POLLERR):
            return
        self.agent_gone()

    def agent_gone(self):
        self.agent_client.close()
        self.agent_client = None
        self.agent.client_left()
        self.log("connection", "agent", {"open": False})

    def agent_port(self, opened, **more):
        if opened:
            self.agent.restart(**more)
        else:
            self.agent.die()
        self.machine.event("VSERPORT_CHANGE", {"id": "ga0", "open": opened})

    # ---- the test's orders ----

    def on_control(self, _):
        data = self.receive(self.control)
        if not data:
            os._exit(0)
        self.control_input += data
        while b"\n" in self.control_input:
            line, self.control_input = self.control_input.split(b"\n", 1)
            request = json.loads(line)
            answer = getattr(self, "order_" + request.pop("order"))(**request)
            self.settle()
            self.tell({"answer": answer})

    def tell(self, message):
        self.control.sendall(json.dumps(message).encode() + b"\n")

    def order_state(self):
        machine, graph = self.machine, self.machine.graph
        chains = {name: graph.chain(b.root) for name, b in machine.disks.items()}
        return {
            "status": machine.status,
            "frozen": bool(self.agent and self.agent.frozen),
            "freezes": self.agent.freezes if self.agent else 0,
            "hung": bool(self.agent and self.agent.hung),
            "roots": {name: graph.nodes[chain[0]].filename for name, chain in chains.items()},
            "nodes": list(graph.nodes),
            "chains": chains,
            "idle": [name for name in graph.nodes if not graph.users(name)],
            "jobs": [job.info() for job in machine.jobs.values()],
            "drained": [job.id for job in machine.jobs.values() if job.drained],
            "switches": machine.switches,
            "saves": machine.saves, "loads": machine.loads, "torn": machine.torn,
            "fds": list(machine.migration.fds),
            "migration": machine.migration.status,
            "content": machine.content.to_json(),
            "log": self.entries,
        }

    def order_arm(self, **fault):
        self.faults.arm(fault)

    def order_job_fault(self, **fault):
        self.machine.job_faults.append(fault)

    def order_break(self, file, **more):
        """Requests to an image fail from now on."""
        self.machine.broken.append(Broken(file, **more))

    def order_mend(self):
        self.machine.broken.clear()

    def order_disarm(self):
        self.faults.orders.clear()
        self.machine.job_faults.clear()

    def order_hold(self, states):
        self.machine.holds.update(states)

    def order_release(self):
        self.faults.release()
        self.machine.release()
        if self.agent:
            self.agent.hung = False

    def order_die_with_client(self, how):
        self.die_with_client = how

    def order_qmp(self, command, arguments):
        """As from a second monitor: somebody else's command."""
        self.log("stranger", command, arguments)
        try:
            return {"return": self.machine.execute(command, arguments)}
        except QmpError as error:
            return {"error": {"class": error.cls, "desc": error.desc}}

    def order_port(self, opened, **more):
        self.agent_port(opened, **more)

    def order_thaw_in_ms(self, ms):
        self.agent.thaw_in_ms = ms

    def order_dead_man(self):
        """The guest's kernel has heard nothing of the host for too long."""
        self.agent.thaw()

    def order_freeze_by_stranger(self):
        """By the agent, as another client of it would have had it."""
        self.agent.execute("guest-fsfreeze-freeze", {})

    def order_drop_agent(self):
        if self.agent_client:
            self.agent_gone()

    def order_tell(self, event):
        """An event that was lost comes after all."""
        self.machine.event(event)

    def order_freeze_by_admin(self, mountpoints):
        self.agent.frozen_mounts.update(mountpoints)

    def order_thaw_by_admin(self):
        self.agent.frozen_mounts.clear()

    def order_write(self, times):
        for _ in range(times):
            self.machine.tick()

    def order_went_back(self, name, disks):
        self.machine.content.went_back(name, disks)

    def order_kill(self):
        if self.die_with_client == "run" and self.qmp and select.select([self.qmp], [], [], 0)[0]:
            self.on_qmp(select.POLLIN)      # what it got just before is run
        self.die()

    def die(self):
        """The guest's last instant before it is its own: it may have written once more."""
        self.machine.tick()
        self.tell({"last words": self.order_state()})
        os.kill(os.getpid(), signal.SIGKILL)


class Died(Exception):
    """The fake QEMU is dead; its last state is in `FakeQemu.last`."""


class FakeQemu:
    """The test's side."""

    def __init__(self, folder, disks, filesystems=None, agent=True, running=True, content=None):
        self.qmp_path = os.path.join(folder, "qmp.sock")
        self.agent_path = os.path.join(folder, "agent.sock") if agent else None
        self.last = None
        if filesystems is None:
            filesystems = [{"mountpoint": "/run/data/" + d["name"]} for d in disks if d["files"]]
        options = {"disks": disks, "running": running, "content": content,
                   "qmp_path": self.qmp_path, "agent_path": self.agent_path,
                   "filesystems": filesystems}
        self.control, child = socket.socketpair()
        self.reader = self.control.makefile("rb")
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _child(child, options)
        child.close()
        self.pidfd = os.pidfd_open(self.pid)
        self._read()

    def ended(self, wait=False):
        """Whether the process has ended, asked of the kernel alone."""
        return bool(select.select([self.pidfd], [], [], None if wait else 0)[0])

    def _read(self):
        line = self.reader.readline()
        message = json.loads(line) if line else {"last words": self.last or {}}
        if "last words" in message:
            self.last = message["last words"]
            self._reap()
            raise Died("the fake QEMU died")
        return message.get("answer")

    def _reap(self):
        if self.pid:
            try:
                os.waitpid(self.pid, 0)
            except ChildProcessError:
                pass
            self.pid = None

    def order(self, what, **more):
        """Raises Died when the process is gone, and keeps its last words."""
        if self.pid is None:
            raise Died("the fake QEMU died")
        try:
            self.control.sendall(json.dumps({"order": what, **more}).encode() + b"\n")
        except OSError:
            pass
        return self._read()

    def arm(self, **fault):
        self.order("arm", **fault)

    def qmp(self, command, **arguments):
        names = {name.replace("_", "-"): value for name, value in arguments.items()}
        return self.order("qmp", command=command, arguments=names)

    @property
    def alive(self):
        if self.pid is None:
            return False
        try:
            self.order("write", times=0)
        except Died:
            return False
        return True

    def state(self):
        """The state now, or the last one."""
        try:
            return self.order("state") if self.pid else self.last
        except Died:
            return self.last

    def names(self, channel):
        return [entry["name"] for entry in self.state()["log"] if entry["channel"] == channel]

    def fault(self, name, path):
        """None when the disk can be started from this file, else what would be wrong."""
        return Content.from_json(self.state()["content"]).fault(name, path)

    def torn(self, name, path):
        """None when the file holds the disk as it was at some moment, else what is wrong."""
        return Content.from_json(self.state()["content"]).torn(name, path)

    def inside(self, path, name):
        """{slot: write} of a snapshot inside an image."""
        return Content.from_json(self.state()["content"]).inside[image_key(path)][name]

    def went_back(self, name, disks):
        """What the images of these disks, {disk: image}, hold is that snapshot, whoever saw to
        it."""
        disks = {image_key(path): disk for disk, path in disks.items()}
        if self.alive:
            self.order("went_back", name=name, disks=disks)
            return
        content = Content.from_json(self.last["content"])
        content.went_back(name, disks)
        self.last["content"] = json.loads(json.dumps(content.to_json()))

    def kill(self):
        if self.pid is not None:
            try:
                self.order("kill")
            except Died:
                pass

    def close(self):
        self.kill()
        self.reader.close()
        self.control.close()
        os.close(self.pidfd)


def _child(control, options):
    """Never returns. Keeps no descriptor of the test but its own, so that nobody's end of file
    waits for it."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) != control.fileno():
                try:
                    os.close(int(name))
                except OSError:
                    pass
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        server = _Server(control, options)
        server.tell({"answer": "listening"})
        server.run()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(70)
