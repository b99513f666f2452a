"""Turns: every contestant once in each round, so that a disturbance meets all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Taken = TypeVar("Taken")


def take_turns(
    contestants: Mapping[str, Callable[[], Taken]], rounds: int, *, unmeasured: int = 1
) -> dict[str, list[Taken]]:
    """Let every contestant take its turn in every round: A B C, A B C, ...

    Args:
        contestants: what one turn of each is.
        rounds: rounds that count.
        unmeasured: rounds before these, to warm up.

    Returns:
        What the turns of each returned, one per round.
    """
    taken: dict[str, list[Taken]] = {name: [] for name in contestants}
    for number in range(unmeasured + rounds):
        for name, turn in contestants.items():
            result = turn()
            if number >= unmeasured:
                taken[name].append(result)
    return taken
