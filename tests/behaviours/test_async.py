"""The `.aio` forms: every one of them, and what cancelling the task does."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.behaviours.apps import awaiting
from tests.behaviours.programs import has_printed
from tests.support import eventually
from volant.errors import InputCancellation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with awaiting.app.run():
        yield


async def until_begun(home: Path, duration_s: float) -> None:
    """Wait until user code runs with this argument, while the event loop goes on."""
    text, loop = f"begun {duration_s}\n", asyncio.get_running_loop()
    app_id = awaiting.app.app_id
    await loop.run_in_executor(None, lambda: eventually(lambda: has_printed(home, app_id, text)))


def test_every_form_can_be_awaited() -> None:
    """Issue 2, 2: remote, spawn and get, map, starmap, for_each, spawn_map, gather, cancel."""

    async def all_forms() -> list[Any]:
        call = await awaiting.double.spawn.aio(4)
        many = await awaiting.double.experimental_spawn_map.aio(range(3))
        await awaiting.double.for_each.aio(range(3))
        return [
            await awaiting.double.remote.aio(3),
            await call.get.aio(),
            [value async for value in awaiting.double.map.aio(range(3))],
            [value async for value in awaiting.double.starmap.aio([(5,), (6,)])],
            await awaiting.double.spawn_map.aio(range(3)),
            [await many.get.aio(index=index) for index in range(await many.num_inputs.aio())],
        ]

    assert asyncio.run(all_forms()) == [6, 8, [0, 2, 4], [10, 12], None, [0, 2, 4]]


def test_an_app_may_be_run_with_async_with() -> None:
    """Issue 2, 2: `async with app.run()`, next to the blocking form."""
    from tests.behaviours.apps import defining

    async def run() -> int:
        async with defining.app.run() as app:
            assert app is defining.app
            return await defining.plain_name.remote.aio(1)

    assert asyncio.run(run()) == 2


def test_calls_run_at_the_same_time() -> None:
    """Issue 2, 2: tasks of one event loop wait together, without a thread each."""

    async def many() -> list[int]:
        before = threading.active_count()
        results = await asyncio.gather(*(awaiting.double.remote.aio(n) for n in range(200)))
        assert threading.active_count() == before
        return results

    assert asyncio.run(many()) == [2 * number for number in range(200)]


def test_cancelling_the_task_cancels_a_sync_function(volant_home: Path) -> None:
    """Behaviour 35: it sees InputCancellation, and its container goes on."""

    async def cancel() -> None:
        task = asyncio.create_task(awaiting.wait_sync.remote.aio(60.0))
        await until_begun(volant_home, 60.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert awaiting.wait_sync.remote(0.0)[-1] == "InputCancellation"


def test_cancelling_the_task_cancels_an_async_function(volant_home: Path) -> None:
    """Behaviour 35: it sees CancelledError, as a local task would."""

    async def cancel() -> None:
        task = asyncio.create_task(awaiting.wait_async.remote.aio(61.0))
        await until_begun(volant_home, 61.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert awaiting.wait_async.remote(0.0)[-1] == "CancelledError"


def test_a_timeout_around_a_call_cancels_it(volant_home: Path) -> None:
    """Behaviour 35: as with any awaitable."""

    async def give_up() -> None:
        async with asyncio.timeout(None) as limit:
            task = asyncio.create_task(until_begun(volant_home, 62.0))
            task.add_done_callback(lambda _: limit.reschedule(0.0))
            await awaiting.wait_async.remote.aio(62.0)

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    assert awaiting.wait_async.remote(0.0)[-1] == "CancelledError"


def test_leaving_a_map_cancels_what_is_left() -> None:
    """Behaviour 35: its inputs do not run on for nobody."""

    async def leave() -> int:
        async for value in awaiting.double.map.aio(range(10_000)):
            return value
        raise AssertionError

    assert asyncio.run(leave()) == 0
    for value in awaiting.double.map(range(10_000)):
        assert value == 0
        break
    assert awaiting.double.remote(1) == 2


def test_leaving_a_generator_ends_it_remotely() -> None:
    """Behaviour 13: its `finally` runs there."""
    values = awaiting.count.remote_gen(100_000)
    assert next(values) == 0
    values.close()  # type: ignore[attr-defined]  # a generator, as `remote_gen` of the model is
    assert next(awaiting.count.remote_gen(1)) == 0


def test_a_cancelled_call_raises_for_those_who_wait_elsewhere(volant_home: Path) -> None:
    """Behaviour 35: `get.aio` of a call that another task cancels."""

    async def cancel() -> None:
        call = await awaiting.wait_async.spawn.aio(63.0)
        waiting = asyncio.create_task(call.get.aio())
        await until_begun(volant_home, 63.0)
        await call.cancel.aio()
        with pytest.raises(InputCancellation):
            await waiting

    asyncio.run(cancel())


def test_async_generators_stream_into_async_code_and_may_be_left() -> None:
    """Behaviour 13: `async for` with a break."""

    async def some() -> list[int]:
        seen = []
        async for value in awaiting.count_async.remote_gen.aio(100_000):
            seen.append(value)
            if value == 5:
                break
        return seen

    assert asyncio.run(some()) == [0, 1, 2, 3, 4, 5]


def test_async_inputs_in_async_code_are_pulled_only_as_needed() -> None:
    """Issue 2, bars: an endless iterator of inputs is fine; results come while it goes on."""
    pulled = 0

    async def endless() -> AsyncIterator[int]:
        nonlocal pulled
        while True:
            yield pulled
            pulled += 1
            await asyncio.sleep(0)

    async def first_results() -> list[int]:
        seen = []
        async for value in awaiting.double.map.aio(endless()):
            seen.append(value)
            if len(seen) == 500:
                break
        return seen

    assert asyncio.run(first_results()) == [2 * number for number in range(500)]
    assert pulled < 100_000


def test_one_event_loop_serves_all_inputs_of_a_container() -> None:
    """Behaviour 52: clients kept in globals stay usable from one input to the next."""
    assert awaiting.same_loop.remote() == awaiting.same_loop.remote()


def test_async_functions_call_others_at_once() -> None:
    """Behaviour 135: nested calls in `.aio` form."""
    assert awaiting.call_from_a_task.remote(10) == [20, 22, 24]


def test_several_event_loops_one_after_the_other() -> None:
    """Issue 2, 2: the connection belongs to the process, not to a loop."""
    for number in range(3):
        assert asyncio.run(awaiting.double.remote.aio(number)) == 2 * number


def test_event_loops_in_several_threads() -> None:
    """Issue 2, 2: and beside them a thread that blocks."""
    results: dict[int, list[int]] = {}

    async def many(first: int) -> list[int]:
        return list(
            await asyncio.gather(*(awaiting.double.remote.aio(first + n) for n in range(50)))
        )

    def run(first: int) -> None:
        results[first] = asyncio.run(many(first))

    threads = [threading.Thread(target=run, args=(first,)) for first in (0, 1000, 2000)]
    for thread in threads:
        thread.start()
    assert list(awaiting.double.map(range(500))) == [2 * number for number in range(500)]
    for thread in threads:
        thread.join(30)
    assert results == {first: [2 * (first + n) for n in range(50)] for first in (0, 1000, 2000)}
