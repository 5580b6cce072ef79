"""The scenarios: what a client asks for, on which guest. `act` may be run any number of times, over
crashes."""

import os

import fakeqcow2
from world import DOMAIN, SIZE


class Scenario:
    kind = None
    deletes = False
    quiesce = "none"
    internal = 0        # so many of the first disks get a snapshot inside their image
    inside = "before"   # of that name
    cut = 0             # QEMU dies in this command, behind so many of its images
    cut_in = "transaction"
    counts = 0          # whose result is that of the scenario: of the first job, or of the last
    strangers = ()      # what somebody else does, beside `stop`, before a command of ours
    idle = ()           # disks that the guest does not write to, unless it is held and let go

    def prepare(self, world):
        """Makes the files that the scenario begins with, beside the disks."""

    def __init__(self, name, expects, disks=1, layers=2, running=True, style="blockdev", agent=True,
                 quick=False, job_fault=None, fault_disk=None):
        # `expects` is what becomes of it when nothing goes wrong: one of these words.
        self.name, self.expects, self.disks, self.layers = name, expects, disks, layers
        self.running, self.style, self.agent = running, style, agent
        self.quick = quick          # part of a run that has to be short
        # The stage at which QEMU's job fails by itself: run, prepare or finalize; of which disk.
        self.job_fault = job_fault and {"stage": job_fault, "desc": "No space left on device",
                                        "disk": fault_disk}


    def layers_of(self, _target):
        """How many layers the chain of a disk has."""
        return self.layers

    def strangers_before(self, _command):
        return self.strangers

    @staticmethod
    def torn(_world):
        """Whether the guest is to stand, as it must not go on."""
        return False

    @staticmethod
    def without_job(_world):
        """What became of it where no job tells."""
        return "refused"


class Lease(Scenario):
    """A client's freeze and its thaw: no job, and a debt all the same."""
    kind = "lease"

    def act(self, world):
        world.ask("freeze", "guest.freeze", domain=DOMAIN, lease_ms=3000)
        world.ask("thaw", "guest.thaw", domain=DOMAIN)

    @staticmethod
    def without_job(world):
        return "thawed" if "freeze" in world.answers and "thaw" in world.answers else "refused"


class Snapshot(Scenario):
    kind = "snapshot"

    def __init__(self, name, expects, quiesce, internal=0, stranger=None, cut=0, **more):
        super().__init__(name, expects, **more)
        self.quiesce, self.internal, self.cut = quiesce, internal, cut
        self.stranger = stranger    # whose image has a snapshot of that name inside already

    def prepare(self, world):
        if self.stranger:
            fakeqcow2.add_snapshot(world.chains[self.stranger][-1], self.inside)

    def act(self, world):
        disks = [{"disk": target, "mode": "internal" if n < self.internal else "external"}
                 for n, target in enumerate(world.chains)]
        more = {"disks": disks} if self.internal else {}
        world.ask("snapshot", "snapshot.create", domain=DOMAIN, name="before", quiesce=self.quiesce,
                  **more)


class Void(Snapshot):
    """Somebody thaws the guest behind the agent's back: what had to be quiesced is taken back."""

    def act(self, world):
        if world.fake.alive:
            world.fake.arm(agent="guest-fsfreeze-thaw", do="count", count=77)
        super().act(world)


class Memory(Scenario):
    """A snapshot with the memory; `end`: "cancel" while it is saved."""
    kind = "memory"
    strangers = ("cont",)

    def __init__(self, name, expects, quiesce="none", end=None, **more):
        super().__init__(name, expects, **more)
        self.quiesce, self.end = quiesce, end

    def act(self, world):
        if self.end == "cancel":
            world.fake.order("hold", states=["saving"])
        job = world.ask("memory", "snapshot.create", domain=DOMAIN, name="before",
                        quiesce=self.quiesce, memory={"mode": "external"},
                        wait="no" if self.end else "ended")
        if self.end == "cancel" and job is not None:
            world.wait_begun(job["id"])
            world.ask("cancel", "job.cancel", job=job["id"], wait="ended")


