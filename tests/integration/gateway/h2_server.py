"""A container's server that speaks HTTP/2, of which a test plays each frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    RequestReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes, Settings

from tests.integration.gateway.stage import PATIENCE_S

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tests.integration.gateway.stage import Server


class Asked:
    """What has come of one request."""

    def __init__(self, number: int, fields: Any) -> None:
        self.number = number
        self.fields: dict[str, str] = dict(fields)
        self.body = b""
        self.trailers: dict[str, str] = {}
        self.is_over = False
        self.code: int | None = None


class H2Server:
    """One connection of the gateway to a server."""

    def __init__(self, server: Server, *, streams: int = 100) -> None:
        """Accept a connection; `streams`: how many requests it takes at once."""
        self.sock: socket.socket = server.accept().sock
        self.sock.settimeout(PATIENCE_S)
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1"))
        self.asked: dict[int, Asked] = {}
        self.is_acknowledged = False
        values = {SettingCodes.MAX_CONCURRENT_STREAMS: streams}
        self.h2.local_settings = Settings(client=False, initial_values=values)
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.sock.sendall(self.h2.data_to_send())

    def until(self, is_so: Callable[[], object]) -> None:
        """Read until a condition holds."""
        while not is_so():
            data = self.sock.recv(1 << 16)
            assert data, "the gateway has ended the connection"
            for event in self.h2.receive_data(data):
                self._on(event)
            self.flush()

    def _on(self, event: Any) -> None:
        if isinstance(event, RequestReceived):
            self.asked[event.stream_id] = Asked(event.stream_id, event.headers)
            return
        self.is_acknowledged |= isinstance(event, SettingsAcknowledged)
        asked = self.asked.get(getattr(event, "stream_id", 0))
        if asked is None:
            return
        if isinstance(event, DataReceived):
            asked.body += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, TrailersReceived):
            asked.trailers = dict(event.headers)  # type: ignore[arg-type]
        elif isinstance(event, StreamEnded):
            asked.is_over = True
        elif isinstance(event, StreamReset):
            asked.is_over, asked.code = True, int(event.error_code)

    def next(self) -> Asked:
        """The head of the next request."""
        known = len(self.asked)
        self.until(lambda: len(self.asked) > known)
        return list(self.asked.values())[known]

    def answer(
        self, asked: Asked, body: bytes = b"", *, trailers: Any = (), end: bool = True, **more: str
    ) -> None:
        """Send a response, or its beginning."""
        fields = [(":status", "200"), *((name.replace("_", "-"), more[name]) for name in more)]
        self.h2.send_headers(asked.number, fields, end_stream=end and not body and not trailers)
        self.data(asked, body, trailers=trailers, end=end and bool(body or trailers))

    def data(self, asked: Asked, body: bytes, *, trailers: Any = (), end: bool = False) -> None:
        """Send a piece of a response, as windows allow."""
        self.flush()
        while body:
            self.until(lambda: self.h2.local_flow_control_window(asked.number) > 0)
            size = min(self.h2.local_flow_control_window(asked.number), 16384)
            self.h2.send_data(asked.number, body[:size])
            body = body[size:]
            self.flush()
        if end and trailers:
            self.h2.send_headers(asked.number, trailers, end_stream=True)
        elif end:
            self.h2.end_stream(asked.number)
        self.flush()
