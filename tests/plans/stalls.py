"""Scenarios in which an image cannot be read or written for a while: the job stands, is told to
have stalled, and is resumed once the image is mended, or cancelled.

`when` it breaks: before the job is `running`, once it is `ready`, or in the moment that QEMU is
asked to bring it to its `end`.
"""

import time

from client import RpcError
from fakeqemu import Died
from scenarios import Commit, Copy, Merge
from world import DOMAIN, TIMEOUT, Wrong

RESUMES = 3     # tries: one of them may be refused, or lost


class Stall:
    stalls = 1      # so often it is told

    def breaks(self, broken, when="running", then="resume"):
        """`broken`: what is wrong with which image, see fakestall.Broken."""
        self.broken, self.when, self.then = broken, when, then
        return self

    def act(self, world):
        if self.when == "running":
            world.once("break", lambda: world.fake.order("break", **self.broken))
        jobs = self.begin(world)
        if jobs is None or world.fake.ended():
            return
        for job in jobs if self.when != "running" and "break" not in world.done else ():
            world.call("job.wait", job=job, for_="ready")
        if self.when == "ready":
            world.once("break", lambda: self.break_ready(world))
            self.write(world)
            if world.fake.state()["status"] == "paused":
                return      # the vCPUs are held for the end, which was asked for before a crash
        if self.when == "end":
            world.once("break", lambda: world.fake.arm(
                on="job-complete" if self.end == "pivot" else "block-job-cancel", do="break",
                image=self.broken))
            self.finish(world, jobs, "no")
        self.wait_stalled(world, jobs)
        if self.then == "nothing":
            world.call("job.wait", job=jobs[0], for_="ended")
        elif self.then == "cancel":
            world.ask("cancel", "job.cancel", job=jobs[0], wait="ended")
        elif self.then == "resume" and not world.fake.ended():
            self.check_refused(world, jobs[0])
            world.fake.order("mend")
            self.resume(world, jobs[0])
            self.finish(world, jobs, "ended")

    def break_ready(self, world):
        """It shows as soon as the guest writes, which may have been stopped by somebody."""
        world.fake.order("break", **self.broken)
        if world.scenario.running and world.fake.state()["status"] == "paused":
            world.fake.qmp("cont")

    @staticmethod
    def write(world):
        """The guest does, as nothing else need happen meanwhile."""
        try:
            world.fake.order("write", times=2)
        except Died:
            pass        # by the fault of this run: its job ends

    def wait_stalled(self, world, jobs):
        """Until one of them was told to have stalled, once upon a time, or to have ended."""
        deadline = time.monotonic() + TIMEOUT
        with world.daemon.client(timeout=TIMEOUT) as client:
            client.subscribe(since=0, kinds=["job.stalled", "job.ended"])
            while not any(event["job"]["id"] in jobs for event in client.events):
                client.receive(deadline)

    def check_refused(self, world, job):
        """There is nothing that a pivot could go on to."""
        state = world.call("job.get", job=job)
        if state["state"] != "stalled" or self.end != "pivot" or self.when == "end":
            return
        if not state["stall"] or f"resume job {job}" not in state["stall"]["message"]:
            raise Wrong(f"nobody is told what to do: {state}")
        try:
            world.call("job.pivot", job=job)
        except RpcError as error:
            if error.kind == "NotReady":
                return
            raise
        raise Wrong("a stalled job was pivoted")

    @staticmethod
    def resume(world, job):
        """As users do: until it is taken. Where it is refused as the job goes on already, no harm is
        done."""
        for attempt in range(RESUMES):
            if world.ask(f"resume-{attempt}", "job.resume", job=job) is not None:
                return
            if world.fake.ended():
                return
            world.daemon.wait_domain(
                DOMAIN, lambda domain: domain["connected"] or domain["state"] == "shutoff", TIMEOUT)


class Ending(Stall):
    """Of a job that is told how to end."""

    def finish(self, world, jobs, wait):
        if wait == "ended":
            # Of what was asked for before it is the end that is waited for.
            world.call("job.wait", job=jobs[0], for_="ended" if self.when == "end" else "ready",
                       timeout_ms=TIMEOUT * 1000 - 2000)
        if self.when == "end" and wait == "ended":
            return
        if self.end == "pivot":
            which = {"job": jobs[0]} if len(jobs) == 1 else {"jobs": jobs}
            if world.ask(f"end-{wait}", "job.pivot", wait=wait, **which) is None:
                self.give_up(world, jobs)
        else:
            world.ask(f"end-{wait}", "job.cancel", job=jobs[0], wait=wait)


    @staticmethod
    def give_up(world, jobs):
        """One of them has failed, so that none is pivoted: the others have to be cancelled."""
        if len(jobs) > 1 and not world.fake.ended():
            for job in jobs:
                world.ask(f"give-up-{job}", "job.cancel", job=job, wait="ended")


