"""The daemon of a plan test, and a client that repeats itself.

It is asked for the same requests again and again, with the same `request_id`, until they are answered:
before a crash, after it, and once more at the end. What was once answered has to stay true.
"""

import collections

from client import RpcError

DOMAIN = "web"
FOLDER = "SNAPVM_PLANS_FOLDER"      # set by the driver: where all worlds are


class Wrong(Exception):
    """A promise does not hold."""


class Asker:
    """Who derives from it has a `scenario`, and may `begin` before the scenario acts."""

    def __init__(self, daemon, timeout):
        self.daemon, self.timeout = daemon, timeout
        self.list_file = daemon.root / "boundaries"
        self.client = None
        self.answers = {}       # request id -> the last answer
        self.errors = {}        # request id -> the last RpcError
        self.asked = collections.Counter()      # method -> how often
        self.done = set()       # what is done but once, however often the rest is repeated
        self.begun = 0          # boundaries passed before what the scenario is about

    def start(self, crash_at=None):
        """False when it died by its crash point before it was ready."""
        environment = {"SNAPVM_CRASH_LIST": str(self.list_file)}
        if crash_at is not None:
            environment["SNAPVM_CRASH_AT"] = str(crash_at)
        try:
            self.daemon.start(**environment)
        except RuntimeError as error:
            if crash_at is not None and "exit -9" in str(error):
                return False
            raise
        return True

    def hang_up(self):
        if self.client is not None:
            self.client.close()
            self.client = None

    def boundaries(self):
        return self.list_file.read_text(encoding="utf-8").split() if self.list_file.exists() else []

    def mark(self):
        """What the scenario is about begins; what is before has scenarios of its own."""
        self.begun = self.begun or len(self.boundaries())

    def call(self, method, **params):
        if self.client is None:
            self.client = self.daemon.client(timeout=self.timeout)
        return self.client.call(method, **params)

    def ask(self, key, method, **params):
        """A changing request under its request_id. Returns the answer, or None when it was refused. One
        that was once given stands: the job is the same, and how it ended too."""
        self.asked[method] += 1
        try:
            answer = self.call(method, request_id=key, **params)
        except RpcError as error:
            if key in self.answers and self.answers[key].get("state") == "ended":
                raise Wrong(f"{key}: was answered, is refused now: {error}") from None
            self.errors[key] = error
            return None
        before = self.answers.get(key)
        if before is not None and "id" in answer:
            if before["id"] != answer["id"]:
                raise Wrong(f"{key}: job {before['id']} at first, job {answer['id']} when repeated")
            if before["state"] == "ended" and before["outcome"] != answer["outcome"]:
                raise Wrong(f"{key}: outcome was {before['outcome']}, is {answer['outcome']}")
        elif before is not None and before != answer:
            raise Wrong(f"{key}: was answered {before} at first, {answer} when repeated")
        self.answers[key] = answer
        return answer

    def act(self):
        """The scenario's requests from the first one on. False when the daemon died meanwhile."""
        try:
            self.begin()
            self.scenario.act(self)
        except (ConnectionError, FileNotFoundError) as error:
            self.hang_up()
            if self.daemon.process is not None and self.daemon.wait_end() == -9:
                return False
            raise Wrong(f"the daemon ended by itself: {error}") from error
        return True

    def jobs(self):
        return self.call("job.list", domain=DOMAIN)["jobs"]
