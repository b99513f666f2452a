"""One connection that a sandbox has opened: where it was to go, whether it may, and its bytes.

listener ─► address allowed ─────────────────────────► relayed to that address
         ─► port 443: the name that TLS greets allowed ► to that name, or read with its headers
         ─► port 80:  the host of each request allowed ► requests sent anew to that host
         ─► port 53:  questions for names ─────────────► answered here
         ─► anything else ─────────────────────────────► reset
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
import struct
from typing import TYPE_CHECKING

from volantd.egress import dialing, hello
from volantd.egress.exchange import Exchange, RefusedError
from volantd.egress.policy import HTTP_PORT, TLS_PORT
from volantd.egress.streams import Stream, join

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from volantd.egress.outlet import Outlet
    from volantd.egress.policy import Address, Policy

log = logging.getLogger(__name__)

#: Until a client has said whom it greets.
HELLO_TIMEOUT_S = 15.0
DNS_PORT = 53
#: Until a client has said a question that it began, over TCP.
QUESTION_TIMEOUT_S = 15.0
#: Questions over one connection.
QUESTIONS_MAX = 100
#: netfilter: where a connection was to go before it was led here.
_SO_ORIGINAL_DST = 80
_RESET = struct.pack("ii", 1, 0)


def wanted(sock: socket.socket) -> tuple[Address, int]:
    """Where the other side wanted to connect to.

    Raises:
        OSError: when it connected to this listener itself.
    """
    if sock.family == socket.AF_INET:
        raw = sock.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16)
        address: Address = ipaddress.IPv4Address(raw[4:8])
    else:
        raw = sock.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, 28)
        address = ipaddress.IPv6Address(raw[8:24])
    return address, int.from_bytes(raw[2:4], "big")


class Passage:
    """One connection."""

    def __init__(self, outlet: Outlet, sock: socket.socket) -> None:
        """`sock` is owned from here on."""
        self._outlet = outlet
        self._sock = sock
        self._address, self._port = wanted(sock)
        #: The name it goes to, if it goes by that.
        self._name: str | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        """Begin; the task never fails."""
        self._task = asyncio.ensure_future(self._run())
        self._task.add_done_callback(lambda _: self._sock.close())  # also if it never ran
        return self._task

    def review(self, policy: Policy) -> None:
        """End it unless a new policy allows it as well."""
        by_name = self._name is not None and policy.names(self._name)
        if self._task is not None and not by_name and not self._is_allowed(policy):
            self._task.cancel()

    def _is_allowed(self, policy: Policy) -> bool:
        return policy.allows(self._address, is_ours=self._outlet.outside.is_ours(self._address))

    async def _run(self) -> None:
        try:
            await self._pass()
        except (OSError, asyncio.CancelledError):
            reset(self._sock)  # refused, unreachable, broken, or allowed no more
        except Exception:  # one connection that goes wrong in a new way is not the end of others
            log.exception("passage_failed")
            reset(self._sock)
        else:
            self._sock.close()

    async def _pass(self) -> None:
        policy, port = self._outlet.policy, self._port
        if port == DNS_PORT:
            await self._answer_questions()
            return
        is_allowed = self._is_allowed(policy)
        if port == TLS_PORT and (policy.replacements or not is_allowed):
            if policy.domains or policy.replacements:
                name = await self._greeted()
                if name is not None and policy.names(name):
                    self._name = name
                    await self._pass_tls(name, policy)
                    return
        elif port == HTTP_PORT and not is_allowed and policy.domains:
            await self._pass_requests(await self._near(), {}, HTTP_PORT)
            return
        if not is_allowed:
            raise dialing.NotAllowedError
        await self._relay(lambda: self._outlet.outside.connect(self._address, port))

    async def _near(self, served: ssl.SSLContext | None = None) -> Stream:
        sock = self._sock.dup()
        try:
            return await Stream.of(sock, served=served)
        except BaseException:
            sock.close()
            raise

    async def _relay(self, connect: Callable[[], Awaitable[socket.socket]]) -> None:
        """Pass bytes on as they are, to what `connect` reaches."""
        near, far = await self._near(), None
        try:
            far = await Stream.of(await connect())
            await join(near, far)
        except BaseException:
            near.abort()
            if far is not None:
                far.abort()
            raise
        await near.close()
        await far.close()

    async def _dial(self, name: str, port: int) -> socket.socket:
        outlet = self._outlet
        return await dialing.connect_to_name(name, port, outlet.policy, outlet.outside)

    # -- by name

    async def _greeted(self) -> str | None:
        """The name that the client greets; None when it greets nobody. Nothing is taken."""
        loop, sock, seen = asyncio.get_running_loop(), self._sock, b""
        with contextlib.suppress(TimeoutError, hello.NotTLSError):
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                while len(seen) < hello.HELLO_BYTES_MAX:
                    await _readable(loop, sock, len(seen) + 1)
                    data = sock.recv(hello.HELLO_BYTES_MAX, socket.MSG_PEEK)
                    if len(data) == len(seen):
                        break  # the end
                    seen = data
                    name = hello.server_name(seen)
                    if name is not None:
                        return name
        return None

    async def _pass_tls(self, name: str, policy: Policy) -> None:
        replacement = policy.replacement(name)
        if replacement is None:
            await self._relay(lambda: self._dial(name, TLS_PORT))
            return
        served = self._outlet.standing_in(replacement)
        near = await self._near(served)
        await self._pass_requests(near, replacement.headers, TLS_PORT, only=name)

    async def _pass_requests(
        self, near: Stream, headers: dict[str, str], port: int, only: str | None = None
    ) -> None:
        """Pass requests on; with TLS only those for the name that it greets."""

        def allows(name: str) -> bool:
            return self._outlet.policy.names(name) if only is None else name == only

        async def dial(name: str) -> Stream:
            if only is None:
                self._name = name
            try:
                sock = await self._dial(name, port)
                asked = None if only is None else self._outlet.trust
                return await Stream.of(sock, asked=asked, host=name)
            except dialing.NotAllowedError:
                raise RefusedError(403, f"this sandbox may not reach {name!r}") from None
            except OSError:
                raise RefusedError(502, f"{name!r} cannot be reached") from None

        try:
            await Exchange(near, port, allows, dial, headers).run()
        except BaseException:
            near.abort()
            raise
        await near.close()

    # -- questions

    async def _answer_questions(self) -> None:
        near = await self._near()
        data = b""
        try:
            for _ in range(QUESTIONS_MAX):
                async with asyncio.timeout(QUESTION_TIMEOUT_S):
                    while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
                        more = await near.receive()
                        if not more:
                            await near.close()
                            return
                        data += more
                end = 2 + int.from_bytes(data[:2], "big")
                answer = await self._outlet.answer(data[2:end])
                if answer is None:
                    return
                data = data[end:]
                await near.send(len(answer).to_bytes(2, "big") + answer)
        finally:
            near.abort()


async def _readable(loop: asyncio.AbstractEventLoop, sock: socket.socket, count: int) -> None:
    """Wait until so many bytes can be read, or the other side has ended."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
    ready = loop.create_future()
    loop.add_reader(sock, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


def reset(sock: socket.socket) -> None:
    """Close a socket; if nobody else has it, so that the other side sees an error."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()
