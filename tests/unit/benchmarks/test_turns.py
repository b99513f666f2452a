from __future__ import annotations

from benchmarks.harness.turns import take_turns


def test_contestants_alternate_and_warm_up_rounds_do_not_count() -> None:
    order: list[str] = []

    def turn(name: str) -> int:
        order.append(name)
        return len(order)

    taken = take_turns({name: lambda name=name: turn(name) for name in "ab"}, 2, unmeasured=1)
    assert order == ["a", "b"] * 3
    assert taken == {"a": [3, 5], "b": [4, 6]}
