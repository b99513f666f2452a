"""A client that speaks HTTP/2, whose frames a test may also choose by itself."""

from __future__ import annotations

import socket
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

from tests.integration.gateway.stage import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.gateway.stage import Stage

GET = [(":method", "GET"), (":scheme", "http"), (":authority", "app-f.localhost"), (":path", "/")]
POST = [(":method", "POST"), *GET[1:]]


class Answered:
    """What has come for one request."""

    def __init__(self) -> None:
        self.head: dict[str, str] = {}
        self.interim: list[dict[str, str]] = []
        self.body = b""
        self.trailers: dict[str, str] = {}
        self.is_over = False
        self.code: int | None = None

    @property
    def status(self) -> int:
        return int(self.head[":status"])


class H2Client:
    """A connection of its own; reads until what a test waits for has come."""

    def __init__(self, stage: Stage) -> None:
        """A connection to a gateway, which closes with its stage at the latest."""
        stage.ends.append(self)
        self.sock = socket.create_connection(("127.0.0.1", stage.port))
        self.sock.settimeout(PATIENCE_S)
        # Servers have to cope with what a careful client would not send.
        self.h2 = H2Connection(H2Configuration(
            header_encoding="latin-1", validate_outbound_headers=False,
            normalize_outbound_headers=False,
        ))  # fmt: skip
        self.answers: dict[int, Answered] = defaultdict(Answered)
        self.ended: int | None = None
        self.acknowledges = True
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.sock.sendall(self.h2.data_to_send())

    def request(self, fields: Any = None, *, end: bool = True, **more: str) -> int:
        """Send a head; returns the number of the stream."""
        number = self.h2.get_next_available_stream_id()
        named = [(name.replace("_", "-"), value) for name, value in more.items()]
        self.h2.send_headers(number, [*(fields or GET), *named], end_stream=end)
        self.flush()
        return number

    def data(self, number: int, data: bytes, *, end: bool = False) -> None:
        """Send a piece of a body, as windows allow."""
        while data:
            self.until(lambda: self.h2.local_flow_control_window(number) > 0)
            size = min(self.h2.local_flow_control_window(number), 16384, len(data))
            self.h2.send_data(number, data[:size])
            data = data[size:]
            self.flush()
        if end:
            self.h2.end_stream(number)
            self.flush()

    def until(self, is_so: Callable[[], object]) -> None:
        """Read until a condition holds."""
        while not is_so():
            data = self.sock.recv(1 << 16)
            assert data, f"the connection ended: {self.ended}"
            self._take(data)

    def rest(self) -> None:
        """Read until the gateway ends the connection."""
        try:
            while data := self.sock.recv(1 << 16):
                self._take(data)
        except (ConnectionResetError, BrokenPipeError):
            pass

    def _take(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, ConnectionTerminated):
                self.ended = int(event.error_code or 0)
                continue
            number = getattr(event, "stream_id", None)
            if number is None:
                continue
            answer = self.answers[number]
            if isinstance(event, ResponseReceived):
                answer.head = dict(event.headers)  # type: ignore[arg-type]
            elif isinstance(event, InformationalResponseReceived):
                answer.interim.append(dict(event.headers))  # type: ignore[arg-type]
            elif isinstance(event, TrailersReceived):
                answer.trailers = dict(event.headers)  # type: ignore[arg-type]
            elif isinstance(event, DataReceived):
                answer.body += event.data
                if self.acknowledges:
                    size = event.flow_controlled_length
                    self.h2.acknowledge_received_data(size, number)
            elif isinstance(event, StreamEnded):
                answer.is_over = True
            elif isinstance(event, StreamReset):
                answer.is_over, answer.code = True, int(event.error_code)
        if self.h2.data_to_send and self.ended is None:
            try:
                self.flush()
            except (ConnectionResetError, BrokenPipeError):
                self.ended = -1

    def answer(self, number: int) -> Answered:
        """All that comes for a request."""
        self.until(lambda: self.answers[number].is_over)
        return self.answers[number]

    def close(self) -> None:
        self.sock.close()