class State(Scenario):
    """A snapshot with the memory inside the images of all disks."""
    kind = "state"
    cut_in = "snapshot-save"

    def __init__(self, name, expects, quiesce="none", cut=0, stranger=None, **more):
        super().__init__(name, expects, **more)
        self.quiesce, self.cut, self.internal = quiesce, cut, self.disks
        self.stranger = stranger    # whose image has a snapshot of that name inside already

    prepare = Snapshot.prepare

    def act(self, world):
        world.ask("state", "snapshot.create", domain=DOMAIN, name="before", quiesce=self.quiesce,
                  memory={"mode": "internal"})


class Load(State):
    """Going back to such a snapshot while the guest is live."""
    cut_in = "snapshot-load"
    counts = -1

    def __init__(self, name, expects, *args, idle=(), **more):
        super().__init__(name, expects, *args, **more)
        self.idle = idle

    def strangers_before(self, command):
        """One who lets a torn guest go on has it run."""
        return ("cont",) if command == "snapshot-load" else ()

    @staticmethod
    def torn(world):
        return "load" in world.answers and world.answers["load"]["outcome"]["result"] == "failed"

    def act(self, world):
        super().act(world)
        world.mark()
        world.ask("load", "snapshot.revert", domain=DOMAIN, name="before", force=True)


class VoidState(State):
    """Somebody thaws the guest behind the agent's back: what had to be quiesced is deleted."""

    def act(self, world):
        if world.fake.alive:
            world.fake.arm(agent="guest-fsfreeze-thaw", do="count", count=77)
        super().act(world)


class Commit(Scenario):
    """Active commits of all disks, and how they end: `pivot`, `keep`, `cancel` while running or
    `at-once`, `force` when ready."""
    kind = "commit"

    def __init__(self, name, expects, end, deletes=False, **more):
        super().__init__(name, expects, **more)
        self.end, self.deletes = end, deletes

    def act(self, world):
        slow = self.end in ("cancel", "at-once")
        jobs = []
        for target in world.chains:
            how = {"wait": "no", "bandwidth": 1} if slow else {"wait": "ready"}
            job = world.ask(f"commit-{target}", "block.commit", domain=DOMAIN, disk=target,
                            active=True, delete=self.deletes, **how)
            if job is None or world.fake.ended():
                return
            jobs.append(job["id"])
        if self.end == "pivot":
            which = {"job": jobs[0]} if len(jobs) == 1 else {"jobs": jobs}
            world.ask("pivot", "job.pivot", wait="ended", **which)
            return
        for job in jobs:
            if self.end == "cancel":
                world.wait_begun(job)
            force = {"force": True} if self.end == "force" else {}
            world.ask(f"cancel-{job}", "job.cancel", job=job, wait="ended", **force)


