"""What must hold once everything has come to rest, whatever went wrong before."""

import os
import time

import fakeqcow2
from client import RpcError
from fakecontent import Content, image_key
from fakemigrate import saved_writes
from world import DOMAIN, TIMEOUT, Wrong

DONE = {"completed": "new", "rolled-back": "old", "failed": "old", "cancelled": "old",
        "pivoted": "base", "kept": "old"}


def require(condition, sentence):
    if not condition:
        raise Wrong(sentence)


def wait_jobs(world):
    """All jobs ended: by themselves after a crash, as nobody asks for anything."""
    for job in world.jobs():
        # Where what was asked of it was refused, as another job of its group had failed, a user ends
        # it: nothing else does.
        if world.errors and job["state"] in ("ready", "stalled"):
            world.ask(f"give-up-{job['id']}", "job.cancel", job=job["id"])
        try:
            world.call("job.wait", job=job["id"], for_="ended", timeout_ms=TIMEOUT * 1000 - 2000)
        except RpcError as error:
            raise Wrong(f"job {job['id']} does not end: {error}; refused before: "
                        f"{world.errors}; it is {job}") from None
    return world.jobs()


def disks_now(world):
    try:
        domain = world.call("domain.get", domain=DOMAIN)
    except RpcError as error:
        if error.kind != "NotFound":
            raise
        return None
    return {entry["target"]: entry["active"] for entry in domain["disks"]}


def check_all(world, clean=False):
    """`clean`: nothing went wrong, so that the scenario's own expectation holds."""
    if world.scenario.kind == "delete":
        return world.scenario.check_all(world, clean)
    alive = world.fake.alive
    jobs = wait_jobs(world)
    disks = disks_now(world)
    if disks is None or (not disks and not alive):
        require(not jobs, f"jobs of a domain that is not known: {jobs}")
        return "unknown"
    check_went_back(world, jobs)
    check_images(world, disks, alive)
    results = [check_job(world, job, disks) for job in jobs]
    moved = {place(world, job, r) != "old" for job, r in zip(jobs, results)}
    require(len(moved) <= 1, f"a group that is not all or none: {results}")
    for job in jobs:
        check_copy(world, job)
        check_merge(world, job)
        check_memory(world, job)
    check_files(world, jobs)
    check_inside(world, jobs)
    check_halted(world, results)
    if alive:
        check_qemu(world, disks, results[-1:] == ["failed"] and jobs[-1]["kind"] == "revert")
    check_findings(world)
    check_quiesced(world, jobs, clean)
    check_events(world, jobs, clean)
    result = results[world.scenario.counts] if results else world.scenario.without_job(world)
    if clean:
        require(result in world.scenario.expects.split(),
                f"expected {world.scenario.expects}, is {result}; {world.errors or jobs}")
    return result


def check_went_back(world, jobs):
    """Where QEMU did not get done with going back, the images tell what the disks are: what the
    snapshot holds, marked so. The guest counts on that then."""
    job = jobs[-1] if jobs else None
    if job is None or job["kind"] != "revert":
        return
    result = job["outcome"]["result"]
    start = job["outcome"]["start"]
    torn = world.fake.state()["torn"]
    back = {target: chain[-1] for target, chain in world.chains.items()
            if fakeqcow2.is_at(chain[-1], "before")}
    require(result == "failed" or start or not torn, f"{result}, and the guest is torn")
    if result == "failed":
        require(torn or len(back) == len(world.chains), f"failed, and nothing has changed: {job}")
    if result == "failed" or start:
        world.fake.went_back("before", back)
    if start:
        require(len(back) == len(world.chains), f"to be started, and only {back} went back")
        require(result == "completed" and not world.fake.alive, f"to be started: {job}")
        stands = [] if world.scenario.running else ["-S"]
        require(start["arguments"] == ["-loadvm", "before", *stands], f"{start}")


def place(world, job, result):
    """Where the disk is after it."""
    kind = job["kind"]
    if kind == "revert" or ("snapshot" in kind and world.scenario.internal == len(world.chains)):
        return "old"
    if kind == "copy":
        return "new" if result == "pivoted" else "old"
    if kind in ("commit", "pull"):
        return "old"
    return DONE[result]


