"""Bytes between a container's socket and a server of the user's own."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from volant import errors
from volant.runner.web.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

LARGE_BYTES = 8 << 20


def listener_at(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    listener.setblocking(False)
    return listener


def ignore(answers: bool) -> None:
    pass


async def with_server(
    path: Path, serve: Serve, use: Callable[[Relay], Awaitable[Any]], startup_timeout_s: float = 20
) -> Any:
    """What a client does while a relay leads to a server."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    relay = Relay(port, listener_at(path), startup_timeout_s, ignore)
    await relay.start()
    try:
        return await use(relay)
    finally:
        await relay.stop(0)
        server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_bytes_go_both_ways_until_both_have_ended(tmp_path: Path) -> None:
    """Also more than buffers take, from a side that reads nothing yet."""
    path = tmp_path / "web.sock"

    async def use(relay: Relay) -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(path))
        sending = asyncio.create_task(_send(writer, bytes(LARGE_BYTES)))
        data = await reader.read()
        await sending
        writer.close()
        return data

    assert asyncio.run(with_server(path, echo, use)) == bytes(LARGE_BYTES)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()
    writer.write_eof()


def test_a_client_that_is_gone_is_gone_for_the_server(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(5) == b"hello":
            await reader.read()
            ended.set()
        writer.close()

    async def use(relay: Relay) -> None:
        _, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"hello")
        writer.close()
        await asyncio.wait_for(ended.wait(), 20)

    asyncio.run(with_server(path, serve, use))


def test_the_end_waits_for_an_answer_and_not_for_idle_connections(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"

    async def use(relay: Relay) -> bytes:
        asked, writer = await asyncio.open_unix_connection(str(path))
        idle, other = await asyncio.open_unix_connection(str(path))
        for one in (writer, other):
            one.write(b"question")
        assert await idle.readexactly(8) == b"question"
        assert await asked.readexactly(8) == b"question"
        writer.write(b"more")
        ending = asyncio.create_task(relay.stop(20))
        assert await idle.read() == b""
        answer = await asked.readexactly(4)
        writer.close()
        other.close()
        await ending
        return answer

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await echo(reader, writer)

    assert asyncio.run(with_server(path, serve, use)) == b"more"


def test_a_port_that_nobody_listens_on_is_told_of(tmp_path: Path) -> None:
    """Behaviour 113."""

    async def start() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            with listener_at(tmp_path / "web.sock") as listener:
                await Relay(port, listener, 0.02, ignore).start()

    with pytest.raises(errors.TimeoutError, match=r"after 0\.02 s") as failed:
        asyncio.run(start())
    assert "startup_timeout" in (failed.value.hint or "")


def test_a_server_that_is_gone_is_told_of_when_somebody_asks_it(tmp_path: Path) -> None:
    async def main() -> None:
        path, loop = tmp_path / "web.sock", asyncio.get_running_loop()
        told: asyncio.Future[bool] = loop.create_future()
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        relay = Relay(port, listener_at(path), 20, told.set_result)
        await relay.start()
        server.close()
        await server.wait_closed()
        reader, writer = await asyncio.open_unix_connection(str(path))
        assert await reader.read() == b""
        writer.close()
        assert await told is False
        await relay.stop(0)

    asyncio.run(main())