class Copy(Scenario):
    """Copies of all disks, of the first `copies` alone with active commits of the others, and how
    they end: `pivot`, `whole` when ready, `cancel` while running or `at-once`, `force` when
    ready."""
    kind = "copy"

    def __init__(self, name, expects, end, copies=None, shallow=False, format="qcow2", reuse=False,
                 auto=False, **more):
        super().__init__(name, expects, **more)
        self.end, self.copies, self.shallow, self.format = end, copies, shallow, format
        self.reuse, self.auto = reuse, auto

    def dest(self, world, target):
        return os.path.join(world.images, f"copy-{target}")

    def prepare(self, world):
        for target, files in world.chains.items() if self.reuse else ():
            fakeqcow2.create(self.dest(world, target), SIZE, files[-2] if self.shallow else None)

    def act(self, world):
        slow = self.end in ("cancel", "at-once")
        how = {"wait": "no", "bandwidth": 1} if slow else {"wait": "ready"}
        jobs = []
        for number, target in enumerate(world.chains):
            if self.copies is not None and number >= self.copies:
                job = world.ask(f"commit-{target}", "block.commit", domain=DOMAIN, disk=target,
                                active=True, **how)
            else:
                dest = {"file": self.dest(world, target), "format": self.format}
                if self.auto:
                    how = {"wait": "ended"}
                job = world.ask(f"copy-{target}", "block.copy", domain=DOMAIN, disk=target,
                                dest=dest, shallow=self.shallow, reuse=self.reuse,
                                auto_pivot=self.auto, **how)
            if job is None or world.fake.ended():
                return
            jobs.append(job["id"])
        if self.end == "pivot" and not self.auto:
            which = {"job": jobs[0]} if len(jobs) == 1 else {"jobs": jobs}
            world.ask("pivot", "job.pivot", wait="ended", **which)
        for job in jobs if self.end != "pivot" else ():
            if self.end == "cancel":
                world.wait_begun(job)
            force = {"force": True} if self.end == "force" else {}
            world.ask(f"cancel-{job}", "job.cancel", job=job, wait="ended", **force)


class Merge(Scenario):
    """A job that ends by itself: a commit of the layers from `top` down to `base`, a pull of those
    between `into` and `base` (None: all); numbers count from the active layer. `end` may be
    `cancel` while it runs, or `at-once`."""
    kind = "merge"

    def __init__(self, name, expects, top=None, base=None, end=None, deletes=False, layers=4,
                 into=0, **more):
        super().__init__(name, expects, layers=layers, **more)
        self.top, self.base, self.end, self.deletes = top, base, end, deletes
        self.into = into

    def merged(self, files):
        """Which of the files of a chain, from the active layer down, it merges into another."""
        first = self.into + 1 if self.top is None else self.top
        return files[first:self.base]

    def act(self, world):
        how = {"wait": "no", "bandwidth": 1} if self.end else {"wait": "ended"}
        jobs = []
        for target in world.chains:
            params = {} if self.base is None else {"base": f"{target}[{self.base}]"}
            if self.top is not None:
                params.update(top=f"{target}[{self.top}]", delete=self.deletes)
            elif self.into:
                params.update(top=f"{target}[{self.into}]")
            method = "block.pull" if self.top is None else "block.commit"
            job = world.ask(f"merge-{target}", method, domain=DOMAIN, disk=target, **params, **how)
            if job is None or world.fake.ended():
                return
            jobs.append(job["id"])
        for job in jobs if self.end else ():
            if self.end == "cancel":
                world.wait_begun(job)
            world.ask(f"cancel-{job}", "job.cancel", job=job, wait="ended")


SNAPSHOTS = [
    Snapshot("snapshot-none", "completed", "none", quick=True),
    Snapshot("snapshot-preferred", "completed", "preferred"),
    Snapshot("snapshot-required", "completed", "required", quick=True),
    Void("snapshot-void", "rolled-back", "required"),
    Void("snapshot-2-void", "rolled-back", "required", disks=2),
    Void("snapshot-void-fails-to-switch", "failed", "required", job_fault="finalize"),
    Snapshot("snapshot-3-none", "completed", "none", disks=3),
    Snapshot("snapshot-3-preferred", "completed", "preferred", disks=3, quick=True),
    Snapshot("snapshot-3-required", "completed", "required", disks=3),
    Snapshot("snapshot-drive-required", "completed", "required", style="drive"),
    Lease("lease", "thawed", disks=2, quick=True),
    Lease("lease-paused", "refused", running=False),
    Snapshot("snapshot-no-agent-preferred", "completed", "preferred", agent=False),
    Snapshot("snapshot-no-agent-required", "refused rolled-back", "required", agent=False),
    Snapshot("snapshot-paused-none", "completed", "none", running=False),
    Snapshot("snapshot-paused-preferred", "completed", "preferred", running=False),
    Snapshot("snapshot-paused-required", "refused rolled-back", "required", running=False,
             quick=True),
]

