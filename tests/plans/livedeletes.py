"""Snapshots of a running guest that are deleted with their data: what a client asks for, and what must
hold afterwards.

Snapshot sK froze layer K-1 of each disk. What it holds is known: the slots that these layers had when
the test began. Where a deletion failed, the tree still says the truth of each disk, and the deletion
can be asked for again, of the guest as it is then: running, or dead and therefore shut off.
"""

import os

import fakemigrate
import fakeqcow2
from checks import (check_events, check_findings, check_images, check_qemu, disks_now, require,
                    wait_jobs)
from client import RpcError
from fakecontent import SLOTS, Content, image_key
from scenarios import Scenario
from world import DOMAIN, SIZE, TIMEOUT, Wrong


# The least that is a guest's memory: its first bytes, and the description that ends it.
STREAM = fakemigrate.MAGIC + b"\x06" + (2).to_bytes(4, "big") + b"{}"


class Delete(Scenario):
    kind = "delete"
    deletes = True

    def __init__(self, name, expects, snapshot, left, current, params=None, short=None,
                 cancels=False, branch=False, apart=None, memory=False, **more):
        """`short`: a disk that the last snapshot does not have. `left`: {name: parent}. `branch`: a
        second one was taken where the last was, whose overlays lie beside the active chains.
        `apart`: a disk that went back to its base since, away from what the snapshots have of it.
        `memory`: the snapshots have the guest's memory."""
        more.setdefault("layers", 4)
        super().__init__(name, expects, **more)
        self.snapshot, self.left, self.current, self.short = snapshot, left, current, short
        self.params = params or {}
        self.cancels, self.branch, self.apart = cancels, branch, apart
        self.memory = memory

    def memory_file(self, world, name):
        return os.path.join(world.images, f"{name}.mem") if self.memory else None

    def prepare(self, world):
        for number in range(1, self.layers) if self.memory else ():
            with open(self.memory_file(world, f"s{number}"), "wb") as stream:
                stream.write(STREAM)
        for target in self.branches(world):
            fakeqcow2.create(self.beside(world, target), SIZE, world.chains[target][-2])
        if self.apart:
            files = self.layers_left(world)
            for below, path in zip(files, files[1:]):
                fakeqcow2.create(path, SIZE, below)

    def branches(self, world):
        """The disks of the second branch."""
        return [target for target in world.chains if self.branch and target != self.short]

    @staticmethod
    def beside(world, target):
        return os.path.join(world.images, f"{target}-beside.qcow2")

    def layers_left(self, world):
        """The layers that the disk was on which is apart now."""
        return [world.chains[self.apart][0]] + [
            os.path.join(world.images, f"{self.apart}-left-{n}.qcow2") for n in range(1, self.layers)]

    def layers_of(self, target):
        return 2 if target == self.apart else self.layers - (target == self.short)

    def define(self, world):
        chains = dict(world.chains)
        if self.apart:
            chains[self.apart] = self.layers_left(world)
        for number in range(1, self.layers):
            self.define_one(world, f"s{number}", number, {
                target: (files[number - 1], files[number]) for target, files in chains.items()
                if number < len(files)}, current=True)
        if self.branch:
            self.define_one(world, f"s{self.layers - 1}b", self.layers - 1, {
                target: (chains[target][-2], self.beside(world, target))
                for target in self.branches(world)}, current=False)

    def define_one(self, world, name, number, layers, current, inside=None):
        disks = [{"disk": target, "mode": "internal", "file": path, "format": "qcow2"}
                 for target, path in (inside or {}).items()]
        disks += [{"disk": target, "mode": "external", "file": overlay, "format": "qcow2",
                  "backing": backing} for target, (backing, overlay) in layers.items()]
        record = {"name": name, "parent": f"s{number - 1}" if number > 1 else None,
                  "created": f"2026-01-0{number}T00:00:00Z", "state": "running", "memory": "no",
                  "disks": disks}
        if self.memory:
            record.update(memory="external", memory_file=self.memory_file(world, name))
        world.ask(f"define-{name}", "snapshot.redefine", domain=DOMAIN, snapshot=record,
                  current=current)

    def act(self, world):
        self.define(world)
        world.mark()
        if self.cancels and world.fake.alive:
            world.fake.order("hold", states=["running"])
        how = {"wait": "no"} if self.cancels else {}
        job = world.ask("delete", "snapshot.delete", domain=DOMAIN, name=self.snapshot,
                        **self.params, **how)
        if job and self.cancels:
            world.wait_begun(job["id"])
            world.ask("cancel", "job.cancel", job=job["id"], wait="ended")

    def check_all(self, world, clean):
        """As checks.check_all."""
        jobs = wait_jobs(world)
        disks = disks_now(world)
        if disks is None or (not disks and not world.fake.alive):
            require(not jobs, f"jobs of a domain that is not known: {jobs}")
            return "unknown"
        result = jobs[0]["outcome"]["result"] if jobs else "refused"
        if clean:
            require(result in self.expects.split(),
                    f"expected {self.expects}, is {result}; {world.errors or jobs}")
        check_truth(world, jobs, disks)
        if jobs and result != "completed":
            check_again(world)
        if jobs:
            check_done(world)
        check_findings(world)
        check_events(world, world.jobs())
        return result