def check_copy(world, job):
    """What is called a whole copy is one, on the disk; what is none is gone, unless somebody else
    made the file."""
    result = job["outcome"]["result"]
    if job["kind"] != "copy" or result == "pivoted":
        return
    entry = next(e for e in job["outcome"]["files"] if e["role"] == "target")
    if result == "completed":
        require(entry["state"] == "valid", f"completed, and the copy is {entry}")
        found = world.fake.torn(job["disk"], entry["file"])
        require(found is None, f"called a whole copy: {found}")
    elif world.scenario.reuse:
        require(entry["state"] == "invalid", f"{result}, and the file that was there is {entry}")
    else:
        require(entry["state"] == "removed", f"{result}, and the copy is {entry}")


def check_merge(world, job):
    """The chain is the one without the merged layers, or the old one, as the outcome says: in the
    headers and for the daemon."""
    if job["kind"] not in ("commit", "pull"):
        return
    files = world.chains[job["disk"]][::-1]
    gone = world.scenario.merged(files) if job["outcome"]["result"] == "completed" else []
    right = [file for file in files if file not in gone]
    require(fakeqcow2.chain(files[0]) == right, f"{job['outcome']['result']}, and the headers lead "
            f"to {fakeqcow2.chain(files[0])}")
    disks = world.call("domain.get", domain=DOMAIN)["disks"]
    chain = next(d["chain"] for d in disks if d["target"] == job["disk"])
    require([layer["file"] for layer in chain] == right, f"{job['outcome']['result']}, and the "
            f"chain is {chain}")


def check_inside(world, jobs):
    """Snapshots inside images are in all of those that were meant, or in none, and hold what the
    disks did at the switch; what was there before is left alone."""
    scenario = world.scenario
    meant = list(world.chains)[:scenario.internal]
    stranger = getattr(scenario, "stranger", None)
    done = any(job["outcome"]["result"] == "completed" for job in jobs)
    for target, chain in world.chains.items():
        for path in chain:
            if not os.path.exists(path):
                continue
            names = [row.name for row in fakeqcow2.snapshots(path)]
            want = path == chain[-1] and (target == stranger or (done and target in meant))
            require(names == ([scenario.inside] if want else []), f"{path} has {names} inside")
    for target in meant if done else ():
        kept = max(world.fake.inside(world.chains[target][-1], scenario.inside).values())
        state = world.fake.state()
        if state["switches"] or state["saves"]:
            last = (state["switches"] or state["saves"])[0]["writes"][target]
            require(kept == last, f"{target}: write {kept} inside, and {last} was the last one")
        else:   # QEMU died in the switch; the guest's last instant comes behind it
            last = state["content"]["writes"][target]
            require(last - 1 <= kept <= last, f"{target}: write {kept} inside, {last} at the end")


def check_halted(world, results):
    """QEMU has ended behind the snapshot that was to end it, and only behind it."""
    if world.scenario.kind == "halt" and "completed" in results:
        require(not world.fake.alive, "completed, and QEMU goes on")
    elif world.scenario.kind == "halt":
        require("quit" not in world.fake.names("qmp"), f"{results}, and QEMU was told to quit")


def check_memory(world, job):
    """What is called the memory of a snapshot is whole, and of the instant of the frozen layers."""
    if job["kind"] != "memory-snapshot":
        return
    result = job["outcome"]["result"]
    names = [s["name"] for s in world.call("snapshot.list", domain=DOMAIN)["snapshots"]]
    require(bool(names) == (result == "completed"), f"{result}, and there are snapshots {names}")
    if result != "completed":
        return
    snapshot = world.call("snapshot.get", domain=DOMAIN, name=names[0])
    if world.scenario.internal:
        check_state(world, snapshot)
        return
    require(snapshot["memory"] == "external", f"no memory: {snapshot}")
    writes = saved_writes(snapshot["memory_file"])
    require(writes is not None, "called whole, and the memory is not")
    content = Content.from_json(world.fake.state()["content"])
    for disk in snapshot["disks"]:
        keys = [image_key(file) for file in world.chains[disk["disk"]]]
        frozen = max(max(content.image(key)["flushed"].values(), default=0) for key in keys)
        require(frozen == writes[disk["disk"]],
                f"{disk['disk']}: frozen after write {frozen}, its memory after {writes}")