class CommitStall(Ending, Commit):
    def begin(self, world):
        jobs = []
        for target in world.chains:
            job = world.ask(f"commit-{target}", "block.commit", domain=DOMAIN, disk=target,
                            active=True, wait="no")
            if job is None:
                return None
            jobs.append(job["id"])
            if len(world.chains) > 1:
                # QEMU may die of it, and the next one would be a commit of a guest that is shut off.
                world.wait_begun(job["id"])
                if world.fake.ended():
                    return None
        return jobs


class CopyStall(Ending, Copy):
    def begin(self, world):
        dest = {"file": self.dest(world, "vda"), "format": self.format}
        job = world.ask("copy", "block.copy", domain=DOMAIN, disk="vda", dest=dest, wait="no")
        return job and [job["id"]]


class MergeStall(Stall, Merge):
    def begin(self, world):
        method, params = "block.pull", {}
        if self.top is not None:
            method, params = "block.commit", {"top": f"vda[{self.top}]"}
        job = world.ask("merge", method, domain=DOMAIN, disk="vda", wait="no", **params)
        return job and [job["id"]]

    def finish(self, world, jobs, wait):
        world.call("job.wait", job=jobs[0], for_="ended", timeout_ms=TIMEOUT * 1000 - 2000)


def full(file):
    return {"file": file}


def unreadable(file):
    return {"file": file, "operation": "read", "space": False}


def commit(name, expects, broken, when="running", then="resume", end="pivot", **more):
    return CommitStall("stall-" + name, expects, end, **more).breaks(broken, when, then)


def copy(name, expects, broken, when="running", then="resume", end="pivot", **more):
    return CopyStall("stall-copy" + name, expects, end, **more).breaks(broken, when, then)


def merge(name, expects, broken, then="resume", **more):
    return MergeStall("stall-" + name, expects, **more).breaks(broken, "running", then)


BASE, TOP, COPIED = full("vda-0.qcow2"), unreadable("vda-1.qcow2"), full("copy-vda")

STALLS = [
    commit("commit", "pivoted", BASE, quick=True),
    commit("commit-read", "pivoted", TOP),
    commit("commit-paused", "pivoted", BASE, running=False),
    commit("commit-drive", "pivoted", BASE, style="drive"),
    commit("commit-cancelled", "cancelled", TOP, then="cancel", quick=True),
    commit("commit-ready", "pivoted", BASE, "ready"),
    commit("commit-ready-cancelled", "cancelled", BASE, "ready", "cancel"),
    commit("commit-end", "pivoted", BASE, "end", quick=True),
    commit("commit-end-cancelled", "cancelled", BASE, "end", "cancel"),
    commit("commit-2-end", "failed", full("vdb-0.qcow2"), "end", "nothing", disks=2, quick=True),
    commit("keep", "kept", BASE, "end", end="keep"),
    commit("keep-cancelled", "cancelled", BASE, "end", "cancel", end="keep"),
    copy("", "pivoted", COPIED, quick=True),
    copy("-read", "pivoted", TOP),
    copy("-cancelled", "cancelled", COPIED, then="cancel"),
    copy("-ready", "pivoted", COPIED, "ready"),
    copy("-end", "pivoted", COPIED, "end"),
    copy("-end-cancelled", "cancelled", COPIED, "end", "cancel"),
    copy("-whole", "completed", COPIED, "end", end="whole"),
    copy("-whole-cancelled", "cancelled", COPIED, "end", "cancel", end="whole"),
    merge("merge", "completed", BASE, top=1, base=3, quick=True),
    merge("merge-read", "completed", unreadable("vda-2.qcow2"), top=1, base=3),
    merge("merge-cancelled", "cancelled", BASE, "cancel", top=1, base=3),
    merge("pull", "completed", full("vda-3.qcow2"), quick=True),
    merge("pull-read", "completed", unreadable("vda-0.qcow2")),
    merge("pull-cancelled", "cancelled", full("vda-3.qcow2"), "cancel"),
]