class Inside(Delete):
    """The last snapshot is inside the active layers of some disks."""

    def __init__(self, name, expects, snapshot, left, current, inside, **more):
        super().__init__(name, expects, snapshot, left, current, **more)
        self.inside_of = inside

    def layers_of(self, target):
        return self.layers - (target in self.inside_of)

    def prepare(self, world):
        super().prepare(world)
        for target in self.inside_of:
            fakeqcow2.add_snapshot(world.chains[target][-1], f"s{self.layers - 1}")
            fakeqcow2.add_snapshot(world.chains[target][-1], "another")

    def define(self, world):
        for number in range(1, self.layers):
            layers = {target: (files[number - 1], files[number])
                      for target, files in world.chains.items() if number < len(files)}
            inside = {target: world.chains[target][-1] for target in self.inside_of
                      if number == self.layers - 1}
            self.define_one(world, f"s{number}", number, layers, current=True, inside=inside)

    def check_all(self, world, clean):
        result = super().check_all(world, clean)
        for target in self.inside_of if result != "unknown" else ():
            names = [row.name for row in fakeqcow2.snapshots(world.chains[target][-1])]
            wanted = ["another"] if "delete" in world.answers or world.jobs() else names
            require(names == wanted, f"{target} has {names} inside")
        return result


def content_of(world):
    """What the images hold, with what qemu-img has merged since QEMU ended: of that the fake knows
    nothing."""
    content = Content.from_json(world.fake.state()["content"])
    for *keys, base in world.tool_commits():
        for slot in content.allocated(keys):
            content.copy(keys, slot, base)
        content.flush(base)
    return content


def check_truth(world, jobs, disks):
    """Right after it came to rest, however it ended."""
    alive = world.fake.alive
    content = content_of(world)
    for target in world.chains:
        fault = content.fault(target, disks[target])
        require(fault is None, f"domain.get names a wrong image: {fault}")
    if alive:
        check_images(world, disks, alive)
        check_qemu(world, disks)
    check_snapshots(world, content)
    for job in jobs:
        for entry in job["outcome"]["files"]:
            there, active = os.path.exists(entry["file"]), entry["file"] in disks.values()
            require(active == (entry["state"] == "active"), f"{entry} beside {disks}")
            require(there == (entry["state"] != "removed"), f"{entry}: the file is there: {there}")


def check_snapshots(world, content):
    """Each snapshot holds what it froze, or says that nothing does."""
    for snapshot in world.call("snapshot.list", domain=DOMAIN)["snapshots"]:
        for disk in snapshot["disks"]:
            if disk["backing"] is None:
                continue
            # Those that are left of a disk that is apart hold nothing of their own.
            layers = 1 if disk["disk"] == world.scenario.apart else int(snapshot["name"][1])
            promised = content.promised[disk["disk"]]
            wanted = {SLOTS + layer: promised[SLOTS + layer] for layer in range(layers)}
            keys = [image_key(path) for path in fakeqcow2.chain(disk["backing"])]
            found = {slot: content.read(keys, slot, "flushed")
                     for slot in content.allocated(keys)}
            require(found == wanted, f"{snapshot['name']} of {disk['disk']} holds {found} in "
                                     f"{disk['backing']} and not {wanted}")


def check_again(world):
    """What was not done is asked for again, and is done then. A monitor that is lost under it as the
    last of what went wrong is asked once more."""
    if world.fake.alive:
        world.fake.order("disarm")
        world.fake.order("release")
    job = ask_again(world)
    if (job["outcome"]["error"] or {}).get("data", {}).get("kind") == "QemuGone":
        world.daemon.wait_domain(DOMAIN, timeout=TIMEOUT)
        job = ask_again(world)
    require(job["outcome"]["result"] == "completed", f"asked again: {job}")
    check_truth(world, [job], disks_now(world))


def ask_again(world):
    scenario = world.scenario
    try:
        world.call("snapshot.get", domain=DOMAIN, name=scenario.snapshot)
    except RpcError as error:
        raise Wrong(f"the snapshot is gone, and its deletion failed: {error}") from None
    return world.call("snapshot.delete", domain=DOMAIN, name=scenario.snapshot, **scenario.params)


