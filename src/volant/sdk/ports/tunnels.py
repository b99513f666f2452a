"""`volant.forward(port)`: a port of a container, reached from the machine that it runs on.

    with volant.forward(8000) as tunnel:      # in a function
        print(tunnel.url)                     # http://127.0.0.1:40123
        ...

Open for as long as the block, or the container. What is connected is bytes: HTTP, WebSocket,
HTTP/2 without TLS, the protocol of a database.
"""

from __future__ import annotations

from volant import _context
from volant.channel import current
from volant.errors import InvalidError
from volant.sdk.calls.autoscaler import Record
from volant.sdk.calls.call import request_async
from volant.sdk.calls.calling import warn_blocking
from volant.sdk.objects.handle import check_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from volant.sdk.objects.client import Client

PORT_MAX = 65535


class Tunnel(Record):
    """Where a port of a container is reached."""

    __slots__ = ("_speaks_tls", "host", "port", "unencrypted_host", "unencrypted_port")

    def __init__(
        self, host: str, port: int, unencrypted_host: str = "", unencrypted_port: int = 0, *,
        speaks_tls: bool = False,
    ) -> None:  # fmt: skip
        self._speaks_tls = speaks_tls
        self.host = host
        self.port = port
        #: The same where `unencrypted=True` was said; else "" and 0.
        self.unencrypted_host = unencrypted_host
        self.unencrypted_port = unencrypted_port

    def _names(self) -> list[str]:
        return [name for name in super()._names() if name != "_speaks_tls"]

    @property
    def url(self) -> str:
        """For a browser: `https` where the gateway has a certificate, which is used here as well.

        Elsewhere there is no TLS on the way: it does not leave the machine.
        """
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._speaks_tls else 'http'}://{host}:{self.port}"

    @property
    def tcp_socket(self) -> tuple[str, int]:
        """Host and port for a connection without TLS.

        Raises:
            InvalidError: when `unencrypted=True` was not said.
        """
        if not self.unencrypted_host:
            raise InvalidError(
                "this tunnel was not asked for connections without TLS",
                hint=f"say so: `volant.forward({self.port}, unencrypted=True)`",
            )
        return self.unencrypted_host, self.unencrypted_port

    @property
    def tls_socket(self) -> tuple[str, int]:
        """Host and port for a connection with TLS.

        Raises:
            InvalidError: when this tunnel has none, for there is no certificate, or it was asked
                for connections without.
        """
        if not self._speaks_tls:
            raise InvalidError(
                "this tunnel has no TLS: what it passes on does not leave the machine",
                hint="take `tunnel.url`, or set `gateway_tls_cert` and `gateway_tls_key`",
            )
        return self.host, self.port


class Forwarding:
    """What `volant.forward` returns: a block, also of `async with`, in which a tunnel is open."""

    __slots__ = ("_number", "_port", "_unencrypted")

    def __init__(self, port: int, *, unencrypted: bool) -> None:
        self._port = port
        self._unencrypted = unencrypted
        self._number: int | None = None

    def __enter__(self) -> Tunnel:
        warn_blocking("with volant.forward(...)", "async with volant.forward(...)")
        port, is_plain = self._checked(), self._unencrypted
        channel = current.channel()
        return self._opened(channel.request("tunnel_open", port=port, plain=is_plain))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        current.channel().request("tunnel_close", tunnel=self._number)

    async def __aenter__(self) -> Tunnel:
        port, is_plain = self._checked(), self._unencrypted
        return self._opened(await request_async("tunnel_open", port=port, plain=is_plain))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await request_async("tunnel_close", tunnel=self._number)

    def _checked(self) -> int:
        if _context.sdk_fd is None:
            raise InvalidError(
                "`volant.forward` opens a tunnel to a port of a container, and this is none",
                hint="use it in a function that is called with `.remote()`",
            )
        return self._port

    def _opened(self, reply: dict[str, Any]) -> Tunnel:
        self._number = reply["tunnel"]
        host, port = reply["host"], reply["port"]
        if self._unencrypted:
            return Tunnel(host, port, host, port)
        return Tunnel(host, port, speaks_tls=reply["tls"])


class Forward:
    """`volant.forward(...)` and `volant.forward.aio(...)`, which are the same."""

    __slots__ = ()

    def __call__(
        self, port: int, *, unencrypted: bool = False, h2_enabled: bool = False,
        client: Client | None = None,
    ) -> Forwarding:  # fmt: skip
        """Have a port of this container reached from the machine that it runs on.

        Args:
            port: where a program in this container listens, or will.
            unencrypted: give `Tunnel.tcp_socket`, and no TLS.
            h2_enabled: changes nothing: HTTP/2 passes as everything does.
            client: of no need: a container has one.

        Returns:
            A block for `with` or `async with`; its value is a `Tunnel`.

        Raises:
            InvalidError: for what is no port.
        """
        if type(port) is not int or not 1 <= port <= PORT_MAX:
            raise InvalidError(f"a port is a number from 1 to {PORT_MAX}, not {port!r}")
        check_client(client)
        del h2_enabled
        return Forwarding(port, unencrypted=unencrypted)

    aio = __call__


forward = Forward()
