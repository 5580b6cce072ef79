"""One world of a plan test: images, a fake QEMU on them, the daemon, and a client that repeats
itself."""

import json
import os
import shutil
import tempfile
import time

import fakeqcow2
from asker import DOMAIN, FOLDER, Asker, Wrong
from daemon import Daemon
from fakeqemu import FakeQemu, disk

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


class World(Asker):
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
        disks = [disk(name, files, scenario.style, idle=name in scenario.idle)
                 for name, files in self.chains.items()]
        self.fake = FakeQemu(guest, disks,
                             agent=scenario.agent, running=scenario.running)
        self.tool_log = os.path.join(self.root, "qemu-img.log")
        super().__init__(Daemon(self.root, settings={**(settings or {}),
                                                     "images": {"qemu_img": self.make_tool()}}), TIMEOUT)

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

    def begin(self):
        ended = self.scenario.kind == "halt"      # by the job, as soon as the daemon is there
        self.daemon.wait_domain(DOMAIN, lambda d: d["connected"] or (
            ended and d["state"] == "shutoff"), TIMEOUT)
