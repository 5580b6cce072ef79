"""block-stream: the data of the layers below a node is copied up into it, and the node then lies on
`base`, or on nothing.

It is an inner commit (fakejobs.py) turned round: it ends by itself and holds no I/O of the guest.
What it copied is not flushed when it writes the new backing name into the header of the node that
received it: killed right after, data is lost unless that node was flushed while it was `pending`.
Its filter has the node as its `file`, not as its backing file.
"""

import fakeqcow2
from fakegraph import QmpError
from fakejobs import CommitJob, check_new_job


class StreamJob(CommitJob):
    type = "stream"

    def __init__(self, machine, job_id, top, base, options):
        super().__init__(machine, job_id, base, top, None, options)

    def put_filter_in(self, name):
        return self.graph.insert_filter(name, "copy-on-read", self.top)

    @property
    def receiver(self):
        return self.top

    def layers_between(self):
        chain = self.graph.chain(self.top)
        return chain[1:chain.index(self.base) if self.base else len(chain)]

    def busy(self):
        return {self.top, *self.between} if self.at_work else set()

    def edges(self):
        yield self.filter, "main node"
        yield self.top, "active node"
        for name in self.between:
            yield name, "intermediate node"

    def own_backends(self):
        return [self.filter] if self.at_work else []

    def guest_wrote(self, slot):
        """Into the node that receives the data: there is nothing to copy after it."""

    def told_as(self, operation):
        return "read"

    def cancel(self, force):
        self.check("cancel")
        if self.user_paused:
            self.leave_pause()
        self.abort()

    def _close_gap(self):
        node, base = self.graph.nodes[self.top], self.graph.nodes.get(self.base)
        name = base and (self.backing_file or base.filename)
        fakeqcow2.write_backing(node.filename, name, base and base.driver)
        node.header = fakeqcow2.read_header(node.filename)
        node.backing = self.base


def start_stream(machine, options):
    graph = machine.graph
    top = graph.resolve(options["device"])
    base = options.get("base-node")
    if base is not None and base not in graph.nodes:
        raise QmpError(f"Cannot find device='' nor node-name='{base}'")
    if base is not None and base not in graph.chain(top.name)[1:]:
        raise QmpError(f"Node '{base}' is not a backing image of '{options['device']}'")
    job_id = options.get("job-id", options["device"])
    for job in machine.jobs.values():
        if top.name in job.busy():
            raise QmpError(
                f"Node '{top.name}' is busy: block device is in use by block job: {job.type}")
    check_new_job(machine, job_id, options)
    machine.jobs[job_id] = job = StreamJob(machine, job_id, top.name, base, options)
    job.start()
