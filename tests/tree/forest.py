"""Three real disks, a daemon that may be killed in the middle of anything, and a QEMU that runs now
and then. Says what is inside which file by asking nobody but qemu-img and the images' own headers.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import tempfile

from client import RpcError
from daemon import Daemon
from machine import QEMU, Machine
from model import Model

DOMAIN = "web"
BLOCK = 64 << 10
BLOCKS = 16
TARGETS = {"vda": "qcow2", "vdb": "raw", "vdc": "qcow2"}      # the format of the base
TIMEOUT = 60


class Wrong(Exception):
    """A promise does not hold."""


def require(condition, sentence):
    if not condition:
        raise Wrong(sentence)


def tool(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    require(done.returncode == 0, f"{' '.join(map(str, words))}: {done.stdout}{done.stderr}")
    return done.stdout


def digest(content):
    data = bytearray(BLOCK * BLOCKS)
    for block, pattern in content.items():
        data[block * BLOCK:(block + 1) * BLOCK] = bytes([pattern]) * BLOCK
    return hashlib.sha1(data).hexdigest()


def backing_of(path):
    """The backing file that an image's own header names, or None."""
    with open(path, "rb") as image:
        head = image.read(20)
        if head[:4] != b"QFI\xfb":
            return None
        offset, size = int.from_bytes(head[8:16], "big"), int.from_bytes(head[16:20], "big")
        image.seek(offset)
        return image.read(size).decode() if offset else None


def chain_of(path):
    chain = []
    while path is not None:
        require(path not in chain, f"{path} lies on itself")
        chain.append(path)
        path = backing_of(path)
    return chain


def stamp(path):
    """Changes when anything below that path was written to."""
    return tuple((info.st_ino, info.st_size, info.st_mtime_ns)
                 for info in map(os.stat, chain_of(path)))


class Guest(Machine):
    """A QEMU that runs and does nothing by itself; the test writes for it."""

    def boot(self, disks):
        rom = bytearray(64 << 10)
        rom[0xFFF0:0xFFF4] = b"\xfa\xf4\xeb\xfd"        # cli, hlt, for ever
        (self.images / "rom").write_bytes(rom)
        self.start([*self.common_args("tcg"), "-m", "16", "-bios", self.images / "rom",
                    *self.disk_args(disks)], [])

    def write(self, target, commands):
        device = f"/machine/peripheral/{target}/virtio-backend"
        for command in [*commands, "flush"]:
            said = self.eyes.call("human-monitor-command",
                                  **{"command-line": f'qemu-io -d {device} "{command}"'})
            require("rror" not in said and "fail" not in said, f"qemu-io {command}: {said}")


