"""Durable calls, on SQLite and on PostgreSQL: until they are acknowledged, one by one and many."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.harness.figures import Figure
from benchmarks.harness.turns import take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.bench import Bench


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    from tests.postgres import PostgresServer, find

    server = PostgresServer(find())
    bench.finally_do(server.close)
    homes = {"sqlite": bench.home(), "postgres": bench.home(database_url=server.url)}
    sides = {name: bench.contestant("spawns_side:Spawns", home) for name, home in homes.items()}
    counts = {"one": bench.pick(500, 100), "many": bench.pick(5000, 1000)}
    for what, count in counts.items():
        turns = take_turns(
            {name: partial(side.turn, what=what, count=count) for name, side in sides.items()},
            bench.pick(7, 3),
        )
        field = "p50_us" if what == "one" else "rate"
        for name, of_side in turns.items():
            yield f"spawns.{what}_{name}", Figure(ours=[turn[field] for turn in of_side])
