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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

PORT_MAX = 65535


class Tunnel(Record):
    """Where a port of a container is reached."""

    __slots__ = ("host", "port", "unencrypted_host", "unencrypted_port")

    def __init__(
        self, host: str, port: int, unencrypted_host: str = "", unencrypted_port: int = 0
    ) -> None:
        self.host = host
        self.port = port
        #: The same where `unencrypted=True` was said; else "" and 0.
        self.unencrypted_host = unencrypted_host
        self.unencrypted_port = unencrypted_port

    @property
    def url(self) -> str:
        """For a browser. There is no TLS on the way: it does not leave the machine."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

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
            InvalidError: always: tunnels have no TLS of their own.
        """
        raise InvalidError(
            "tunnels have no TLS of their own: what they pass on does not leave the machine",
            hint="take `tunnel.url`, or `tunnel.tcp_socket` with `unencrypted=True`",
        )


class Forwarding:
    """What `volant.forward` returns: a block, also of `async with`, in which a tunnel is open."""

    __slots__ = ("_number", "_port", "_unencrypted")

    def __init__(self, port: int, *, unencrypted: bool) -> None:
        self._port = port
        self._unencrypted = unencrypted
        self._number: int | None = None

    def __enter__(self) -> Tunnel:
        warn_blocking("with volant.forward(...)", "async with volant.forward(...)")
        return self._opened(current.channel().request("tunnel_open", port=self._checked()))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        current.channel().request("tunnel_close", tunnel=self._number)

    async def __aenter__(self) -> Tunnel:
        return self._opened(await request_async("tunnel_open", port=self._checked()))

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
        return Tunnel(host, port)


def forward(
    port: int, *, unencrypted: bool = False, h2_enabled: bool = False, client: None = None
) -> Forwarding:
    """Have a port of this container reached from the machine that it runs on.

    Args:
        port: where a program in this container listens, or will.
        unencrypted: also give `Tunnel.tcp_socket`.
        h2_enabled: changes nothing: HTTP/2 passes as everything does.
        client: none but the one that a container has.

    Returns:
        A block for `with` or `async with`; its value is a `Tunnel`.

    Raises:
        InvalidError: for what is no port.
    """
    if type(port) is not int or not 1 <= port <= PORT_MAX:
        raise InvalidError(f"a port is a number from 1 to {PORT_MAX}, not {port!r}")
    if client is not None:
        raise InvalidError("`client` is not supported: a container has one of its own")
    del h2_enabled
    return Forwarding(port, unencrypted=unencrypted)
