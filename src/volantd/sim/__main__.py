"""``python -m volantd.sim [seed | first-last | loads | cost]``: seeds, loads or the cost."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from time import perf_counter

from volantd.sim.cost import report
from volantd.sim.history import HistoryError, run
from volantd.sim.loads.flapping import watched

SWEEP = range(1000)


def say(text: object) -> None:
    """Prints a line: this program's output is for people."""
    sys.stdout.write(f"{text}\n")


def replay(seed: int) -> int:
    """Plays one seed and prints everything that happens."""
    try:
        summary = run(seed, verbose=True)
    except HistoryError as error:
        say(error)
        return 1
    say(summary)
    return 0


def sweep(seeds: range) -> int:
    """Plays many seeds; prints the failures and the totals."""
    began = perf_counter()
    failed = []
    totals: Counter[str] = Counter()
    for seed in seeds:
        try:
            summary = run(seed)
        except HistoryError as error:
            failed.append(seed)
            say(f"{error}\n")
            continue
        totals.update(events=summary.steps, dispatches=summary.dispatches)
        totals.update(starts=summary.starts, reclaims=summary.reclaims)
        totals.update(virtual_s=int(summary.virtual_s))
        totals.update(summary.outcomes)
        totals.update(summary.ends)
    took_s = perf_counter() - began
    say(f"{len(seeds)} seeds in {took_s:.1f} s, {len(failed)} failed {failed[:20]}")
    say(" ".join(f"{name}={total}" for name, total in sorted(totals.items())))
    return 1 if failed else 0


def sweep_loads() -> int:
    """Plays many loads; prints the pools that flap, and the totals."""
    starts = soon = 0
    failed = []
    for seed in SWEEP:
        run, flapping = watched(seed)
        starts, soon = starts + len(run.lives), soon + flapping.soon
        if flapping.found:
            failed.append(seed)
            say(f"seed {seed}: {flapping.found[0]}")
    say(f"{len(SWEEP)} loads, {starts} starts, {soon} of them for a new peak soon after a stop")
    say(f"{len(failed)} flap {failed[:20]}")
    return 1 if failed else 0


def main(arguments: list[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="scripts/sim",
        description="Plays the real core against simulated machines, clients and faults.",
        epilog="Examples: scripts/sim, scripts/sim 123, scripts/sim 1-5000, scripts/sim loads",
    )
    parser.add_argument(
        "what", nargs="?", default=f"{SWEEP[0]}-{SWEEP[-1]}",
        metavar="SEED | FIRST-LAST | loads | cost",
        help="a seed to replay event by event, seeds to sweep (default: %(default)s), loads "
        "under which no pool may flap, or what the core's decisions cost",
    )  # fmt: skip
    what = parser.parse_args(arguments).what
    if what == "cost":
        say("\n".join(report()))
        return 0
    if what == "loads":
        return sweep_loads()
    first, dash, last = what.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        parser.error(f"{what!r} is neither a seed nor a range such as 1-5000")
    return sweep(range(int(first), int(last) + 1)) if dash else replay(int(first))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
