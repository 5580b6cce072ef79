"""Block jobs and their life, as QEMU tells it in events and answers.

    created ─▶ running ─▶ ready ─▶ waiting ─▶ pending ─▶ concluded ─▶ null
                 │  ▲       │ ▲                  │            ▲
                 ▼  │       ▼ │                  ▼            │
               paused     standby             aborting ───────┘

An *active* commit copies the layers above `base` into it while the guest writes on. In `ready` it
is nearly level and stays so; whether it is level is not to be known, and nothing of what it copied
is flushed. `job-complete` only asks it to finish: after its reply the job holds the guest's I/O,
copies the rest, flushes, and waits in `pending`. Only `job-finalize` moves the disk to the base.
`block-job-cancel` without force asks for the same without that move: in events and in query-jobs
the two cannot be told apart. `job-cancel` is always the hard way.

A commit of inner layers never becomes `ready` and never holds the guest's I/O. It writes the new
backing name into the header of the layer above and does not flush the base: killed right after,
data is lost unless the base was flushed while the job was `pending`.
"""

import fakeqcow2
from fakegraph import QmpError
from fakestall import Stalls

CHUNK = 65536

# Which states accept which command.
VERBS = {
    "cancel": {"created", "running", "paused", "ready", "standby", "waiting", "pending"},
    "pause": {"created", "running", "paused", "ready", "standby"},
    "resume": {"created", "running", "paused", "ready", "standby"},
    "set-speed": {"created", "running", "paused", "ready", "standby"},
    "complete": {"ready", "standby"},
    "finalize": {"pending"},
    "dismiss": {"concluded"},
}


