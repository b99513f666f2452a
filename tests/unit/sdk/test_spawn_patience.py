"""A `spawn_map` for which there is no room waits, says so once, and sends the rest again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from volant import errors
from volant.sdk.calls import mapdrive
from volant.sdk.calls.calling import Binding
from volant.wire import frames
from volant.wire.faults import error_fault
from volant.wire.frames import HEADER, HOT, LAST, OPEN, RETAIN

if TYPE_CHECKING:
    from volant.channel.waiter import Waiter


class PlayedChannel:
    """A hub that takes a frame only when it has refused some."""

    session = "0" * 16
    closed = False

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.taken: list[tuple[int, int]] = []
        self.waits: list[float] = []
        self.waiter: Any = None
        self._inputs = 0
        self._passes_over = False

    def next_number(self) -> int:
        return 1

    def register(self, number: int, waiter: Waiter) -> None:
        self.waiter = waiter

    def unregister(self, number: int) -> None:
        pass

    def send(self, frame: bytes, fd: int | None = None) -> None:
        _, kind, flags = HEADER.unpack_from(frame)
        number, first, count, _ = HOT.unpack_from(frame, HEADER.size)
        assert kind == frames.SUBMIT
        if self._passes_over and first > self._inputs:
            return
        if first == self._inputs and count and first and self.refusals:
            self.refusals -= 1
            self._passes_over = True
            fault = error_fault(errors.ResourceExhaustedError("no room for these"))
            self.waiter.on_reply({"id": number, "fault": fault, "from": first})
            return
        if first == self._inputs and self._passes_over:
            assert flags & (OPEN | RETAIN) == OPEN | RETAIN
            self._passes_over = False
        self._inputs = first + count
        if count:
            self.taken.append((first, count))
        if flags & LAST:
            self.waiter.on_reply({"id": number})

    def wait(self, waiter: Waiter, timeout_s: float | None = None) -> None:
        if timeout_s is not None:
            self.waits.append(timeout_s)
            raise errors.TimeoutError("nothing came")
        assert waiter.ready


def test_inputs_without_room_are_sent_again_later_and_later() -> None:
    channel: Any = PlayedChannel(refusals=8)
    count = 3 * mapdrive.CHUNK
    with pytest.warns(UserWarning, match="waits until there is room: no room for these") as told:
        mapdrive.spawn_inputs(Binding(channel, 7, "f", None), [(1,)] * count, {})
    assert len(told) == 1
    assert channel.taken == [(at, mapdrive.CHUNK) for at in range(0, count, mapdrive.CHUNK)]
    assert channel.waits == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_with_room_nothing_is_said_or_waited_for() -> None:
    channel: Any = PlayedChannel(refusals=0)
    mapdrive.spawn_inputs(Binding(channel, 7, "f", None), [(1,)], {})
    assert (channel.taken, channel.waits) == ([(0, 1)], [])
