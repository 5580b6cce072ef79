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

from client import RpcError
from daemon import Daemon

DOMAIN = "web"
FOLDER = "SNAPVM_PLANS_FOLDER"      # set by the driver: where all worlds are
SIZE = 2 << 20
BLOCK = 64 << 10
TIMEOUT = 30


class Wrong(Exception):
    """A promise does not hold."""


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


class OffWorld:
    """`disks` chains of `layers` images each, the lowest of `base` format; all layers overlap."""

    def __init__(self, scenario):
        self.scenario = scenario
        self.root = tempfile.mkdtemp(prefix="world-", dir=os.environ.get(FOLDER))
        self.images = os.path.join(self.root, "images")
        os.mkdir(self.images)
        self.daemon = Daemon(self.root)
        self.list_file = os.path.join(self.root, "boundaries")
        self.targets = [f"vd{chr(97 + n)}" for n in range(scenario.disks)]
        self.drivers = {}       # file -> format
        self.layers = {target: [] for target in self.targets}   # the base first
        self.blocks = {}        # file -> {block: pattern}
        for number, target in enumerate(self.targets):
            self.make_chain(number, target)
        self.first_files = set(os.listdir(self.images))
        self.answers = {}
        self.errors = {}
        self.client = None
        # What the disks hold now, and held when each snapshot was taken: {target: {block: pattern}}.
        self.now = {}
        for target in self.targets:
            self.now[target] = {}
            for path in self.layers[target]:
                self.now[target].update(self.blocks[path])
        self.saved = {}
        self.done = set()
        self.notes = {}
        self.begun = 0          # boundaries passed before what the scenario is about

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

    def mark(self):
        """What the scenario is about begins; what is before has scenarios of its own."""
        self.begun = self.begun or len(self.boundaries())

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

    # ---- the daemon ----

    def start(self, crash_at=None):
        """False when it died by its crash point before it was ready."""
        environment = {"SNAPVM_CRASH_LIST": self.list_file}
        if crash_at is not None:
            environment["SNAPVM_CRASH_AT"] = str(crash_at)
        try:
            self.daemon.start(**environment)
        except RuntimeError as error:
            if crash_at is not None and "exit -9" in str(error):
                return False
            raise
        return True

    def hang_up(self):
        if self.client is not None:
            self.client.close()
            self.client = None

    def boundaries(self):
        try:
            return pathlib.Path(self.list_file).read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return []

    # ---- requests ----

    def call(self, method, **params):
        if self.client is None:
            self.client = self.daemon.client(timeout=TIMEOUT)
        return self.client.call(method, **params)

    def define(self):
        disks = [{"target": target, "file": self.layers[target][-1],
                  "format": self.drivers[self.layers[target][-1]]} for target in self.targets]
        return self.call("domain.define", name=DOMAIN, request_id="define",
                         qmp=os.path.join(self.root, "no-qmp.sock"), disks=disks)

    def ask(self, key, method, **params):
        """A changing request under its request_id. Returns the answer, or None when it was refused.
        An answer that was once given stands."""
        try:
            answer = self.call(method, request_id=key, **params)
        except RpcError as error:
            if key in self.answers and self.answers[key].get("state") == "ended":
                raise Wrong(f"{key}: was answered, is refused now: {error}") from None
            self.errors[key] = error
            return None
        before = self.answers.get(key)
        if before is not None and "id" in answer:
            require(before["id"] == answer["id"],
                    f"{key}: job {before['id']} at first, job {answer['id']} when repeated")
            require(before["state"] != "ended" or before["outcome"] == answer["outcome"],
                    f"{key}: outcome was {before['outcome']}, is {answer['outcome']}")
        self.answers[key] = answer
        return answer

    def act(self):
        """The scenario's requests from the first one on. False when the daemon died meanwhile."""
        try:
            self.define()
            self.scenario.act(self)
        except (ConnectionError, FileNotFoundError) as error:
            self.hang_up()
            if self.daemon.process is not None and self.daemon.wait_end() == -9:
                return False
            raise Wrong(f"the daemon ended by itself: {error}") from error
        return True

    def jobs(self):
        return self.call("job.list", domain=DOMAIN)["jobs"]

    def domain(self):
        return self.call("domain.get", domain=DOMAIN)

    def disks(self):
        return {disk["target"]: disk for disk in self.domain()["disks"]}

    def snapshots(self):
        return {snapshot["name"]: snapshot
                for snapshot in self.call("snapshot.list", domain=DOMAIN)["snapshots"]}
