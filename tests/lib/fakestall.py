"""An image that cannot be read or written, and the jobs that stop at it.

A job that was started with on-error "stop" tells an error for each request that was under way,
then stands: `paused`, or `standby` when it was ready. Only `io-status` tells that from a pause by
the user, and `cont` sets that back and leaves the job where it is. `job-resume` lets it go on, into
the same error as long as nothing is mended. A stream calls all of its errors ones of reading.
"""


class Broken:
    """An order of the test: requests to this image fail until it is mended."""

    def __init__(self, file, operation="write", space=True):
        self.file, self.operation = file, operation
        self.io_status = "nospace" if space else "failed"

    def strikes(self, job):
        """Whether the job has something to do there."""
        graph = job.graph
        nodes = [job.receiver] if self.operation == "write" else job.readers()
        keys = [graph.nodes[name].key for name in nodes
                if graph.nodes[name].filename.endswith("/" + self.file)]
        if self.operation == "write":
            return bool(keys and job.todo)
        return bool(set(job.content.allocated(keys)) & set(job.todo))


class Stalls:
    """The part of a job that stops at an error."""

    def strike(self):
        """Whether the job stands now. What was written before the error stays written."""
        broken = next((b for b in self.machine.broken if b.strikes(self)), None)
        if broken is None:
            return False
        self.copy(len(self.todo) // 2)
        self.user_paused = True
        for _ in range(2 if self.active else 1):    # as many as there were under way
            self.machine.event("BLOCK_JOB_ERROR", {"device": self.id, "action": "stop",
                                                   "operation": self.told_as(broken.operation)})
        self.io_status = broken.io_status
        self.enter("standby" if self.status == "ready" else "paused")
        return True

    def told_as(self, operation):
        return operation

    def readers(self):
        """The nodes whose data is copied."""
        return self.between

    def leave_pause(self):
        self.io_status = "ok"
        self.enter("ready" if self.status == "standby" else "running")
        self.user_paused = False
