"""Runs scenarios in worlds where something goes wrong, and reports one line a scenario.

 crash     the daemon kills itself at its n-th boundary, for every n; is started again; everything
 must hold
 second    and kills itself again at the m-th boundary of that recovery, for every m, behind a share
 of the n
 both      QEMU dies at the same instant: what it got just before is run, or dropped
 faults    a command of the plan is refused, or its reply is lost, before or after it was executed;
 or never comes; or QEMU dies of it

`--only NAME` picks a scenario, `--at N[,M]` one crash, `--keep` leaves the failed worlds behind. A
failure prints the command that repeats it. SNAPVM_TEST_ALL=1 or `--all` runs everything; a plain
check has time for all crashes of the main plans, and for a share of the others and of the faults,
which the scenario's name chooses: the same each time.
"""

import argparse
import collections
import concurrent.futures
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))

import daemon  # noqa: E402
from checks import check_all, check_repeated  # noqa: E402
from client import RpcError  # noqa: E402
from fakeqemu import Died  # noqa: E402
from settled import rows, unlisted  # noqa: E402
from world import FOLDER, SHORT_TIMEOUTS, World, Wrong  # noqa: E402

THIN = 5            # of so many faults, or crashes, a plain check tries one
LIMIT = 500         # more boundaries than any plan has: a daemon that dies for ever is a failure
QMP_FAULTS = ("refuse", "drop-before", "drop-after", "never-before", "never", "stop", "die-before",
              "die-after")
# QEMU does not refuse to be looked at.
QUERY_FAULTS = ("drop-after", "never")
AGENT_FAULTS = ("refuse", "never", "garbage", "endless", "deep", "count", "error-after", "die",
                "hang")


class Task:
    """One world's misfortune: a crash at `at`, a second one at `again`, QEMU's death with the
    first, or a fault."""

    def __init__(self, scenario, at=None, again=None, both=None, fault=None):
        self.scenario, self.at, self.again, self.both, self.fault = scenario, at, again, both, fault

    def label(self):
        parts = [self.scenario.name]
        if self.at is not None:
            parts.append(f"--at {self.at}" + (f",{self.again}" if self.again else ""))
        if self.both:
            parts.append(f"--both {self.both}")
        if self.fault:
            kind, fault = "on" if "on" in self.fault else "agent", self.fault
            parts.append(f"--fault {kind}:{fault[kind]}:{fault['nth']}:{fault['do']}")
        return " ".join(parts)


class Result:
    def __init__(self, task):
        self.task = task
        self.crashed = self.crashed_again = False
        self.outcome = None
        self.error = None
        self.boundaries = []
        self.begun = 0
        self.commands = []
        self.agent_commands = []
        self.rows = set()


def run(task, keep=False):
    result = Result(task)
    world = World(task.scenario, SHORT_TIMEOUTS if task.fault else None)
    try:
        misfortune(world, task, result)
    except (Wrong, Died, RpcError, OSError, RuntimeError, AssertionError, KeyError,
            TypeError) as error:
        result.error = f"{type(error).__name__}: {error}"
        if not isinstance(error, Wrong):
            result.error += "\n" + traceback.format_exc()
        if world.daemon.log.exists():
            result.error += "\n" + world.daemon.log_tail(4000)
    finally:
        result.boundaries = result.boundaries or world.boundaries()
        result.begun = world.begun
        result.commands = world.fake.names("qmp")
        result.agent_commands = world.fake.names("agent")
        if world.daemon.log.exists():
            result.rows = rows(world.daemon.log.read_text(errors="replace"))
            result.error = result.error or unlisted(result.rows)
        world.close(keep and result.error is not None)
    return result


def misfortune(world, task, result):
    if task.both:
        world.fake.order("die_with_client", how=task.both)
    if task.fault:
        world.fake.arm(**task.fault)
    if task.scenario.cut:
        world.fake.arm(on=task.scenario.cut_in, do=f"die-in-{task.scenario.cut}")
    if task.scenario.job_fault:
        world.fake.order("job_fault", **task.scenario.job_fault)
    if not (world.start(task.at) and act(world, task)):
        result.crashed = True
        if task.both:
            world.fake.kill()
        if not recover(world, task.again):
            result.crashed_again = True
            recover(world, None)
    result.boundaries = world.boundaries()
    if not result.crashed_again and (task.again or (task.at and not result.crashed)):
        # It was told to die at a boundary that it did not reach: from here on it may not.
        recover(world, None)
    if task.fault:
        after_fault(world, task)
    result.outcome = check_all(world, clean=not (result.crashed or task.both or task.fault))
    if not task.both and not task.fault:
        check_repeated(world)


def act(world, task):
    """Where QEMU dies with the daemon, an order to it may be the first that notices."""
    try:
        return world.act()
    except Died:
        if not task.both:
            raise
    world.hang_up()
    if world.daemon.wait_end() != -9:
        raise Wrong("QEMU died, and the daemon did not")
    return False


def recover(world, crash_at):
    """A new daemon in the old state, that is asked for the same again. False when it died at its
    own boundary."""
    world.errors.clear()
    world.hang_up()
    world.daemon.kill()
    survived = world.start(crash_at) and (not world.fake.alive or world.act())
    if not survived and crash_at is None:
        raise Wrong("the daemon died, and nobody had told it to")
    return survived


def after_fault(world, task):
    """The agent may have been left dead or hung: it comes back, as a guest's service manager sees
    to. Whoever stopped the guest lets it run again."""
    if not world.fake.alive:
        return
    world.fake.order("disarm")
    world.fake.order("release")
    if task.fault["do"] == "stop" and world.scenario.running and not task.scenario.torn(world):
        world.fake.qmp("cont")
    if not world.scenario.agent:
        return
    world.fake.order("port", opened=True)


