"""One world of a plan test: images, a fake QEMU on them, the daemon, and a client that repeats
itself.

The world is asked for the same requests again and again, with the same `request_id`, until they are
answered: before a crash, after it, and once more at the end. What was once answered has to stay
true.
"""

import collections
import json
import os
import shutil
import tempfile
import time

import fakeqcow2
from client import RpcError
from daemon import Daemon
from fakeqemu import FakeQemu, disk

DOMAIN = "web"
FOLDER = "SNAPVM_PLANS_FOLDER"      # set by the driver: where all worlds are
SIZE = 64 << 20
TIMEOUT = 15
SHORT_TIMEOUTS = {"qmp": {"greeting_timeout_ms": 2000, "command_timeout_ms": 400},
                  "agent": {"timeout_ms": 250, "freeze_timeout_ms": 300}}


LIB = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib")
TOOL = """#!/usr/bin/python3
import json, os, subprocess, sys
sys.path.insert(0, {lib!r})
import fakecontent, fakeqcow2
words, merged = sys.argv[1:], None
if words[0] == "commit":
    files = fakeqcow2.chain(words[-1])
    files = files[:files.index(words[words.index("-b") + 1]) + 1]
    merged = [fakecontent.image_key(path) for path in files]
status = subprocess.run(["qemu-img", *words]).returncode
if status == 0 and merged:
    with open({log!r}, "a") as log:
        log.write(json.dumps(merged) + "\\n")
sys.exit(1 if os.path.exists({log!r} + ".fails") else status)
"""


class Wrong(Exception):
    """A promise does not hold."""


class World:
    def __init__(self, scenario, settings=None):
        self.scenario = scenario
        self.root = tempfile.mkdtemp(prefix="world-", dir=os.environ.get(FOLDER))
        self.images = os.path.join(self.root, "images")
        guest = os.path.join(self.root, "guests", DOMAIN)
        os.mkdir(self.images)
        os.makedirs(guest)
        targets = [f"vd{chr(97 + n)}" for n in range(scenario.disks)]
        self.chains = {target: self.make_chain(target) for target in targets}
        scenario.prepare(self)
        self.first_files = set(os.listdir(self.images))
        disks = [disk(name, files, scenario.style) for name, files in self.chains.items()]
        self.fake = FakeQemu(guest, disks,
                             agent=scenario.agent, running=scenario.running)
        self.tool_log = os.path.join(self.root, "qemu-img.log")
        self.daemon = Daemon(self.root, settings={**(settings or {}),
                                                  "images": {"qemu_img": self.make_tool()}})
        self.list_file = os.path.join(self.root, "boundaries")
        self.answers = {}       # request id -> the last answer
        self.errors = {}        # request id -> the last RpcError
        self.client = None
        self.asked = collections.Counter()      # method -> how often
        self.done = set()       # what is done but once, however often the rest is repeated
        self.begun = 0          # boundaries passed before what the scenario is about

    def make_tool(self):
        """qemu-img, which tells what it has merged: the files may be gone when somebody asks."""
        path = os.path.join(self.root, "qemu-img")
        with open(path, "w", encoding="utf-8") as script:
            script.write(TOOL.format(lib=LIB, log=self.tool_log))
        os.chmod(path, 0o755)
        return path

    def tool_commits(self):
        """The commits that were done by image tools: content keys from the top to the base."""
        if not os.path.exists(self.tool_log):
            return []
        with open(self.tool_log, encoding="utf-8") as log:
            return [json.loads(line) for line in log]

    def mark(self):
        """What the scenario is about begins; what is before has scenarios of its own."""
        self.begun = self.begun or len(self.boundaries())

    def make_chain(self, name):
        files = []
        for layer in range(self.scenario.layers_of(name)):
            path = os.path.join(self.images, f"{name}-{layer}.qcow2")
            fakeqcow2.create(path, SIZE, files[-1] if files else None)
            files.append(path)
        return files

    def close(self, keep=False):
        self.hang_up()
        self.daemon.kill()
        self.fake.close()
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
            with open(self.list_file, encoding="utf-8") as names:
                return names.read().split()
        except FileNotFoundError:
            return []

    # ---- requests ----

    def call(self, method, **params):
        if self.client is None:
            self.client = self.daemon.client(timeout=TIMEOUT)
        return self.client.call(method, **params)

    def ask(self, key, method, **params):
        """A changing request under its request_id. Returns the job, or None when it was refused. An
        answer that was once given stands: the job is the same, and how it ended too."""
        self.asked[method] += 1
        try:
            answer = self.call(method, request_id=key, **params)
        except RpcError as error:
            if key in self.answers and self.answers[key].get("state") == "ended":
                raise Wrong(f"{key}: was answered, is refused now: {error}") from None
            self.errors[key] = error
            return None
        before = self.answers.get(key)
        if before is not None and "id" in answer:
            if before["id"] != answer["id"]:
                raise Wrong(f"{key}: job {before['id']} at first, job {answer['id']} when repeated")
            if before["state"] == "ended" and before["outcome"] != answer["outcome"]:
                raise Wrong(f"{key}: outcome was {before['outcome']}, is {answer['outcome']}")
        elif before is not None and before != answer:
            raise Wrong(f"{key}: was answered {before} at first, {answer} when repeated")
        self.answers[key] = answer
        return answer

    def once(self, what, do):
        if what not in self.done and not self.fake.ended():
            self.done.add(what)
            do()

    def wait_begun(self, number):
        """Until QEMU has the job: no event tells it, so it is asked for."""
        deadline = time.monotonic() + TIMEOUT
        job = self.call("job.get", job=number)
        while job["progress"] is None and job["state"] != "ended":
            if time.monotonic() > deadline:
                raise Wrong(f"it does not begin: {job}")
            job = self.call("job.get", job=number)

    def act(self):
        """The scenario's requests from the first one on. False when the daemon died meanwhile."""
        try:
            self.daemon.wait_domain(DOMAIN, timeout=TIMEOUT)
            self.scenario.act(self)
        except (ConnectionError, FileNotFoundError) as error:
            self.hang_up()
            if self.daemon.process is not None and self.daemon.wait_end() == -9:
                return False
            raise Wrong(f"the daemon ended by itself: {error}") from error
        return True

    def jobs(self):
        return self.call("job.list", domain=DOMAIN)["jobs"]
