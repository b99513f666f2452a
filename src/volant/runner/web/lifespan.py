"""The life of an ASGI app around its requests: startup before the first, shutdown after the last.

    app(scope `lifespan`) --receive--> startup ... complete | failed     shutdown ... complete

An app that does not know of it raises at the scope, before it has asked for anything: it is served
all the same, as the specification has it.
"""

from __future__ import annotations

import asyncio
import sys
import traceback

from volant.errors import ExecutionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]
    App = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


#: What an app may still do after it has said that its startup failed, such as raise.
FAILED_S = 1.0
_ANSWERS = {
    "lifespan.startup.complete": True, "lifespan.startup.failed": False,
    "lifespan.shutdown.complete": True, "lifespan.shutdown.failed": False,
}  # fmt: skip


class Lifespan:
    """One run of an app's lifespan; has what uvicorn's servers ask of one."""

    #: Whether startup failed; here that is raised.
    should_exit = False

    def __init__(self, app: App) -> None:
        self._app = app
        #: What the app shares with its requests.
        self.state: dict[str, Any] = {}
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        #: Whether what was asked for has worked, and what the app says if it has not.
        self._answer: asyncio.Future[tuple[bool, str]]
        self._task: asyncio.Task[None] | None = None
        #: The app has asked for an event.
        self._is_known = False

    async def startup(self) -> None:
        """Run the app's startup.

        Raises:
            BaseException: what the app raised in it.
            ExecutionError: when it says that it failed, and raises nothing.
        """
        self._task = task = asyncio.create_task(self._run())
        await self._tell("lifespan.startup")
        if self._answer.done():
            works, text = self._answer.result()
            if works:
                return
            await asyncio.wait([task], timeout=FAILED_S)
            error = _raised(task)
            raise error or ExecutionError(f"the startup of the app failed: {text}")
        error = _raised(task)
        if error is not None and self._is_known:
            raise error
        self._task = None  # it has no lifespan

    async def shutdown(self) -> None:
        """Run the app's shutdown; what goes wrong in it is printed."""
        task = self._task
        if task is None or task.done():
            return
        await self._tell("lifespan.shutdown")
        if self._answer.done() and not self._answer.result()[0]:
            sys.stderr.write(f"{self._answer.result()[1]}\n")
        await asyncio.wait([task])
        error = _raised(task)
        if error is not None:
            traceback.print_exception(type(error), error, error.__traceback__)

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}
        await self._app({**scope, "state": self.state}, self._receive, self._send)

    async def _tell(self, kind: str) -> None:
        """Tell the app what is next, and wait for its answer or its end."""
        assert self._task is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._events.put_nowait({"type": kind})
        either: list[asyncio.Future[Any]] = [self._task, self._answer]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)

    async def _receive(self) -> dict[str, Any]:
        self._is_known = True
        return await self._events.get()

    async def _send(self, message: dict[str, Any]) -> None:
        works = _ANSWERS.get(message["type"])
        if works is None:
            raise ValueError(f"`{message['type']}` is no message of a lifespan")
        if not self._answer.done():
            self._answer.set_result((works, message.get("message", "")))


def _raised(task: asyncio.Task[None]) -> BaseException | None:
    if not task.done() or task.cancelled():
        return None
    return task.exception()
