"""A round: one guest that never stops writing and one daemon, killed again and again.

After each try what died is started again, the guest from the images that the daemon names, and the
next try goes on with it: layers, records and open nodes of many crashes come together. All that a
try does is drawn from dice of its own, so that it does the same whatever became of those before;
only the instants within the machine are beyond replay.
"""

import collections
import contextlib
import json
import os
import random
import re
import shutil
import signal
import tempfile
import time
import traceback

from daemon import Daemon
from fakeqcow2 import read_header
from guest import image_blockdev
from tiny import TinyGuest
from verify import Lost

TIMEOUT = 20
VICTIMS = ("qemu", "both", "daemon", "qemu", "both")
STEP = re.compile(rb"debug: job \d+: ([a-z-]+)$", re.M)
FILTERS = ("commit_top", "mirror_top")


class Wrong(AssertionError):
    """The daemon broke a promise."""


def require(condition, text):
    if not condition:
        raise Wrong(text)


def layers_of(blockdev):
    """The files of a -blockdev object from the top down."""
    files = []
    while blockdev:
        files.append(blockdev["file"]["filename"])
        blockdev = blockdev.get("backing")
    return files


class Round:
    """`folder` is where it lives; the programs derive from it and say what a try does."""

    name = "guest"
    settings = {}
    disk_counts = (1, 2)

    def __init__(self, folder, seed, number):
        self.seed, self.number = seed, number
        self.root = self.make_root(folder)
        self.dice = random.Random(f"{seed}/{number}")
        self.daemon = Daemon(self.root, self.settings)
        self.machine = self.make_machine()
        self.client = None
        self.told = {}
        self.story = []
        self.worthless = []
        self.tally = collections.Counter()
        self.spans = {}
        self.began = time.monotonic()

    def make_root(self, folder):
        """A folder for all that the round has."""
        return tempfile.mkdtemp(prefix="snapvm-kill-", dir=folder)

    def make_machine(self):
        return TinyGuest(self.name, self.root, disks=self.dice.choice(self.disk_counts),
                         driver=self.dice.choice(("qcow2", "raw")),
                         style=self.dice.choice(("blockdev", "writable", "drive")))

    def tell(self, text):
        self.story.append(f"{time.monotonic() - self.began:8.4f} {text}")

    # ---- what a program says ----

    def measure(self):
        """Runs the operation without a crash and fills `spans`: how long each window is."""
        raise NotImplementedError

    def attempt(self, number, dice):
        """One try: prepares, asks, strikes, recovers and checks."""
        raise NotImplementedError

    # ---- a round ----

    def play(self, numbers):
        """The text of what went wrong, or None."""
        try:
            self.open()
            for number in range(numbers):
                self.story = [f"guest: {len(self.machine.targets)} disks on {self.machine.driver}, "
                              f"{self.machine.style}; try {number}"]
                self.attempt(number, random.Random(f"{self.seed}/{self.number}/{number}"))
                self.tally["tries"] += 1
            return None
        except Exception as error:
            self.tally["wrong"] += 1
            return self.report(error)
        finally:
            self.close()

    def open(self):
        self.boot()
        self.daemon.start()
        self.reach(connected=True)
        self.measure()

    def boot(self):
        self.machine.boot()
        self.launched()
        self.machine.wait_acks(5)

    def launched(self):
        """A QEMU was started."""

    def killed(self):
        """It is dead."""

    def kill_machine(self):
        self.machine.kill()
        self.killed()

    def report(self, error):
        """All that is needed to find out why."""
        lines = [f"round {self.number}: {type(error).__name__}: {error}", *self.story]
        if not isinstance(error, Wrong):
            lines += traceback.format_exc().splitlines()
        if self.machine.process is not None and self.machine.eyes:
            with contextlib.suppress(Exception):
                lines.append(f"chains: {self.chains()}")
        with contextlib.suppress(Exception):
            lines += ["jobs: " + json.dumps(self.client.call("job.list")["jobs"][-2:])]
        lines.append(f"QEMU's log ends with: {self.machine.log_tail()[-300:].strip()}")
        if self.daemon.log.exists():
            lines += ["the daemon's log ends with:", *self.short_log()]
        return "\n    ".join(lines + self.keep())

    def short_log(self, count=60):
        """The end of the log, long lines cut."""
        return [line[:200] for line in self.daemon.log_tail(1 << 20).splitlines()[-count:]]

    def keep(self):
        """The images, the journal and the log, as they are now; a line that says where."""
        place = os.environ.get("SNAPVM_TEST_KEEP")
        if not place:
            return []
        kept = os.path.join(place, f"{type(self).__name__}-{self.seed}-{self.number}")
        shutil.copytree(self.root, kept, dirs_exist_ok=True, ignore=lambda _, names: [
            name for name in names if name.endswith(".sock")])
        return [f"kept in {kept}"]

    def close(self):
        if self.client:
            self.client.close()
        self.kill_machine()
        self.daemon.kill()
        shutil.rmtree(self.root, ignore_errors=True)

    # ---- crash and recovery ----

    def reach(self, connected):
        """A new client, once the daemon sees the guest, or sees that it is gone."""
        if self.client:
            self.client.close()
        self.daemon.wait_domain(self.name, lambda domain: domain["connected"] == connected, TIMEOUT)
        self.client = self.daemon.client(timeout=TIMEOUT)
        self.client.subscribe()

    def strike(self, victim, dice, span):
        """kill -9 at a random instant of a span, in seconds; where it hit goes into the tally.

        How long the victims live on is the point of these tests: the time is what varies.
        """
        self.told = {}
        offset = self.daemon.log.stat().st_size
        delay = dice.uniform(0, span)
        gap = dice.choice((0, 0, dice.uniform(0, 0.005)))
        first = dice.choice(("daemon", "qemu")) if victim == "both" else victim
        time.sleep(delay)
        self.signal(first)
        if victim == "both":
            time.sleep(gap)
            self.signal("qemu" if first == "daemon" else "daemon")
        if victim != "qemu":
            self.daemon.kill()
            self.hear_out()
        if victim != "daemon":
            self.kill_machine()
        self.tell(f"kill -9 {victim} ({first} first, gap {gap * 1000:.1f} ms) "
                  f"after {delay * 1000:.1f} of {span * 1000:.1f} ms")
        self.tell_step(offset)
        self.tally[f"victim {victim}"] += 1

    def tell_step(self, offset):
        """Where the daemon's log, read from there, says that it was."""
        with open(self.daemon.log, "rb") as log:
            log.seek(offset)
            steps = STEP.findall(log.read())
        step = steps[-1].decode() if steps else "asked"
        self.tell(f"died at {step}")
        self.tally[f"at {step}"] += 1

    def signal(self, victim):
        process = self.daemon.process if victim == "daemon" else self.machine.process
        process.send_signal(signal.SIGKILL)

    def recover(self, dice):
        """Starts the daemon again, perhaps kills it in its recovery, perhaps QEMU behind it."""
        if self.daemon.running():
            self.reach(connected=self.machine.process is not None)
            return
        again, delay, late = dice.random(), dice.uniform(0, 0.03), dice.uniform(0, 0.03)
        self.daemon.start()
        if again < 0.25:
            time.sleep(delay)
            self.daemon.kill()
            self.tell(f"kill -9 daemon again {delay * 1000:.1f} ms after its start")
            self.tally["killed in the recovery"] += 1
            self.daemon.start()
        if again > 0.85 and self.machine.process is not None:
            time.sleep(late)
            self.kill_machine()
            self.tell(f"kill -9 qemu {late * 1000:.1f} ms into the recovery")
            self.tally["QEMU killed in the recovery"] += 1
        self.reach(connected=self.machine.process is not None)

    def hear_out(self):
        """What the dead daemon had answered, or told by an event, about jobs that had ended."""
        client, deadline = self.client, time.monotonic() + TIMEOUT
        with contextlib.suppress(OSError):
            while True:
                client.receive(deadline)
        told = [answer["result"] for answer in client.answers.values() if "result" in answer]
        told += [event["job"] for event in client.events if event["kind"] == "job.ended"]
        self.told = {job["id"]: job for job in told if job.get("state") == "ended"}

    def ended(self, job):
        """The job once it has ended."""
        job = self.client.call("job.wait", job=job, for_="ended")
        require(job["state"] == "ended" and job["outcome"], f"not ended: {job}")
        self.tell(f"job {job['id']} {job['disk']}: {job['outcome']['result']}, "
                  f"{job['outcome']['evidence']}, error {job['outcome']['error']}")
        return job

    def check_word(self, jobs):
        """What was said before the crash is what is said now."""
        for job in jobs:
            before = self.told.get(job["id"])
            if before:
                require(before["outcome"] == job["outcome"],
                        f"a word not kept: {before['outcome']}, now {job['outcome']}")
                self.tally["words kept"] += 1

    # ---- what must hold ----

    def chains(self):
        return {target: self.machine.eyes.chain(target) for target in self.machine.targets}

    def check_all(self, jobs):
        """Everything is settled: the daemon's word, the files, QEMU and the content agree."""
        active = self.client.call("job.list", domain=self.name, active=True)["jobs"]
        require(not active, f"jobs that do not end: {active}")
        disks = {disk["target"]: disk
                 for disk in self.client.call("domain.get", domain=self.name)["disks"]}
        require(set(disks) == set(self.machine.targets), f"the disks are {sorted(disks)}")
        wanted = {disk["target"]: disk["blockdev"]
                  for disk in self.client.call("domain.blockdev", domain=self.name)["disks"]}
        for target, disk in disks.items():
            layers = [layer["file"] for layer in disk["chain"]]
            require(disk["active"] == layers[0] and layers == layers_of(wanted[target]),
                    f"{target}: domain.get {disk['active']} of {layers}, "
                    f"domain.blockdev {layers_of(wanted[target])}")
            self.check_headers(layers)
        for job in jobs:
            self.check_outcome(job, disks)
        self.check_files(jobs, disks)
        if self.machine.process is not None:
            self.check_qemu(disks)
        self.check_content(wanted)
        return wanted

    @staticmethod
    def check_headers(layers):
        """Whoever starts the guest from the active layer alone gets the same chain."""
        for path, below in zip(layers, [*layers[1:], None]):
            named = read_header(path).backing
            require(named == below, f"{path}: its header names {named}, the chain goes on with "
                    f"{below}")

    def check_outcome(self, job, disks):
        outcome = job["outcome"]
        images = {file["file"]: file["state"] for file in outcome["files"]}
        if job["disk"]:
            require(outcome["active"] == disks[job["disk"]]["active"],
                    f"outcome names {outcome['active']}, domain.get {disks[job['disk']]['active']}")
        in_use = {layer["file"] for disk in disks.values() for layer in disk["chain"]}
        for file, state in images.items():
            require((state in ("active", "backing")) == (file in in_use),
                    f"{file} is called {state}, in use are {sorted(in_use)}")
            require(os.path.exists(file) != (state == "removed"),
                    f"{file} is called {state}, there: {os.path.exists(file)}")

    def check_files(self, jobs, disks):
        """No file but those in use and those that an outcome names. The latter are taken away."""
        in_use = {layer["file"] for disk in disks.values() for layer in disk["chain"]}
        named = {file["file"] for job in jobs for file in job["outcome"]["files"]}
        there = {str(path) for path in self.machine.images.iterdir() if path.name != "qemu.log"}
        require(there >= in_use, f"gone: {sorted(in_use - there)}")
        require(not there - in_use - named, f"left over: {sorted(there - in_use - named)}")
        self.worthless = sorted(there - in_use)

    def check_qemu(self, disks):
        """The graph is what the daemon says, nothing of ours is left in it, the vCPUs run."""
        eyes = self.machine.eyes
        chains = self.chains()
        for target, files in chains.items():
            require(files == [layer["file"] for layer in disks[target]["chain"]],
                    f"{target}: QEMU has {files}, domain.get {disks[target]['chain']}")
        require(eyes.call("query-jobs") == [], f"jobs in QEMU: {eyes.call('query-jobs')}")
        require(eyes.status() == "running", f"the vCPUs are held: {eyes.status()}")
        used = {file for files in chains.values() for file in files}
        for node in eyes.call("query-named-block-nodes", flat=True):
            require(node["file"] in used and node["drv"] not in FILTERS,
                    f"node {node['node-name']} ({node['drv']}) is left over: {node['file']}")

    def check_content(self, wanted):
        """Every acknowledged write is in what the daemon names. A guest that lives is stopped for
        it: the second `stop` makes QEMU flush everything."""
        live = self.machine.process is not None
        if live:
            self.machine.eyes.call("stop")
            self.machine.eyes.call("stop")
        share = {"force-share": True, "read-only": True} if live else {}
        for target in self.machine.targets:
            try:
                self.machine.check(target, {**wanted[target], **share})
            except Lost as error:
                raise Wrong(f"content: {layers_of(wanted[target])}: {error}") from None
        if live:
            self.machine.eyes.call("cont")

    def count_other(self, target, path):
        """Would another image have been wrong? Tells whether this test can tell."""
        if os.path.exists(path):
            driver = os.path.splitext(path)[1][1:]
            self.tally["other images"] += 1
            try:
                self.machine.check(target, image_blockdev(path, driver))
            except Lost:
                self.tally["other images that were wrong"] += 1

    def go_on(self, wanted):
        """The guest runs on: the one that lives, or a new one from what the daemon names."""
        for path in self.worthless:
            os.unlink(path)
        if self.machine.process is None:
            self.machine.boot_from([{"target": target, "blockdev": wanted[target]}
                                    for target in self.machine.targets])
            self.launched()
            self.reach(connected=True)
        self.machine.wait_writes(5)
