"""Work on threads, which a task that is cancelled waits for."""

from __future__ import annotations

import asyncio
import threading

import pytest

from volantd.patience import ended, on_thread


def test_what_a_thread_returns_or_raises_is_told() -> None:
    assert asyncio.run(on_thread(divmod, 7, 2)) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(on_thread(divmod, 7, 0))


@pytest.mark.parametrize("fails", [False, True])
def test_a_cancelled_task_ends_after_its_thread(fails: bool) -> None:
    began, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        go_on.wait(60)
        done.set()
        if fails:
            raise ValueError("nobody hears it")

    async def scenario() -> None:
        task = asyncio.ensure_future(on_thread(work))
        await asyncio.to_thread(began.wait, 60)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
        await ended(task)
        assert task.cancelled()
        assert done.is_set()

    asyncio.run(scenario())
