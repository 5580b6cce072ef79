"""A QEMU of the tests: the process, its monitor for the tests' own eyes, and what it prints.

The channels between a test and its QEMU are socket pairs, not files: what QEMU wrote arrives even
when it is killed at once, a wait ends the moment that the bytes are there, and nothing is left.
"""

import collections
import json
import os
import pathlib
import selectors
import shutil
import signal
import socket
import subprocess
import threading
import time

QEMU = os.environ.get("SNAPVM_TEST_QEMU", "qemu-system-x86_64")
TIMEOUT = 60


class TestTimeout(Exception):
    """Something that a test waits for did not come."""


def spawn(command, **options):
    """Starts a process that is killed when this one dies, whatever the reason.

    To be called by the main thread: the kernel means the thread that started the process.
    """
    return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)],
                            stdin=subprocess.DEVNULL, **options)


def lacks(command):
    """Why nothing can be tested that needs a command of QEMU, or None, also where there is none."""
    if not shutil.which(QEMU):
        return None
    requests = "".join(json.dumps({"execute": name}) + "\n"
                       for name in ("qmp_capabilities", "query-commands", "quit"))
    answers = subprocess.run([QEMU, "-machine", "none", "-nodefaults", "-display", "none", "-qmp",
                              "stdio"], input=requests, capture_output=True, text=True, check=True)
    return None if f'"{command}"' in answers.stdout else f"this QEMU has no {command}"


def all_writable(blockdev):
    """The same layers with all opened for writing, as one gets them who opens each by itself."""
    return {**blockdev, "read-only": False,
            **{key: all_writable(value) for key, value in blockdev.items()
               if key == "backing" and value}}


class QmpError(Exception):
    """QEMU refused a command."""

    def __init__(self, command, error):
        super().__init__(f"{command}: {error['desc']}")
        self.kind = error["class"]
        self.desc = error["desc"]