# Inside the images: of all disks, or of some beside overlays of the others.
INTERNALS = [
    Snapshot("internal-none", "completed", "none", internal=1, quick=True),
    Snapshot("internal-required", "completed", "required", internal=1, layers=1),
    Snapshot("internal-2-required", "completed", "required", internal=2, disks=2, quick=True),
    Snapshot("internal-2-drive-preferred", "completed", "preferred", internal=2, disks=2,
             style="drive"),
    Snapshot("internal-3-mixed-none", "completed", "none", internal=2, disks=3),
    Snapshot("internal-3-mixed-required", "completed", "required", internal=2, disks=3, quick=True),
    Snapshot("internal-paused", "completed", "none", internal=1, running=False),
    Snapshot("internal-no-agent-required", "refused rolled-back", "required", internal=1,
             agent=False),
    Snapshot("internal-2-taken", "rolled-back", "none", internal=2, disks=2, stranger="vdb",
             quick=True),
    Snapshot("internal-2-cut", "rolled-back", "none", internal=2, disks=2, cut=1, quick=True),
    Snapshot("internal-3-cut-required", "rolled-back", "required", internal=3, disks=3, cut=2),
    # All that lies inside is there, and an overlay that QEMU did not put on its disk reads through.
    Snapshot("internal-3-mixed-cut", "completed", "preferred", internal=1, disks=3, cut=2),
    Snapshot("internal-3-mixed-cut-required", "refused rolled-back", "required", internal=1,
             disks=3, cut=2),
    Snapshot("internal-3-mixed-cut-inside", "rolled-back", "none", internal=2, disks=3, cut=1),
]

MEMORIES = [
    Memory("memory", "completed", quick=True),
    Memory("memory-2", "completed", disks=2),
    Memory("memory-drive", "completed", style="drive"),
    Memory("memory-required", "completed", "required", disks=2, quick=True),
    Memory("memory-preferred", "completed", "preferred"),
    Memory("memory-no-agent-preferred", "completed", "preferred", agent=False),
    Memory("memory-cancel", "cancelled", end="cancel", quick=True),
    Memory("memory-paused", "refused", running=False),
]

STATES = [
    State("state", "completed", layers=1, quick=True),
    State("state-2-required", "completed", "required", disks=2, quick=True),
    State("state-drive-preferred", "completed", "preferred", style="drive"),
    State("state-no-agent-preferred", "completed", "preferred", agent=False),
    State("state-no-agent-required", "refused rolled-back", "required", agent=False),
    State("state-paused", "completed", running=False),
    State("state-2-taken", "rolled-back", disks=2, stranger="vdb"),
    State("state-3-cut", "rolled-back", disks=3, cut=2, quick=True),
    State("state-2-cut-required", "rolled-back", "required", disks=2, cut=1),
    State("state-2-fails", "rolled-back", disks=2, job_fault="snapshot-save", quick=True),
    VoidState("state-2-void", "rolled-back", "required", disks=2, quick=True),
]

class Halt(Scenario):
    """A snapshot behind which the guest is to end."""
    kind = "halt"

    cut_in = "snapshot-save"

    def __init__(self, name, expects, memory=None, quiesce="none", cut=0, **more):
        super().__init__(name, expects, **more)
        self.memory, self.quiesce, self.cut = memory, quiesce, cut
        self.internal = self.disks if memory == "internal" else 0

    def act(self, world):
        memory = {"memory": {"mode": self.memory}} if self.memory else {}
        world.ask("halt", "snapshot.create", domain=DOMAIN, name="before", quiesce=self.quiesce,
                  halt=True, **memory)


class VoidHalt(Halt):
    """Somebody thaws the guest behind the agent's back: it is taken back, and the guest goes on."""

    def act(self, world):
        if world.fake.alive:
            world.fake.arm(agent="guest-fsfreeze-thaw", do="count", count=77)
        super().act(world)


