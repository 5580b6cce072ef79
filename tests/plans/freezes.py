"""Guests that are frozen and thawed, against the fake QEMU and its scripted agent: what the programs
that hold a rule a case have in common.

    @case
    def some_rule(guest): ...

    freezes.main()
"""

import os
import shutil
import socket
import tempfile
import time
import traceback

import daemon
from client import RpcError
from scenarios import Scenario
from world import DOMAIN, FOLDER, SHORT_TIMEOUTS, TIMEOUT, World

FREEZE, THAW, STATUS = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw", "guest-fsfreeze-status"
CASES = []


def case(function):
    CASES.append(function)
    return function


def equal(found, expected, what=""):
    assert found == expected, f"{what}: {found!r} instead of {expected!r}"


class Guest(World):
    """A running guest with two disks, a file system on each, and a client that sees all events."""

    def __init__(self, **more):
        super().__init__(Scenario("lease", "", disks=2, layers=1, **more), SHORT_TIMEOUTS)
        self.events = None

    def run(self):
        self.start()
        self.daemon.wait_domain(DOMAIN, timeout=TIMEOUT)
        self.events = self.daemon.client(timeout=TIMEOUT)
        self.events.subscribe(since=0)
        return self

    def again(self):
        """kill -9 of the daemon, and a new one."""
        self.hang_up()
        self.events.close()
        self.daemon.kill()
        return self.run()

    def close(self, keep=False):
        if self.events:
            self.events.close()
        super().close(keep)

    def wait(self, what):
        """No event tells of the agent's port: it is asked for."""
        wait_for(lambda: what(self.call("domain.get", domain=DOMAIN)), "the domain")

    def wait_agent(self):
        self.wait(lambda d: d["agent_state"] == "connected")

    def freeze(self, **params):
        return self.call("guest.freeze", domain=DOMAIN, **params)

    def thaw(self):
        return self.call("guest.thaw", domain=DOMAIN)["count"]

    def status(self):
        return self.call("guest.status", domain=DOMAIN)["freeze"]

    def snapshot(self, name, quiesce="required"):
        self.call("snapshot.create", domain=DOMAIN, name=name, quiesce=quiesce)
        return self.record(name)

    def record(self, name):
        found = self.call("snapshot.get", domain=DOMAIN, name=name)
        return found["quiesced"], found["quiesce_error"]

    def refused(self, kind, reason, method, **params):
        try:
            answer = self.call(method, domain=DOMAIN, **params)
        except RpcError as error:
            equal(error.kind, kind, f"{method}: {error}")
            if reason is not None:
                equal(error.data.get("reason", error.data.get("state")), reason, str(error))
            return error
        raise AssertionError(f"{method}: {kind} expected, but it answered {answer}")

    def agent_calls(self):
        return [name.removeprefix("guest-fsfreeze-") for name in self.fake.names("agent")
                if "fsfreeze" in name and "status" not in name]

    def frozen(self):
        return self.fake.state()["frozen"]

    def wait_thawed(self):
        """The daemon says so, and it is so; what comes late was given its chance before."""
        self.wait(lambda d: d["freeze"] == "thawed")
        assert not self.frozen(), "called thawed, is frozen"

    def check_end(self):
        """Everything is as it was before the first freeze."""
        equal(self.status(), "thawed", "freeze")
        assert not self.frozen(), "the guest is frozen"
        calls = self.agent_calls()
        for n, name in enumerate(calls):
            assert not name.startswith("freeze") or "thaw" in calls[n:], f"no thaw behind: {calls}"
        equal(self.freeze()["count"], 2, "it can be frozen again")
        assert self.frozen(), "it is not frozen"
        equal(self.thaw(), 2, "and thawed")
        assert not self.frozen(), "the guest is frozen"


def connect(guest):
    """A client of the agent that is not the daemon."""
    stranger = socket.socket(socket.AF_UNIX)
    stranger.connect(guest.fake.agent_path)
    return stranger


def wait_for(condition, what):
    """For what no event tells: it is asked for again."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"


def refusal(client, request, kind):
    try:
        answer = client.result(request)
    except RpcError as error:
        equal(error.kind, kind, str(error))
        return error
    raise AssertionError(f"{kind} expected, but it answered {answer}")


def run(function):
    guest = Guest()
    keep = bool(os.environ.get("SNAPVM_TEST_KEEP"))
    try:
        function(guest)
        print(f"ok - {function.__name__}", flush=True)
        keep = False
        return True
    except Exception:
        print(f"not ok - {function.__name__}\n{traceback.format_exc()}", flush=True)
        if guest.daemon.log.exists():
            print(guest.daemon.log_tail(4000), flush=True)
        return False
    finally:
        guest.close(keep)


def main(wanted):
    """Runs the cases of those names, or all; the exit status."""
    reason = daemon.missing_program()
    if reason:
        print(f"SKIP: {reason}")
        return 77
    os.environ[FOLDER] = folder = tempfile.mkdtemp(prefix="snapvm-plans-")
    try:
        results = [run(function) for function in CASES
                   if not wanted or function.__name__ in wanted]
    finally:
        if not os.environ.get("SNAPVM_TEST_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{results.count(True)} of {len(results)} ok")
    return 0 if results and all(results) else 1