# ---- which tasks ----

def crash_tasks(scenario, dry, everything):
    for n in range(dry.begun + 1, len(dry.boundaries) + 1):
        yield Task(scenario, at=n)
        for both in ("run", "drop") if everything else ((), ("run",), (), ("drop",))[n % 4]:
            yield Task(scenario, at=n, both=both)


def fault_tasks(scenario, dry, everything):
    """Every command of the run, each time that it occurred, with every fault that makes sense
    there."""
    for kind, names, faults in (("on", dry.commands, QMP_FAULTS),
                                ("agent", dry.agent_commands, AGENT_FAULTS)):
        counts = collections.Counter()
        for name in names:
            if name in ("qmp_capabilities", "query-qmp-schema", "query-commands"):
                continue
            counts[name] += 1
            query = name.startswith("query-")
            if query and counts[name] > 3 and not everything:
                continue
            strangers = scenario.strangers_before(name) if kind == "on" else ()
            for do in QUERY_FAULTS if query else (*faults, *strangers):
                yield Task(scenario, fault={kind: name, "nth": counts[name], "do": do, "count": 77})


def run_second(argument):
    """All second crashes behind one first crash."""
    scenario, n, keep = argument
    results = []
    for m in range(1, LIMIT):
        results.append(run(Task(scenario, at=n, again=m), keep))
        if not results[-1].crashed_again:
            break
    return results


def run_first(argument):
    task, keep = argument
    return [run(task, keep)]


# ---- the report ----

class Report:
    def __init__(self, program):
        self.program = program
        self.failures = 0

    def failed(self, result):
        self.failures += 1
        print(f"FAIL {result.task.label()}")
        if result.task.at and len(result.boundaries) >= result.task.at:
            print(f"    died at {result.boundaries[result.task.at - 1]}")
        for line in result.error.splitlines():
            print(f"    {line}")
        print(f"    again: {self.program} --keep --only {result.task.label()}", flush=True)

    def line(self, scenario, dry, results, seconds):
        bad = [r for r in results if r.error]
        outcomes = collections.Counter(r.outcome for r in results if r.outcome)
        crashed = sum(r.crashed for r in results)
        again = sum(r.crashed_again for r in results)
        told = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
        print(f"{'FAIL' if bad else 'PASS'} {scenario.name}: {len(dry.boundaries)} boundaries, "
              f"{len(results)} runs, {crashed} crashes, {again} second ones, {len(bad)} wrong; "
              f"{told or 'nothing'}; {seconds:.1f} s", flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only")
    parser.add_argument("--at")
    parser.add_argument("--both", choices=("run", "drop"))
    parser.add_argument("--fault", help="on|agent:NAME:NTH:DO")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--all", action="store_true",
                        default=bool(os.environ.get("SNAPVM_TEST_ALL")),
                        help="every scenario, both ways to die with QEMU, every fault")
    parser.add_argument("--share", type=int,
                        help="second crashes behind each n-th first one; 0 none, 1 all")
    options = parser.parse_args()
    if options.share is None:
        options.share = 5 if options.all else 58
    return options


def one(options, scenarios, report):
    """A single run by hand."""
    for scenario in scenarios:
        at, _, again = (options.at or "").partition(",")
        fault = None
        if options.fault:
            kind, name, nth, do = options.fault.split(":")
            fault = {kind: name, "nth": int(nth), "do": do, "count": 77}
        task = Task(scenario, int(at) if at else None, int(again) if again else None,
                    options.both, fault)
        result = run(task, options.keep)
        for n, name in enumerate(result.boundaries, 1):
            print(f"    {n} {name}")
        if result.error:
            report.failed(result)
        else:
            print(f"PASS {result.task.label()}: {result.outcome}")


def series(scenario, options, pool, report, faults, thin):
    started = time.monotonic()
    dry = run(Task(scenario), options.keep)
    if dry.error:
        report.failed(dry)
        return
    make = fault_tasks if faults else crash_tasks
    tasks = list(make(scenario, dry, options.all))
    if thin and not options.all:
        tasks = tasks[zlib.crc32(scenario.name.encode()) % THIN::THIN]
    work = [(run_first, [(task, options.keep) for task in tasks])]
    if options.share and not faults:
        first = range(dry.begun + 1, len(dry.boundaries) + 1, options.share)
        work.append((run_second, [(scenario, n, options.keep) for n in first]))
    results = []
    for function, items in work:
        for done in concurrent.futures.as_completed([pool.submit(function, i) for i in items]):
            for result in done.result():
                results.append(result)
                if result.error:
                    report.failed(result)
    report.line(scenario, dry, results, time.monotonic() - started)


def main(scenarios, faults=False, thin=False):
    """`thin`: a plain check does not kill at all boundaries of these. Of faults it never tries all."""
    options = arguments()
    reason = daemon.missing_program()
    if reason:
        print(f"SKIP: {reason}")
        return 77
    if options.only:
        scenarios = [s for s in scenarios if s.name == options.only]
    elif not options.all:
        scenarios = [s for s in scenarios if s.quick]
    report = Report(sys.argv[0])
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    os.environ[FOLDER] = folder = tempfile.mkdtemp(prefix="snapvm-plans-", dir=memory)
    try:
        if options.at or options.fault or options.both:
            one(options, scenarios, report)
        else:
            # A worker that dies is told by BrokenProcessPool: nobody waits for it.
            with concurrent.futures.ProcessPoolExecutor(
                    options.jobs, multiprocessing.get_context("fork")) as pool:
                for scenario in scenarios:
                    series(scenario, options, pool, report, faults, thin or faults)
    finally:
        if not (options.keep and report.failures):
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if report.failures else 0
