"""What containers share: a model, batches, an event loop, the load of a pool that grows from zero.

The same class without a snapshot, the same body without batches and the same coroutines without
Volant are the peers.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import inventory
from benchmarks.harness.figures import Figure
from benchmarks.harness.turns import take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.bench import Bench
    from benchmarks.harness.home import Home

_CONTAINERS = 10
_BATCH_SIZE = 32
_CONCURRENT = 200
_NAP_S = 0.1
_IN_FLIGHT = 500


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    yield from _snapshots(bench)
    yield "pools.shared", _shared(bench)
    yield from _batches(bench)
    yield from _naps(bench)
    yield from _step(bench)


def _snapshots(bench: Bench) -> Iterator[tuple[str, Figure]]:
    ahead = bench.contestant("pools_side:Classes", bench.home())
    bare = bench.contestant("pools_side:Classes", bench.home(spare_containers=0))
    taken = take_turns(
        {
            "snapped": partial(ahead.turn, name="snapped"),
            "plain": partial(ahead.turn, name="plain"),
            "forked": partial(bare.turn, name="snapped"),
        },
        bench.pick(15, 4),
    )
    result_ms = {name: [turn["result_ms"] for turn in turns] for name, turns in taken.items()}
    yield "pools.snapshot", Figure(ours=result_ms["snapped"])
    yield "pools.snapshot_against_plain", Figure(ours=result_ms["snapped"], peer=result_ms["plain"])
    yield "pools.snapshot_without_spare", Figure(ours=result_ms["forked"])
    ahead.close()
    bare.close()


def _shared(bench: Bench) -> Figure:
    """The memory of all processes of a daemon with ten containers, over that with one."""
    home = bench.home()
    side = bench.contestant("pools_side:Held", home)
    sizes_mb = []
    for count in (1, _CONTAINERS):
        turn = side.turn(count=count, stand_s=2.0)
        assert turn["containers"] == count, f"{turn['containers']} containers instead of {count}"
        sizes_mb.append(_memory_mb(home))
    side.close()
    home.stop()
    one_mb, many_mb = sizes_mb
    return Figure(ours=[many_mb / one_mb], note=f"{one_mb:.0f} MB and {many_mb:.0f} MB")


def _memory_mb(home: Home) -> float:
    (run_id,) = inventory.run_ids(home.path)
    pids = inventory.processes(run_id) - {home.daemon_pid()}
    return sum(_proportional_bytes(pid) for pid in pids) / 1e6


def _proportional_bytes(pid: int) -> int:
    """Memory of a process, each page divided by how many map it; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    (kibibytes,) = [line.split()[1] for line in lines if line.startswith("Pss:")]
    return int(kibibytes) << 10


def _batches(bench: Bench) -> Iterator[tuple[str, Figure]]:
    side = bench.contestant("pools_side:Batches", bench.home())
    single, together = bench.pick(200, 50), bench.pick(200, 50) * _BATCH_SIZE
    taken = take_turns(
        {
            "together": partial(side.turn, name="together", count=together),
            "single": partial(side.turn, name="single", count=single),
        },
        bench.pick(5, 3),
    )
    rates = {name: [turn["rate"] for turn in turns] for name, turns in taken.items()}
    note = f"{together:,} inputs, the peer {single:,}"
    yield "pools.batched", Figure(ours=rates["together"], peer=rates["single"], note=note)
    side.close()


def _naps(bench: Bench) -> Iterator[tuple[str, Figure]]:
    ours = bench.contestant("pools_side:Naps", bench.home())
    direct = bench.contestant("pools_side:Direct")
    at_once = {"count": _CONCURRENT, "duration_s": _NAP_S}
    spread = at_once | {"calls_each": bench.pick(10, 4)}
    taken = take_turns(
        {
            "ours": partial(ours.turn, **at_once),
            "direct": partial(direct.turn, **at_once),
            "ours_spread": partial(ours.turn, **spread),
            "direct_spread": partial(direct.turn, **spread),
        },
        bench.pick(9, 4),
    )
    for key, which, name in (
        ("concurrent", "", "p50_ms"), ("concurrent_p90", "", "p90_ms"),
        ("concurrent_spread", "_spread", "p50_ms"), ("concurrent_spread_p90", "_spread", "p90_ms"),
    ):  # fmt: skip
        pairs = zip(taken[f"ours{which}"], taken[f"direct{which}"], strict=True)
        yield f"pools.{key}", Figure(ours=[mine[name] - peer[name] for mine, peer in pairs])
    ours.close()
    direct.close()


def _step(bench: Bench) -> Iterator[tuple[str, Figure]]:
    side = bench.contestant("pools_side:Steps", bench.home())
    in_flight, containers = bench.pick(_IN_FLIGHT, 100), bench.pick(50, 50)
    turns = [
        side.turn(in_flight=in_flight, duration_s=0.1, load_s=bench.pick(5.0, 3.0))
        for _ in range(bench.pick(3, 2))
    ]
    note = f"{in_flight} in flight, {containers} containers"
    running = [
        turn["running_ms"][-1] if len(turn["running_ms"]) == containers else float("inf")
        for turn in turns
    ]
    yield "pools.step", Figure(ours=running, note=note)
    yield "pools.step_queued", Figure(ours=[turn["queued_p99_ms"] for turn in turns], note=note)
    yield "pools.step_queued_p50", Figure(ours=[turn["queued_p50_ms"] for turn in turns])
    yield "pools.step_rate", Figure(ours=[turn["rate"] for turn in turns])
    yield "pools.step_to_zero", Figure(ours=[turn["beyond_window_ms"] for turn in turns])
    side.close()