class CommitJob(Stalls):
    type = "commit"

    def __init__(self, machine, job_id, base, top, root, options):
        self.machine, self.graph, self.content = machine, machine.graph, machine.content
        self.id, self.base, self.top, self.root = job_id, base, top, root
        self.active = top == root
        self.auto_finalize = options.get("auto-finalize", True)
        self.auto_dismiss = options.get("auto-dismiss", True)
        self.backing_file = options.get("backing-file")
        self.speed = options.get("speed", 0)
        self.status = None
        self.error = None
        self.was_read_only = False
        self.user_paused = False
        self.io_status = "ok"
        self.drained = False        # the guest's I/O to this disk is held
        self.pivot = False          # finalize moves the root
        self.asked_to_end = False   # by job-complete or a soft cancel
        self.todo = []              # slots still to copy
        self.copied = 0
        self.between = self.layers_between()
        self.filter = self.put_filter_in(options.get("filter-node-name")).name

    def put_filter_in(self, name):
        driver = "mirror_top" if self.active else "commit_top"
        return self.graph.insert_filter(name, driver, self.top)

    @property
    def receiver(self):
        """The node that the data is copied into."""
        return self.base

    def layers_between(self):
        chain = self.graph.chain(self.top)
        return chain[:chain.index(self.base)]

    def layers_to_copy(self):
        return [self.graph.nodes[name].key for name in self.between]

    def take_receiver(self):
        self.was_read_only = self.graph.nodes[self.receiver].read_only
        self.graph.set_read_only(self.receiver, False)

    # ---- what others see ----

    @property
    def at_work(self):
        return self.status not in ("concluded", "null")

    @property
    def holding(self):
        """Whether it keeps its nodes busy: a commit of inner layers does, once done, until it is
        dismissed."""
        return self.at_work or (not self.active and self.error is None)

    def busy(self):
        """The nodes that nobody else may close or snapshot meanwhile."""
        return {self.root, self.base, *self.between} if self.holding else set()

    def edges(self):
        yield self.filter if self.active else self.root, "main node"
        if self.active:
            yield self.top, "source"
            yield self.base, "target"
        for name in self.between[1 if self.active else 0:]:
            yield name, "intermediate node"
        if not self.active:
            yield self.base, "base"

    def own_backends(self):
        """The nodes that the job reads and writes through unnamed backends of its own."""
        if not self.at_work:
            return []
        return [self.base] if self.active else [self.base, self.top]

    def total(self):
        return self.copied + len(self.todo)

    def info(self):
        answer = {"id": self.id, "type": self.type, "status": self.status,
                  "current-progress": self.copied * CHUNK, "total-progress": self.total() * CHUNK}
        if self.error:
            answer["error"] = self.error
        return answer

    def block_info(self):
        paused = ("paused", "standby", "pending") if self.active else ("paused",)
        answer = {"device": self.id, "type": self.type, "status": self.status,
                  "len": self.total() * CHUNK, "offset": self.copied * CHUNK, "speed": self.speed,
                  "ready": self.status in ("ready", "standby"), "paused": self.status in paused,
                  "busy": False, "io-status": self.io_status,
                  "auto-finalize": self.auto_finalize, "auto-dismiss": self.auto_dismiss}
        if self.error:
            answer["error"] = self.error
        return answer

    # ---- events ----

    def enter(self, status):
        self.status = status
        self.machine.event("JOB_STATUS_CHANGE", {"id": self.id, "status": status})

    def block_event(self, name, **more):
        data = {"device": self.id, "type": self.type, "speed": self.speed,
                "len": self.total() * CHUNK, "offset": self.copied * CHUNK}
        self.machine.event(name, {**data, **more})

    def flicker(self):
        """A drain of all disks (stop, a transaction) pauses the job for an instant, and says so."""
        if self.status in ("running", "ready") and not self.user_paused:
            status = self.status
            self.enter("paused" if status == "running" else "standby")
            self.enter(status)

    # ---- life ----

    def start(self):
        self.enter("created")
        self.enter("running")
        self.todo = self.content.allocated(self.layers_to_copy())
        self.take_receiver()
        if self.active and not self.todo:
            # With a real one this may come on either side of the reply.
            self.become_ready()
        else:
            self.machine.later(self.run)

    def held(self, state):
        """A bandwidth of less than a chunk, or the test's wish, keeps the job from going on."""
        return 0 < self.speed < CHUNK or state in self.machine.holds or self.user_paused

    def run(self):
        self.keep_up()
        if self.status != "running" or self.held("running"):
            return
        if self.machine.job_fault("run", self) or self.strike():
            return
        self.copy_all()
        if self.active:
            self.become_ready()
        else:
            self.wind_up()

    def become_ready(self):
        self.enter("ready")
        self.block_event("BLOCK_JOB_READY")

    def copy_all(self):
        self.copy(len(self.todo))

    def copy(self, count):
        """Copies some of what is known to be missing. The base has it then in QEMU's memory, not
        on disk."""
        images = self.graph.images(self.top)
        for slot in self.todo[:count]:
            self.content.copy(images, slot, self.graph.nodes[self.receiver].key)
            self.copied += 1
        self.todo = self.todo[count:]

    def guest_wrote(self, slot):
        """While ready the job runs behind the guest: the last write is the one it has not copied
        yet."""
        self.keep_up()
        if slot not in self.todo:
            self.todo.append(slot)

    def keep_up(self):
        if not self.active or self.status not in ("ready", "standby") or self.user_paused:
            return
        if not self.strike():
            self.copy_all()

    def wind_up(self):
        """`waiting` and `pending`: held, level and flushed when active; neither held nor flushed
        when not."""
        held = "pending" in self.machine.holds or self.user_paused
        if self.status not in ("ready", "running") or held:
            return
        if self.active and (self.machine.job_fault("prepare", self) or self.strike()):
            return
        self.drained = self.active
        self.copy_all()
        if self.active:
            self.content.flush(self.graph.nodes[self.receiver].key)
        self.enter("waiting")
        self.enter("pending")
        if self.auto_finalize:
            self.finalize()
        else:
            self.machine.event("BLOCK_JOB_PENDING", {"id": self.id, "type": self.type})

    def finalize(self):
        if self.machine.job_fault("finalize", self):
            return
        self.take_filter_out()
        if self.active and self.pivot:
            self.graph.swap_root(self.top, self.base)
        elif not self.active:
            self._close_gap()
        self.block_event("BLOCK_JOB_COMPLETED")
        self.conclude()

    def _close_gap(self):
        """The layer above the committed ones gets the base as its backing file: the header
        first."""
        for node in list(self.graph.nodes.values()):
            if node.backing == self.top:
                base = self.graph.nodes[self.base]
                name = self.backing_file or base.filename
                fakeqcow2.write_backing(node.filename, name, base.driver)
                node.header = fakeqcow2.read_header(node.filename)
                node.backing = self.base

    def fail(self, error):
        """The job ends by itself with an error: nothing has moved."""
        self.error = error
        self.enter("aborting")
        self.take_filter_out()
        self.block_event("BLOCK_JOB_COMPLETED", error=error)
        self.conclude()

    def abort(self):
        if not self.at_work:
            return
        self.error = "Operation canceled"
        self.enter("aborting")
        self.take_filter_out()
        self.block_event("BLOCK_JOB_CANCELLED")
        self.conclude()

    def take_filter_out(self):
        self.drained = False
        self.graph.remove_filter(self.filter)

    def conclude(self):
        """A job of inner layers makes a receiver that was read-only so again, which flushes it; an
        active commit leaves it."""
        if not self.active and self.was_read_only:
            self.graph.set_read_only(self.receiver, True)
            self.content.flush(self.graph.nodes[self.receiver].key)
        self.enter("concluded")
        self.graph.drop_unused()
        if self.auto_dismiss:
            self.dismiss()

    def dismiss(self):
        self.enter("null")
        del self.machine.jobs[self.id]

    # ---- commands ----

    def check(self, verb):
        if self.status not in VERBS[verb]:
            raise QmpError(f"Job '{self.id}' in state '{self.status}' "
                           f"cannot accept command verb '{verb}'")

    def complete(self):
        self.check("complete")
        self.pivot = self.asked_to_end = True
        self.machine.later(self.wind_up)

    def cancel(self, force):
        """A soft cancel of a ready job ends it like job-complete, without the pivot; every other
        one aborts it. A pending job has nothing left to do, so that it ends before the reply, like a
        commit of inner layers that stands."""
        self.check("cancel")
        at_once = self.status == "pending" or (self.user_paused and not self.active)
        if self.user_paused:
            if not force and self.active:
                raise QmpError(f"The block job for device '{self.id}' is currently paused")
            self.leave_pause()
        if not force and self.status in ("ready", "standby") and self.active:
            self.asked_to_end = True
            self.machine.later(self.wind_up)
        elif at_once:
            self.abort()
        else:
            self.machine.later(self.abort)

    def finalize_now(self):
        self.check("finalize")
        self.finalize()

    def dismiss_now(self):
        self.check("dismiss")
        self.dismiss()

    def pause(self):
        self.check("pause")
        if self.user_paused:
            raise QmpError("Job is already paused")
        self.user_paused = True
        self.enter("standby" if self.status == "ready" else "paused")

    def resume(self):
        if not self.user_paused:
            raise QmpError("Can't resume a job that was not paused")
        self.check("resume")
        self.leave_pause()
        self.go_on()

    def go_on(self):
        """What held the job is gone."""
        self.machine.later(self.wind_up if self.asked_to_end else self.run)

    def set_speed(self, speed):
        self.check("set-speed")
        self.speed = speed
        self.go_on()