class Qmp:
    """A monitor, one command at a time. Events that arrive meanwhile are kept in `events`."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""
        self.events = collections.deque()
        self.receive(time.monotonic() + TIMEOUT)
        self.call("qmp_capabilities")

    def receive(self, deadline):
        while b"\n" not in self.buffer:
            self.sock.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.sock.recv(1 << 16)
            except TimeoutError:
                raise TestTimeout("the monitor is silent") from None
            if not data:
                raise ConnectionError("the monitor was closed")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def call(self, command, **arguments):
        request = {"execute": command, "arguments": arguments}
        self.sock.sendall(json.dumps(request).encode() + b"\n")
        deadline = time.monotonic() + TIMEOUT
        while True:
            message = self.receive(deadline)
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                raise QmpError(command, message["error"])
            else:
                return message["return"]

    def wait_event(self, name, match=lambda data: True, timeout=TIMEOUT):
        """The data of the next such event that `match` accepts; those before it are dropped."""
        deadline = time.monotonic() + timeout
        while True:
            event = self.events.popleft() if self.events else self.receive(deadline)
            if event.get("event") == name and match(event.get("data", {})):
                return event.get("data", {})

    def drain_events(self):
        """Forgets the events that have arrived so far."""
        self.call("query-name")
        self.events.clear()

    def status(self):
        return self.call("query-status")["status"]

    def chain(self, target):
        """The images of a disk from the active layer down, as QEMU has them."""
        for entry in self.call("query-block"):
            if f"/{target}/" in f"/{entry.get('qdev', '')}/" or entry["device"] == target:
                image, files = entry["inserted"]["image"], []
                while image:
                    files.append(image["filename"])
                    image = image.get("backing-image")
                return files
        raise KeyError(target)


class Channel:
    """Bytes from QEMU, collected by the pump."""

    def __init__(self, name):
        self.name = name
        self.data = bytearray()
        self.open = True


class Pump(threading.Thread):
    """Collects what QEMU writes to its channels, and wakes those who wait for it."""

    def __init__(self):
        super().__init__(daemon=True)
        self.changed = threading.Condition()
        self.selector = selectors.DefaultSelector()
        self.channels = []

    def add(self, sock, name):
        channel = Channel(name)
        self.channels.append(channel)
        self.selector.register(sock, selectors.EVENT_READ, channel)
        return channel

    def run(self):
        while self.selector.get_map():
            for key, _ in self.selector.select():
                try:
                    data = key.fileobj.recv(1 << 16)
                except OSError:
                    data = b""
                with self.changed:
                    key.data.data += data
                    if not data:
                        key.data.open = False
                        self.selector.unregister(key.fileobj)
                        key.fileobj.close()
                    self.changed.notify_all()
        self.selector.close()

    def wait(self, condition, what, timeout=TIMEOUT):
        """Until `condition()` is true; it is asked again whenever something arrived."""
        deadline = time.monotonic() + timeout
        with self.changed:
            while not condition():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TestTimeout(f"waited {timeout} s for {what}")
                if not any(channel.open for channel in self.channels):
                    raise ConnectionError(f"QEMU ended while waiting for {what}")
                self.changed.wait(left)


class Machine:
    """One QEMU. `root` is the folder of one test run; the daemon finds the guest by itself:

    root/guests/NAME/qmp.sock, agent.sock     root/images/NAME/TARGET.qcow2
    """

    def __init__(self, name, root):
        self.name = name
        self.root = pathlib.Path(root)
        self.sockets = self.root / "guests" / name
        self.images = self.root / "images" / name
        self.process = None
        self.eyes = None
        self.console = None
        self.disks = []

    def image(self, target, extra="qcow2"):
        return self.images / f"{target}.{extra}"

    def common_args(self, accel):
        """The part of the command line that every guest shares."""
        return ["-name", self.name, "-machine", "q35", "-accel", accel,
                "-cpu", "host" if accel == "kvm" else "max", "-smp", "1",
                "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-qmp", f"unix:{self.sockets}/qmp.sock,server=on,wait=off"]

    @staticmethod
    def disk_args(disks, style="blockdev"):
        """Devices for `disks`: [{target, blockdev}], as domain.blockdev answers; `nodes` of a disk
        are opened before, for its blockdev to name.

        `style` says how: "drive" for -drive, "writable" for all layers opened for writing.
        """
        args = []
        for number, disk in enumerate(disks):
            target = disk["target"]
            for node in disk.get("nodes", ()):
                args += ["-blockdev", json.dumps(node)]
            if style == "drive":
                args += ["-drive", f"if=none,id=drive-{target},format={disk['blockdev']['driver']},"
                                   f"file={disk['blockdev']['file']['filename']}"]
                backend = f"drive-{target}"
            else:
                blockdev = {"node-name": f"disk-{target}", **disk["blockdev"]}
                if style == "writable":
                    blockdev = all_writable(blockdev)
                args += ["-blockdev", json.dumps(blockdev)]
                backend = blockdev["node-name"]
            args += ["-device", f"virtio-blk-pci,drive={backend},id={target},serial={target},"
                                f"addr={number + 8:#x},bootindex={number + 1}"]
        return args

    def start(self, args, channels):
        """Starts QEMU. `channels` are (chardev id, collected?): a socket each for the others."""
        assert self.process is None, "this guest runs"
        self.sockets.mkdir(parents=True, exist_ok=True)
        self.remove_sockets()
        pump, mine, theirs, options = Pump(), {}, [], []
        for chardev, collected in [("console", True), ("eyes", False), *channels]:
            ours, other = socket.socketpair()
            theirs.append(other)
            mine[chardev] = pump.add(ours, chardev) if collected else ours
            options += ["-chardev", f"socket,id={chardev},fd={other.fileno()}"]
        self.log = open(self.images / "qemu.log", "ab")
        self.process = spawn([QEMU, *options, "-mon", "chardev=eyes,mode=control",
                              "-serial", "chardev:console", *args],
                             stdout=self.log, stderr=self.log,
                             pass_fds=[sock.fileno() for sock in theirs])
        for sock in theirs:
            sock.close()
        self.pump, self.console = pump, mine["console"]
        pump.start()
        try:
            self.eyes = Qmp(mine["eyes"])
        except ConnectionError:
            self.kill()
            raise RuntimeError("QEMU did not start: " + self.log_tail()) from None
        return mine

    def log_tail(self):
        return (self.images / "qemu.log").read_text(errors="replace")[-2000:]

    @property
    def pid(self):
        return self.process.pid

    def remove_sockets(self):
        for name in ("qmp.sock", "agent.sock"):
            (self.sockets / name).unlink(missing_ok=True)

    def gone(self):
        """The process has ended: collects what it wrote last."""
        if self.process is None:
            return
        self.process.wait(TIMEOUT)
        self.pump.join(TIMEOUT)
        if self.eyes:
            self.eyes.sock.close()
        self.log.close()
        self.process = self.eyes = None

    def kill(self):
        """kill -9: nothing is flushed, as in a crash of QEMU."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.gone()

    def quit(self):
        """An ordered end, all images flushed and closed."""
        if self.process is not None:
            try:
                self.eyes.call("quit")
            except ConnectionError:
                pass
            self.gone()

    def process_wait(self, seconds):
        """Lets QEMU live for a while, unless it ends before."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass

    def remove(self):
        """Ends the guest and removes everything that it had."""
        self.kill()
        shutil.rmtree(self.sockets, ignore_errors=True)
        shutil.rmtree(self.images, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
