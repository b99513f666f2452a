"""Requests of an app: held to the slots of its container, and known until they have answered.

request ─► a slot ─► the app ─► its last bytes: the slot is free ─► what it does behind them
"""

from __future__ import annotations

import asyncio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volant.runner.web.lifespan import App, Receive, Send


class Turns:
    """An app, which begins a request when it has a slot, and has it until it has answered.

    The gateway takes the slot of a client that is gone for free, and user code may go on for it.
    What an app does after its answer is beside further requests.
    """

    def __init__(
        self, app: App, slots: asyncio.Semaphore, after_each: Callable[[], None] = lambda: None
    ) -> None:
        """`after_each`: called when a request is over."""
        self._app = app
        self._after_each = after_each
        self._slots = slots
        #: Tasks of requests that have begun, and have not answered.
        self.unanswered: set[asyncio.Task[Any] | None] = set()
        #: Whether requests that are cancelled are cancelled by us.
        self.is_ending = False

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        task = asyncio.current_task()
        self.unanswered.add(task)
        try:
            await self._slots.acquire()
            await self._serve(task, scope, receive, send)
        except asyncio.CancelledError:
            if not self.is_ending:  # what serves would print it as the app's fault
                raise
        finally:
            self.unanswered.discard(task)
            self._after_each()

    async def _serve(
        self, task: asyncio.Task[Any] | None, scope: dict[str, Any], receive: Receive, send: Send
    ) -> None:
        """Answer a request that has a slot."""
        has_slot = True

        async def pass_on(message: dict[str, Any]) -> None:
            nonlocal has_slot
            await send(message)
            is_last = message["type"] == "http.response.body" and not message.get("more_body")
            if is_last and has_slot:
                has_slot = False
                self.unanswered.discard(task)
                self._slots.release()

        try:
            await self._app(scope, receive, pass_on)
        finally:
            if has_slot:
                self._slots.release()
