"""Tries of a job that waits to be ended, and of how it ends: the pivot of one disk or of several as
one, the end without it, the cancel, and the whole of a job that pivots by itself. The jobs are
active commits; a test of others derives from this."""

import time

from blockjob import BlockJobs
from round import VICTIMS, require

SLOW = 1 << 20


class Pivot(BlockJobs):
    name = "pivot"
    results = {"pivot": "pivoted", "whole": "pivoted", "keep": "kept", "cancel": "cancelled"}
    # What is asked for, as often as it stands here: (operation, disks as one). 0 means all.
    operations = (("pivot", 1), ("pivot", 1), ("pivot", 0), ("pivot", 0), ("whole", 1),
                  ("whole", 0), ("whole", 0), ("keep", 1), ("pivot", 0), ("cancel", 1))

    def measure(self):
        self.medians(self.time_pivot)

    def time_pivot(self, number):
        self.overlay(f"m{number}", self.machine.targets)
        asked = time.monotonic()
        jobs = self.begin(self.requests(self.dice, f"m{number}", self.machine.targets),
                          wait="ready")
        self.machine.eyes.drain_events()
        ready = time.monotonic()
        request = self.client.send("job.pivot", jobs=jobs)
        self.machine.eyes.wait_event("BLOCK_JOB_PENDING")
        pending = time.monotonic()
        self.client.result(request)
        done = time.monotonic()
        self.unlink_unused()
        return {"whole": done - asked, "end": done - ready, "pending": done - pending}

    def requests(self, dice, name, targets):
        """What begins the jobs: (method, params) of each target."""
        delete = dice.random() < 0.5
        return [("block.commit", {"domain": self.name, "disk": target, "active": True,
                                  "delete": delete, "request_id": f"{name}-{target}"})
                for target in targets]

    def begin(self, requests, **how):
        return [self.client.call(method, **params, **how)["id"] for method, params in requests]

    def attempt(self, number, dice):
        victim = VICTIMS[number % len(VICTIMS)]
        operation, count = dice.choice(self.operations)
        count = min(count or len(self.machine.targets), len(self.machine.targets))
        targets = sorted(dice.sample(self.machine.targets, count))
        self.overlay(f"s{number}", targets, metadata=dice.random() < 0.3)
        self.machine.wait_writes(dice.randrange(2, 40))
        requests = self.requests(dice, str(number), targets)
        self.tell(f"{operation} of {requests}, victim {victim}")
        self.tally[f"of {operation}{f' of {count}' if count > 1 else ''}"] += 1
        if operation == "whole":
            jobs = self.whole(dice, victim, requests)
        else:
            jobs = self.end(number, dice, victim, operation, requests)
        self.check_word(jobs)
        results = self.judge(jobs, {self.results[operation]})
        if operation == "pivot":
            require(len(results) == 1, f"a group that is not all or none: {results}")
        wanted = self.check_all(jobs)
        self.count(operation, jobs)
        self.go_on(wanted)

    def whole(self, dice, victim, requests):
        """The whole job, which pivots by itself."""
        requests = [(method, {**params, "auto_pivot": True}) for method, params in requests]
        self.crash(dice, victim, dice.choice(("whole", "whole", "ended")), requests)
        begun = [self.again(*request) for request in requests]
        return [self.ended(job["id"]) for job in begun if job]

    def end(self, number, dice, victim, operation, requests):
        """The end of jobs that are ready, or still run when they are cancelled."""
        how = {"wait": "ready"}
        if operation == "cancel" and dice.random() < 0.5:
            how = {"bandwidth": SLOW}
        ids = self.begin(requests, **how)
        method, request = self.request(operation, ids, f"{number}-end")
        windows = ["end", "end", "pending", "pending", "ended"]
        # Within a hair of the decision: before the job is pending it cannot have been made.
        window = dice.choice(["end", "end", "ended"] if operation == "cancel" else windows)
        self.crash(dice, victim, window, [(method, request)], dice.randint(1, len(ids)))
        self.again(method, request)
        return [self.ended(job) for job in ids]

    @staticmethod
    def request(operation, ids, request_id):
        if operation == "pivot":
            return "job.pivot", {"jobs": ids, "request_id": request_id}
        return "job.cancel", {"job": ids[0], "force": operation == "cancel",
                              "request_id": request_id}

    def count(self, operation, jobs):
        if self.machine.process is not None:
            return
        if self.results[operation] == "pivoted":
            self.tally["pivots with a death of QEMU"] += 1
        for job in jobs:
            active = job["outcome"]["active"]
            others = [file["file"] for file in job["outcome"]["files"] if file["file"] != active]
            for path in others[:1]:
                self.count_other(job["disk"], path)
