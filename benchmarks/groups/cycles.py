"""Many containers started and stopped: what stays behind in the kernel and on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness import inventory
from benchmarks.harness.figures import Figure
from benchmarks.harness.machine import resident_bytes

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from benchmarks.harness.bench import Bench


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    count = bench.pick(1_000, 40)
    home = bench.home()
    side = bench.contestant("volant_side:Cycles", home)
    side.turn(count=bench.pick(50, 10))  # pools and caches reach their size
    pid = home.daemon_pid()
    (run_id,) = inventory.run_ids(home.path)

    def take() -> Counter[str]:
        return inventory.count(home.path, run_id, home.daemon_pid())

    before, before_bytes = inventory.settled(take), resident_bytes(pid or 0)
    turn = side.turn(count=count)
    assert turn["containers"] == count, f"{turn['containers']} containers instead of {count}"
    after, after_bytes = inventory.settled(take), resident_bytes(pid or 0)
    assert home.daemon_pid() == pid, "the daemon was started anew"
    left = inventory.difference(before, after)
    yield "cycles.left", Figure(ours=[left.total()], note=_told(left, count))
    side.close()
    home.stop()
    left = +inventory.settled(take)
    yield "cycles.left_after_stop", Figure(ours=[left.total()], note=_told(left, count))
    yield "cycles.rate", Figure(ours=[turn["rate"]])
    yield "cycles.hub_growth", Figure(ours=[(after_bytes - before_bytes) / 1e6])


def _told(left: Counter[str], count: int) -> str:
    kinds = ", ".join(f"{number} {kind}" for kind, number in left.items())
    return f"{count:,} cycles" + (f": {kinds}" if kinds else "")
