"""Waiting from asyncio: the event loop reads when no thread does, and is woken when one does."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.integration.channel.fake_hub import WITHIN_S, section_of, submit_frame
from tests.integration.channel.test_channel import Call
from volant import errors
from volant.channel import aio
from volant.channel.waiters import CallWaiter

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from tests.integration.channel.fake_hub import FakeHub
    from volant.channel.channel import Channel


async def exchange(channel: Channel, value: bytes) -> bytes:
    """A call whose frame may go with those of others."""
    number = channel.next_number()
    waiter = CallWaiter(submit_frame(number, value), None)
    channel.register(number, waiter)
    try:
        await aio.call(channel, waiter)
    finally:
        channel.unregister(number)
    assert waiter.section == section_of(value)
    return value


async def call(channel: Channel, value: bytes, timeout_s: float | None = None) -> bytes:
    number = channel.next_number()
    waiter = CallWaiter(submit_frame(number, value), None)
    channel.register(number, waiter)
    try:
        channel.send(waiter.frame)
        await aio.wait(channel, waiter, timeout_s)
    finally:
        channel.unregister(number)
    assert waiter.section == section_of(value)
    return value


def run(main: Coroutine[Any, Any, Any]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(WITHIN_S):
            return await main

    result = asyncio.run(bounded())
    assert not aio._watches, "somebody is still watched for"
    return result


def test_a_coroutine_waits_without_a_thread(channel: Channel):
    before = threading.active_count()
    assert run(call(channel, b"x")) == b"x"
    assert threading.active_count() == before


def test_many_coroutines_share_the_connection(channel: Channel):
    async def main() -> list[bytes]:
        return await asyncio.gather(*(call(channel, b"%d" % index) for index in range(200)))

    assert run(main()) == [b"%d" % index for index in range(200)]


def test_calls_that_are_made_at_once_are_made_in_their_order(channel: Channel, hub: FakeHub):
    """Also where large ones, which wait for no others, are among them."""
    large = aio.TOGETHER_BYTES_MAX
    values = [b"%d" % index * (large if index % 20 == 7 else 1) for index in range(200)]

    async def main() -> list[bytes]:
        return await asyncio.gather(*(exchange(channel, value) for value in values))

    assert run(main()) == values
    calls = [number for what, number in hub.heard if what == "submit"]
    assert calls == sorted(calls)
    assert len(calls) == 200


def test_calls_that_are_made_at_once_survive_a_lost_connection(channel: Channel, hub: FakeHub):
    hub.hold = True

    async def main() -> None:
        calls = [asyncio.ensure_future(exchange(channel, b"%d" % index)) for index in range(50)]
        await hub.held_soon(50)
        hub.cut()
        hub.hold = False
        await asyncio.gather(*calls)

    run(main())


def test_a_call_that_is_cancelled_at_once_was_made(channel: Channel, hub: FakeHub):
    """Whoever tells the hub of its end comes after it."""
    hub.hold = True

    async def main() -> None:
        calls = [asyncio.ensure_future(exchange(channel, b"x")) for _ in range(5)]
        asyncio.get_running_loop().call_soon(calls[-1].cancel)
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        assert calls[-1].cancelled()
        await hub.held_soon(5)
        for _ in calls:
            hub.answer()
        await asyncio.gather(*calls[:-1])

    run(main())


def test_coroutines_and_threads_share_the_connection(channel: Channel):
    async def main() -> None:
        loop = asyncio.get_running_loop()
        threads = [
            loop.run_in_executor(None, Call(channel, b"thread %d" % index).run)
            for index in range(20)
        ]
        await asyncio.gather(*(call(channel, b"loop %d" % index) for index in range(100)), *threads)

    run(main())


def test_a_thread_that_reads_wakes_the_coroutine(channel: Channel, hub: FakeHub):
    hub.hold = True
    leader = Call(channel, b"leader").start()
    hub.wait_held(1)

    async def main() -> None:
        waiting = asyncio.ensure_future(call(channel, b"x"))
        await hub.held_soon(2)
        hub.answer(channel.next_number() - 1)
        assert await waiting == b"x"

    run(main())
    hub.answer(leader.number)
    leader.join()


def test_the_event_loop_goes_on_reading_when_the_thread_is_done(channel: Channel, hub: FakeHub):
    hub.hold = True
    leader = Call(channel, b"leader").start()
    hub.wait_held(1)

    async def main() -> None:
        waiting = asyncio.ensure_future(call(channel, b"x"))
        await hub.held_soon(2)
        hub.answer(leader.number)
        leader.join()
        hub.answer()
        assert await waiting == b"x"

    run(main())


def test_a_wait_ends_in_time(channel: Channel, hub: FakeHub):
    hub.hold = True
    with pytest.raises(errors.TimeoutError, match="within the given time"):
        run(call(channel, b"x", 0.01))
    assert channel.waiting_count == 0


def test_a_cancelled_task_waits_no_more(channel: Channel, hub: FakeHub):
    hub.hold = True

    async def main() -> None:
        task = asyncio.ensure_future(call(channel, b"x"))
        await hub.held_soon()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    run(main())
    assert channel.waiting_count == 0


def test_an_answer_that_is_there_already_is_taken_at_once(channel: Channel):
    waiter = CallWaiter(b"", None)
    waiter.on_result(0, (1, 0, 1, 0), section_of(b"x"), None)
    run(aio.wait(channel, waiter))


def test_an_error_is_raised_where_it_is_awaited(channel: Channel):
    waiter = CallWaiter(b"", None)
    waiter.fail(errors.NotFoundError("gone"))
    with pytest.raises(errors.NotFoundError):
        run(aio.wait(channel, waiter))


def test_a_lost_connection_is_made_again_under_a_running_loop(channel: Channel, hub: FakeHub):
    hub.hold = True

    async def main() -> None:
        waiting = asyncio.ensure_future(call(channel, b"x"))
        for _ in range(3):
            await hub.held_soon()
            hub.cut()
        await hub.held_soon()
        hub.answer()
        assert await waiting == b"x"

    run(main())
    assert len(hub.wait_heard("hello")) == 4


def test_a_loop_hears_of_a_connection_that_a_thread_made_again(channel: Channel, hub: FakeHub):
    hub.hold = True
    leader = Call(channel, b"leader").start()
    hub.wait_held(1)

    async def main() -> None:
        waiting = asyncio.ensure_future(call(channel, b"x"))
        await hub.held_soon(2)
        hub.cut()
        await hub.held_soon(2)
        hub.answer(leader.number)
        leader.join()
        hub.answer()
        assert await waiting == b"x"

    run(main())


def test_a_hub_that_says_goodbye_ends_the_wait(channel: Channel, hub: FakeHub):
    hub.hold = True

    async def main() -> None:
        waiting = asyncio.ensure_future(call(channel, b"x"))
        await hub.held_soon()
        hub.connections[0].event("closing", reason="by a test")
        hub.cut()
        with pytest.raises(errors.ConnectionError, match="by a test"):
            await waiting

    run(main())


def test_loops_of_several_threads_share_the_connection(channel: Channel):
    results: list[list[bytes]] = []

    async def main(name: int) -> list[bytes]:
        values = [b"%d %d" % (name, index) for index in range(50)]
        return await asyncio.gather(*(call(channel, value) for value in values))

    threads = [
        threading.Thread(target=lambda name=name: results.append(asyncio.run(main(name))))
        for name in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WITHIN_S)
        assert not thread.is_alive(), "a loop waits for ever"
    assert len(results) == 4
