"""The real core in seeded histories: crashes, delays, reorders, and the end of each in order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from time import perf_counter

import pytest

from volantd.sim import run

SEEDS = 1000
KNOWN = Path(__file__).with_name("seeds.txt")


def _known_seeds() -> list[int]:
    lines = KNOWN.read_text().splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("seed", _known_seeds())
def test_seed_that_failed_once_passes(seed: int) -> None:
    run(seed)


@pytest.mark.slow
def test_a_thousand_histories_lose_no_input_and_come_to_rest() -> None:
    """Every rule is asserted inside; the totals show that the histories are not tame."""
    began = perf_counter()
    totals: Counter[str] = Counter()
    for seed in range(SEEDS):
        summary = run(seed)
        totals.update(events=summary.steps, reclaims=summary.reclaims, starts=summary.starts)
        totals.update(summary.outcomes)
        totals.update(summary.ends)
    print(f"{SEEDS} seeds in {perf_counter() - began:.1f} s: {dict(sorted(totals.items()))}")
    for name in ("ok", "raised", "LOST", "TIMEOUT", "START_FAILED", "STOPPED"):
        assert totals[name] > 100, name
    for name in ("finished", "cancelled", "vanished", "reclaims"):
        assert totals[name] > 100, name


def test_the_same_seed_plays_the_same_history() -> None:
    assert run(7) == run(7)
