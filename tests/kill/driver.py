"""Plays rounds, some at once, and counts.

SNAPVM_TEST_SEED repeats a run, `--round N` one round of it; KILLS or `--kills` says how many tries.
Rounds take turns between memory, where everything is quick, and the disk, where a commit of the
journal takes its time and other instants are hit. With SNAPVM_TEST_KEEP what a round left behind
when it went wrong is kept in that folder.
"""

import argparse
import collections
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


def play(task):
    make, seed, number, tries = task
    memory = number % 2 == 0 and os.access(MEMORY, os.W_OK)
    folder = MEMORY if memory else tempfile.gettempdir()
    round_ = make(folder, seed, number)
    wrong = round_.play(tries)
    return round_.tally, wrong


def share(tally, prefix):
    return ", ".join(f"{name[len(prefix):]} {count}" for name, count in tally.most_common()
                     if name.startswith(prefix))


def report(tally, seconds):
    groups = ("victim ", "of ", "result ", "at ")
    for title, prefix in zip(("victims", "operations", "outcomes", "died at"), groups):
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
    started, tally = time.monotonic(), collections.Counter()
    tasks = [(make, options.seed, number, TRIES) for number in numbers]
    with multiprocessing.get_context("fork").Pool(options.lanes) as pool:
        for counted, wrong in pool.imap_unordered(play, tasks):
            tally += counted
            if wrong:
                print(f"WRONG, to repeat it: SNAPVM_TEST_SEED={options.seed} {sys.argv[0]} "
                      f"--round {wrong.split()[1].rstrip(':')}\n{wrong}", flush=True)
    report(tally, time.monotonic() - started)
    if tally["other images"] >= ENOUGH and not tally["other images that were wrong"]:
        print("the other images would have done as well: this test cannot tell")
        return 1
    return 1 if tally["wrong"] else 0