def check_new_job(machine, job_id, options):
    if not job_id[:1].isalpha() or not all(c.isalnum() or c in "-._" for c in job_id):
        raise QmpError(f"Invalid job ID '{job_id}'")
    if job_id in machine.jobs:
        raise QmpError(f"Job ID '{job_id}' already in use")
    name = options.get("filter-node-name")
    if name is not None and name in machine.graph.nodes:
        raise QmpError(f"Duplicate nodes with node-name='{name}'")


def start_commit(machine, options):
    """block-commit: `top` is the disk's root, then the job is an active one, or a layer below
    it."""
    graph = machine.graph
    try:
        device = graph.resolve(options["device"])
    except QmpError as error:
        raise QmpError(f"Device '{options['device']}' not found", "DeviceNotFound") from error
    job_id = options.get("job-id", options["device"])
    mine = any(device.name == job.root and job.holding for job in machine.jobs.values())
    if mine or not graph.backends_of(device.name):
        raise QmpError("Need a root block node")
    chain = graph.chain(device.name)
    top = graph.find(options.get("top-node", device.name)).name
    base = graph.find(options.get("base-node", chain[-1])).name
    if top not in chain or base not in chain:
        raise QmpError(f"'{top if top not in chain else base}' is not in this backing file chain")
    if chain.index(base) <= chain.index(top):
        raise QmpError(f"Top '{top}' is not above base '{base}' in the chain")
    check_new_job(machine, job_id, options)
    machine.jobs[job_id] = job = CommitJob(machine, job_id, base, top, device.name, options)
    job.start()
