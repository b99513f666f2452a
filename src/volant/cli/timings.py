"""`volant run --timings`: where the time of an app's calls went, as a small table."""

from __future__ import annotations

import sys
from itertools import pairwise

from volant.channel import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Stamp -> what a person calls the phase that ends with it. In the order of an input's life.
PHASES = {
    "accepted_ns": "accepted",
    "queued_ns": "queued",
    "wanted_ns": "container wanted",
    "forked_ns": "forked",
    "imported_ns": "imported",
    "dispatched_ns": "dispatched",
    "first_line_ns": "first line",
    "finished_ns": "finished",
    "delivered_ns": "delivered",
}


def print_timings(app_id: str | None) -> None:
    """Ask the hub for the phases of an app's inputs and show them on standard error."""
    calls = current.channel().request("app_timings", app_id=app_id)["calls"]
    for line in lines(calls):
        print(line, file=sys.stderr)


def lines(calls: list[dict[str, Any]]) -> list[str]:
    """The table: for every phase how many inputs had it, and its median and longest time.

    A phase lasts from the stamp before it to its own. One that no input went through has dashes:
    a container that was there already was neither wanted nor forked for these calls.
    """
    if not calls:
        return ["no calls were made"]
    durations: dict[str, list[int]] = {name: [] for name in PHASES.values()}
    totals = []
    for call in calls:
        stamps = [(call[key], name) for key, name in PHASES.items() if call[key]]
        durations["accepted"].append(0)
        for (before, _), (stamp, name) in pairwise(stamps):
            durations[name].append(stamp - before)
        totals.append(stamps[-1][0] - stamps[0][0])
    header = f"{'phase':<18}{'inputs':>8}{'median ms':>12}{'longest ms':>12}"
    rows = [_row(name, taken) for name, taken in durations.items()]
    return [header, *rows, "-" * len(header), _row("total", totals), *_failures(calls)]


def _row(name: str, taken: list[int]) -> str:
    if not taken:
        return f"{name:<18}{'-':>8}{'-':>12}{'-':>12}"
    median = sorted(taken)[len(taken) // 2]
    return f"{name:<18}{len(taken):>8,}{_ms(median):>12}{_ms(max(taken)):>12}"


def _ms(duration_ns: int) -> str:
    return f"{duration_ns / 1e6:,.3f}"


def _failures(calls: list[dict[str, Any]]) -> list[str]:
    """A line that counts what did not end well, if anything did not."""
    counts: dict[str, int] = {}
    for call in calls:
        if call["outcome"] != "ok":
            counts[call["outcome"]] = counts.get(call["outcome"], 0) + 1
    if not counts:
        return []
    said = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in counts.items())
    return [f"of {len(calls):,} inputs: {said}"]
