"""Fields behind the body of a response: the extension `http.response.trailers` of ASGI.

    start, trailers=True ─► body ─► last of the body ─► trailers
                                    kept open ╌╌╌╌╌╌╌╌╌╌╌╌┴─► the last chunk, with the fields in it

uvicorn does not have it. It is offered to an app when the client has said that it takes such
fields; a response with a length has no chunks, and so no place for them.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable
    from typing import Any

    from volant.runner.web.lifespan import App, Receive, Send

NAME = "http.response.trailers"
_LAST_CHUNK = b"0\r\n\r\n"
_FIELD_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
#: What tells how a message is read, and means nothing once it was.
_FRAMING = frozenset((
    b"connection", b"content-encoding", b"content-length", b"content-range", b"content-type",
    b"te", b"trailer", b"transfer-encoding", b"upgrade",
))  # fmt: skip


def offer(scope: dict[str, Any]) -> None:
    """Tell an app that its client takes fields behind the body."""
    scope["extensions"] = {**(scope.get("extensions") or {}), NAME: {}}


def is_offered(scope: dict[str, Any]) -> bool:
    """Whether that was told."""
    return NAME in (scope.get("extensions") or ())


def serve(app: App, scope: dict[str, Any], receive: Receive, send: Send) -> Awaitable[None]:
    """Run an app that may send such fields.

    Args:
        app: it.
        scope: of a request to whose client they are offered.
        receive: as the server gave it.
        send: likewise, a method of what the server knows of the request.
    """
    return app(scope, receive, _Trailing(send))


class _Trailing:
    """What such an app sends by."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_wanted = False
        self._fields: list[bytes] = []

    async def __call__(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._is_wanted = bool(message.get("trailers"))
        elif kind == "http.response.body" and self._is_wanted and not message.get("more_body"):
            message = {**message, "more_body": True}
        elif kind == NAME and self._is_wanted:
            self._fields += map(_line, _pairs(message))
            if message.get("more_trailers"):
                return
            await self._end()
            return
        await self._send(message)

    async def _end(self) -> None:
        cycle: Any = getattr(self._send, "__self__", None)
        transport = cycle.transport
        cycle.transport = _WithFields(transport, b"".join(self._fields))
        try:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            cycle.transport = transport


class _WithFields:
    """Stands in for a connection while a response ends on it."""

    def __init__(self, transport: Any, fields: bytes) -> None:
        self._transport = transport
        self._fields = fields

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if data == _LAST_CHUNK:
            data = b"0\r\n" + self._fields + b"\r\n"
        self._transport.write(data)


def _pairs(message: dict[str, Any]) -> Iterable[tuple[bytes, bytes]]:
    pairs: Iterable[tuple[bytes, bytes]] = message.get("headers", ())
    return pairs


def _line(pair: tuple[bytes, bytes]) -> bytes:
    """One field as it is sent.

    Raises:
        ValueError: for one that cannot be, or that belongs ahead of the body.
    """
    name, value = bytes(pair[0]), bytes(pair[1])
    if not _FIELD_NAME.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
        raise ValueError(f"{name!r}: {value!r} cannot be a field behind the body")
    if name.lower() in _FRAMING:
        raise ValueError(f"{name!r} belongs ahead of the body")
    return b"%b: %b\r\n" % (name, value)
