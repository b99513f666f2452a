"""The memory guard: when it ends a zygote, and when not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from volantd.agent.memory import MemoryGuard, available_bytes


class Zygotes:
    """Idle zygotes, counted."""

    def __init__(self, idle: int) -> None:
        self.idle = idle

    def evict_oldest(self) -> bool:
        had_one = self.idle > 0
        self.idle -= had_one
        return had_one


@pytest.mark.parametrize(("available", "left"), [(99, 2), (100, 3), (10_000, 3)])
def test_one_zygote_goes_at_each_look_below_the_reserve(available: int, left: int) -> None:
    zygotes: Any = Zygotes(3)
    loop = asyncio.new_event_loop()
    MemoryGuard(zygotes, loop, 100, lambda: available).look()
    loop.close()
    assert zygotes.idle == left


def test_without_an_idle_zygote_nothing_happens() -> None:
    zygotes: Any = Zygotes(0)
    loop = asyncio.new_event_loop()
    MemoryGuard(zygotes, loop, 100, lambda: 1).look()
    loop.close()
    assert zygotes.idle == 0


def test_what_was_made_ahead_for_sandboxes_goes_before_a_zygote() -> None:
    zygotes: Any = Zygotes(1)
    loop = asyncio.new_event_loop()
    there = [True, False]
    guard = MemoryGuard(zygotes, loop, 100, lambda: 1, end_ahead=lambda: there.pop(0))
    guard.look()
    assert zygotes.idle == 1
    guard.look()
    loop.close()
    assert zygotes.idle == 0


def test_the_kernel_says_what_is_available() -> None:
    assert 1 << 20 < available_bytes() < 1 << 50
