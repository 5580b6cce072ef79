"""Cases of jobs whose QEMU, or host, dies in the very moment that they are told to have ended: nothing
may be lost.

A guest that writes on flushes some of what QEMU and the kernel hold back by its own writes, so each
kind of job is tried with the guest stopped as well; and with layers that QEMU has opened for writing,
which it does not flush by itself when it is done with them. `World.die` says who dies, `World.prepared` that it may
be from then on.
"""

from fakeqcow2 import read_header
from guest import image_blockdev
from machine import lacks
from suite import Skip, case, equal, some

LAYERS = 3
WAYS = (("qcow2", "writable", False), ("qcow2", "writable", True), ("qcow2", "blockdev", True),
        ("raw", "writable", False))


def ways(world):
    """A guest with data in each of four layers, and its clients: (machine, client, follower)."""
    for number, (driver, style, running) in enumerate(some(world.case, WAYS, nth=4)):
        machine = world.tiny(f"tiny{number}", driver=driver, style=style)
        client = world.start(machine.name)
        for layer in range(LAYERS):
            client.call("snapshot.create", domain=machine.name, name=f"s{layer}", metadata=False)
            machine.wait_writes(60)
        # The layers below are opened as the style says: a snapshot leaves them read-only.
        blockdev = client.call("domain.blockdev", domain=machine.name)["disks"]
        machine.quit()
        world.daemon.wait_domain(machine.name, lambda domain: not domain["connected"])
        machine.boot_from(blockdev).wait_writes(60)
        world.daemon.wait_domain(machine.name)
        if not running:
            machine.eyes.call("stop")
        follower = world.client()
        follower.subscribe(kinds=["job.ended"])
        world.prepared()
        yield machine, client, follower
        print(f"    {driver}, {style}, {'running' if running else 'stopped'}: right", flush=True)
        world.daemon.stop()
        machine.remove()


def dead_when_ended(world, machine, client, follower, result, method, **params):
    """The disk's images from the active one down, as headers and daemon tell them."""
    client.send(method, wait="no", **params)
    ended = follower.wait_event("job.ended", lambda event: event["domain"] == machine.name)
    world.die(machine)
    equal(ended["job"]["outcome"]["result"], result, "result")
    world.daemon.wait_domain(machine.name, lambda domain: not domain["connected"])
    disk, = world.client().call("domain.get", domain=machine.name)["disks"]
    chain = [layer["file"] for layer in disk["chain"]]
    equal([read_header(path).backing for path in chain], [*chain[1:], None], "headers")
    machine.check("vda", image_blockdev(chain[0], disk["format"]))
    findings = world.client().call("domain.check", domain=machine.name)["findings"]
    equal([found for found in findings if found["level"] != "info"], [], "findings")
    return chain


@case
def commit_of_an_inner_layer(world):
    for machine, client, follower in ways(world):
        before = machine.eyes.chain("vda")
        after = dead_when_ended(world, machine, client, follower, "completed", "block.commit",
                                  domain=machine.name, disk="vda", top="vda[1]", base="vda[2]")
        equal(after, [before[0], *before[2:]], "chain")


@case
def commit_down_to_the_bottom(world):
    for machine, client, follower in ways(world):
        before = machine.eyes.chain("vda")
        after = dead_when_ended(world, machine, client, follower, "completed", "block.commit",
                                  domain=machine.name, disk="vda", top="vda[1]", delete=True)
        equal(after, [before[0], before[3]], "chain")


@case
def pull_of_everything(world):
    for machine, client, follower in ways(world):
        before = machine.eyes.chain("vda")
        after = dead_when_ended(world, machine, client, follower, "completed", "block.pull",
                                  domain=machine.name, disk="vda")
        equal(after, before[:1], "chain")


@case
def pull_down_to_a_base(world):
    for machine, client, follower in ways(world):
        before = machine.eyes.chain("vda")
        after = dead_when_ended(world, machine, client, follower, "completed", "block.pull",
                                  domain=machine.name, disk="vda", base="vda[3]")
        equal(after, [before[0], before[3]], "chain")


@case
def pull_into_an_inner_layer(world):
    for machine, client, follower in ways(world):
        before = machine.eyes.chain("vda")
        after = dead_when_ended(world, machine, client, follower, "completed", "block.pull",
                                  domain=machine.name, disk="vda", top="vda[1]")
        equal(after, before[:2], "chain")


def ready(machine, client):
    return client.call("block.commit", domain=machine.name, disk="vda", active=True,
                       wait="ready")["id"]


@case
def active_commit_pivoted(world):
    for machine, client, follower in ways(world):
        before = machine.eyes.chain("vda")
        job = ready(machine, client)
        after = dead_when_ended(world, machine, client, follower, "pivoted", "job.pivot", job=job)
        equal(after, before[3:], "chain")


@case
def active_commit_kept(world):
    """The overlay, and the base as well where the guest stood still."""
    for machine, client, follower in ways(world):
        before = machine.eyes.chain("vda")
        job, stopped = ready(machine, client), machine.eyes.status() != "running"
        after = dead_when_ended(world, machine, client, follower, "kept", "job.cancel", job=job)
        equal(after, before, "chain")
        if stopped:
            machine.check("vda", before[3])


