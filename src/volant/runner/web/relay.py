"""Bytes between a container's web socket and a port that the user's own server listens on.

    gateway ══ unix socket ══ this loop ══ 127.0.0.1:port ══ the server of `@volant.web_server`

Nothing is parsed. A side that sends no more is passed on as such, and one that takes nothing stops
the other.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from volant.errors import TimeoutError
from volant.runner.web import opening
from volant.runner.web.opening import HOST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: What may be on its way to the gateway; what the kernel gives by default slows large answers down.
SEND_BYTES = 1 << 20
#: Between two looks whether the port still accepts; and where the last one says that it does not.
CHECK_S, CHECK_AGAIN_S = 10.0, 1.0
#: What accepts no connection for so long, and sends nothing on others either, does not answer.
CHECK_WITHIN_S = 5.0
#: A connection on which the server has sent the last bytes so long ago is between two requests.
QUIET_S = 1.0
#: Connections that wait to be accepted.
BACKLOG = 1024


class _Side(asyncio.Protocol):
    """One connection of a pair."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.other: _Side | None = None
        self.transport: asyncio.Transport | None = None
        #: When it sent its last bytes, by the clock of the loop, and whether it sends no more.
        self.sent_at = 0.0
        self.is_at_end = False
        #: What came before there was another side: Python 3.10 reads although it is told to pause.
        self.early: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._relay.sides.add(self)

    def close(self) -> None:
        """End it, once what is to be sent on it is sent."""
        if self.transport is not None:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self.sent_at = self._relay.loop.time()
        if self.other is None:
            self.early.append(data)
        elif self.other.transport is not None:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        self.is_at_end = True
        if self.other is None:
            return True  # it is told when it is there
        if self.other.transport is None or self.other.is_at_end:
            return False
        self.other.transport.write_eof()
        return True  # the other direction goes on

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._relay.sides.discard(self)
        if self.other is not None:
            self.other.close()
        if not self._relay.sides:
            self._relay.ended.set()


class _Front(_Side):
    """The gateway's connection; it is read once the server has accepted."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES
        )
        transport.pause_reading()
        self._relay.connect(self)

    def is_idle(self, now: float) -> bool:
        """Whether the last bytes were the server's, and have been for a while: no request waits."""
        answered_at = 0.0 if self.other is None else self.other.sent_at
        return answered_at >= self.sent_at and now - answered_at > QUIET_S


class _Back(_Side):
    """The connection to the server."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._relay.heard_at = self.sent_at
        # A server that writes head and body one after the other, as many do, would wait for the
        # kernel's word on the first for 40 ms before it sends the second.
        if self.transport is not None:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class Relay:
    """Serves one listening socket by connections to a port of this container."""

    def __init__(
        self, port: int, listener: socket.socket, startup_timeout_s: float,
        report: Callable[[bool], None],
    ) -> None:  # fmt: skip
        """Lead to a port.

        Args:
            port: where the server listens.
            listener: where the gateway connects.
            startup_timeout_s: how long it may take until the port accepts.
            report: told whether it still does, from time to time, until somebody acts on it.
        """
        self.loop = asyncio.get_running_loop()
        self._port = port
        self._listener = listener
        self._startup_timeout_s = startup_timeout_s
        self._server: asyncio.Server | None = None
        self._connecting: set[asyncio.Task[None]] = set()
        self._report = report
        #: When the server has sent something last, by the clock of the loop.
        self.heard_at = 0.0
        self._checking: asyncio.Task[None] | None = None
        #: Set when a look is due at once.
        self._is_doubtful = asyncio.Event()
        self.sides: set[_Side] = set()
        #: There is no connection any more.
        self.ended = asyncio.Event()

    async def start(self) -> None:
        """Wait until the port accepts, then accept as well.

        Raises:
            TimeoutError: when it does not in time.
        """
        if not await opening.is_open(self._port, self._startup_timeout_s):
            raise TimeoutError(
                f"nothing listens on port {self._port} after {self._startup_timeout_s:g} s",
                hint="start a server on it, and return; a slow one needs a longer startup_timeout=",
            )
        self._server = await self.loop.create_server(
            lambda: _Front(self), sock=self._listener, backlog=BACKLOG
        )
        self._checking = self.loop.create_task(self._check())

    async def stop(self, grace_s: float) -> None:
        """Accept no more, and let what is under way come to its end for so long."""
        if self._checking is not None:
            self._checking.cancel()
        if self._server is not None:
            self._server.close()
        deadline = self.loop.time() + grace_s
        while self.sides and self.loop.time() < deadline:
            for side in list(self.sides):
                if isinstance(side, _Front) and side.is_idle(self.loop.time()):
                    side.close()
            self.ended.clear()
            await asyncio.wait([asyncio.ensure_future(self.ended.wait())], timeout=QUIET_S / 4)
        for side in list(self.sides):
            side.close()

    def connect(self, front: _Front) -> None:
        """Give a connection of the gateway its other side."""
        task = self.loop.create_task(self._connect(front))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, front: _Front) -> None:
        try:
            _, back = await self.loop.create_connection(lambda: _Back(self), HOST, self._port)
        except OSError:
            front.close()  # the server has ended: the gateway answers for it
            self._is_doubtful.set()
            return
        front.other, back.other = back, front
        assert front.transport is not None
        assert back.transport is not None
        back.transport.writelines(front.early)
        if front.transport.is_closing():
            back.close()
        elif front.is_at_end:
            back.transport.write_eof()
        else:
            front.transport.resume_reading()

    async def _check(self) -> None:
        """Report from time to time whether the server answers."""
        answers = True
        while True:
            if not answers:
                await asyncio.sleep(CHECK_AGAIN_S)
            else:
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._is_doubtful.wait(), CHECK_S)
            self._is_doubtful.clear()
            answers = await self._answers()
            self._report(answers)

    async def _answers(self) -> bool:
        """Whether the server accepts a connection, or is only too busy with others for that."""
        begun = self.loop.time()
        try:
            _, writer = await asyncio.wait_for(
                asyncio.open_connection(HOST, self._port), CHECK_WITHIN_S
            )
        except asyncio.TimeoutError:
            return self.heard_at >= begun
        except OSError:
            return False
        writer.close()
        return True
