"""The lifespan of ASGI apps: those that have one, those that do not, and those that fail in it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from volant.errors import ExecutionError
from volant.runner.web.lifespan import Lifespan

COMPLETE = {"type": "lifespan.startup.complete"}


async def begin_and_end(app: Any) -> Lifespan:
    lifespan = Lifespan(app)
    await lifespan.startup()
    await lifespan.shutdown()
    return lifespan


def test_startup_and_shutdown_run_around_the_requests() -> None:
    """Behaviour 112."""
    happened = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        scope["state"]["shared"] = 42
        happened.append((await receive())["type"])
        await send(COMPLETE)
        happened.append((await receive())["type"])
        await send({"type": "lifespan.shutdown.complete"})

    lifespan = asyncio.run(begin_and_end(app))
    assert happened == ["lifespan.startup", "lifespan.shutdown"]
    assert lifespan.state == {"shared": 42}


def test_an_app_that_does_not_know_of_it_is_served() -> None:
    """By the specification: one that raises at the scope, answers something else, or returns."""

    async def raises(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"

    async def answers(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def returns(scope: Any, receive: Any, send: Any) -> None: ...

    for app in (raises, answers, returns):
        asyncio.run(begin_and_end(app))


@pytest.mark.parametrize("tells", [True, False])
def test_what_startup_raises_is_raised(tells: bool) -> None:
    """Behaviour 112: whether the app says so before, as Starlette does, or not."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if tells:
            await send({"type": "lifespan.startup.failed", "message": "Traceback ..."})
        raise LookupError("no weights")

    with pytest.raises(LookupError, match="no weights"):
        asyncio.run(begin_and_end(app))


def test_a_failure_without_an_exception_is_raised_as_well() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no weights"})

    with pytest.raises(ExecutionError, match="the startup of the app failed: no weights"):
        asyncio.run(begin_and_end(app))


def test_what_shutdown_raises_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Behaviour 112."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(COMPLETE)
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "could not close"})
        raise LookupError("on purpose")

    asyncio.run(begin_and_end(app))
    printed = capsys.readouterr().err
    assert "could not close\n" in printed
    assert "LookupError: on purpose" in printed
