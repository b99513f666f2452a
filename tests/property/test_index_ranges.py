"""Index ranges against a plain set."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, strategies as st

from volantd.core.records.intervals import IndexRanges


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), max_size=20))
def test_ranges_say_what_is_new_and_stay_normal(additions: list[tuple[int, int]]):
    ranges = IndexRanges()
    known: set[int] = set()
    for first, count in additions:
        fresh = [
            index for start, n in ranges.add(first, count) for index in range(start, start + n)
        ]
        assert fresh == sorted(set(range(first, first + count)) - known)
        known |= set(fresh)
        assert len(ranges) == len(known)
        pairs = list(zip(ranges.starts, ranges.stops, strict=True))
        assert {index for start, stop in pairs for index in range(start, stop)} == known
        assert all(a[1] < b[0] for a, b in pairwise(pairs))
