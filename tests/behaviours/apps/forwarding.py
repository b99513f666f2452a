"""Functions that serve at a port of their container until they are asked to stop."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import volant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

app = volant.App("forwarding")
PORT = 8000


class Server:
    """Answers with a word; `/stop` lets the function go on, `/end` ends its process."""

    def __init__(self, word: str) -> None:
        self.stopped = threading.Event()
        stopped = self.stopped

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/end":
                    os._exit(3)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(word.encode())
                if self.path == "/stop":
                    stopped.set()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("0.0.0.0", PORT), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self) -> None:
        self.stopped.wait()
        self.server.shutdown()
        self.server.server_close()


def shown(tunnel: volant.Tunnel) -> dict[str, Any]:
    return {"url": tunnel.url, "at": (tunnel.host, tunnel.port), "shown": repr(tunnel)}


@app.function(max_containers=4)
def serve(word: str) -> Iterator[dict[str, Any]]:
    server = Server(word)
    with volant.forward(PORT, unencrypted=True) as tunnel:
        yield {**shown(tunnel), "tcp": tunnel.tcp_socket}
        server.wait()
    yield {}


@app.function()
def serve_encrypted(word: str) -> Iterator[dict[str, Any]]:
    """Encrypted where there is a certificate."""
    server = Server(word)
    with volant.forward(PORT) as tunnel:
        yield shown(tunnel)
        server.wait()


@app.function(block_network=True)
def serve_alone(word: str) -> Iterator[dict[str, Any]]:
    server = Server(word)
    with volant.forward(PORT) as tunnel:
        yield shown(tunnel)
        server.wait()
    yield {}


@app.function()
async def serve_async(word: str) -> AsyncIterator[dict[str, Any]]:
    server = Server(word)
    async with volant.forward.aio(PORT) as tunnel:
        yield shown(tunnel)
        await asyncio.to_thread(server.wait)
    yield {}


@app.function(retries=0)
def many(count: int) -> list[int]:
    """The ports of as many tunnels at once."""
    import contextlib

    with contextlib.ExitStack() as stack:
        return [stack.enter_context(volant.forward(PORT)).port for _ in range(count)]


@app.function()
def again(count: int) -> int:
    """Open and close tunnels, one after the other; how many."""
    for _ in range(count):
        with volant.forward(PORT) as tunnel:
            assert tunnel.port
    return count


@app.function()
def reach(address: tuple[str, int]) -> bytes:
    """What a service of the machine says."""
    with socket.create_connection(address, timeout=30) as sock:
        return sock.recv(100)
