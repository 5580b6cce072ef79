"""What a client asks for while the guest is shut off. `act` may be run any number of times, over
crashes; `check` holds the end against what was asked for."""

import os

from client import RpcError
from offworld import DOMAIN, Wrong, expected, require


class Scenario:
    shared = False      # whether all disks lie on the first one's base, which that is on itself

    def layers_of(self, number):
        return 1 if self.shared and number == 0 else self.layers

    def __init__(self, name, disks=1, layers=2, base="qcow2", quick=False, script=False):
        self.name, self.disks, self.layers, self.base = name, disks, layers, base
        self.quick = quick          # part of a run that has to be short
        self.script = script        # the image tool is one that outlives the daemon

    def content(self, world, target):
        """What the disk holds in the end: nothing here changes what a guest reads."""
        return world.expected(target)

    def snapshot_content(self, world, _name, target):
        return world.expected(target)

    def is_removed(self, _file):
        """Whether a file that one job told to be there was removed by a later one."""
        return False


class Snapshot(Scenario):
    """Two snapshots one after another; the second one names its files."""

    def act(self, world):
        world.mark()
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
        world.mark()
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


class Delete(Scenario):
    """A tree of snapshots, made by `grow`, of which some are deleted one after another: each is a
    name, with what else is said."""

    def __init__(self, name, deletes, left, current, grow="line", **more):
        super().__init__(name, **more)
        self.deletes, self.left, self.current, self.how = deletes, left, current, grow

    def content(self, world, target):
        return expected(world.now[target])

    def snapshot_content(self, world, name, target):
        return expected(world.saved[name][target])

    def act(self, world):
        world.guest_writes("w0", {0: 11, 1: 12})
        world.take("s1")
        world.guest_writes("w1", {1: 21, 2: 22})
        world.take("s2")
        world.guest_writes("w2", {2: 31, 3: 32})
        if self.how == "branch":
            world.go_back("s1", force=True)
            world.guest_writes("w3", {3: 41, 4: 42})
        world.take("s3")
        world.guest_writes("w4", {4: 51, 5: 52})
        if self.how == "branch":
            world.take("s4")
        world.mark()
        for name, params in self.deletes:
            world.ask(f"delete-{name}", "snapshot.delete", domain=DOMAIN, name=name, **params)

    def check(self, world):
        snapshots = world.snapshots()
        require(set(snapshots) == set(self.left), f"left: {list(snapshots)}")
        for name, parent in self.left.items():
            require(snapshots[name]["parent"] == parent, f"{name}: {snapshots[name]}")
        require(world.domain()["current_snapshot"] == self.current, f"{world.domain()}")

    def is_removed(self, _file):
        return True


class Internal(Delete):
    """Snapshots inside the images of all disks, and then of the first one alone, beside overlays."""

    def __init__(self, name, **more):
        super().__init__(name, [], {"s1": None, "s2": "s1"}, "s2", **more)

    def act(self, world):
        world.guest_writes("w0", {0: 11, 1: 12})
        world.mark()
        world.take("s1", disks=[{"disk": target, "mode": "internal"} for target in world.targets])
        world.guest_writes("w1", {1: 21, 2: 22})
        world.take("s2", disks=[{"disk": target, "mode": "internal" if n == 0 else "external"}
                                for n, target in enumerate(world.targets)])
        world.guest_writes("w2", {2: 31, 3: 32})

    def check(self, world):
        super().check(world)
        for snapshot in world.snapshots().values():
            require(snapshot["quiesced"] and snapshot["state"] == "shutoff", f"{snapshot}")
        for target, disk in world.disks().items():
            overlays = 0 if target == world.targets[0] else 1
            require(len(disk["chain"]) == self.layers + overlays, f"{target}: {disk['chain']}")


class InternalDelete(Delete):
    """Of three snapshots, the middle one goes, and then the rest as `deletes` says. The first disk
    has all of them inside; with `overlays` the others have the middle one so and the rest beside it,
    so that layers of theirs are kept for what is inside."""

    def __init__(self, name, deletes, left, current, overlays=False, **more):
        super().__init__(name, deletes, left, current, **more)
        self.overlays = overlays

    def modes(self, world, middle):
        return [{"disk": target, "mode": "external" if n and self.overlays and not middle
                 else "internal"} for n, target in enumerate(world.targets)]

    def act(self, world):
        world.guest_writes("w0", {0: 11, 1: 12})
        world.take("s1", disks=self.modes(world, False))
        world.guest_writes("w1", {1: 21, 2: 22})
        world.take("s2", disks=self.modes(world, True))
        world.guest_writes("w2", {2: 31, 3: 32})
        world.take("s3", disks=self.modes(world, False))
        world.guest_writes("w3", {3: 41, 4: 42})
        world.mark()
        for name, params in self.deletes:
            world.ask(f"delete-{name}", "snapshot.delete", domain=DOMAIN, name=name, **params)