def check_done(world):
    """The tree and the folder in the end."""
    scenario = world.scenario
    snapshots = {snapshot["name"]: snapshot
                 for snapshot in world.call("snapshot.list", domain=DOMAIN)["snapshots"]}
    parents = {name: snapshot["parent"] for name, snapshot in snapshots.items()}
    require(parents == scenario.left, f"left: {parents}")
    domain = world.call("domain.get", domain=DOMAIN)
    require(domain["current_snapshot"] == scenario.current, f"current: {domain}")
    known = {layer["file"] for disk in domain["disks"] for layer in disk["chain"]}
    for disk in (disk for snapshot in snapshots.values() for disk in snapshot["disks"]):
        known |= {disk["backing"], disk["file"]} - {None}
    known |= {scenario.memory_file(world, name) for name in snapshots} - {None}
    for disk in (disk for snapshot in snapshots.values() for disk in snapshot["disks"]):
        if disk["mode"] == "internal":
            continue
        above = fakeqcow2.chain(disk["file"])
        require(disk["backing"] in above[1:], f"the header says {above[1:]}: {disk}")
    there = {os.path.join(world.images, name) for name in os.listdir(world.images)}
    require(there == known, f"left over: {there - known}; missing: {known - there}")
    for disk in domain["disks"]:
        headers = fakeqcow2.chain(disk["active"])
        require(headers == [layer["file"] for layer in disk["chain"]],
                f"the headers say {headers}: {disk['chain']}")


DELETES = [
    Delete("live-inner", "completed", "s2", {"s1": None, "s3": "s1"}, "s3"),
    Delete("live-inner-2", "completed", "s2", {"s1": None, "s3": "s1"}, "s3", disks=2, quick=True),
    Delete("live-inner-drive", "completed", "s2", {"s1": None, "s3": "s1"}, "s3", style="drive"),
    Delete("live-root", "completed", "s1", {"s2": None, "s3": "s2"}, "s3"),
    Delete("live-current", "completed", "s3", {"s1": None, "s2": "s1"}, "s2", quick=True),
    Delete("live-current-2", "completed", "s3", {"s1": None, "s2": "s1"}, "s2", disks=2),
    Delete("live-current-drive", "completed", "s3", {"s1": None, "s2": "s1"}, "s2",
           style="drive"),
    Delete("live-current-paused", "completed", "s3", {"s1": None, "s2": "s1"}, "s2",
           running=False, agent=False),
    Delete("live-memory", "completed", "s2", {"s1": None, "s3": "s1"}, "s3", memory=True,
           quick=True),
    Delete("live-only", "completed", "s1", {}, None, layers=2),
    Delete("live-mixed", "completed", "s2", {"s1": None, "s3": "s1"}, "s3", disks=2, short="vdb",
           quick=True),
    Delete("live-children", "completed", "s2", {"s1": None}, "s1", {"children": True}),
    Delete("live-children-only", "completed", "s1", {"s1": None}, "s1", {"children_only": True},
           disks=2),
    Delete("live-branch", "completed", "s2", {"s1": None, "s3": "s1", "s3b": "s1"}, "s3",
           branch=True, quick=True),
    Delete("live-branch-fails-to-switch", "failed", "s2", {"s1": None, "s3": "s1", "s3b": "s1"},
           "s3", disks=2, branch=True, job_fault="finalize", fault_disk="vdb"),
    Delete("live-mixed-branch-fails-to-switch", "failed", "s2",
           {"s1": None, "s3": "s1", "s3b": "s1"}, "s3", disks=2, short="vdb", branch=True,
           job_fault="finalize", fault_disk="vdb"),
    Delete("live-apart", "completed", "s2", {"s1": None, "s3": "s1"}, "s3", disks=2, apart="vdb",
           style="drive", quick=True),
    Inside("live-inside", "completed", "s1", {}, None, inside=("vda",), layers=2, quick=True),
    Inside("live-inside-2", "completed", "s2", {"s1": None}, "s1", inside=("vda", "vdb"), disks=2,
           layers=3),
    Inside("live-inside-drive", "completed", "s1", {}, None, inside=("vda",), layers=2,
           style="drive"),
    Inside("live-inside-mixed", "completed", "s3", {"s1": None, "s2": "s1"}, "s2", inside=("vdb",),
           disks=2, quick=True),
    Delete("live-fails-to-run", "failed", "s2", {"s1": None, "s3": "s1"}, "s3", disks=2,
           job_fault="run", fault_disk="vdb"),
    Delete("live-fails-to-prepare", "failed", "s3", {"s1": None, "s2": "s1"}, "s2", disks=2,
           job_fault="prepare", fault_disk="vdb"),
    Delete("live-inner-fails-to-switch", "failed", "s2", {"s1": None, "s3": "s1"}, "s3", disks=2,
           job_fault="finalize", fault_disk="vdb", quick=True),
    Delete("live-current-fails-to-switch", "failed", "s3", {"s1": None, "s2": "s1"}, "s2", disks=2,
           job_fault="finalize", fault_disk="vda"),
    Delete("live-cancelled", "cancelled", "s2", {"s1": None, "s3": "s1"}, "s3", disks=2,
           cancels=True),
]
