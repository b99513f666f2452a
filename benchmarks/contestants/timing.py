"""How all contestants time alike."""

from __future__ import annotations

from time import perf_counter, perf_counter_ns
from typing import TYPE_CHECKING, Any

from benchmarks.harness.figures import percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: One float64 of each page.
_EVERY_PAGE = slice(None, None, 4096 // 8)


def time_calls(call: Callable[[], Any], count: int) -> dict[str, float]:
    """Time calls one after the other, each by itself."""
    taken_ns = []
    for _ in range(count):
        begun = perf_counter_ns()
        call()
        taken_ns.append(perf_counter_ns() - begun)
    return {
        "p50_us": percentile(taken_ns, 0.5) / 1e3,
        "p90_us": percentile(taken_ns, 0.9) / 1e3,
    }


def time_rate(step: Callable[[], Any], count: int, of_each: int) -> dict[str, float]:
    """Time a number of steps, each of which passes on as many."""
    begun = perf_counter()
    for _ in range(count):
        step()
    return {"rate": count * of_each / (perf_counter() - begun)}


def time_map(results: Callable[[], Iterable[Any]]) -> dict[str, float]:
    """Time a map from before its first input until after its last result."""
    begun = perf_counter()
    arrived = 0
    for _ in results():
        arrived += 1
    return {"rate": arrived / (perf_counter() - begun), "arrived": arrived}


def time_arrays(call: Callable[[], Any], array: Any, count: int) -> dict[str, list[float]]:
    """Time calls that answer with an array, and then a look at every page of the answer."""
    calls, reads = [], []
    expected = float(array[_EVERY_PAGE].sum())
    for _ in range(count):
        begun = perf_counter()
        result = call()
        calls.append((perf_counter() - begun) * 1e3)
        seen = float(result[_EVERY_PAGE].sum())
        reads.append((perf_counter() - begun) * 1e3)
        assert result.nbytes == array.nbytes and seen == expected
        del result
    return {"call_ms": calls, "read_ms": reads}