HALTS = [
    Halt("halt-2", "completed", disks=2),
    Halt("halt-required", "completed", quiesce="required", quick=True),
    Halt("halt-paused", "completed", running=False),
    Halt("halt-external", "completed", memory="external"),
    Halt("halt-2-external-required", "completed", memory="external", quiesce="required", disks=2),
    Halt("halt-internal", "completed", memory="internal", quick=True),
    Halt("halt-2-internal-fails", "rolled-back", memory="internal", disks=2,
         job_fault="snapshot-save"),
    Halt("halt-2-internal-cut", "rolled-back", memory="internal", disks=2, cut=1),
    VoidHalt("halt-2-void", "rolled-back", quiesce="required", disks=2, quick=True),
    VoidHalt("halt-internal-void", "rolled-back", memory="internal", quiesce="required"),
]

LOADS = [
    Load("load-2", "completed", disks=2, quick=True),
    Load("load-drive-required", "completed", "required", style="drive", quick=True),
    Load("load-2-required", "completed", "required", disks=2),
    Load("load-paused", "completed", running=False),
    Load("load-2-fails", "rolled-back", disks=2, job_fault="snapshot-load", quick=True),
    Load("load-2-torn", "failed", disks=2, job_fault="load-memory", quick=True),
    Load("load-2-idle-fails", "rolled-back", disks=2, idle=("vdb",), job_fault="snapshot-load",
         quick=True),
    Load("load-2-idle-refuses", "rolled-back", disks=2, idle=("vda",), job_fault="load-1",
         quick=True),
    Load("load-3-idle-torn", "failed", disks=3, idle=("vda",), job_fault="load-2"),
    # Nothing tells whether the memory was read: the guest is held.
    Load("load-2-all-idle-fails", "failed", disks=2, idle=("vda", "vdb"),
         job_fault="snapshot-load", quick=True),
    Load("load-2-all-idle-torn", "failed", disks=2, idle=("vda", "vdb"), job_fault="load-memory"),
    Load("load-3-cut", "completed", disks=3, cut=2),
]

COMMITS = [
    Commit("pivot", "pivoted", "pivot"),
    Commit("pivot-delete", "pivoted", "pivot", deletes=True, quick=True),
    Commit("pivot-drive-delete", "pivoted", "pivot", deletes=True, style="drive"),
    Commit("pivot-3-layers", "pivoted", "pivot", layers=3),
    Commit("pivot-paused", "pivoted", "pivot", running=False, quick=True),
    Commit("pivot-2", "pivoted", "pivot", disks=2, quick=True),
    Commit("pivot-2-delete", "pivoted", "pivot", disks=2, deletes=True),
    Commit("pivot-2-paused", "pivoted", "pivot", disks=2, running=False),
    Commit("pivot-fails-to-run", "failed", "pivot", job_fault="run"),
    Commit("pivot-fails-to-prepare", "failed", "pivot", job_fault="prepare", quick=True),
    Commit("pivot-fails-to-switch", "failed", "pivot", job_fault="finalize", quick=True),
    Commit("pivot-2-fails-to-prepare", "failed", "pivot", disks=2, job_fault="prepare"),
    Commit("pivot-3-last-fails-to-prepare", "failed", "pivot", disks=3, job_fault="prepare",
           fault_disk="vdc", quick=True),
    Commit("keep", "kept", "keep", quick=True),
    Commit("keep-paused", "kept", "keep", running=False),
    Commit("cancel-running", "cancelled", "cancel", quick=True),
    Commit("cancel-running-paused", "cancelled", "cancel", running=False),
    Commit("cancel-at-once", "cancelled", "at-once", quick=True),
    Commit("cancel-force", "cancelled", "force", quick=True),
    Commit("cancel-force-paused", "cancelled", "force", running=False),
]

