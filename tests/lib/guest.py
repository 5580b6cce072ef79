"""A real Linux guest: ext4 and xfs, qemu-ga, and on each disk a writer that never stops.

Each writer appends numbered records to the file `log` of its disk, one fsync a record, and then
acknowledges the number to the host. What was acknowledged must be in whatever image somebody names
as the right one: `tests/lib/verify.py` holds the two against each other.

A boot takes 3 to 5 s without KVM, so it is done once: the booted guest is saved in the cache, and a
test gets it restored, in 0.3 s.
"""

import fcntl
import hashlib
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile
import time

from machine import QEMU, TIMEOUT, Machine, TestTimeout

SOURCE = pathlib.Path(__file__).resolve().parents[1]
FILE_SYSTEMS = {"vda": "ext4", "vdb": "xfs"}
# All that the guest's kernel has: `nest` is an ext4 with images in it, which are mounted as "inner"
# (loop) and "stacked" (device mapper on loop), and `hidden` is mounted in a namespace of its own.
MIXED = {"vda": "nest", "vdb": "xfs", "vdc": "vfat", "vdd": "btrfs", "hidden": "ext4"}

_built = {}


def built_folder(program):
    """The folder that a program of tests/guest fills; SNAPVM_GUEST_CACHE names another cache."""
    if program not in _built:
        cache = os.environ.get("SNAPVM_GUEST_CACHE")
        command = [SOURCE / "guest" / program, *([cache] if cache else [])]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as build:
            try:
                answer = build.communicate()[0]
            finally:
                build.terminate()
        if build.returncode != 0:
            raise RuntimeError(f"tests/guest/{program} fails here")
        _built[program] = pathlib.Path(answer.strip())
    return _built[program]


def guest_folder():
    return built_folder("build")


def module_folder():
    """What the guest whose kernel freezes has besides: virtio-fsfreeze.ko, and an initrd with it."""
    return built_folder("build-module")


