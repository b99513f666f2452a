"""Requests have their turns: as many at once as the gateway may send."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from volant.runner.web.turns import Turns

HTTP = {"type": "http"}
END = {"type": "http.response.body", "body": b""}


class App:
    """Notes who has begun and ended, and lets each go on when its event is set."""

    def __init__(self, *, answers_first: bool = False) -> None:
        self.happened: list[str] = []
        self.events = {name: asyncio.Event() for name in ("first", "second")}
        self.answers_first = answers_first

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        name = scope["name"]
        self.happened.append(f"{name} begins")
        if self.answers_first:
            await send(END)
        await self.events[name].wait()
        self.happened.append(f"{name} ends")
        if not self.answers_first:
            await send(END)


async def receive() -> Any: ...


async def send(message: Any) -> None: ...


async def two_at(app: App) -> list[asyncio.Task[None]]:
    """Two requests for an app that takes one at a time, as far as they get by themselves."""
    served = Turns(app, asyncio.Semaphore(1))
    scopes = [{**HTTP, "name": name} for name in app.events]
    tasks = [asyncio.create_task(served(scope, receive, send)) for scope in scopes]
    for _ in range(10):
        await asyncio.sleep(0)
    return tasks


def test_a_request_waits_for_the_one_before_it() -> None:
    """Whose client may be gone: it takes its time all the same."""

    async def use() -> None:
        app = App()
        tasks = await two_at(app)
        assert app.happened == ["first begins"]
        app.events["first"].set()
        app.events["second"].set()
        await asyncio.gather(*tasks)
        assert app.happened == ["first begins", "first ends", "second begins", "second ends"]

    asyncio.run(use())


def test_what_is_done_after_an_answer_holds_nobody_up() -> None:
    async def use() -> None:
        app = App(answers_first=True)
        tasks = await two_at(app)
        assert app.happened == ["first begins", "second begins"]
        for event in app.events.values():
            event.set()
        await asyncio.gather(*tasks)

    asyncio.run(use())


def test_a_request_that_fails_gives_its_turn_away() -> None:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError(scope["type"])

    async def use() -> None:
        slots = asyncio.Semaphore(1)
        for kind in ("http", "websocket", "http", "lifespan"):
            with pytest.raises(LookupError, match=kind):
                await Turns(fail, slots)({"type": kind}, receive, send)
        assert not slots.locked()

    asyncio.run(use())


def test_requests_that_have_not_answered_are_known() -> None:
    async def use() -> None:
        for app in (App(), App(answers_first=True)):
            served = Turns(app, asyncio.Semaphore(1))
            task = asyncio.create_task(served({**HTTP, "name": "first"}, receive, send))
            for _ in range(10):
                await asyncio.sleep(0)
            assert served.unanswered == (set() if app.answers_first else {task})
            app.events["first"].set()
            await task
            assert served.unanswered == set()

    asyncio.run(use())


@pytest.mark.parametrize("is_ending", [True, False])
def test_a_request_that_is_cancelled_at_the_end_is_no_failure_of_the_app(is_ending: bool) -> None:
    async def use() -> None:
        slots = asyncio.Semaphore(1)
        served = Turns(App(), slots)
        served.is_ending = is_ending
        task = asyncio.create_task(served({**HTTP, "name": "first"}, receive, send))
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() is not is_ending
        assert not slots.locked()

    asyncio.run(use())
