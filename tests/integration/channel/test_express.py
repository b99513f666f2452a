"""The express lane as the client sees it: what comes by it, beside what comes from the hub."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.channel.fake_hub import WITHIN_S, section_of, submit_frame
from volant.channel.opening import open_channel
from volant.channel.waiters import CallWaiter
from volant.sdk.calls.calling import Binding
from volant.sdk.calls.mapping import MapState, MapWaiter
from volant.wire import frames

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.channel.fake_hub import FakeHub
    from volant.channel.channel import Channel


@pytest.fixture
def channel(hub: FakeHub, home: Path) -> Iterator[Channel]:
    """A channel that was offered an express lane."""
    hub.express = True
    made = open_channel(str(home))
    yield made
    made.close()


def waiting(channel: Channel, number: int) -> CallWaiter:
    waiter = CallWaiter(submit_frame(number, b"x"), None)
    channel.register(number, waiter)
    channel.send(waiter.frame)
    return waiter


def result(number: int, value: bytes = b"by the lane") -> bytes:
    return frames.hot(frames.RESULT, 0, number, 0, 1, 5, section_of(value))


class Writer:
    """A container's end of the lane, with the token of the function that calls here are of."""

    def __init__(self, channel: Channel, hub: FakeHub, count: int = 1) -> None:
        self.socket = hub.lane(count)
        self.token = channel.lane_tokens.make(1 << 16, 1)
        self.others = channel.lane_tokens.make((1 << 16) + 1, 1)

    def send(self, frame: bytes) -> None:
        self.socket.send(self.token + frame)


@pytest.fixture
def lane(channel: Channel, hub: FakeHub) -> Writer:
    return Writer(channel, hub)


def test_a_result_by_the_lane_ends_the_wait_for_the_hub(
    channel: Channel, hub: FakeHub, lane: Writer
):
    hub.hold = True
    number = channel.next_number()
    waiter = waiting(channel, number)
    lane.send(result(number))
    channel.wait(waiter)
    assert waiter.section == section_of(b"by the lane")


def test_one_datagram_may_bring_several_results(channel: Channel, hub: FakeHub, lane: Writer):
    hub.hold = True
    waiters = [waiting(channel, number) for number in (1, 2, 3)]
    lane.send(result(3, b"c") + result(77) + result(1, b"a"))
    channel.wait(waiters[0])
    channel.wait(waiters[2])
    assert waiters[0].section == section_of(b"a")
    assert waiters[2].section == section_of(b"c")
    assert not waiters[1].ready


def test_the_next_frame_tells_the_hub_of_what_came_by_the_lane(
    channel: Channel, hub: FakeHub, lane: Writer
):
    hub.hold = True
    for number in (1, 2):
        waiter = waiting(channel, number)
        lane.send(result(number))
        channel.wait(waiter)
    waiting(channel, 3)
    hub.wait_held(3)
    calls = [said for said in hub.heard if said[0] in ("submit", "received")]
    assert calls == [
        ("submit", 1), ("received", 1), ("submit", 2), ("received", 2), ("submit", 3),
    ]  # fmt: skip


def test_a_result_from_the_hub_is_as_good(channel: Channel):
    number = channel.next_number()
    waiter = waiting(channel, number)
    channel.wait(waiter)
    assert waiter.section == section_of(b"x")


def test_threads_wait_for_both_at_once(channel: Channel, hub: FakeHub, lane: Writer):
    hub.hold = True
    waiters = [waiting(channel, channel.next_number()) for _ in range(6)]
    hub.wait_held(6)
    threads = [threading.Thread(target=channel.wait, args=(waiter,)) for waiter in waiters]
    for thread in threads:
        thread.start()
    for number in (6, 4, 2):
        lane.send(result(number))
    for number in (5, 1, 3):
        hub.answer(number)
    for thread in threads:
        thread.join(WITHIN_S)
        assert not thread.is_alive()
    answers = [waiter.section for waiter in waiters]
    assert answers == [section_of(b"x"), section_of(b"by the lane")] * 3


@pytest.mark.parametrize(
    "nonsense",
    [
        b"",
        b"\0",
        b"\xff" * 40,
        result(1)[:-1],
        result(1)[:20],
        frames.hot(frames.RESULT, frames.HAS_FD, 1, 0, 1, 5, section_of(b"a")),
        frames.hot(frames.RESULT, 0, 1, 0, 3, 5, section_of(b"a")),
        frames.hot(frames.OUTCOME, 0, 1, 0, 1, 5, section_of(b"a")),
        frames.hot(frames.RESULT, 0, 1, 0, 0, 5, b""),
        result(77),
        result(1, b"forged")[:-1] + result(1),
        result(1, b"forged") + b"\0",
        result(1, b"forged") + b"\xff" * 40,
    ],
)
def test_nonsense_on_the_lane_is_passed_over(
    channel: Channel, hub: FakeHub, lane: Writer, nonsense: bytes
):
    """Who writes there is user code."""
    hub.hold = True
    waiter = waiting(channel, 1)
    lane.send(nonsense)
    lane.send(result(1))
    channel.wait(waiter)
    assert waiter.section == section_of(b"by the lane")


@pytest.mark.parametrize("prefix", ["", "others", "unknown"])
def test_nobody_answers_a_call_of_another_function(
    channel: Channel, hub: FakeHub, lane: Writer, prefix: str
):
    hub.hold = True
    waiter = waiting(channel, 1)
    token = {"": b"", "others": lane.others, "unknown": b"x" * 8}[prefix]
    lane.socket.send(token + result(1, b"forged"))
    lane.send(result(1))
    channel.wait(waiter)
    assert waiter.section == section_of(b"by the lane")


def test_a_map_takes_nothing_from_the_lane(channel: Channel, hub: FakeHub, lane: Writer):
    """Its books count what the hub brings; a container that lies cannot upset them."""
    state = MapState(Binding(channel, 1 << 16, "f", None), ordered=True, retain=False)
    mapped = MapWaiter(state)
    channel.register(state.number, mapped)
    hub.hold = True
    single = waiting(channel, channel.next_number())
    lane.send(result(state.number))
    lane.send(result(2))
    channel.wait(single)
    assert not mapped.ready
    assert not mapped.inbox


def test_a_new_hub_gets_a_new_lane(channel: Channel, hub: FakeHub):
    hub.hold = True
    number = channel.next_number()
    waiter = waiting(channel, number)
    hub.wait_held(1)
    old = hub.lane()
    done = threading.Thread(target=channel.wait, args=(waiter,))
    done.start()
    hub.cut()
    hub.wait_held(1)  # it was submitted again, over the new connection
    assert hub.lane(2) is not old
    with pytest.raises(ConnectionError):
        old.send(result(number, b"too late"))
    Writer(channel, hub, 2).send(result(number))
    done.join(WITHIN_S)
    assert waiter.section == section_of(b"by the lane")


def test_coroutines_take_results_from_the_lane(channel: Channel, hub: FakeHub, lane: Writer):
    import asyncio

    from volant.channel import aio

    hub.hold = True

    async def call() -> bytes:
        number = channel.next_number()
        waiter = waiting(channel, number)
        lane.send(result(number))
        await aio.wait(channel, waiter)
        return waiter.section

    async def calls() -> list[Any]:
        return [await call() for _ in range(3)]

    assert asyncio.run(calls()) == [section_of(b"by the lane")] * 3
