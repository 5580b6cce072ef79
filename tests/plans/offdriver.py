"""Runs scenarios with guests that are shut off, on real files: the daemon kills itself at its n-th
boundary, for every n; is started again; everything must hold. Behind a share of the n it kills
itself again at the m-th boundary of that recovery, for every m.

`--only NAME` picks a scenario, `--at N[,M]` one crash, `--keep` leaves the failed worlds behind. A
failure prints the command that repeats it. SNAPVM_TEST_ALL=1 or `--all` runs everything; a plain
check has time for every seventh run, beginning with one that the scenario's name chooses.
"""

import argparse
import concurrent.futures
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))

import daemon  # noqa: E402
from client import RpcError  # noqa: E402
from offworld import (DOMAIN, FOLDER, TIMEOUT, OffWorld, Wrong, content, inside,  # noqa: E402
                      require, tool)
from settled import rows, unlisted  # noqa: E402

THIN = 7            # of so many runs a plain check does one
LEAKS, WRONG = 3, 2     # qemu-img check: nothing is wrong but clusters that are lost; more is
# A cluster has one owner, and is not marked so: it is copied when it is written to, as if it had two.
UNMARKED = re.compile(r"ERROR OFLAG_COPIED (L2|data) cluster: .* refcount=1")
LIMIT = 500         # more boundaries than any plan has: a daemon that dies for ever is a failure


class Result:
    def __init__(self, label):
        self.label = label
        self.crashed = self.crashed_again = False
        self.outcome = self.error = None
        self.boundaries = []
        self.begun = 0
        self.rows = set()


def run(scenario, at=None, again=None, keep=False):
    label = scenario.name + (f" --at {at}" if at else "") + (f",{again}" if again else "")
    result = Result(label)
    world = OffWorld(scenario)
    try:
        misfortune(world, at, again, result)
    except (Wrong, RpcError, OSError, RuntimeError, AssertionError, KeyError, TypeError) as error:
        result.error = f"{type(error).__name__}: {error}"
        if not isinstance(error, Wrong):
            result.error += "\n" + traceback.format_exc()
        if world.daemon.log.exists():
            result.error += "\n" + world.daemon.log_tail(4000)
    finally:
        result.boundaries = result.boundaries or world.boundaries()
        result.begun = world.begun
        if world.daemon.log.exists():
            result.rows = rows(world.daemon.log.read_text(errors="replace"))
            result.error = result.error or unlisted(result.rows)
        world.close(keep and result.error is not None)
    return result


def misfortune(world, at, again, result):
    if not (world.start(at) and world.act()):
        result.crashed = True
        if not recover(world, again):
            result.crashed_again = True
            recover(world, None)
    result.boundaries = world.boundaries()
    if not result.crashed_again and (again or (at and not result.crashed)):
        # It was told to die at a boundary that it did not reach: from here on it may not.
        recover(world, None)
    check(world)
    world.scenario.check(world)
    result.outcome = "/".join(job["outcome"]["result"] for job in world.jobs())
    # Once more: what was done is told, and nothing is done again.
    before = {job["id"]: job["outcome"] for job in world.jobs()}
    recover(world, None)
    check(world)
    world.scenario.check(world)
    require({job["id"]: job["outcome"] for job in world.jobs()} == before, "a repeated request acted")


def recover(world, crash_at):
    """A new daemon in the old state, that is asked for the same again. False when it died at its
    own boundary."""
    world.errors.clear()
    world.hang_up()
    world.daemon.kill()
    survived = world.start(crash_at) and world.act()
    if not survived and crash_at is None:
        raise Wrong("the daemon died, and nobody had told it to")
    return survived


def check(world):
    """What must hold once everything has come to rest, whatever went wrong before."""
    for job in world.jobs():
        world.call("job.wait", job=job["id"], for_="ended", timeout_ms=TIMEOUT * 1000 - 5000)
    require(not world.errors, f"refused: {world.errors}")
    disks, snapshots = world.disks(), world.snapshots()
    check_disks(world, disks)
    for name, snapshot in snapshots.items():
        for disk in snapshot["disks"]:
            want = world.scenario.snapshot_content(world, name, disk["disk"])
            if disk["mode"] == "internal":
                found = content(disk["file"], "qcow2", inside=name)
            else:
                found = content(disk["backing"], file_format(world, disk["backing"]))
            require(found == want, f"snapshot {name} of {disk['disk']} has other content")
    check_files(world, disks, snapshots)
    check_inside(world, snapshots)


def check_inside(world, snapshots):
    """What is inside an image is what the records say, no more and nothing twice."""
    for name in os.listdir(world.images):
        path = os.path.join(world.images, name)
        meant = [snapshot for snapshot, record in snapshots.items()
                 if any(disk["mode"] == "internal" and disk["file"] == path
                        for disk in record["disks"])]
        image = file_format(world, path) == "qcow2" and not path.endswith(".mem")
        found = inside(path) if image else []
        require(sorted(found) == sorted(meant), f"{path} has {found} inside, recorded are {meant}")


def check_disks(world, disks):
    for target in world.targets:
        disk = disks[target]
        require(content(disk["active"], disk["format"]) == world.scenario.content(world, target),
                f"{target}: {disk['active']} has other content")
        for above, below in zip(disk["chain"], disk["chain"][1:]):
            info = tool("qemu-img", "info", "-f", above["format"], above["file"])
            require(f"backing file: {below['file']}" in info,
                    f"{above['file']} does not lie on {below['file']}:\n{info}")
        for layer in disk["chain"]:
            if layer["format"] == "qcow2":
                check_image(layer["file"])