class Shared(Delete):
    """A snapshot froze what another disk lies on as well: it is not written to."""
    shared = True

    def act(self, world):
        world.take("s1")
        world.guest_writes("w1", {0: 21, 1: 22}, disks=1)
        world.mark()
        world.ask("delete", "snapshot.delete", domain=DOMAIN, name="s1")

    def check(self, world):
        super().check(world)
        require(os.path.exists(world.layers[world.targets[0]][0]), "the shared layer is gone")


class Revert(Delete):
    """Back to a snapshot, and from there to one on another branch; nothing is lost but what was
    told to be."""

    def act(self, world):
        world.guest_writes("w0", {0: 11, 1: 12})
        world.take("s1")
        world.guest_writes("w1", {1: 21, 2: 22})
        world.take("s2")
        world.mark()
        world.go_back("s1")             # nothing was written since
        world.guest_writes("w2", {2: 31, 3: 32})
        self.refused(world)
        world.take("s3")
        world.guest_writes("w3", {4: 41})
        world.go_back("s2", force=True)

    def refused(self, world):
        """What was written since the last snapshot is not left without force."""
        if "refused" in world.done:
            return
        world.done.add("refused")
        try:
            world.call("snapshot.revert", domain=DOMAIN, name="s2")
        except RpcError as error:
            require(error.kind in ("InvalidState", "Busy"), f"{error}")
        else:
            raise Wrong("it left what no snapshot holds")


class InternalRevert(Delete):
    """Back to what is inside the images and forth again; nothing is lost but what was told to be.
    With `overlays` the disks but the first go back to layers below their overlays."""

    def __init__(self, name, overlays=False, **more):
        super().__init__(name, [], {"s1": None, "s2": "s1"}, "s1", **more)
        self.overlays = overlays

    def modes(self, world):
        return [{"disk": target, "mode": "external" if n and self.overlays else "internal"}
                for n, target in enumerate(world.targets)]

    def act(self, world):
        world.guest_writes("w0", {0: 11, 1: 12})
        world.take("s1", disks=self.modes(world))
        world.guest_writes("w1", {1: 21, 2: 22})
        world.take("s2", disks=self.modes(world))
        world.mark()
        world.go_back("s1")             # nothing was written since
        if not self.overlays:
            world.go_back("s2")
        world.guest_writes("w2", {2: 31, 3: 32})
        self.refused(world)
        world.go_back("s1", force=True)

    def refused(self, world):
        """What was written since the last snapshot is not given up without force."""
        if "refused" in world.done:
            return
        world.done.add("refused")
        try:
            world.call("snapshot.revert", domain=DOMAIN, name="s1")
        except RpcError as error:
            require(error.kind in ("InvalidState", "Busy"), f"{error}")
        else:
            raise Wrong("it gave up what no snapshot holds")


class MemoryRevert(InternalRevert):
    """Back to a snapshot whose memory was saved frozen: the next QEMU is owed a thaw."""

    def __init__(self, name, **more):
        super().__init__(name, **more)
        self.left = {"s1": None}

    def act(self, world):
        world.guest_writes("w0", {0: 11, 1: 12})
        world.take("s1")
        if "record" not in world.notes:
            world.notes["record"] = {**world.snapshots()["s1"], "memory": "external",
                                     "memory_file": os.path.join(world.images, "s1.mem")}
            with open(world.notes["record"]["memory_file"], "wb") as stream:
                stream.write(b"QEVM\0\0\0\3\6\0\0\0\2{}")
        world.ask("forget", "snapshot.delete", domain=DOMAIN, name="s1", metadata_only=True)
        world.ask("redefine", "snapshot.redefine", domain=DOMAIN, snapshot=world.notes["record"],
                  current=True)
        world.guest_writes("w1", {1: 21, 2: 22})
        world.mark()
        self.refused(world)
        world.go_back("s1", force=True)

    def check(self, world):
        super().check(world)
        require(world.domain()["freeze"] == "thaw-owed", f"{world.domain()}")
        start = world.jobs()[-1]["outcome"]["start"]
        require(start == {"arguments": ["-incoming", f"exec:cat {world.images}/s1.mem"],
                          "cont": True, "thaw": True}, f"{start}")


