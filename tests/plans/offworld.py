"""One world of a test with a guest that is shut off: real images with known content, the daemon, and
a client that repeats itself.

Every layer's content is known by what was written to it, so that what the daemon names, and what
every snapshot stands for, can be held against what it has to be.
"""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from asker import DOMAIN, FOLDER, Asker, Wrong
from daemon import Daemon

SIZE = 2 << 20
BLOCK = 64 << 10
TIMEOUT = 30


# It is killed with the daemon, and what it started works on.
SCRIPT = """#!/bin/sh
(sleep 0.1; exec qemu-img "$@") &
wait $!
"""


def require(condition, sentence):
    if not condition:
        raise Wrong(sentence)


def tool(*words, ok=(0,)):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          check=False)
    if done.returncode not in ok:
        raise Wrong(f"{' '.join(str(w) for w in words)}: {done.stdout}{done.stderr}")
    return done.stdout


def write(path, driver, blocks):
    """Fills whole blocks of an image: {block: pattern}."""
    commands = []
    for block, pattern in blocks.items():
        commands += ["-c", f"write -q -P {pattern} {block * BLOCK} {BLOCK}"]
    tool("qemu-io", "-f", driver, *commands, path)


def content(path, driver, inside=None):
    """What a guest would read from an image, or from a snapshot inside it, as a digest."""
    words = ["-l", f"snapshot.name={inside}"] if inside else []
    with tempfile.NamedTemporaryFile(prefix="raw-", dir=os.environ.get(FOLDER)) as raw:
        tool("qemu-img", "convert", "-f", driver, "-O", "raw", *words, path, raw.name)
        return hashlib.sha1(pathlib.Path(raw.name).read_bytes()).hexdigest()


def inside(path):
    """The names of the snapshots inside an image."""
    info = json.loads(tool("qemu-img", "info", "-f", "qcow2", "--output=json", path))
    return [snapshot["name"] for snapshot in info.get("snapshots", [])]


def expected(*layers):
    """The digest of layers of blocks, the base first."""
    data = bytearray(SIZE)
    for blocks in layers:
        for block, pattern in blocks.items():
            data[block * BLOCK:(block + 1) * BLOCK] = bytes([pattern]) * BLOCK
    return hashlib.sha1(data).hexdigest()


class OffWorld(Asker):
    """`disks` chains of `layers` images each, the lowest of `base` format; all layers overlap."""

    def __init__(self, scenario):
        self.scenario = scenario
        self.root = tempfile.mkdtemp(prefix="world-", dir=os.environ.get(FOLDER))
        self.images = os.path.join(self.root, "images")
        os.mkdir(self.images)
        settings = {"images": {"qemu_img": self.make_script()}} if scenario.script else {}
        super().__init__(Daemon(self.root, settings=settings), TIMEOUT)
        self.targets = [f"vd{chr(97 + n)}" for n in range(scenario.disks)]
        self.drivers = {}       # file -> format
        self.layers = {target: [] for target in self.targets}   # the base first
        self.blocks = {}        # file -> {block: pattern}
        for number, target in enumerate(self.targets):
            self.make_chain(number, target)
        self.first_files = set(os.listdir(self.images))
        # What the disks hold now, and held when each snapshot was taken: {target: {block: pattern}}.
        self.now = {}
        for target in self.targets:
            self.now[target] = {}
            for path in self.layers[target]:
                self.now[target].update(self.blocks[path])
        self.saved = {}
        self.notes = {}

    def make_script(self):
        path = os.path.join(self.root, "qemu-img")
        with open(path, "w", encoding="utf-8") as script:
            script.write(SCRIPT)
        os.chmod(path, 0o755)
        return path

    def make_chain(self, number, target):
        for layer in range(self.scenario.layers_of(number)):
            if self.scenario.shared and number and layer == 0:
                self.layers[target].append(self.layers[self.targets[0]][0])
                continue
            driver = self.scenario.base if layer == 0 else "qcow2"
            path = os.path.join(self.images, f"{target}-{layer}.{driver}")
            below = self.layers[target][-1] if layer else None
            words = ["-b", below, "-F", self.drivers[below]] if below else []
            tool("qemu-img", "create", "-q", "-f", driver, *words, path, SIZE)
            self.add_layer(target, path, driver,
                           {layer * 2 + n: 1 + number * 64 + layer * 8 + n for n in range(4)})

    def add_layer(self, target, path, driver, blocks):
        """A layer on top of those that are there, with writes of a guest in it."""
        write(path, driver, blocks)
        self.drivers[path] = driver
        self.layers[target].append(path)
        self.blocks[path] = blocks

    def expected(self, target, upto=None):
        """What a guest reads from that many of the first layers (all without)."""
        return expected(*(self.blocks[path] for path in self.layers[target][:upto]))

    # ---- a guest that is started for a moment; each once, however often it is said ----

    def guest_writes(self, key, blocks, disks=None):
        """From what the daemon names, to so many of the disks."""
        if key in self.done:
            return
        for number, (target, disk) in list(enumerate(self.disks().items()))[:disks]:
            mine = {block: (pattern + number * 50) % 256 for block, pattern in blocks.items()}
            write(disk["active"], disk["format"], mine)
            self.now[target] = {**self.now[target], **mine}
        self.done.add(key)

    def take(self, name, **params):
        """A snapshot, and what it has to hold from then on."""
        if self.ask(f"take-{name}", "snapshot.create", domain=DOMAIN, name=name, **params) and \
                name not in self.saved:
            self.saved[name] = {target: dict(blocks) for target, blocks in self.now.items()}

    def go_back(self, name, **params):
        """A revert, and what the disks hold by that."""
        if self.ask(f"back-{name}-{len(params)}", "snapshot.revert", domain=DOMAIN, name=name,
                    **params) and f"back-{name}-{len(params)}" not in self.done:
            self.done.add(f"back-{name}-{len(params)}")
            self.now = {target: dict(blocks) for target, blocks in self.saved[name].items()}

    def close(self, keep=False):
        self.hang_up()
        self.daemon.kill()
        if keep:
            print(f"    kept: {self.root}")
        else:
            shutil.rmtree(self.root, ignore_errors=True)

    def define(self):
        disks = [{"target": target, "file": self.layers[target][-1],
                  "format": self.drivers[self.layers[target][-1]]} for target in self.targets]
        return self.call("domain.define", name=DOMAIN, request_id="define",
                         qmp=os.path.join(self.root, "no-qmp.sock"), disks=disks)

    def begin(self):
        self.define()

    def domain(self):
        return self.call("domain.get", domain=DOMAIN)

    def disks(self):
        return {disk["target"]: disk for disk in self.domain()["disks"]}

    def snapshots(self):
        return {snapshot["name"]: snapshot
                for snapshot in self.call("snapshot.list", domain=DOMAIN)["snapshots"]}
