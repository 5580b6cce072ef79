"""Runs the cases of one live test program, each in a folder of its own, and says how each went.

    @case
    def overlay_is_used(world): ...

    suite.main()

A program takes names of cases as arguments (all without), exits 0 or 1, or 77 with the reason when
this machine lacks what a guest needs. Case by case it prints `ok`, `not ok` or `skip`.
"""

import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zlib

import guest
from daemon import Daemon, missing_program
from guest import FILE_SYSTEMS, Guest
from tiny import TinyGuest
from verify import Reader

SKIP = 77
_cases = []


def case(function):
    _cases.append(function)
    return function


class Skip(Exception):
    """This case needs something that is not there."""


class World:
    """A daemon and guests below one folder; everything is gone when the case ends."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.daemon = Daemon(self.root)
        self.machines = []
        self.connections = []

    def linux(self, name="web", **options):
        """A real guest, restored from its saved state: agent and writers run."""
        machine = Guest(name, self.root, **options)
        self.machines.append(machine)
        return machine.restore()

    def tiny(self, name="tiny", **options):
        machine = TinyGuest(name, self.root, **options)
        self.machines.append(machine)
        machine.boot().wait_acks(20)
        return machine

    def start(self, *names, **environment):
        """Starts the daemon, waits until it has found the guests, and returns a client of it."""
        self.daemon.start(**environment)
        for name in names or [machine.name for machine in self.machines]:
            self.daemon.wait_domain(name)
        return self.client()

    def client(self):
        client = self.daemon.client()
        self.connections.append(client)
        return client

    def blockdev(self, client, name):
        """{target: -blockdev object} of what the daemon names for the next start."""
        disks = client.call("domain.blockdev", domain=name)["disks"]
        return {disk["target"]: disk["blockdev"] for disk in disks}

    def check_tiny(self, client, machine):
        """Kills the guest and holds what the daemon names against what the guest saw completed."""
        machine.kill()
        self.daemon.wait_domain(machine.name, lambda domain: not domain["connected"])
        for target, blockdev in self.blockdev(client, machine.name).items():
            machine.check(target, blockdev)

    def check_linux(self, client, machine):
        """The same for a real guest, by another one that replays the journals."""
        machine.kill()
        self.daemon.wait_domain(machine.name, lambda domain: not domain["connected"])
        sources = self.blockdev(client, machine.name)
        assert set(sources) == set(FILE_SYSTEMS), sources
        return Reader(self.root).check(sources, machine.acked())

    def prepared(self):
        """What durable.py tries begins."""

    def die(self, machine):
        """And its end."""
        machine.kill()

    def close(self):
        for connection in self.connections:
            connection.close()
        for machine in self.machines:
            machine.kill()
        self.daemon.kill()


def expect_error(kinds, call, *args, **params):
    """Calls, and returns the RpcError, which must be of one of `kinds` (a name or several)."""
    from client import RpcError
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    try:
        result = call(*args, **params)
    except RpcError as error:
        assert error.kind in kinds, f"{error.kind} instead of {kinds}: {error}"
        return error
    raise AssertionError(f"{kinds} expected, but it answered {result}")


def equal(found, expected, what=""):
    assert found == expected, f"{what}: {found!r} instead of {expected!r}"


def boundaries_passed(path, skip=0):
    """The crash points of a list file, from line `skip` on, each as NAME:K for SNAPVM_CRASH_AT.

    K counts from the daemon's start, so that it holds for a run that does the same.
    """
    counts, passed = {}, []
    lines = pathlib.Path(path).read_text().split("\n")[:-1] if os.path.exists(path) else []
    for number, name in enumerate(lines):
        counts[name] = counts.get(name, 0) + 1
        if number >= skip:
            passed.append(f"{name}:{counts[name]}")
    return passed


def some(name, items, nth=3):
    """Every third one, which is what a plain check has time for: of one name the same each time.
    SNAPVM_TEST_ALL=1 takes all."""
    items = list(items)
    first = zlib.crc32(name.encode()) % nth
    return items if os.environ.get("SNAPVM_TEST_ALL") else items[first::nth]


def run_case(function, make):
    """'ok', 'skip' or 'not ok', with the time that it took."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="snapvm-") as root:
        world = make(root)
        world.case = function.__name__
        try:
            function(world)
            result, detail = "ok", ""
        except Skip as reason:
            result, detail = "skip", str(reason)
        except Exception:
            result, detail = "not ok", traceback.format_exc()
            if world.daemon.log.exists():
                detail += "the daemon's log ends with:\n" + world.daemon.log_tail()
            kept = os.environ.get("SNAPVM_TEST_KEEP")
            if kept:
                shutil.copytree(root, pathlib.Path(kept) / function.__name__, dirs_exist_ok=True,
                                ignore=lambda _, names: [n for n in names if n.endswith(".sock")])
        finally:
            world.close()
    print(f"{result} - {function.__name__} ({time.monotonic() - started:.1f} s)", flush=True)
    if detail:
        print("    " + detail.rstrip().replace("\n", "\n    "), flush=True)
    return result


def missing_guest():
    """Why no guest can be started, or None."""
    try:
        return guest.missing_tools() or (guest.guest_folder() and None)
    except RuntimeError as error:
        return str(error)


def main(guests=True, reason=None, world=World):
    """Runs the cases that the command line names; without `guests` none of them starts one.
    `reason`: why none of them can be played here, if there is one; `world` is what each gets."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    reason = reason or missing_program() or (missing_guest() if guests else None)
    if reason:
        print(f"SKIP: {reason}")
        sys.exit(SKIP)
    wanted = sys.argv[1:]
    unknown = set(wanted) - {function.__name__ for function in _cases}
    if unknown:
        sys.exit(f"no such case: {', '.join(sorted(unknown))}")
    results = [run_case(function, world) for function in _cases
               if not wanted or function.__name__ in wanted]
    print(f"{results.count('ok')} of {len(results)} ok, {results.count('skip')} skipped")
    sys.exit(1 if "not ok" in results else 0)
