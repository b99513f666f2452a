"""Connections as bytes to receive and to send, with or without TLS, and two of them joined."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

#: What one read takes, and so what is held of a direction whose receiver is slower.
READ_BYTES = 64 << 10
#: A connection over which nothing has gone for so long is closed.
IDLE_TIMEOUT_S = 3600.0
#: Until the other side has taken what was last sent, and knows that it was the last.
CLOSE_TIMEOUT_S = 15.0
#: Until a handshake of TLS is done.
HANDSHAKE_TIMEOUT_S = 15.0
#: Seconds without a word until the other machine is asked whether it is there.
KEEPALIVE_S = 60


class Stream:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def of(
        cls, sock: socket.socket, *, served: ssl.SSLContext | None = None,
        asked: ssl.SSLContext | None = None, host: str = "",
    ) -> Stream:  # fmt: skip
        """A stream of a connected socket, which it owns.

        Args:
            served: with TLS, and this side is the server.
            asked: with TLS, and the other side is the server, which is called `host`.

        Raises:
            OSError: when no TLS can be agreed on (ssl.SSLError is one).
        """
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if asked is not None:
            return cls(*await asyncio.open_connection(
                sock=sock, ssl=asked, server_hostname=host, limit=READ_BYTES,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
            ))  # fmt: skip
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=READ_BYTES, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, sock, ssl=served,
            ssl_handshake_timeout=None if served is None else HANDSHAKE_TIMEOUT_S,
        )  # fmt: skip
        return cls(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    async def receive(self) -> bytes:
        """The next bytes; none at the end.

        Raises:
            OSError: when the connection broke, or nothing came for too long (TimeoutError is one).
        """
        async with asyncio.timeout(IDLE_TIMEOUT_S):
            return await self._reader.read(READ_BYTES)

    async def send(self, data: bytes) -> None:
        """Send bytes, as fast as they are taken.

        Raises:
            OSError: when the connection broke, or nothing was taken for too long.
        """
        self._writer.write(data)
        async with asyncio.timeout(IDLE_TIMEOUT_S):
            await self._writer.drain()

    async def end(self) -> None:
        """Say that nothing more will be sent."""
        if self._writer.is_closing():
            return
        if self._writer.can_write_eof():
            with contextlib.suppress(OSError):  # whoever is told has broken off
                self._writer.write_eof()
        else:  # TLS, which has no half-closed connections here
            self._writer.close()

    async def close(self) -> None:
        """Close it, when what is written has been sent, or is not taken within a time."""
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._writer.wait_closed()
        except OSError:  # TimeoutError is one
            self.abort()
        except asyncio.CancelledError:
            self.abort()
            raise

    def abort(self) -> None:
        """Close it at once: the other side is not to take it for complete."""
        self._writer.transport.abort()


async def join(one: Stream, other: Stream) -> None:
    """Pass bytes on in both directions until both have ended."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_pass(one, other))
        group.create_task(_pass(other, one))


async def _pass(source: Stream, target: Stream) -> None:
    while data := await source.receive():
        await target.send(data)
    await target.end()
