"""Requests of one connection, one after the other: each checked, and sent anew to its host.

    sandbox --request--> read by h11, host checked, headers replaced --written by h11--> host
            <--answer--- written by h11                              <---read by h11----'

Nothing is passed on as it came, so that both sides agree on where each message ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import h11

from volantd.egress import streams
from volantd.egress.policy import plain_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from volantd.egress.streams import Stream

    Dial = Callable[[str], Awaitable[Stream]]

#: Of the head of a request or an answer.
HEAD_BYTES_MAX = 64 << 10
#: Until the head of a request is there, once the connection is.
HEAD_TIMEOUT_S = 60.0
_GATEWAY_ONLY = (b"proxy-authorization", b"proxy-connection", b"keep-alive")


class RefusedError(Exception):
    """A request that is not passed on: a status, and why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Exchange:
    """The requests of one connection.

    Attributes:
        port: the one that requests are for.
    """

    def __init__(
        self, near: Stream, port: int, allows: Callable[[str], bool], dial: Dial,
        headers: Mapping[str, str],
    ) -> None:  # fmt: skip
        """`allows`: whether a plain name may be reached; `dial`: connects to it."""
        self._near = near
        self.port = port
        self._allows = allows
        self._dial = dial
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._inner = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._outer = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._far: Stream | None = None
        self._host = ""

    async def run(self) -> None:
        """Pass requests on until there are no more, or one is refused."""
        try:
            while await self._turn():
                pass
        except RefusedError as refusal:
            await self._refuse(refusal)
        except h11.RemoteProtocolError:
            await self._refuse(RefusedError(400, "this is no request that can be passed on"))
        finally:
            if self._far is not None:
                self._far.abort()

    async def _turn(self) -> bool:
        """Pass one request on, and its answer back; whether another one may follow."""
        try:
            async with asyncio.timeout(HEAD_TIMEOUT_S):
                event = await _next(self._inner, self._near)
        except TimeoutError:
            return False
        if not isinstance(event, h11.Request):
            return False
        host = self._checked(event)
        if self._far is None or host != self._host:
            if self._far is not None:
                await self._far.close()
            self._far, self._host = await self._dial(host), host
            self._outer = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        await _send(self._outer, self._far, self._rewritten(event))
        return await self._converse(self._far)

    async def _converse(self, far: Stream) -> bool:
        upload = asyncio.ensure_future(self._copy(self._inner, self._near, self._outer, far))
        try:
            await self._copy(self._outer, far, self._inner, self._near)
            if self._inner.our_state is h11.SWITCHED_PROTOCOL:
                await self._switch(far)
                return False
            if self._inner.our_state is not h11.DONE or self._inner.their_state is not h11.DONE:
                return False
            await upload
            if h11.DONE is not self._outer.their_state or h11.DONE is not self._outer.our_state:
                await far.close()
                self._far = None
            else:
                self._outer.start_next_cycle()
            self._inner.start_next_cycle()
        finally:
            upload.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, h11.ProtocolError):
                await upload
        return True

    async def _copy(
        self, of: h11.Connection, source: Stream, to: h11.Connection, target: Stream
    ) -> None:
        """Pass on what one side says until its message ends."""
        while True:
            event = await _next(of, source)
            if isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError
            if event is h11.PAUSED:
                return
            if isinstance(event, (h11.Response, h11.InformationalResponse)):
                event = _answer(event)
            await _send(to, target, event)
            if isinstance(event, h11.EndOfMessage):
                return
            if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                return

    async def _switch(self, far: Stream) -> None:
        near = self._near
        await near.send(self._outer.trailing_data[0])
        await far.send(self._inner.trailing_data[0])
        await streams.join(near, far)

    def _checked(self, request: h11.Request) -> str:
        """Whom a request is for.

        Raises:
            RefusedError: when it is for nobody who may be reached, or its end is in doubt.
        """
        names = [name for name, _ in request.headers]
        if not request.target.startswith(b"/") and request.target != b"*":
            raise RefusedError(400, "only requests for a path are passed on")
        if b"transfer-encoding" in names and b"content-length" in names:
            raise RefusedError(400, "a request has one length")
        hosts = [value for name, value in request.headers if name == b"host"]
        if len(hosts) != 1:
            raise RefusedError(400, "a request is for one host")
        text, colon, port = hosts[0].decode("ascii", "replace").partition(":")
        host = plain_name(text)
        if host is None or (colon and port != str(self.port)) or not self._allows(host):
            raise RefusedError(403, f"this sandbox may not reach {text[:100]!r}")
        return host

    def _rewritten(self, request: h11.Request) -> h11.Request:
        replaced = {name for name, _ in self._headers}
        headers = [
            (name, value) for name, value in request.headers
            if name not in replaced and name not in _GATEWAY_ONLY
            and (name != b"upgrade" or value.lower() == b"websocket")  # others hide requests
        ]  # fmt: skip
        headers += self._headers
        return h11.Request(method=request.method, target=request.target, headers=headers)

    async def _refuse(self, refusal: RefusedError) -> None:
        if self._inner.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = f"{refusal.reason}\n".encode()
        headers = [("content-type", "text/plain; charset=utf-8"), ("connection", "close"),
                   ("content-length", str(len(body)))]  # fmt: skip
        with contextlib.suppress(h11.LocalProtocolError):
            answer = h11.Response(status_code=refusal.status, headers=headers)
            for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
                await _send(self._inner, self._near, event)


def _answer(event: Any) -> Any:
    """The head of an answer, without what would say twice where it ends."""
    names = [name for name, _ in event.headers]
    if b"transfer-encoding" not in names or b"content-length" not in names:
        return event
    headers = [(name, value) for name, value in event.headers if name != b"content-length"]
    return type(event)(status_code=event.status_code, headers=headers, reason=event.reason)


async def _next(connection: h11.Connection, stream: Stream) -> Any:
    while True:
        event = connection.next_event()
        if event is not h11.NEED_DATA:
            return event
        connection.receive_data(await stream.receive())


async def _send(connection: h11.Connection, stream: Stream, event: Any) -> None:
    data = connection.send(event)
    if data:
        await stream.send(data)