SNAPSHOTS = [
    Snapshot("off-snapshot-1", disks=1, layers=1, base="raw"),
    Snapshot("off-snapshot-2", disks=2, layers=2, quick=True),
]

INTERNALS = [
    Internal("off-internal-1", layers=1),
    Internal("off-internal-2", disks=2, quick=True),
    Internal("off-internal-3", disks=3),
    Internal("off-internal-script", layers=1, script=True, quick=True),
]

COMMITS = [
    Commit("off-commit-active", 0, 1),
    Commit("off-commit-active-delete", 0, 2, deletes=True, layers=3, base="raw", quick=True),
    Commit("off-commit-inner", 1, 2, layers=3),
    Commit("off-commit-inner-delete", 1, 3, deletes=True, layers=4, quick=True),
    Commit("off-commit-2", 0, 1, deletes=True, disks=2),
    Commit("off-commit-script", 0, 1, script=True),
]

DELETES = [
    Delete("delete-current", [("s3", {})], {"s1": None, "s2": "s1"}, "s2"),
    Delete("delete-root", [("s1", {})], {"s2": None, "s3": "s2"}, "s3", base="raw", layers=1),
    Delete("delete-inner", [("s2", {})], {"s1": None, "s3": "s1"}, "s3", disks=2, layers=1,
           quick=True),
    Delete("delete-each", [("s2", {}), ("s1", {}), ("s3", {})], {}, None, layers=1),
    Delete("delete-children", [("s2", {"children": True})], {"s1": None}, "s1", layers=1),
    Delete("delete-children-only", [("s1", {"children_only": True})], {"s1": None}, "s1", layers=1),
    InternalDelete("internal-delete", [("s2", {}), ("s3", {})], {"s1": None}, "s1", layers=1,
                   quick=True),
    InternalDelete("internal-delete-children", [("s2", {"children": True})], {"s1": None}, "s1",
                   disks=2),
    InternalDelete("internal-delete-mixed", [("s1", {}), ("s3", {})], {"s2": None}, "s2", disks=2,
                   layers=1, overlays=True, quick=True),
    InternalDelete("internal-delete-all", [("s1", {"children": True})], {}, None, disks=2, layers=1,
                   overlays=True),
    Shared("delete-shared", [], {}, None, disks=2, layers=2, quick=True),
]

REVERTS = [
    InternalRevert("internal-revert", layers=1, quick=True),
    InternalRevert("internal-revert-2", disks=2),
    InternalRevert("internal-revert-mixed", overlays=True, disks=2, layers=1),
    MemoryRevert("memory-revert", disks=2, layers=1, quick=True),
    Revert("revert", [], {"s1": None, "s2": "s1", "s3": "s1"}, "s2", layers=1, base="raw",
           quick=True),
    Revert("revert-2", [], {"s1": None, "s2": "s1", "s3": "s1"}, "s2", disks=2, layers=1),
]

# Two branches from s1: s2, and s3 with s4 on it, where the disk is.
BRANCHES = [
    Delete("branch-root", [("s1", {})], {"s2": None, "s3": None, "s4": "s3"}, "s4", "branch",
           layers=1),
    Delete("branch-leaf", [("s2", {})], {"s1": None, "s3": "s1", "s4": "s3"}, "s4", "branch",
           layers=1, quick=True),
    Delete("branch-both", [("s2", {}), ("s1", {})], {"s3": None, "s4": "s3"}, "s4", "branch",
           layers=1),
    Delete("branch-inner", [("s3", {})], {"s1": None, "s2": "s1", "s4": "s1"}, "s4", "branch",
           layers=1),
    Delete("branch-all-below", [("s1", {"children_only": True})], {"s1": None}, "s1", "branch",
           layers=1),
    Delete("branch-all", [("s1", {"children": True})], {}, None, "branch", disks=2, layers=1),
]

EVERY = SNAPSHOTS + INTERNALS + COMMITS + DELETES + REVERTS + BRANCHES
