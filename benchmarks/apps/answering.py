"""A bare ASGI app: what is measured with it is what stands in front."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

PIECE = bytes(256 << 10)
PIECES = 4096
TICKS = 100
TICK_S = 0.01
BUFFER_BYTES = 1 << 20


class Protocol(HttpToolsProtocol):
    """As in our containers, the kernel keeps a megabyte of what a client has not taken."""

    def connection_made(self, transport: Any) -> None:
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        super().connection_made(transport)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await _echo(receive, send)
    elif scope["path"] == "/down":
        await _begin(send)
        for _ in range(PIECES):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    elif scope["path"] == "/ticks":
        await _begin(send)
        for _ in range(TICKS):
            body = json.dumps(time.perf_counter_ns()).encode() + b"\n"
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await asyncio.sleep(TICK_S)
        await send({"type": "http.response.body", "body": b""})
    else:
        size = await _taken(receive) if scope["path"] == "/up" else 0
        body = b"%d" % size if size else b"Hello, world!"
        await _begin(send, [(b"content-length", b"%d" % len(body))])
        await send({"type": "http.response.body", "body": body})


async def _begin(send: Any, headers: Any = ()) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": list(headers)})


async def _taken(receive: Any) -> int:
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            return size


async def _echo(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text") or ""})