def copied(machine, client, format, **more):
    """A copy, once it is ready: (job, its file)."""
    file = str(machine.images / ("copy." + format))
    job = client.call("block.copy", domain=machine.name, disk="vda", wait="ready",
                      dest={"file": file, "format": format}, **more)
    return job["id"], file


@case
def copy_pivoted(world):
    for machine, client, follower in ways(world):
        job, file = copied(machine, client, machine.driver)
        after = dead_when_ended(world, machine, client, follower, "pivoted", "job.pivot", job=job)
        equal(after, [file], "chain")


@case
def shallow_copy_pivoted(world):
    for machine, client, follower in ways(world):
        before = machine.eyes.chain("vda")
        job, file = copied(machine, client, "qcow2", shallow=True)
        after = dead_when_ended(world, machine, client, follower, "pivoted", "job.pivot", job=job)
        equal(after, [file, *before[1:]], "chain")


@case
def copy_ended_as_a_whole_one(world):
    """The disk, and the copy as of some moment since it was ready."""
    for machine, client, follower in ways(world):
        before, acked = machine.eyes.chain("vda"), machine.acked()
        job, file = copied(machine, client, machine.driver)
        after = dead_when_ended(world, machine, client, follower, "completed", "job.cancel",
                                  job=job)
        equal(after, before, "chain")
        machine.check_moment("vda", image_blockdev(file, machine.driver), acked)


@case
def group_pivoted(world):
    """A copy and a commit of two disks, told by the first of the two ends."""
    for running in False, True:
        machine = world.tiny(f"group{running}", disks=2)
        client = world.start(machine.name)
        world.prepared()
        client.call("snapshot.create", domain=machine.name, name="s0", metadata=False)
        machine.wait_writes(60)
        if not running:
            machine.eyes.call("stop")
        job, file = copied(machine, client, "qcow2")
        jobs = [job, client.call("block.commit", domain=machine.name, disk="vdb", active=True,
                                 wait="ready")["id"]]
        follower = world.client()
        follower.subscribe(kinds=["job.ended"])
        client.send("job.pivot", wait="no", jobs=jobs)
        follower.wait_event("job.ended")
        world.die(machine)
        world.daemon.wait_domain(machine.name, lambda domain: not domain["connected"])
        named = world.blockdev(world.client(), machine.name)
        equal({target: blockdev["file"]["filename"] for target, blockdev in named.items()},
              {"vda": file, "vdb": str(machine.image("vdb"))}, "images")
        for target, blockdev in named.items():
            machine.check(target, blockdev)
        world.daemon.stop()
        machine.remove()


def kept_snapshots(machine, client, follower):
    """The chain, once two snapshots with records are on top of the layers without."""
    for name in ("kept", "last"):
        client.call("snapshot.create", domain=machine.name, name=name)
        follower.wait_event("job.ended")
        if machine.eyes.status() == "running":
            machine.wait_writes(60)
    return machine.eyes.chain("vda")


def deleted(world, name, gone):
    for machine, client, follower in ways(world):
        before = kept_snapshots(machine, client, follower)
        after = dead_when_ended(world, machine, client, follower, "completed", "snapshot.delete",
                                  domain=machine.name, name=name)
        equal(after, before[:gone] + before[gone + 1:], "chain")


@case
def last_snapshot_deleted(world):
    """Its overlay is the one that the guest writes to."""
    deleted(world, "last", 0)


@case
def inner_snapshot_deleted(world):
    deleted(world, "kept", 1)


@case
def snapshot(world):
    for machine, client, follower in ways(world):
        before = machine.eyes.chain("vda")
        after = dead_when_ended(world, machine, client, follower, "completed", "snapshot.create",
                                  domain=machine.name, name="last")
        equal(after[1:], before, "chain")


@case
def snapshot_inside(world):
    for machine, client, follower in ways(world):
        before = machine.eyes.chain("vda")
        after = dead_when_ended(world, machine, client, follower, "completed", "snapshot.create",
                                domain=machine.name, name="last",
                                disks=[{"disk": "vda", "mode": "internal"}])
        equal(after, before, "chain")


@case
def snapshot_with_memory(world):
    for machine, client, follower in ways(world):
        before = machine.eyes.chain("vda")
        machine.eyes.call("cont")
        memory = str(machine.images / "memory")
        after = dead_when_ended(world, machine, client, follower, "completed", "snapshot.create",
                                domain=machine.name, name="last",
                                memory={"mode": "external", "file": memory})
        equal(after[1:], before, "chain")


@case
def snapshot_with_memory_inside(world):
    reason = lacks("snapshot-save")
    if reason:
        raise Skip(reason)
    for machine, client, follower in ways(world):
        before = machine.eyes.chain("vda")
        after = dead_when_ended(world, machine, client, follower, "completed", "snapshot.create",
                                domain=machine.name, name="last", memory={"mode": "internal"})
        equal(after, before, "chain")