def check_image(path):
    """A qemu-img that was killed leaves clusters that nothing refers to, and when it deleted a
    snapshot some that are not marked as what they are now, no more."""
    done = subprocess.run(["qemu-img", "check", "-f", "qcow2", path], capture_output=True, text=True,
                          check=False)
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    harmless = bool(errors) and all(UNMARKED.fullmatch(line) for line in errors)
    require(done.returncode in (0, LEAKS) or (done.returncode == WRONG and harmless),
            f"qemu-img check {path}: {done.stdout}{done.stderr}")


def file_format(world, path):
    return world.drivers.get(path, "qcow2")


def check_files(world, disks, snapshots):
    """Every file in the folder is somebody's."""
    known = {layer["file"] for disk in disks.values() for layer in disk["chain"]}
    known |= {file for snapshot in snapshots.values() for disk in snapshot["disks"]
              for file in (disk["file"], disk["backing"])}
    known |= {snapshot.get("memory_file") for snapshot in snapshots.values()} - {None}
    for job in world.jobs():
        for file in job["outcome"]["files"]:
            there = os.path.exists(file["file"])
            if file["state"] == "removed":
                require(not there or file["file"] in known, f"{file['file']} is not removed")
            else:
                require(there or world.scenario.is_removed(file["file"]),
                        f"{file['file']} is {file['state']} and not there")
                known |= {file["file"]} if there else set()
    there = {os.path.join(world.images, name) for name in os.listdir(world.images)}
    require(known <= there | {None}, f"missing: {known - there}")
    first = {os.path.join(world.images, name) for name in world.first_files}
    require(there <= known | first, f"left over: {there - known - first}")


# ---- which runs ----

def run_second(argument):
    """All second crashes behind one first crash."""
    scenario, at, keep = argument
    results = []
    for again in range(1, LIMIT):
        results.append(run(scenario, at, again, keep))
        if not results[-1].crashed_again:
            break
    return results


def run_first(argument):
    scenario, at, keep = argument
    return [run(scenario, at, None, keep)]


def failed(result):
    print(f"FAIL {result.label}")
    for line in result.error.splitlines():
        print(f"    {line}")
    print(f"    again: {sys.argv[0]} --keep --only {result.label}", flush=True)


def series(scenario, options, pool):
    """How many runs went wrong."""
    started = time.monotonic()
    dry = run(scenario, keep=options.keep)
    if dry.error:
        failed(dry)
        return 1
    numbers = range(1 if options.all else dry.begun + 1, len(dry.boundaries) + 1)
    first = numbers if options.all else numbers[zlib.crc32(scenario.name.encode()) % THIN::THIN]
    work = [(run_first, [(scenario, n, options.keep) for n in first])]
    if options.share:
        # From the middle on: a recovery at the very first boundary is a run like any other.
        some = numbers[len(numbers) // 2::options.share]
        work.append((run_second, [(scenario, n, options.keep) for n in some]))
    results = [dry]
    for function, items in work:
        for done in concurrent.futures.as_completed([pool.submit(function, i) for i in items]):
            results += done.result()
    for result in results:
        if result.error:
            failed(result)
    bad = sum(result.error is not None for result in results)
    print(f"{'FAIL' if bad else 'PASS'} {scenario.name}: {len(dry.boundaries)} boundaries, "
          f"{len(results)} runs, {sum(r.crashed for r in results)} crashes, "
          f"{sum(r.crashed_again for r in results)} second ones, {bad} wrong; {dry.outcome}; "
          f"{time.monotonic() - started:.1f} s", flush=True)
    return bad


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only")
    parser.add_argument("--at")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--all", action="store_true",
                        default=bool(os.environ.get("SNAPVM_TEST_ALL")))
    parser.add_argument("--share", type=int,
                        help="second crashes behind each n-th first one; 0 none, 1 all")
    options = parser.parse_args()
    if options.share is None:
        options.share = 3 if options.all else 26
    return options


def missing():
    """Why this cannot run here, or None."""
    for program in ("qemu-img", "qemu-io"):
        if not shutil.which(program):
            return f"no {program}"
    return daemon.missing_program()


def main(scenarios):
    options = arguments()
    reason = missing()
    if reason:
        print(f"SKIP: {reason}")
        return 77
    if options.only:
        scenarios = [s for s in scenarios if s.name == options.only]
    elif not options.all:
        scenarios = [s for s in scenarios if s.quick]
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    os.environ[FOLDER] = folder = tempfile.mkdtemp(prefix="snapvm-plans-", dir=memory)
    bad = 0
    try:
        if options.at:
            at, _, again = options.at.partition(",")
            result = run(scenarios[0], int(at), int(again) if again else None, options.keep)
            for n, name in enumerate(result.boundaries, 1):
                print(f"    {n} {name}")
            if result.error:
                failed(result)
            bad = result.error is not None
        else:
            # A worker that dies is told by BrokenProcessPool: nobody waits for it.
            with concurrent.futures.ProcessPoolExecutor(
                    options.jobs, multiprocessing.get_context("fork")) as pool:
                bad = sum(series(scenario, options, pool) for scenario in scenarios)
    finally:
        if not (options.keep and bad):
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if bad else 0