COPIES = [
    Copy("copy-pivot", "pivoted", "pivot", quick=True),
    Copy("copy-pivot-auto", "pivoted", "pivot", auto=True),
    Copy("copy-pivot-shallow", "pivoted", "pivot", shallow=True, layers=3, quick=True),
    Copy("copy-pivot-raw", "pivoted", "pivot", format="raw"),
    Copy("copy-pivot-drive", "pivoted", "pivot", style="drive"),
    Copy("copy-pivot-drive-shallow", "pivoted", "pivot", style="drive", shallow=True),
    Copy("copy-pivot-paused", "pivoted", "pivot", running=False),
    Copy("copy-pivot-reuse", "pivoted", "pivot", reuse=True),
    Copy("copy-pivot-2", "pivoted", "pivot", disks=2),
    Copy("copy-pivot-2-mixed", "pivoted", "pivot", disks=2, copies=1, quick=True),
    Copy("copy-pivot-fails-to-run", "failed", "pivot", job_fault="run"),
    Copy("copy-pivot-fails-to-prepare", "failed", "pivot", job_fault="prepare"),
    Copy("copy-pivot-fails-to-switch", "failed", "pivot", job_fault="finalize"),
    Copy("copy-pivot-2-mixed-fails-to-prepare", "failed", "pivot", disks=2, copies=1,
         job_fault="prepare"),
    Copy("copy-whole", "completed", "whole", quick=True),
    Copy("copy-whole-shallow", "completed", "whole", shallow=True),
    Copy("copy-whole-raw", "completed", "whole", format="raw"),
    Copy("copy-whole-reuse", "completed", "whole", reuse=True),
    Copy("copy-whole-paused", "completed", "whole", running=False),
    Copy("copy-whole-fails-to-prepare", "failed", "whole", job_fault="prepare"),
    Copy("copy-cancel-running", "cancelled", "cancel", quick=True),
    Copy("copy-cancel-at-once", "cancelled", "at-once"),
    Copy("copy-cancel-force", "cancelled", "force"),
    Copy("copy-cancel-force-reuse", "cancelled", "force", reuse=True),
]

MERGES = [
    Merge("commit", "completed", top=1, base=2, quick=True),
    Merge("commit-delete", "completed", top=1, base=3, deletes=True, quick=True),
    Merge("commit-drive-delete", "completed", top=2, base=3, deletes=True, style="drive"),
    Merge("commit-2", "completed", top=1, base=2, disks=2),
    Merge("commit-paused", "completed", top=1, base=2, running=False),
    Merge("commit-fails-to-run", "failed", top=1, base=2, job_fault="run"),
    Merge("commit-fails-to-finalize", "failed", top=1, base=2, job_fault="finalize", quick=True),
    Merge("commit-cancel-running", "cancelled", top=1, base=2, end="cancel"),
    Merge("commit-cancel-at-once", "cancelled", top=1, base=2, end="at-once"),
    Merge("pull", "completed"),
    Merge("pull-base", "completed", base=3, quick=True),
    Merge("pull-drive", "completed", style="drive", quick=True),
    Merge("pull-paused", "completed", running=False),
    Merge("pull-inner", "completed", into=1, quick=True),
    Merge("pull-inner-base", "completed", into=1, base=4, layers=6),
    Merge("pull-inner-drive", "completed", into=1, base=3, style="drive"),
    Merge("pull-inner-2", "completed", into=2, disks=2, layers=5),
    Merge("pull-inner-fails-to-finalize", "failed", into=1, job_fault="finalize"),
    Merge("pull-inner-cancel-running", "cancelled", into=1, end="cancel"),
    Merge("pull-fails-to-run", "failed", base=3, job_fault="run", quick=True),
    Merge("pull-fails-to-finalize", "failed", base=3, job_fault="finalize"),
    Merge("pull-cancel-running", "cancelled", base=3, end="cancel", quick=True),
]