def check_state(world, snapshot):
    """The memory is in one of the images, and of the instant of the snapshots beside it."""
    require((snapshot["memory"], snapshot["location"]) == ("internal", "internal"), f"{snapshot}")
    with_memory = [chain[-1] for chain in world.chains.values()
                   for row in fakeqcow2.snapshots(chain[-1]) if row.memory]
    require(len(with_memory) == 1, f"memory is inside {with_memory}")
    content = world.fake.state()["content"]
    writes = content["states"][f"{image_key(with_memory[0])} {snapshot['name']}"]["writes"]
    for target, chain in world.chains.items():
        kept = max(world.fake.inside(chain[-1], snapshot["name"]).values())
        require(kept == writes[target], f"{target}: write {kept} inside, its memory has {writes}")


def check_images(world, disks, alive):
    """P1: the image named active is right."""
    for target in world.chains:
        require(target in disks, f"{target} is not in domain.get: {disks}")
        found = world.fake.fault(target, disks[target])
        require(found is None, f"domain.get names a wrong image: {found}")
    if alive:
        roots = world.fake.state()["roots"]
        require(disks == roots, f"domain.get says {disks}, QEMU runs {roots}")


def check_job(world, job, disks):
    """The outcome is the truth. Returns its result."""
    outcome = job["outcome"]
    require(job["state"] == "ended" and outcome is not None, f"not ended: {job}")
    result = outcome["result"]
    require(result in DONE, f"no such result: {outcome}")
    touched = [job["disk"]] if job["disk"] else list(world.chains)
    if result == "failed" and job["kind"] in ("snapshot", "memory-snapshot"):
        # Failed of what was required, quiesced, with overlays that cannot be taken back: the files
        # tell.
        touched = []
    for target in touched:
        chain = world.chains[target]
        where = place(world, job, result)
        if "snapshot" in job["kind"] and target in list(world.chains)[:world.scenario.internal]:
            where = "old"
        expected = {"old": disks[target] == chain[-1], "base": disks[target] == chain[0],
                    "new": disks[target] not in chain}[where]
        require(expected, f"{result}, but {target} is active in {disks[target]}: {outcome}")
    if job["disk"]:
        require(outcome["active"] == disks[job["disk"]], f"active is not {disks}: {outcome}")
    for entry in outcome["files"]:
        there, active = os.path.exists(entry["file"]), entry["file"] in disks.values()
        require(active == (entry["state"] == "active"), f"{entry} beside {disks}")
        require(there == (entry["state"] != "removed"), f"{entry}: the file is there: {there}")
    return result


def check_files(world, jobs):
    """No file that no outcome names, none of the first ones missing that no outcome calls
    removed."""
    named = {os.path.basename(entry["file"]): entry["state"]
             for job in jobs for entry in job["outcome"]["files"]}
    now = set(os.listdir(world.images))
    for name in now - world.first_files:
        require(named.get(name, "removed") != "removed", f"left over: {name}")
    for name in world.first_files - now:
        require(named.get(name) == "removed", f"gone: {name}")
        require(world.scenario.deletes, f"removed, and nobody asked for it: {name}")


def check_qemu(world, disks, torn=False):
    """Nothing of ours is left in QEMU, the guest is as it was."""
    if world.scenario.agent and world.scenario.running and not torn:
        wait_thawed(world)
    state = world.fake.state()
    require(not state["frozen"], "the guest is frozen")
    commands = world.fake.names("qmp")
    require("cont" not in commands or "stop" in commands, "cont, and the daemon had not stopped it")
    wanted = ("running",) if world.scenario.running else ("prelaunch", "paused")
    if torn:
        wanted = ("paused", "restore-vm")
    require(state["status"] in wanted, f"the vCPUs are {state['status']}, were {wanted}")
    require(not state["jobs"], f"left over: jobs {state['jobs']}")
    require(not state["idle"], f"left over: nodes {state['idle']}; in use {state['chains']}")
    require(not state["drained"], f"held I/O: {state['drained']}")
    require(not state["fds"], f"left over: descriptors {state['fds']}")
    require(state["migration"] not in ("setup", "active"), f"left over: {state['migration']}")
    if world.scenario.agent and not world.scenario.running:
        # What is owed to a guest that stands still can be paid only when it goes on.
        world.fake.qmp("cont")
        wait_thawed(world)
        require(not world.fake.state()["frozen"], "the guest is frozen now that it runs")
    again = {target: world.fake.fault(target, path) for target, path in disks.items()}
    require(not any(again.values()), f"wrong after all: {again}")