def missing_tools():
    """What this machine lacks for a guest, as a sentence, or None: a reason to skip a test."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    needed = (QEMU, "qemu-img", "qemu-ga", "busybox", "lz4", "as", "ld", "mkfs.xfs", "mkfs.ext4",
              "apt-get", "setpriv")
    missing = [tool for tool in needed if shutil.which(tool, path=path) is None]
    return "not installed: " + ", ".join(missing) if missing else None


def choose_accel():
    """'kvm' where a guest really ran with it, else 'tcg'.

    A /dev/kvm that opens proves nothing: nested hosts are known where the guest crashes. So the
    guest is booted once with KVM, and the answer is kept in the cache, for this host and guest.
    """
    chosen = os.environ.get("SNAPVM_TEST_ACCEL")
    if chosen:
        return chosen
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    folder = guest_folder()
    known = folder.parent / f"accel-{os.uname().nodename}-{folder.name}"
    if not known.exists():
        with tempfile.TemporaryDirectory(prefix="snapvm-kvm-") as root:
            answer = "kvm" if kvm_works(root) else "tcg"
        # Renamed into place: another test may look for it meanwhile.
        written = pathlib.Path(f"{known}.{os.getpid()}")
        written.write_text(answer)
        written.rename(known)
    return known.read_text()


def kvm_works(root):
    with Guest("probe", root, role="reader", accel="kvm") as guest:
        try:
            guest.create_disks()
            guest.boot()
            for _ in range(20):
                if guest.eyes.status() != "running":
                    return False
                try:
                    guest.wait_ready(timeout=1)
                    return guest.sh("echo works").strip() == "works"
                except TestTimeout:
                    pass
        except (ConnectionError, RuntimeError, TestTimeout):
            pass
    return False


def image_blockdev(path, driver="qcow2"):
    """The -blockdev object of one image; what lies below it is named in its header."""
    return {"driver": driver, "file": {"driver": "file", "filename": str(path)}}


class Guest(Machine):
    """`role` is "writer", or "reader" for a guest that mounts nothing (see tests/guest/init).

    `agent` is True, False, or how the kernel's module stands in: "kernel", "kernel-late" where
    virtio_console was there before it, or "kernel-tty" on a serial port. `file_systems` is
    FILE_SYSTEMS or MIXED.
    """

    def __init__(self, name, root, agent=True, style="blockdev", role="writer", accel=None,
                 file_systems=None):
        super().__init__(name, root)
        self.file_systems = file_systems or FILE_SYSTEMS
        self.agent = agent if role == "writer" else False
        self.style = style
        self.role = role
        self.accel = accel
        self.shell = None
        self.acks = None

    def create_disks(self):
        """Fresh disks, one image each: a commit down to the base stays in the run's folder."""
        self.images.mkdir(parents=True, exist_ok=True)
        self.disks = []
        for target, name in self.file_systems.items():
            folder = guest_folder() if name in FILE_SYSTEMS.values() else module_folder()
            shutil.copyfile(folder / f"{name}.qcow2", self.image(target))
            self.disks.append({"target": target, "blockdev": image_blockdev(self.image(target))})

    def machine_args(self):
        """Everything but the disks' images: a saved state fits exactly the same machine only."""
        folder = guest_folder()
        kernel = self.agent in ("kernel", "kernel-late", "kernel-tty")
        words = ["console=ttyS0", "quiet", "panic=-1", f"role={self.role}",
                 "agent=" + ("yes" if self.agent is True else "no")]
        if kernel:
            words.append(f"freeze={self.agent}")
        more = kernel or self.file_systems != FILE_SYSTEMS
        args = ["-m", "256" if more else "192", "-kernel", folder / "vmlinux",
                "-initrd", (module_folder() if more else folder) / "initrd",
                "-append", " ".join(words), "-device", "virtio-serial-pci,max_ports=8,addr=0x4",
                "-device", "virtserialport,chardev=ctl,name=org.snapvm.ctl.0,nr=2",
                "-device", "virtserialport,chardev=ack,name=org.snapvm.ack.0,nr=3"]
        if self.agent:
            args += ["-chardev",
                     f"socket,id=agent,path={self.sockets}/agent.sock,server=on,wait=off"]
        if self.agent == "kernel-tty":
            args += ["-device", "isa-serial,chardev=agent,index=1"]
        elif kernel:
            args += ["-device", "virtio-serial-pci,id=fsfreeze,max_ports=1,addr=0x5",
                     "-device", "virtconsole,bus=fsfreeze.0,nr=0,chardev=agent"]
        elif self.agent:
            args += ["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0,nr=1"]
        return args

    def launch(self, more=()):
        accel = self.accel or choose_accel()
        mine = self.start([*self.common_args(accel), *self.machine_args(),
                           *self.disk_args(self.disks, self.style), *more],
                          [("ack", True), ("ctl", False)])
        self.acks, self.shell = mine["ack"], mine["ctl"]
        return self

    def boot(self):
        """A cold boot, with fresh disks unless there are some."""
        if not self.disks:
            self.create_disks()
        return self.launch()

    def boot_from(self, disks):
        """A cold boot from what domain.blockdev answered; the writers go on where images end."""
        self.disks = disks
        return self.launch()

    def restore(self):
        """The booted guest with fresh disks, ready at once."""
        state = self.saved_state()
        self.create_disks()
        for target in self.file_systems:
            shutil.copyfile(state / f"{target}.qcow2", self.image(target))
        self.load(state)
        return self

    def load(self, state):
        """Restores memory over `self.disks`, which must hold what the memory expects of them."""
        self.resume(["-incoming", "exec:cat " + shlex.quote(str(state / "vmstate"))])

    def resume(self, arguments):
        """The same with the arguments for it."""
        self.launch(arguments)
        if self.eyes.status() == "inmigrate":
            self.eyes.call("migrate-set-capabilities",
                           capabilities=[{"capability": "events", "state": True}])
            while self.eyes.status() == "inmigrate":
                self.eyes.wait_event("MIGRATION")
        self.eyes.call("cont")
        self.eyes.drain_events()

    def saved_state(self):
        """The folder of the saved state for this kind of machine; a boot makes it once."""
        # The sockets' places differ from run to run, and are no part of the machine.
        args = [str(arg) for arg in self.machine_args()]
        kind = json.dumps([arg for arg in args if str(self.root) not in arg])
        version = subprocess.run([QEMU, "--version"], stdout=subprocess.PIPE, check=True).stdout
        facts = [kind, json.dumps(self.file_systems), self.accel or choose_accel(),
                 os.uname().nodename, version.decode(), pathlib.Path(__file__).read_text()]
        key = hashlib.sha256("\0".join(facts).encode()).hexdigest()[:12]
        states = guest_folder().parent / "states"
        states.mkdir(exist_ok=True)
        place = states / f"{guest_folder().name}-{key}"
        if place.is_dir():
            return place
        with open(states / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not place.is_dir():
                with tempfile.TemporaryDirectory(prefix="saving-", dir=states) as folder:
                    self.save_state(pathlib.Path(folder) / "state")
                    os.rename(pathlib.Path(folder) / "state", place)
        return place

    def save_state(self, place):
        place.mkdir()
        with tempfile.TemporaryDirectory(prefix="snapvm-save-") as root, \
                Guest("saved", root, self.agent, self.style, self.role, self.accel,
                      self.file_systems) as guest:
            guest.boot().wait_ready()
            guest.sh("true")    # the shell comes up by itself; restored without one it stays away
            if self.role == "writer":
                guest.wait_acks({target: 3 for target in guest.writers()})
            guest.eyes.call("stop")
            guest.eyes.call("migrate-set-parameters", **{"max-bandwidth": 2 << 30})
            guest.eyes.call("migrate-set-capabilities",
                            capabilities=[{"capability": "events", "state": True}])
            guest.eyes.call("migrate", uri="exec:cat > " + shlex.quote(str(place / "vmstate")))
            guest.eyes.wait_event("MIGRATION", lambda data: data["status"] == "completed")
            guest.quit()
            for target in self.file_systems:
                shutil.move(guest.image(target), place / f"{target}.qcow2")

    def wait_ready(self, timeout=TIMEOUT):
        """Until init has said that the agent answers and the disks are mounted (cold boot only)."""
        self.pump.wait(lambda: b"SNAPVM-READY" in self.console.data, "SNAPVM-READY", timeout)
        return self

    def sh(self, command, timeout=TIMEOUT):
        """Runs a command in the guest and returns what it printed; the agent has no part in it."""
        tag = f"__END{time.monotonic_ns()}__"
        self.shell.sendall(f"{command}\necho {tag} $?\n".encode())
        self.shell.settimeout(timeout)
        data = b""
        while tag.encode() not in data or not data.endswith(b"\n"):
            try:
                part = self.shell.recv(1 << 16)
            except TimeoutError:
                raise TestTimeout(f"the guest does not answer: {command}") from None
            if not part:
                raise ConnectionError(f"QEMU ended during: {command}")
            data += part
        text, status = data.decode(errors="replace").rsplit(tag, 1)
        if int(status) != 0:
            raise RuntimeError(f"in the guest: {command}: exit {status.strip()}: {text}")
        return text

    def writers(self):
        """The names of what is written to: disks, and what lies nested on one."""
        nested = ["inner", "stacked"] if "nest" in self.file_systems.values() else []
        return [*(disk["target"] for disk in self.disks), *nested]

    def acked(self):
        """{target: the last record that its writer saw completed}, 0 before the first."""
        last = {name: 0 for name in self.writers()}
        if self.acks:
            for line in bytes(self.acks.data).split(b"\n")[:-1]:
                target, number = line.decode().split()
                last[target] = int(number)
        return last

    def wait_acks(self, least, timeout=TIMEOUT):
        """Until each writer has acknowledged at least that number: {target: number}."""
        def reached():
            now = self.acked()
            return all(now[target] >= number for target, number in least.items())
        self.pump.wait(reached, f"the writers to reach {least}", timeout)
        return self.acked()

    def wait_writes(self, count=3, timeout=TIMEOUT):
        """Until every writer has completed `count` more records: the guest writes on."""
        now = self.acked()
        return self.wait_acks({target: now[target] + count for target in now}, timeout)
