"""Which protocol a client speaks: known by what TLS has agreed on, or by the first bytes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from volantd.gateway.front import Front

if TYPE_CHECKING:
    from volantd.gateway.gateway import Gateway

#: What a client of HTTP/2 begins with.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Opening(asyncio.Protocol):
    """A connection until its first bytes; then it is a front's, and this is out of the way."""

    __slots__ = ("_early", "_front", "_gateway", "_transport")

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._front = Front(gateway)
        self._transport: asyncio.Transport
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._front.connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() == "h2":
            self._multiplex()

    def data_received(self, data: bytes) -> None:
        data = self._early + data
        if data.startswith(PREFACE):
            self._multiplex(data)
        elif PREFACE.startswith(data):
            self._early = data
        else:
            self._transport.set_protocol(self._front)
            self._front.data_received(data)

    def _multiplex(self, data: bytes = b"") -> None:
        # Imported with the first such client: it costs 30 ms, and most gateways have none.
        from volantd.gateway.multiplex.connection import Multiplexed

        self._gateway.closed(self._front)
        if self._gateway.is_full():
            self._transport.abort()
            return
        connection = Multiplexed(self._gateway)
        self._transport.set_protocol(connection)
        connection.connection_made(self._transport)
        if data:
            connection.data_received(data)

    def eof_received(self) -> None:
        """It ends, as what a front has does."""

    def connection_lost(self, error: Exception | None) -> None:
        self._front.connection_lost(error)

    def pause_writing(self) -> None:
        self._front.pause_writing()

    def resume_writing(self) -> None:
        self._front.resume_writing()
