"""The end of a server in a container: who is answered still, and who is waited for no more."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from volant.runner.web.serving import HttpServer

#: Far longer than a test may run: who waits for it does not come to an end.
GRACE_S = 1e6


class App:
    """Begins, perhaps answers, and waits; notes what happens to it."""

    def __init__(self, *, answers_first: bool) -> None:
        self.answers_first = answers_first
        self.has_begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.ends = ""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise LookupError(scope["type"])
        if self.answers_first:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})
        self.has_begun.set()
        try:
            await self.may_end.wait()
            self.ends = "by itself"
        except asyncio.CancelledError:
            self.ends = "cancelled"
            raise


async def served(app: App) -> tuple[HttpServer, asyncio.StreamWriter]:
    """A server with one request, and the client's end of that."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = HttpServer(app, listener, 1, asyncio.Semaphore(1))
    await server.start()
    _, client = await asyncio.open_connection("127.0.0.1", port)
    client.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await app.has_begun.wait()
    return server, client


def test_nobody_waits_for_a_request_whose_client_is_gone() -> None:
    async def use() -> None:
        app = App(answers_first=False)
        server, client = await served(app)
        client.close()
        await server.stop(GRACE_S)
        assert app.ends == "cancelled"

    asyncio.run(use())


def test_a_client_that_waits_is_answered() -> None:
    async def use() -> None:
        app = App(answers_first=False)
        server, client = await served(app)
        stopping = asyncio.create_task(server.stop(GRACE_S))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not stopping.done()
        app.may_end.set()
        await stopping
        assert app.ends == "by itself"
        client.close()

    asyncio.run(use())


def test_what_an_app_does_after_its_answer_is_finished() -> None:
    async def use() -> None:
        app = App(answers_first=True)
        server, client = await served(app)
        client.close()
        stopping = asyncio.create_task(server.stop(GRACE_S))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not stopping.done()
        app.may_end.set()
        await stopping
        assert app.ends == "by itself"

    asyncio.run(use())
