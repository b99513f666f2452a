"""Volumes: files put by a program, read and committed in containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness.figures import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.bench import Bench

_FILES, _FILE_BYTES = 10_000, 4096


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    side = bench.contestant(
        "volumes_side:Volumes", bench.home(), files=_FILES, file_bytes=_FILE_BYTES,
        large_bytes=bench.pick(1 << 30, 256 << 20),
    )  # fmt: skip
    read = side.turn(what="read", count=bench.pick(9, 3))
    yield "volumes.read", Figure(ours=read["volume"], peer=read["plain"])
    puts = [side.turn(what="put") for _ in range(bench.pick(5, 1))]
    yield "volumes.put", Figure(ours=[one["first_ms"] for one in puts])
    yield "volumes.put_again", Figure(ours=[one["again_ms"] for one in puts])
    side.turn(what="commit", count=3)
    yield "volumes.commit", Figure(ours=side.turn(what="commit", count=bench.pick(50, 10))["ms"])
    side.close()