def check_findings(world):
    """domain.check agrees: nothing is wrong, and nothing is left over."""
    findings = world.call("domain.check", domain=DOMAIN)["findings"]
    wrong = [finding for finding in findings if finding["level"] != "info"]
    require(not wrong, f"domain.check finds {wrong}")


def wait_thawed(world):
    """A debt may outlive its job: what counts is that it is paid. The daemon says so in an
    event."""
    try:
        world.daemon.wait_domain(
            DOMAIN, lambda d: d["connected"] and d["freeze"] in ("thawed", "unknown"), TIMEOUT)
    except TimeoutError:
        freeze = world.call("domain.get", domain=DOMAIN)["freeze"]
        raise Wrong(f"freeze is {freeze}, the guest is frozen: {world.fake.state()['frozen']}; "
                    f"the agent was asked {world.fake.names('agent')[-6:]}") from None


def check_quiesced(world, jobs, clean):
    """`quiesced` is said only when the switch happened over frozen file systems. When something
    went wrong in the window it may be true and not to be proven, and an overlay that the guest
    writes to cannot be taken back: then it is not said, even where it was required."""
    state = world.fake.state()
    switches = state["switches"] or state["saves"]
    for snapshot in world.call("snapshot.list", domain=DOMAIN)["snapshots"] if jobs else []:
        if snapshot["quiesced"]:
            require(switches and all(s["frozen"] for s in switches),
                    f"called quiesced, was not: {snapshot}")
        elif world.scenario.quiesce == "required" and clean:
            raise Wrong(f"quiesce was required, the snapshot is not: {snapshot}")


def check_events(world, jobs, clean=False):
    """Each job was announced once, and its end once, over all restarts."""
    with world.daemon.client(timeout=TIMEOUT) as client:
        last = client.subscribe(since=0)
        deadline = time.monotonic() + TIMEOUT
        seen = []
        while last and (not seen or seen[-1]["seq"] < last):
            while not client.events:
                client.receive(deadline)
            event = client.events.popleft()
            if "seq" in event:
                seen.append(event)
    numbers = [event["seq"] for event in seen]
    require(numbers == sorted(set(numbers)), f"events out of order or twice: {numbers}")
    frozen = [event["kind"] for event in seen if event["kind"] in ("guest.frozen", "guest.thawed")]
    require(not world.fake.alive or not frozen or frozen[-1] == "guest.thawed",
            f"no word of the last thaw: {frozen}")
    for job in jobs:
        for kind in ("job.created", "job.ended"):
            told = sum(e["kind"] == kind and e.get("job", {}).get("id") == job["id"] for e in seen)
            require(told == 1, f"{kind} of job {job['id']} was told {told} times")
    check_stalls(world, [event["kind"] for event in seen].count("job.stalled"), clean)


def check_stalls(world, told, clean):
    """A stall is told once, over all restarts, and nothing but its user lets the job go on."""
    meant = getattr(world.scenario, "stalls", 0)
    require(told == meant if clean else told <= meant, f"a stall was told {told} times")
    resumed = world.fake.names("qmp").count("job-resume")
    require(resumed <= world.asked["job.resume"], f"resumed {resumed} times")


def check_repeated(world):
    """The same requests once more: the same jobs, and QEMU is asked for nothing that changes it."""
    def effects():
        return [name for name in world.fake.names("qmp")
                if not name.startswith("query-") and name != "qmp_capabilities"]

    before, jobs = effects(), [job["id"] for job in world.jobs()]
    refused = set(world.errors)
    if not refused:
        world.scenario.act(world)
        require([job["id"] for job in world.jobs()] == jobs, "a repeated request began another job")
        require(effects() == before, f"a repeated request acted: {effects()[len(before):]}")
