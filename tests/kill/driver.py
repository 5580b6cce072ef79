"""Plays rounds, some at once, and counts.

SNAPVM_TEST_SEED repeats a run, `--round N` one round of it; KILLS or `--kills` says how many tries.
Rounds take turns between memory, where everything is quick, and the disk, where a commit of the
journal takes its time and other instants are hit. With SNAPVM_TEST_KEEP what a round left behind
when it went wrong is kept in that folder.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))

import guest  # noqa: E402
from daemon import missing_program  # noqa: E402
from round import VICTIMS  # noqa: E402

SKIP = 77
TRIES = 15          # a round: divisible by the number of VICTIMS
ENOUGH = 50         # of so many images that were not named, one at least must be wrong
BRIEF = 9           # the lines of a report that tell what went wrong
MEMORY = "/dev/shm"


def arguments(kills):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=int(os.environ.get("KILLS", kills)))
    parser.add_argument("--seed", type=int,
                        default=int(os.environ.get("SNAPVM_TEST_SEED", random.randrange(1 << 30))))
    parser.add_argument("--round", type=int, help="this one alone")
    parser.add_argument("--lanes", type=int, default=min(4, os.cpu_count()))
    return parser.parse_args()


def missing():
    """Why nothing can be tested here, or None. Builds the guest before the lanes need it."""
    reason = guest.missing_tools() or missing_program()
    if reason is None:
        try:
            guest.guest_folder()
            guest.choose_accel()
        except RuntimeError as error:
            reason = str(error)
    return reason


def play(make, folder, seed, number):
    round_ = make(folder, seed, number)
    try:
        wrong = round_.play(TRIES)
    except (SystemExit, KeyboardInterrupt):
        os._exit(1)     # told to end: the pool would take it for an answer, and send the next round
    return round_.tally, wrong


def rounds(make, folders, seed, numbers, lanes):
    """(number, tally, what went wrong) of each round, as it ends. A round whose process is killed is
    wrong, and the end of all: what else its death took along is not known."""
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(lanes, context) as pool:
        tasks = {pool.submit(play, make, folders[number % len(folders)], seed, number): number
                 for number in numbers}
        try:
            for task in concurrent.futures.as_completed(tasks):
                yield tasks[task], *task.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            left = min(number for task, number in tasks.items() if not task.done() or
                       task.exception())
            yield left, {"wrong": 1}, f"round {left}, or one behind it: {error}"
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def share(tally, prefix):
    return ", ".join(f"{name[len(prefix):]} {count}" for name, count in tally.most_common()
                     if name.startswith(prefix))


def report(tally, seconds):
    groups = ("victim ", "of ", "window ", "result ", "at ")
    for title, prefix in zip(("victims", "operations", "windows", "outcomes", "died at"), groups):
        print(f"{title}: {share(tally, prefix)}")
    for name, count in sorted(tally.items()):
        if not name.startswith(groups) and name not in ("tries", "wrong"):
            print(f"{name}: {count}")
    print(f"{tally['tries']} tries, {tally['wrong']} wrong ({seconds:.0f} s)", flush=True)


def main(make, kills):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = arguments(kills)
    reason = missing()
    if reason:
        print(f"SKIP: {reason}")
        return SKIP
    numbers = [options.round] if options.round is not None else range(-(-options.kills // TRIES))
    print(f"SNAPVM_TEST_SEED={options.seed}: {len(numbers)} rounds of {TRIES} tries, "
          f"{options.lanes} at once", flush=True)
    assert TRIES % len(VICTIMS) == 0
    started, tally, faults = time.monotonic(), collections.Counter(), []
    with contextlib.ExitStack() as stack:
        folders = [stack.enter_context(tempfile.TemporaryDirectory(prefix="snapvm-kill-", dir=place))
                   for place in (MEMORY, None) if place is None or os.access(place, os.W_OK)]
        for number, counted, wrong in rounds(make, folders, options.seed, numbers, options.lanes):
            tally.update(counted)
            if wrong:
                print(f"WRONG, to repeat it: SNAPVM_TEST_SEED={options.seed} {sys.argv[0]} "
                      f"--round {number}\n{wrong}", flush=True)
                faults += [line[:300] for line in wrong.splitlines()[:BRIEF]]
    report(tally, time.monotonic() - started)
    # Again, since the end of a log is all that some keep.
    print(*faults, sep="\n", flush=True)
    if tally["other images"] >= ENOUGH and not tally["other images that were wrong"]:
        print("the other images would have done as well: this test cannot tell")
        return 1
    return 1 if tally["wrong"] else 0
