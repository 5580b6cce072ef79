"""Tries of jobs that end by themselves: commits of inner layers and pulls, on disks that keep their
layers over many crashes; some of them slowed, so that a kill falls into the copying, some
cancelled."""

import itertools
import time

from blockjob import BlockJobs
from round import VICTIMS, Wrong, layers_of, require

DEEPEST = 7
SLOW = 1 << 20          # some tenths of a second for what a try has to copy
SLOWEST = 1 << 16       # only what fits into QEMU's first slice is done before it is cancelled


class Merge(BlockJobs):
    name = "merge"
    method = None
    counted = ()            # the parameters that the report tells tries apart by

    def choose(self, dice, target, files):
        """The parameters of a job on a chain of files, and which of them it merges: a slice."""
        raise NotImplementedError

    def measure(self):
        self.medians(self.time_merge)
        self.flatten()

    def time_merge(self, number):
        times, target = {}, self.machine.targets[0]
        for window, slowed in (("whole", {}), ("slow", {"bandwidth": SLOW})):
            for layer in range(3):
                self.overlay(f"m{number}{window}{layer}", [target])
                self.machine.wait_writes(20)
            params, _ = self.choose(self.dice, target, self.chains()[target])
            self.machine.eyes.drain_events()
            asked = time.monotonic()
            request = self.client.send(self.method, domain=self.name, disk=target, wait="ended",
                                       **params, **slowed)
            self.machine.eyes.wait_event("JOB_STATUS_CHANGE",
                                         lambda data: data["status"] == "pending")
            pending = time.monotonic()
            self.client.result(request)
            done = time.monotonic()
            times[window], times["pending"] = done - asked, done - pending
        return times

    def attempt(self, number, dice):
        victim = VICTIMS[number % len(VICTIMS)]
        cancel = dice.random() < 0.15
        targets = self.machine.targets if dice.random() < 0.4 else [dice.choice(
            self.machine.targets)]
        for layer in range(dice.choice((2, 2, 3))):
            self.overlay(f"s{number}-{layer}", targets, metadata=dice.random() < 0.2)
            self.machine.wait_writes(dice.randrange(2, 30))
        before, requests, merged = self.chains(), [], {}
        for target in targets:
            params, layers = self.choose(dice, target, before[target])
            merged[target] = before[target][layers]
            requests.append((self.method, {"domain": self.name, "disk": target, **params,
                                           "request_id": f"{number}-{target}"}))
        worth = {path: self.digest(path) for path in itertools.chain(*merged.values())}
        self.tell(f"{'cancelled ' if cancel else ''}{requests}, victim {victim}")
        self.tally[f"of {'cancel' if cancel else self.kind(requests[0][1])}"
                   f"{f' of {len(targets)}' if len(targets) > 1 else ''}"] += 1
        run = self.cancelled if cancel else self.whole
        jobs = run(number, dice, victim, requests)
        self.check_word(jobs)
        self.judge(jobs, {"cancelled", "completed"} if cancel else {"completed"})
        wanted = self.check_all(jobs)
        self.check_merged(jobs, before, merged, wanted)
        self.check_worth(jobs, worth)
        self.go_on(wanted)
        if max(len(files) for files in self.chains().values()) > DEEPEST:
            self.flatten()

    def kind(self, params):
        return self.method.split(".")[1] + "".join(
            f", {name}" for name in self.counted if params.get(name))

    def whole(self, _number, dice, victim, requests):
        window = dice.choice(("whole", "slow", "pending", "pending", "ended"))
        if window == "slow":
            requests = [(method, {**params, "bandwidth": SLOW}) for method, params in requests]
        self.crash(dice, victim, window, requests)
        begun = [self.again(*request) for request in requests]
        return [self.ended(job["id"]) for job in begun if job]

    def cancelled(self, number, dice, victim, requests):
        """Jobs that run slowly are cancelled; one that had little to copy may have ended."""
        ids = [self.client.call(method, bandwidth=SLOWEST, **params)["id"]
               for method, params in requests]
        requests = [("job.cancel", {"job": job, "request_id": f"{number}-cancel-{job}"})
                    for job in ids]
        self.crash(dice, victim, dice.choice(("whole", "ended")), requests)
        for method, params in requests:
            self.cancel_again(method, params)
        return [self.ended(job) for job in ids]

    def cancel_again(self, method, params):
        """Refused when the job has ended, and that alone: it is then what it was before."""
        try:
            self.again(method, params)
        except Wrong:
            job = self.client.call("job.get", job=params["job"])
            if job["state"] != "ended" or job["outcome"]["result"] != "completed":
                raise

    # ---- what must hold ----

    def check_merged(self, jobs, before, merged, wanted):
        """The chain is the one that the outcome tells of; where none was begun, the old one."""
        done = {job["disk"] for job in jobs if job["outcome"]["result"] == "completed"}
        for target, files in before.items():
            gone = merged[target] if target in done else []
            right = [file for file in files if file not in gone]
            require(layers_of(wanted[target]) == right,
                    f"{target}: {layers_of(wanted[target])} instead of {right}")

    def check_worth(self, jobs, worth):
        """A merged layer that is called valid reads as it did before."""
        for file in itertools.chain(*(job["outcome"]["files"] for job in jobs)):
            if file["state"] == "valid" and file["file"] in worth:
                require(self.digest(file["file"]) == worth[file["file"]],
                        f"{file['file']} is called valid and has changed")
                self.tally["valid images that read as before"] += 1
