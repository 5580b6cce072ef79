"""Tries of block jobs: what they share, whatever the plan is.

A try builds layers, sends requests, strikes within one of the windows that `measure` has timed, and
sends the same again, as a client does that got no answer. A window begins with the requests, or
with what is waited for behind them:

    pending   QEMU says that a job is pending
    ended     the daemon says that a job has ended: from here on nothing may be lost
"""

import collections
import hashlib
import pathlib
import statistics
import tempfile
import time

from client import RpcError
from guest import image_blockdev
from round import TIMEOUT, Round, require
from verify import copy_image

ENDED_SPAN = 0.002


class BlockJobs(Round):
    # ---- the guest's layers ----

    def overlay(self, name, targets, metadata=False):
        disks = [{"disk": target, **({} if target in targets else {"mode": "no"})}
                 for target in self.machine.targets]
        self.client.call("snapshot.create", domain=self.name, name=name, disks=disks,
                         metadata=metadata)

    def flatten(self):
        """Commits all layers into the base."""
        for target in (target for target, files in self.chains().items() if len(files) > 1):
            job = self.client.call("block.commit", domain=self.name, disk=target, active=True,
                                   auto_pivot=True, wait="ended")
            require(job["outcome"]["result"] == "pivoted", f"not pivoted: {job}")
        self.unlink_unused()

    def unlink_unused(self):
        used = {file for files in self.chains().values() for file in files}
        for path in self.machine.images.iterdir():
            if str(path) not in used and path.name != "qemu.log":
                path.unlink()

    def beside_qemu(self, path):
        """The -blockdev object of an image that stands still, to be read while QEMU may have layers
        below it open."""
        source = image_blockdev(path, pathlib.Path(path).suffix[1:])
        if self.machine.process is not None:
            source.update({"force-share": True, "read-only": True})
        return source

    def digest(self, path):
        """What a layer and those below it read as, by the headers alone."""
        with tempfile.NamedTemporaryFile(prefix="snapvm-kill-", dir=self.root) as raw:
            copy_image(self.beside_qemu(path), raw.name)
            return hashlib.sha256(raw.read()).hexdigest()

    # ---- requests over a crash ----

    def crash(self, dice, victim, window, requests, pendings=1):
        """`requests` are (method, params). `pendings` jobs are waited for in that window."""
        self.machine.eyes.drain_events()
        self.client.events.clear()
        self.since = self.machine.acked()
        for method, params in requests:
            self.client.send(method, **params)
        if window == "pending":
            for _ in range(pendings):
                self.machine.eyes.wait_event("BLOCK_JOB_PENDING")
        elif window == "ended":
            self.wait_told()
        self.strike(victim, dice, self.spans.get(window, ENDED_SPAN))
        self.tally[f"window {window}"] += 1
        self.recover(dice)

    def wait_told(self):
        """Until the end of a block job is announced; the event stays for hear_out()."""
        deadline = time.monotonic() + TIMEOUT
        while not any(event["kind"] == "job.ended" and event["job"]["kind"] != "snapshot"
                      for event in self.client.events):
            self.client.receive(deadline)

    def again(self, method, params):
        """The answer to a repeated request; None when it was never taken in, and QEMU is gone."""
        try:
            return self.client.call(method, **params)
        except RpcError as error:
            if error.kind == "NotReady":
                # The first request was never taken in, and the daemon is only just back.
                for job in params.get("jobs", [params.get("job")]):
                    self.client.call("job.wait", job=job, for_="ready")
                return self.client.call(method, **params)
            self.refused(method, error)
            return None

    def refused(self, method, error):
        """Only a QEMU that is gone is a reason to refuse."""
        self.tell(f"{method}: {error}")
        require(self.machine.process is None, f"refused although QEMU lives: {error}")
        # "Unsupported" is what a new job on a guest that is shut off gets.
        require(error.kind in ("QemuGone", "InvalidState", "Unsupported"), f"refused: {error}")

    def judge(self, jobs, right):
        """`right` are the ends that it may come to; a death of QEMU excuses a failure."""
        results = {job["outcome"]["result"] for job in jobs}
        for result in results or {"never begun"}:
            self.tally[f"result {result}"] += 1
        allowed = right if self.machine.process is not None else right | {"failed"}
        require(results <= allowed, f"one of {sorted(right)} expected: {results}")
        return results

    # ---- how long the windows are ----

    def medians(self, run, count=3):
        """Fills `spans` by the medians of what `run(number)` answers: the machine is busy."""
        times = collections.defaultdict(list)
        for number in range(count):
            for window, seconds in run(number).items():
                times[window].append(seconds)
        self.spans = {window: statistics.median(found) for window, found in times.items()}
