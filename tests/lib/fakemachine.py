"""The machine behind the fake QEMU's monitor: run state, disks, jobs, the writing guest, and one
method a command.

The guest writes whenever it can: once for each command that is handled and each event that is sent,
to every disk, as long as its vCPUs run, its file systems are not frozen and no job holds the disk's
I/O. So it takes every chance that a real guest would have, without a clock.

Work that QEMU does after its reply (a job that converges, one that was asked to complete) goes
through `later`.
"""

import os

import fakeqcow2
import fakeschema
import fakeshow
import fakestate
from fakecontent import Content
from fakegraph import Backend, Graph, Killed, QmpError
from fakejobs import start_commit
from fakemigrate import Migration
from fakemirror import start_mirror
from fakestream import start_stream

VERSION = {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": "fake"}


class Machine:
    def __init__(self, running=True):
        self.graph = Graph()
        self.content = Content()
        self.jobs = {}
        self.status = "running" if running else "prelaunch"
        self.disks = {}             # the test's name of a disk -> its Backend
        self.written = set()        # keys of images that hold data, also on disk
        self.agent = None
        self.holds = set()          # "running", "pending": states in which the test keeps jobs;
                                    # "saving": the same of a migration
        self.migration = Migration(self)
        self.deferred = []
        self.job_faults = []        # {"stage", "desc", "disk": None for any}
        self.broken = []            # images that cannot be read or written
        self.switches = []          # one entry a transaction that switched disks
        self.loads = []             # one entry a way back to one
        self.saves = []             # one entry a snapshot with memory inside the images
        self.idle = set()           # disks that the guest does not write to until it is let go
        self.torn = False           # memory and disks of different instants, as a load has failed
        self.bitmaps = []           # (node, name)
        self.die_behind = None      # so many actions of the next transaction
        self.send_event = lambda name, data: None
        self.quitting = False

    # ---- building ----

    def add_disks(self, disks, seed=True):
        """Each is {name, files (base first), style: "blockdev" or "drive"}; without files it is an
        empty CD. QEMU opens all -blockdev before all -drive, and a -drive has its backend before
        any device has one. `seed`: their life begins here, else it is known already what the images
        hold."""
        roots = {disk["name"]: self._open_chain(disk)
                 for disk in sorted(disks, key=lambda d: d["style"] == "drive") if disk["files"]}
        for disk in sorted(disks, key=lambda d: d["style"] == "blockdev" or not d["files"]):
            name, root = disk["name"], roots.get(disk["name"])
            if disk["style"] == "blockdev":
                backend = Backend("", f"/machine/peripheral/{name}/virtio-backend", root)
            else:
                device = f"drive-{name}" if root else ""
                backend = Backend(device, name, root, removable=root is None)
            self.graph.backends.append(backend)
            if root:
                self.disks[name] = backend
                if disk.get("idle"):
                    self.idle.add(name)
                if disk.get("read_only"):
                    self.graph.set_read_only(root, True)
                if seed:
                    self.content.seed(name, list(reversed(self.graph.images(root))))
                    for node in self.graph.chain(root):
                        self.mark_written(self.graph.nodes[node])

    def _open_chain(self, disk):
        """By -drive QEMU opens what the headers name, read-only below the top; by -blockdev each
        layer is a node of the user's, as writable as the user said."""
        options = {"driver": disk.get("format", "qcow2")}
        if disk["style"] == "drive":
            file = {"driver": "file", "filename": disk["files"][-1]}
            return self.graph.open({**options, "file": file}, user_owned=False).name
        below = None
        for layer, path in enumerate(disk["files"]):
            top = layer == len(disk["files"]) - 1
            below = self.graph.open({
                **options, "node-name": f"{disk['name']}-{layer}",
                "file": {"driver": "file", "filename": path},
                "read-only": not top and disk.get("backing_read_only", False),
                **({"backing": below} if layer else {})}).name
        return below

    # ---- the guest ----

    @property
    def running(self):
        return self.status == "running"

    def tick(self):
        if not self.running or (self.agent and self.agent.frozen):
            return
        for name, backend in self.disks.items():
            jobs = [job for job in self.jobs.values() if job.at_work and job.filter == backend.root]
            if name in self.idle or any(job.drained for job in jobs):
                continue
            images = self.graph.images(backend.root)
            node = self.graph.nodes[self.graph.layer(backend.root)]
            if node.read_only:
                continue
            slot = self.content.write(name, images[0])
            self.mark_written(node)
            for job in jobs:
                job.guest_wrote(slot)

    def mark_written(self, node):
        """What images hold is kept in the model alone, but that they hold something shows."""
        if node.key not in self.written and os.path.exists(node.filename):
            self.written.add(node.key)
            fakeqcow2.allocate(node.filename)

    def event(self, name, data=None):
        self.send_event(name, data)
        self.tick()

    # ---- deferred work ----

    def later(self, work):
        self.deferred.append(work)

    def run_deferred(self):
        while self.deferred:
            self.deferred.pop(0)()

    def release(self):
        self.holds.clear()
        for job in list(self.jobs.values()):
            job.go_on()
        self.migration.go_on()

    def block_jobs(self):
        return [job for job in self.jobs.values() if not isinstance(job, fakestate.StateJob)]

    def job_fault(self, stage, job):
        for fault in self.job_faults:
            if fault["stage"] == stage and job.id.endswith(fault.get("disk") or ""):
                self.job_faults.remove(fault)
                job.fail(fault["desc"])
                return True
        return False

    def drain(self):
        for job in list(self.jobs.values()):
            job.flicker()

    # ---- commands ----

    def execute(self, name, arguments):
        """The value of `return`, or QmpError."""
        method = getattr(self, "do_" + name.replace("-", "_"), None)
        if name not in fakeschema.COMMANDS or method is None:
            raise QmpError(f"The command {name} has not been found", "CommandNotFound")
        fakeschema.check(fakeschema.COMMANDS, name, arguments)
        answer = method(arguments)
        return {} if answer is None else answer

    def do_query_version(self, _):
        return VERSION

    def do_query_status(self, _):
        answer = {"status": self.status, "running": self.running, "singlestep": False}
        self.migration.settle()
        return answer

    def do_query_commands(self, _):
        return [{"name": name} for name in fakeschema.COMMANDS]

    def do_query_qmp_schema(self, _):
        return fakeschema.query_qmp_schema()

    def do_query_block(self, _):
        return fakeshow.query_block(self.graph)

    def do_query_blockstats(self, _):
        return fakeshow.query_blockstats(self.graph)

    def do_query_named_block_nodes(self, arguments):
        return fakeshow.query_named_block_nodes(self.graph, arguments.get("flat", False))

    def do_qom_get(self, arguments):
        return fakeshow.device_drive(self.graph, arguments["path"], arguments["property"])

    def do_x_debug_query_block_graph(self, _):
        return fakeshow.query_block_graph(self.graph, self.block_jobs())

    def do_query_jobs(self, _):
        return [job.info() for job in reversed(self.jobs.values())]

    def do_query_block_jobs(self, _):
        return [job.block_info() for job in reversed(self.block_jobs())]

    def do_query_chardev(self, _):
        answer = [{"label": "compat_monitor0", "filename": "unix:qmp.sock,server=on",
                   "frontend-open": True}]
        if self.agent:
            answer.insert(0, self.agent.chardev())
        return answer

    def do_blockdev_add(self, arguments):
        self.graph.open(arguments)

    def do_blockdev_del(self, arguments):
        node = self.graph.nodes.get(arguments["node-name"])
        self.graph.close(arguments["node-name"], self.jobs.values())
        if node.key:
            self.content.flush(node.key)

    def do_blockdev_snapshot(self, arguments):
        self.do_transaction({"actions": [{"type": "blockdev-snapshot", "data": arguments}]})

    def do_transaction(self, arguments):
        """All or none: every action is checked on its own turn, what was done is undone when one
        fails."""
        self.drain()
        done = []
        try:
            for action in arguments["actions"]:
                if len(done) == self.die_behind:
                    raise Killed
                done.append(self._action(action.get("type"), action.get("data")))
        except QmpError:
            for undo in reversed(done):
                undo()
            raise
        self.switches.append({"overlays": [a["data"]["overlay"] for a in arguments["actions"]
                                           if "overlay" in a["data"]],
                              "writes": dict(self.content.writes),
                              "frozen": bool(self.agent and self.agent.frozen),
                              "running": self.running})

    def _action(self, kind, data):
        """Does one action of a transaction, and returns how it is undone."""
        if kind == "abort":
            raise QmpError("Transaction aborted using Abort action")
        if kind not in fakeschema.ACTIONS:
            raise QmpError(f"Invalid parameter '{kind}'")
        fakeschema.check(fakeschema.ACTIONS, kind, data)
        return self._snapshot(data) if kind == "blockdev-snapshot" else self._inside(data)

    def _inside(self, data):
        """A snapshot inside the image of a disk's root; the table on disk has it at once."""
        node, name = self._inside_node(data), data["name"]
        if not name:
            raise QmpError("Name is empty")
        if node.driver != "qcow2":
            raise QmpError(f"Block format '{node.driver}' used by device '{data['device']}' "
                           "does not support internal snapshots")
        if any(row.name == name for row in fakeqcow2.snapshots(node.filename)):
            raise QmpError(f"Snapshot with name '{name}' already exists on device "
                           f"'{data['device']}'")
        fakeqcow2.add_snapshot(node.filename, name)
        self.content.keep(node.key, name)
        return lambda: self._forget_inside(node, name)

    def _inside_node(self, data):
        node = self.graph.resolve(data["device"])
        if not self.graph.backends_of(node.name):
            raise QmpError("Need a root block node")
        for job in self.jobs.values():
            if node.name in job.busy():
                raise QmpError(
                    f"Node '{node.name}' is busy: block device is in use by block job: {job.type}")
        return self.graph.nodes[self.graph.layer(node.name)]

    def _forget_inside(self, node, name):
        fakeqcow2.remove_snapshot(node.filename, name)
        self.content.forget(node.key, name)

    def do_blockdev_snapshot_internal_sync(self, arguments):
        self.do_transaction({"actions": [{"type": "blockdev-snapshot-internal-sync",
                                          "data": arguments}]})

    def do_blockdev_snapshot_delete_internal_sync(self, arguments):
        node, name = self._inside_node(arguments), arguments.get("name")
        if name is None and "id" not in arguments:
            raise QmpError("Name or id must be provided")
        rows = [row for row in fakeqcow2.snapshots(node.filename)
                if row.name == name or (name is None and row.id == arguments["id"])]
        if not rows:
            raise QmpError(f"Snapshot with id '{arguments.get('id', 'null')}' and name "
                           f"'{name or 'null'}' does not exist on device '{arguments['device']}'")
        self._forget_inside(node, rows[0].name)
        return fakeshow.inside_info(rows[0])

    def _snapshot(self, data):
        """The overlay becomes the root of whatever hung on `node`. Neither its header nor its size
        is looked at."""
        node, overlay = self.graph.resolve(data["node"]), self.graph.find(data["overlay"])
        for job in self.jobs.values():
            if node.name in job.busy():
                raise QmpError(
                    f"Node '{node.name}' is busy: block device is in use by block job: {job.type}")
        for parent in self.graph.nodes.values():
            if parent.backing == node.name:
                raise QmpError(
                    f"Node '{node.name}' is busy: node is used as backing hd of '{parent.name}'")
        if overlay is node or self.graph.users(overlay.name):
            raise QmpError("The overlay is already in use")
        if overlay.backing:
            raise QmpError("The overlay already has a backing image")
        no_backing, read_only = overlay.no_backing, node.read_only
        self.content.flush(node.key)
        self.graph.swap_root(node.name, overlay.name)
        self.graph.set_backing(overlay.name, node.name)

        def undo():
            self.graph.swap_root(overlay.name, node.name)
            overlay.backing, overlay.no_backing = None, no_backing
            self.graph.set_read_only(node.name, read_only)
        return undo

    # What a bitmap tracks is not kept here: that it is there keeps a disk from going back.

    def do_block_dirty_bitmap_add(self, arguments):
        self.bitmaps.append((self.graph.resolve(arguments["node"]).name, arguments["name"]))

    def do_block_dirty_bitmap_remove(self, arguments):
        self.bitmaps.remove((self.graph.resolve(arguments["node"]).name, arguments["name"]))

    def do_snapshot_save(self, arguments):
        fakestate.save(self, arguments)

    def do_snapshot_load(self, arguments):
        fakestate.load(self, arguments)

    def do_block_commit(self, arguments):
        start_commit(self, arguments)

    def do_block_stream(self, arguments):
        start_stream(self, arguments)

    def do_blockdev_mirror(self, arguments):
        start_mirror(self, arguments)

    def _job(self, job_id):
        if job_id not in self.jobs:
            raise QmpError("Job not found")
        return self.jobs[job_id]

    def _block_job(self, job_id):
        if job_id not in self.jobs:
            raise QmpError(f"Block job '{job_id}' not found", "DeviceNotActive")
        return self.jobs[job_id]

    def do_job_complete(self, arguments):
        self._job(arguments["id"]).complete()

    def do_job_finalize(self, arguments):
        self._job(arguments["id"]).finalize_now()

    def do_job_cancel(self, arguments):
        self._job(arguments["id"]).cancel(force=True)

    def do_job_dismiss(self, arguments):
        self._job(arguments["id"]).dismiss_now()

    def do_job_pause(self, arguments):
        self._job(arguments["id"]).pause()

    def do_job_resume(self, arguments):
        self._job(arguments["id"]).resume()

    def do_block_job_cancel(self, arguments):
        self._block_job(arguments["device"]).cancel(arguments.get("force", False))

    def do_block_job_set_speed(self, arguments):
        self._block_job(arguments["device"]).set_speed(arguments["speed"])

    def do_stop(self, _):
        """A stop drains and flushes every disk, also when the machine stands already; then it sends
        no event."""
        if self.running:
            self.status = "paused"
            self.event("STOP")
        self.content.flush_all()
        self.drain()
        for job in self.jobs.values():
            job.keep_up()

    def do_cont(self, _):
        if self.status == "finish-migrate":
            raise QmpError("Migration is not finalized yet")
        self.graph.activate()
        for job in self.jobs.values():
            job.io_status = "ok"
        if not self.running:
            self.status = "running"
            self.idle.clear()
            self.event("RESUME")

    def do_getfd(self, arguments):
        self.migration.getfd(arguments["fdname"])

    def do_closefd(self, arguments):
        self.migration.closefd(arguments["fdname"])

    def do_migrate(self, arguments):
        self.migration.start(arguments["uri"])

    def do_migrate_cancel(self, _):
        self.migration.cancel()

    def do_query_migrate(self, _):
        return self.migration.query()

    def do_query_migrate_capabilities(self, _):
        return [{"capability": name, "state": state}
                for name, state in self.migration.capabilities.items()]

    def do_migrate_set_capabilities(self, arguments):
        self.migration.set_capabilities(arguments["capabilities"])

    def do_system_reset(self, _):
        """The guest boots anew: its file systems are not frozen any more."""
        if self.agent:
            self.agent.guest_reset()
        self.event("RESET", {"guest": False, "reason": "host-qmp-system-reset"})

    def do_human_monitor_command(self, arguments):
        words = arguments["command-line"].split()
        if len(words) != 3 or words[0] != "qemu-io" or words[2] != "flush":
            return f"unknown command: '{' '.join(words[:1])}'\r\n"
        if words[1] not in self.graph.nodes:
            return f"Error: Cannot find device='' nor node-name='{words[1]}'\r\n"
        self.content.flush(self.graph.nodes[words[1]].key)
        return ""

    def do_quit(self, _):
        """An orderly end: jobs are cancelled, every image is flushed."""
        self.event("SHUTDOWN", {"guest": False, "reason": "host-qmp-quit"})
        self.status = "shutdown"
        for job in list(self.jobs.values()):
            if job.at_work:
                job.abort()
        self.content.flush_all()
        self.quitting = True
