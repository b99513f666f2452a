"""One very long map: whether it completes, and the memory that client and hub take for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness.figures import Figure
from benchmarks.harness.machine import resident_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.bench import Bench

_LOOK_EVERY_S = 0.05
_MB = 1e6


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    count = bench.pick(1_000_000, 100_000)
    home = bench.home()
    client = bench.contestant("volant_side:Maps", home)  # it has run a map of 20,000 already
    hub_pid = home.daemon_pid()
    assert hub_pid is not None
    pids = {"client": int(client.ready["pid"]), "hub": hub_pid}
    before = {name: resident_bytes(pid) for name, pid in pids.items()}
    peaks = dict(before)
    client.begin(count=count)
    while not client.answered(_LOOK_EVERY_S):
        for name, pid in pids.items():
            peaks[name] = max(peaks[name], resident_bytes(pid))
    answer = client.finish()
    note = f"{count:,} inputs"
    yield "million.missing", Figure(ours=[count - answer["arrived"]], note=note)
    yield "million.rate", Figure(ours=[answer["rate"]], note=note)
    for name in pids:
        growth = (peaks[name] - before[name]) / _MB
        yield f"million.{name}_growth", Figure(ours=[growth], note=f"from {before[name] / _MB:.0f}")
