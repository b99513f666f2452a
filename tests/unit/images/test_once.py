"""Work that many want is done once, and all hear it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from volantd.images.once import Once

if TYPE_CHECKING:
    from volantd.images.workbench import Say


class Work:
    """A piece of work that waits for its gate."""

    def __init__(self) -> None:
        self.times = 0
        self.gate = asyncio.Event()
        self.began = asyncio.Event()
        #: Held closed, its end takes long.
        self.slow: asyncio.Event | None = None
        self.ending = asyncio.Event()
        self.ends = 0

    async def __call__(self, say: Say) -> str:
        self.times += 1
        self.began.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.ending.set()
            if self.slow is not None:
                await self.slow.wait()
            self.ends += 1
            raise
        say(b"half")
        if self.times == 13:
            raise ValueError("unlucky")
        return f"result {self.times}"


def test_it_is_done_once_and_heard_by_all() -> None:
    async def scenario() -> None:
        once: Once[str] = Once()
        work, heard = Work(), [[], []]  # type: ignore[var-annotated]
        tasks = [asyncio.ensure_future(once.get("a", work, one.append)) for one in heard]
        await work.began.wait()
        work.gate.set()
        assert await asyncio.gather(*tasks) == ["result 1"] * 2
        assert heard == [[b"half"]] * 2
        assert await once.get("a", work, heard[0].append) == "result 2"

    asyncio.run(scenario())


def test_it_goes_on_when_one_stops_waiting() -> None:
    async def scenario() -> None:
        once: Once[str] = Once()
        work = Work()
        first, second = (
            asyncio.ensure_future(once.get("a", work, lambda data: None)) for _ in range(2)
        )
        await work.began.wait()
        first.cancel()
        await asyncio.wait([first])
        work.gate.set()
        assert await second == "result 1"

    asyncio.run(scenario())


async def cancelled(*tasks: asyncio.Future[str]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)


def test_the_last_who_stops_waiting_cancels_it_and_waits_for_its_end() -> None:
    async def scenario() -> None:
        once: Once[str] = Once()
        work = Work()
        tasks = [asyncio.ensure_future(once.get("a", work, lambda data: None)) for _ in range(3)]
        await work.began.wait()
        await cancelled(*tasks[:2])
        assert work.ends == 0
        await cancelled(tasks[2])
        assert work.ends == 1

    asyncio.run(scenario())


def test_who_comes_while_it_is_cancelled_begins_it_anew_after_that() -> None:
    async def scenario() -> None:
        once: Once[str] = Once()
        work = Work()
        work.slow = asyncio.Event()
        first = asyncio.ensure_future(once.get("a", work, lambda data: None))
        await work.began.wait()
        first.cancel()
        second = asyncio.ensure_future(once.get("a", work, lambda data: None))
        await work.ending.wait()
        assert work.times == 1
        work.gate.set()
        work.slow.set()
        assert await second == "result 2"
        assert first.cancelled()

    asyncio.run(scenario())


def test_all_get_its_error_and_the_next_begins_anew() -> None:
    async def scenario() -> None:
        once: Once[str] = Once()
        work = Work()
        work.times = 12
        work.gate.set()
        tasks = [once.get("a", work, lambda data: None) for _ in range(2)]
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(error) for error in errors] == ["unlucky"] * 2
        assert await once.get("a", work, lambda data: None) == "result 14"

    asyncio.run(scenario())


def test_other_names_are_other_work() -> None:
    async def scenario() -> None:
        once: Once[str] = Once()
        work = Work()
        work.gate.set()
        results = await asyncio.gather(
            *(once.get(name, work, lambda data: None) for name in ("a", "b"))
        )
        assert sorted(results) == ["result 1", "result 2"] or pytest.fail(str(results))

    asyncio.run(scenario())
