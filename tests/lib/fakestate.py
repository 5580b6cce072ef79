"""Jobs of the fake QEMU on the state of the whole guest: snapshot-save and snapshot-load.

What matters of them: QEMU does the work before it answers, and holds the vCPUs of a guest that runs
for that; the job concludes behind the reply. The memory is in one of the images, and the snapshots
are written into one image after another. A job that fails leaves nothing inside; how it ended is
told by query-jobs until it is dismissed, and by no event.
"""

import fakeqcow2
from fakegraph import Killed, QmpError

STATE_SIZE = 400000


class StateJob:
    filter, drained, holding = None, False, False
    at_work = False     # at no disk

    def __init__(self, machine, job_id, kind):
        if not job_id[:1].isalpha() or not all(c.isalnum() or c in "-._" for c in job_id):
            raise QmpError(f"Invalid job ID '{job_id}'")
        if job_id in machine.jobs:
            raise QmpError(f"Job ID '{job_id}' already in use")
        self.machine, self.id, self.type = machine, job_id, kind
        self.error, self.io_status = None, "ok"
        machine.jobs[job_id] = self
        self.enter("created")
        self.enter("running")

    def enter(self, status):
        self.status = status
        self.machine.event("JOB_STATUS_CHANGE", {"id": self.id, "status": status})

    def run(self, work):
        try:
            self.machine.job_fault(self.type, self)
            work()
        except QmpError as error:
            self.error = error.desc
        self.machine.later(self.conclude)

    def conclude(self):
        for status in ("aborting",) if self.error else ("waiting", "pending"):
            self.enter(status)
        self.enter("concluded")

    def fail(self, desc):
        raise QmpError(desc)

    def info(self):
        answer = {"id": self.id, "type": self.type, "status": self.status,
                  "current-progress": 1, "total-progress": 1}
        if self.error:
            answer["error"] = self.error
        return answer

    def refuse(self, verb):
        raise QmpError(f"Job '{self.id}' in state '{self.status}' "
                       f"cannot accept command verb '{verb}'")

    def cancel(self, force):
        self.refuse("cancel")

    def complete(self):
        self.refuse("complete")

    def finalize_now(self):
        self.refuse("finalize")

    def pause(self):
        self.refuse("pause")

    def resume(self):
        raise QmpError("Can't resume a job that was not paused")

    def dismiss_now(self):
        if self.status != "concluded":
            self.refuse("dismiss")
        self.enter("null")
        del self.machine.jobs[self.id]

    # Nothing of what becomes of disks becomes of it.

    def flicker(self):
        pass

    go_on = keep_up = abort = flicker

    @staticmethod
    def busy():
        return set()

    own_backends = edges = busy


def _nodes(machine, arguments):
    nodes = []
    for name in arguments["devices"]:
        try:
            nodes.append(machine.graph.nodes[machine.graph.layer(machine.graph.resolve(name).name)])
        except QmpError:
            raise QmpError(f"No block device node '{name}'") from None
    return nodes


def save(machine, arguments):
    """snapshot-save: the memory is that of the instant, and so is what the disks hold."""
    job, name = StateJob(machine, arguments["job-id"], "snapshot-save"), arguments["tag"]

    def work():
        nodes = _nodes(machine, arguments)
        if any(row.name == name for node in nodes for row in fakeqcow2.snapshots(node.filename)):
            raise QmpError(f"Snapshot '{name}' already exists in one or more devices")
        memory = _memory(machine, arguments, nodes)
        ran = machine.running
        if ran:
            machine.status = "save-vm"
            machine.event("STOP")
        machine.content.save(memory.key, name)
        for done, node in enumerate(nodes):
            if done == machine.die_behind:
                raise Killed
            fakeqcow2.add_snapshot(node.filename, name, STATE_SIZE if node is memory else 0)
            machine.content.keep(node.key, name)
            machine.written.discard(node.key)
        machine.saves.append({"writes": dict(machine.content.writes),
                              "frozen": bool(machine.agent and machine.agent.frozen)})
        if ran:
            machine.status = "running"
            machine.event("RESUME")

    job.run(work)


def load(machine, arguments):
    """snapshot-load: a guest that ran before runs on behind it, one that stood stands; where it
    fails the vCPUs stay held."""
    job, name = StateJob(machine, arguments["job-id"], "snapshot-load"), arguments["tag"]

    def work():
        ran = machine.running
        if ran:
            machine.status = "restore-vm"
            machine.event("STOP")
        nodes = _nodes(machine, arguments)
        rows = {node.name: row for node in nodes for row in fakeqcow2.snapshots(node.filename)
                if row.name == name}
        if len(rows) < len(nodes):
            raise QmpError(f"Snapshot '{name}' does not exist in one or more devices")
        memory = _memory(machine, arguments, nodes)
        if rows[memory.name].memory == 0:
            raise QmpError("This is a disk-only snapshot. Revert to it  offline using qemu-img")
        for done, node in enumerate(nodes):
            if done == machine.die_behind:
                raise Killed
            machine.job_fault(f"load-{done}", job)
            if any(tracked == node.name for tracked, _ in machine.bitmaps):
                raise QmpError(f"Could not load snapshot '{name}' on '{_name(machine, node)}': "
                               "Device has active dirty bitmaps")
            fakeqcow2.apply_snapshot(node.filename, name)
            machine.torn |= not machine.content.is_at(node.key, name)
            machine.content.go_back(node.key, name)
            machine.written.discard(node.key)
        machine.torn = True
        machine.job_fault("load-memory", job)
        machine.torn = False
        machine.content.load(memory.key, name, machine.disks)
        if machine.agent:
            machine.event("VSERPORT_CHANGE", {"id": "ga0", "open": machine.agent.port_open})
        machine.loads.append({"name": name, "running": ran})
        if ran:
            machine.status = "running"
            machine.event("RESUME")

    job.run(work)


def _name(machine, node):
    """How QEMU calls a disk: by its drive, if it has one."""
    drives = [backend.device for backend in machine.graph.backends
              if backend.root and machine.graph.layer(backend.root) == node.name]
    return "".join(drives) or node.name


def _memory(machine, arguments, nodes):
    for node in nodes:
        if node.name == arguments["vmstate"]:
            return node
    raise QmpError(f"vmstate block device '{arguments['vmstate']}' does not exist")