class Forest:
    """`root` is a folder of its own. Every layer that is ever made stays in its `images`."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.guest = Guest(DOMAIN, self.root / "qemu")
        self.guest.images.mkdir(parents=True)
        self.model = Model(TARGETS)
        self.daemon = Daemon(self.root)
        self.crash_list = self.root / "boundaries"
        self.read = {}                  # (path, inside) -> (stamp, digest)
        self.spoiled = set()            # snapshots whose deletion failed half way
        self.requests = 0
        self.client = None
        files = {}
        for target, driver in TARGETS.items():
            files[target] = self.guest.image(target, driver)
            tool("qemu-img", "create", "-q", "-f", driver, files[target], BLOCK * BLOCKS)
        self.start()
        self.define(files)

    def close(self):
        self.hang_up()
        self.guest.kill()
        self.daemon.kill()

    # ---- the daemon ----

    def start(self, crash_at=None):
        """False when it died by its crash point before it was ready."""
        environment = {"SNAPVM_CRASH_LIST": str(self.crash_list)}
        self.crash_list.unlink(missing_ok=True)
        self.crash_at = crash_at
        if crash_at:
            environment["SNAPVM_CRASH_AT"] = str(crash_at)
        try:
            self.daemon.start(**environment)
        except RuntimeError as error:
            if crash_at and "exit -9" in str(error):
                return False
            raise
        return True

    def hang_up(self):
        if self.client is not None:
            self.client.close()
            self.client = None

    def restart(self, crash_at=None):
        self.hang_up()
        self.daemon.kill()
        if not self.start(crash_at):
            return False
        self.settle()
        return True

    def died(self):
        require(self.daemon.wait_end() == -9 and self.crash_at, "the daemon ended by itself")

    def stay_alive(self):
        """Ends a daemon that is still to die."""
        if self.crash_at:
            self.restart()

    def settle(self):
        """Until the daemon sees the guest as it is."""
        if self.guest.process is not None:
            self.daemon.wait_domain(DOMAIN)
        else:
            self.daemon.wait_domain(DOMAIN, lambda domain: domain["state"] == "shutoff")

    def boundaries_of_a_start(self):
        """How many a start passes by itself."""
        self.restart()
        return len(self.crash_list.read_text().split()) if self.crash_list.exists() else 0

    def call(self, method, **params):
        if self.client is None:
            self.client = self.daemon.client(timeout=TIMEOUT)
        return self.client.call(method, **params)

    def change(self, method, **params):
        """A changing request under a name of its own, which may be sent again."""
        return self.call(method, domain=DOMAIN, **params)

    def define(self, files):
        disks = [{"target": target, "file": str(file),
                  "format": "qcow2" if backing_of(file) else TARGETS[target]}
                 for target, file in files.items()]
        self.call("domain.define", name=DOMAIN, qmp=str(self.guest.sockets / "qmp.sock"),
                  disks=disks)

    def disks(self):
        return {disk["target"]: disk
                for disk in self.call("domain.get", domain=DOMAIN)["disks"]}

    def chain(self, target):
        return [layer["file"] for layer in self.disks()[target]["chain"]]

    def snapshots(self):
        return {snapshot["name"]: snapshot
                for snapshot in self.call("snapshot.list", domain=DOMAIN)["snapshots"]}

    # ---- the guest ----

    def is_on(self):
        return self.guest.process is not None

    def power_on(self):
        disks = self.call("domain.blockdev", domain=DOMAIN)["disks"]
        self.guest.boot(disks)
        self.settle()

    def power_off(self, kill=False):
        if kill:
            self.guest.kill()
        else:
            self.guest.quit()
        self.settle()

    def saves_inside(self):
        """Whether the guest's QEMU can save its memory inside an image."""
        return "snapshot-save" in {command["name"]
                                   for command in self.guest.eyes.call("query-commands")}

    def write(self, target, blocks):
        commands = [f"write -P {pattern} {block * BLOCK} {BLOCK}"
                    for block, pattern in blocks.items()]
        if self.is_on():
            self.guest.write(target, commands)
        else:
            disk = self.disks()[target]
            words = [word for command in commands for word in ("-c", command)]
            tool("qemu-io", "-f", disk["format"], *words, disk["active"])
        self.model.write(target, blocks)

    # ---- what must hold ----

    def content(self, path, driver, inside=None):
        now = stamp(path)
        known = self.read.get((path, inside))
        if known and known[0] == now:
            return known[1]
        words = ["-l", f"snapshot.name={inside}"] if inside else []
        with tempfile.NamedTemporaryFile(prefix="raw-", dir=self.root) as raw:
            tool("qemu-img", "convert", "-U", "-f", driver, "-O", "raw", *words, path, raw.name)
            found = hashlib.sha1(pathlib.Path(raw.name).read_bytes()).hexdigest()
        self.read[path, inside] = now, found
        return found

    def needed(self):
        """All files that a snapshot reads from."""
        files = set()
        for snapshot in self.snapshots().values():
            for disk in snapshot["disks"]:
                if disk["mode"] == "internal":
                    files.update(chain_of(disk["file"]))
                elif disk["mode"] == "external" and disk["backing"]:
                    files.update(chain_of(disk["backing"]))
        return files

    def check(self):
        self.check_tree()
        for target, disk in self.disks().items():
            require([layer["file"] for layer in disk["chain"]] == chain_of(disk["active"]),
                    f"{target}: the chain is said to be {disk['chain']}, the headers say "
                    f"{chain_of(disk['active'])}")
            require(self.content(disk["active"], disk["format"])
                    == digest(self.model.now[target]), f"{target}: {disk['active']} is wrong")
        active = [job for job in self.call("job.list", domain=DOMAIN, active=True)["jobs"]]
        require(not active, f"jobs that go on: {active}")
        findings = self.call("domain.check", domain=DOMAIN)["findings"]
        bad = [finding for finding in findings if finding["level"] == "error"]
        require(not bad, f"domain.check: {bad}")

    def check_tree(self):
        found = self.snapshots()
        require({name: snapshot["parent"] for name, snapshot in found.items()}
                == {name: snapshot.parent for name, snapshot in self.model.snapshots.items()},
                f"the tree is { {n: s['parent'] for n, s in found.items()} }, it should be "
                f"{ {n: s.parent for n, s in self.model.snapshots.items()} }")
        current = [name for name, snapshot in found.items() if snapshot["current"]]
        require(current == [name for name in (self.model.current,) if name],
                f"current is {current}, it should be {self.model.current}")
        for name, snapshot in found.items():
            held = self.model.snapshots[name].held
            memory = snapshot["memory_file"]
            require(not memory or os.path.exists(memory), f"the memory of {name} is gone: {memory}")
            disks = {disk["disk"]: disk for disk in snapshot["disks"] if disk["mode"] != "no"}
            require(set(disks) == set(held), f"snapshot {name} has {set(disks)}, not {set(held)}")
            for target, disk in disks.items():
                if name in self.spoiled and self.is_lost(name, disk):
                    continue
                require(self.snapshot_content(name, disk) == digest(held[target]),
                        f"snapshot {name} of {target} is wrong: {json.dumps(disk)}")

    @staticmethod
    def is_lost(name, disk):
        """Whether it is told that this is not there any more."""
        if disk["mode"] == "external":
            return not disk["backing"]
        info = tool("qemu-img", "info", "-U", "-f", "qcow2", "--output=json", disk["file"])
        return name not in [inside["name"] for inside in json.loads(info).get("snapshots", [])]

    def snapshot_content(self, name, disk):
        if disk["mode"] == "internal":
            return self.content(disk["file"], "qcow2", name)
        path = disk["backing"]
        return self.content(path, "raw" if path.endswith(".raw") else "qcow2")


__all__ = ["BLOCKS", "Forest", "QEMU", "RpcError", "TARGETS", "Wrong", "require"]
