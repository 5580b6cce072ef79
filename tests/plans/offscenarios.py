"""What a client asks for while the guest is shut off. `act` may be run any number of times, over
crashes; `check` holds the end against what was asked for."""

import os

from offworld import DOMAIN, require


class Scenario:
    def __init__(self, name, disks=1, layers=2, base="qcow2", quick=False):
        self.name, self.disks, self.layers, self.base = name, disks, layers, base
        self.quick = quick          # part of a run that has to be short

    def content(self, world, target):
        """What the disk holds in the end: nothing here changes what a guest reads."""
        return world.expected(target)

    def snapshot_content(self, world, _name, target):
        return world.expected(target)

    def is_removed(self, _file):
        """Whether a file that one job told to be there was removed by a later one."""
        return False

    def loses(self, _files):
        """Whether files that records name may be missing."""
        return False


class Snapshot(Scenario):
    """Two snapshots one after another; the second one names its files."""

    def act(self, world):
        world.ask("first", "snapshot.create", domain=DOMAIN, name="first", quiesce="required")
        disks = [{"disk": target, "file": f"{world.images}/{target}-own.qcow2"}
                 for target in world.targets]
        world.ask("second", "snapshot.create", domain=DOMAIN, name="second", disks=disks)

    def check(self, world):
        snapshots = world.snapshots()
        require(list(snapshots) == ["first", "second"], f"snapshots: {list(snapshots)}")
        require(snapshots["second"]["parent"] == "first" and snapshots["second"]["current"],
                f"second: {snapshots['second']}")
        for snapshot in snapshots.values():
            require(snapshot["quiesced"] and snapshot["state"] == "shutoff", f"{snapshot}")
        for target, disk in world.disks().items():
            require([layer["file"] for layer in disk["chain"]] ==
                    [f"{world.images}/{target}-own.qcow2",
                     f"{world.images}/{DOMAIN}-{target}.first.qcow2",
                     *reversed(world.layers[target])], f"{target}: {disk['chain']}")
        for job in world.jobs():
            require(job["outcome"]["result"] == "completed", f"{job}")


class Commit(Scenario):
    """A commit of the layers from `top` to `bottom` (indexes, 0 is the active one) on each disk."""

    def __init__(self, name, top, bottom, deletes=False, **more):
        super().__init__(name, **more)
        self.top, self.bottom, self.deletes = top, bottom, deletes

    def chain(self, world, target):
        return list(reversed(world.layers[target]))

    def act(self, world):
        for target in world.targets:
            world.ask(f"commit-{target}", "block.commit", domain=DOMAIN, disk=target,
                      top=self.chain(world, target)[self.top],
                      base=self.chain(world, target)[self.bottom], active=self.top == 0,
                      delete=self.deletes, wait="ended")

    def check(self, world):
        for target, disk in world.disks().items():
            chain = self.chain(world, target)
            merged = chain[self.top:self.bottom]
            require([layer["file"] for layer in disk["chain"]] ==
                    [file for file in chain if file not in merged], f"{target}: {disk['chain']}")
            for file in merged:
                require(os.path.exists(file) != self.deletes, f"{file}: {self.deletes}")
        for job in world.jobs():
            kind, result = job["kind"], job["outcome"]["result"]
            require((kind, result) == (("active-commit", "pivoted") if self.top == 0
                                       else ("commit", "completed")), f"{job}")
            worth = {file["file"]: file["state"] for file in job["outcome"]["files"]}
            chain = self.chain(world, job["disk"])
            require(job["outcome"]["active"] == chain[self.bottom if self.top == 0 else 0], f"{job}")
            for file in chain[self.top:self.bottom]:
                require(worth[file] in (("removed",) if self.deletes else ("invalid", "valid")),
                        f"{job}")


SNAPSHOTS = [
    Snapshot("off-snapshot-1", disks=1, layers=1, base="raw", quick=True),
    Snapshot("off-snapshot-2", disks=2, layers=2, quick=True),
]

COMMITS = [
    Commit("off-commit-active", 0, 1, quick=True),
    Commit("off-commit-active-delete", 0, 2, deletes=True, layers=3, base="raw", quick=True),
    Commit("off-commit-inner", 1, 2, layers=3),
    Commit("off-commit-inner-delete", 1, 3, deletes=True, layers=4, quick=True),
    Commit("off-commit-2", 0, 1, deletes=True, disks=2),
]
