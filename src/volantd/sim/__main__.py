"""``python -m volantd.sim [seed | first-last | cost]``: one seed aloud, many, or the cost."""

from __future__ import annotations

import sys
from collections import Counter
from time import perf_counter

from volantd.sim.cost import report
from volantd.sim.history import HistoryError, run

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


def main(arguments: list[str]) -> int:
    """The command."""
    if not arguments:
        return sweep(SWEEP)
    if arguments == ["cost"]:
        say("\n".join(report()))
        return 0
    first, dash, last = arguments[0].partition("-")
    if dash:
        return sweep(range(int(first), int(last) + 1))
    return replay(int(first))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
