"""blockdev-mirror: a copy of a disk to a node that is there already.

Its life is that of an active commit (fakejobs.py): it never ends by itself, `pending` holds the
guest's I/O and is the one state that proves the target, and a soft cancel cannot be told from a
pivot. What differs is where the data goes, and that the disk moves to a node that need not have
anything below it: the target keeps the backing node that it was opened with, or none. The nodes of
the old chain stay open for whoever opened them.
"""

from fakegraph import QmpError
from fakejobs import CommitJob, check_new_job


class MirrorJob(CommitJob):
    type = "mirror"

    def __init__(self, machine, job_id, source, target, options):
        super().__init__(machine, job_id, target, source, source, options)
        self.full = options["sync"] == "full"

    def layers_between(self):
        return [self.top]

    def layers_to_copy(self):
        return self.graph.images(self.top) if self.full else self.graph.images(self.top)[:1]

    def readers(self):
        return self.graph.chain(self.top) if self.full else self.between

    def copy(self, count):
        if count:
            self.machine.mark_written(self.graph.nodes[self.base])
        super().copy(count)

    def take_receiver(self):
        """The target is written to since it was opened: nothing to make writable."""

    def busy(self):
        return {self.root} if self.at_work else set()


def start_mirror(machine, options):
    graph = machine.graph
    source = graph.resolve(options["device"])
    target = graph.find(options["target"])
    if not graph.backends_of(source.name):
        raise QmpError("Need a root block node")
    job_id = options.get("job-id", options["device"])
    if target is source:
        raise QmpError("Can't mirror node into itself")
    check_new_job(machine, job_id, options)
    machine.jobs[job_id] = job = MirrorJob(machine, job_id, source.name, target.name, options)
    job.start()
