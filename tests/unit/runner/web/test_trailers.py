"""Fields behind the body of a response, from an app through uvicorn to its client."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from volant.runner.web.serving import HttpServer
from volant.runner.web.trailers import NAME

TE = b"TE: trailers\r\n"
PATIENCE_S = 20.0


class App:
    """Answers with a body, and with fields behind it where those are offered."""

    def __init__(self, *messages: list[tuple[bytes, bytes]], length: int | None = None) -> None:
        self.messages = messages
        self.length = length
        self.refused: list[str] = []

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise LookupError(scope["type"])
        offered = NAME in scope.get("extensions", {})
        headers = [] if self.length is None else [(b"content-length", b"%d" % self.length)]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        await send({**start, "trailers": offered})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})
        for left, headers in enumerate(self.messages if offered else (), -len(self.messages) + 1):
            try:
                await send({"type": NAME, "headers": headers, "more_trailers": left < 0})
            except ValueError as error:
                self.refused.append(str(error))
                await send({"type": NAME, "headers": []})


def answers(app: App, *requests: bytes) -> bytes:
    """All that comes for these requests of one connection."""

    async def use() -> bytes:
        listener = socket.create_server(("127.0.0.1", 0))
        server = HttpServer(app, listener, 1, asyncio.Semaphore(1))
        await server.start()
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"".join(requests))
        got = await reader.read()
        writer.close()
        await server.stop(PATIENCE_S)
        return got

    return asyncio.run(asyncio.wait_for(use(), PATIENCE_S))


def request(fields: bytes = b"", *, method: bytes = b"GET", last: bool = True) -> bytes:
    close = b"Connection: close\r\n" if last else b""
    return method + b" / HTTP/1.1\r\nHost: a\r\n" + fields + close + b"\r\n"


def test_fields_come_in_the_last_chunk() -> None:
    app = App([(b"x-sum", b"6")], [(b"x-more", b"a b"), (b"x-sum", b"7")])
    got = answers(app, request(TE))
    assert got.endswith(b"3\r\ntwo\r\n0\r\nx-sum: 6\r\nx-more: a b\r\nx-sum: 7\r\n\r\n")


def test_a_connection_goes_on_behind_them() -> None:
    got = answers(App([(b"x-sum", b"6")]), request(TE, last=False), request(TE))
    assert got.count(b"0\r\nx-sum: 6\r\n\r\n") == 2
    assert got.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize("fields", [b"", b"TE: gzip\r\n"])
def test_they_are_only_offered_to_clients_that_take_them(fields: bytes) -> None:
    got = answers(App([(b"x-sum", b"6")]), request(fields))
    assert got.endswith(b"3\r\ntwo\r\n0\r\n\r\n")


def test_where_there_are_no_chunks_there_are_no_fields() -> None:
    got = answers(App([(b"x-sum", b"6")], length=6), request(TE))
    assert got.endswith(b"\r\n\r\nonetwo")
    got = answers(App([(b"x-sum", b"6")]), request(TE, method=b"HEAD"))
    assert got.endswith(b"\r\n\r\n")
    assert b"x-sum" not in got


@pytest.mark.parametrize(
    "field",
    [(b"x", b"a\r\nb: c"), (b"x y", b"1"), (b"", b"1"), (b"Content-Length", b"3"), (b"x\r\n", b"")],
)
def test_fields_that_cannot_be_are_refused(field: tuple[bytes, bytes]) -> None:
    app = App([field])
    assert answers(app, request(TE)).endswith(b"\r\n0\r\n\r\n")
    assert len(app.refused) == 1
