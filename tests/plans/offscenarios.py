"""What a client asks for while the guest is shut off. `act` may be run any number of times, over
crashes; `check` holds the end against what was asked for."""

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


SNAPSHOTS = [
    Snapshot("off-snapshot-1", disks=1, layers=1, base="raw", quick=True),
    Snapshot("off-snapshot-3", disks=3, layers=2, quick=True),
]
