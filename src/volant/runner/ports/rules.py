"""What becomes of the addresses that a container listens at and connects to: rules, no acts.

    bind     0.0.0.0:8000, 127.0.0.1:8000, [::]:8000  ->  127.a.b.c:8000, the container's own
             [::1]:8000, [::]:8000 of IPv6 alone      ->  127.(a+128).b.c:8000, its second one
             0.0.0.0:0                                ->  as it is: perhaps it wants to go out
    connect  to one of this machine, at a port that the container has bound  ->  the same
             another container's address, unless it was asked for by bind     ->  as it is
             anything else                                                   ->  as it is
             with `AWAITED` behind the address, where nobody listens         ->  once somebody does

All of 127.0.0.0/8 is this machine's loopback, so an address for each container costs nothing. IPv6
has one such address only; its sockets therefore get IPv4 addresses in their IPv6 form. Pure:
bytes in, bytes out.
"""

from __future__ import annotations

from _struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

AF_UNSPEC, AF_INET, AF_INET6 = 0, 2, 10
#: What is read of an address at most, and the least that has one of IPv4 or IPv6.
ADDRESS_BYTES_MAX, IPV4_BYTES_MIN, IPV6_BYTES_MIN = 28, 8, 24
#: Where in it the address itself begins.
IPV4_AT, IPV6_AT = 4, 8
#: The second byte of addresses that are given to containers: the first of each pair, and what the
#: other one has more. 127.0.x.x and 127.255.x.x are left to others.
FIRST_MIN, FIRST_MAX, SECOND = 1, 126, 128

#: What stands behind an address of IPv4 that is to be connected once somebody listens there; the
#: kernel ignores it, so nothing waits where nobody decides.
AWAITED = b"awaited\0"
#: Bytes of such an address: no other has so many.
AWAITED_BYTES = 16 + len(AWAITED)
#: Calls of one container that may wait so, and ports at which it is known to listen.
WAITING_MAX, LISTENING_MAX = 16, 1000
#: Addresses of containers of which it is known that this one asked for them.
ASKED_MAX = 1000

_ANY4, _ANY6 = bytes(4), bytes(16)
_LOOPBACK6 = bytes(15) + b"\1"
_MAPPED = bytes(10) + b"\xff\xff"
_FAMILY, _PORT = Struct("=H"), Struct(">H")


class Address:
    """An address of IPv4 or IPv6 as a program hands it to the kernel.

    Attributes:
        host: 4 or 16 bytes.
        at: where they begin.
    """

    __slots__ = ("at", "host", "port")

    def __init__(self, host: bytes, port: int, at: int) -> None:
        self.host = host
        self.port = port
        self.at = at

    @property
    def ipv4(self) -> bytes | None:
        """The address of IPv4 that it is, in whichever form."""
        if len(self.host) == 4:
            return self.host
        return self.host[12:] if self.host.startswith(_MAPPED) else None


def parse(raw: bytes, domain: int | None = None) -> Address | None:
    """Read an address; None for what is no complete one of IPv4 or IPv6.

    Args:
        raw: what a program gave the kernel, as much of it as there is.
        domain: of the socket, if known: to one of IPv4, an address of no family is one too.
    """
    if len(raw) < IPV4_BYTES_MIN:
        return None
    (family,) = _FAMILY.unpack_from(raw)
    (port,) = _PORT.unpack_from(raw, 2)
    if family == AF_UNSPEC and domain == AF_INET:
        family = AF_INET
    if domain not in (None, family):
        return None
    if family == AF_INET:
        return Address(raw[IPV4_AT : IPV4_AT + 4], port, IPV4_AT)
    if family == AF_INET6 and len(raw) >= IPV6_BYTES_MIN:
        return Address(raw[IPV6_AT : IPV6_AT + 16], port, IPV6_AT)
    return None


def is_loopback(host: bytes) -> bool:
    """Whether an address reaches nothing but this machine, wherever it is used."""
    ipv4 = host if len(host) == 4 else host[12:] if host.startswith(_MAPPED) else b""
    return ipv4[:1] == b"\x7f" or host == _LOOPBACK6


def _is_of_container(ipv4: bytes) -> bool:
    """Whether an address may be a container's first one."""
    return ipv4[0] == 127 and FIRST_MIN <= ipv4[1] <= FIRST_MAX


class OwnPorts:
    """The addresses of a container, and the ports that it has bound there."""

    __slots__ = ("asked", "dual", "first", "first_ports", "listening", "second", "second_ports")

    def __init__(self, address: str) -> None:
        """Take its first address.

        Raises:
            ValueError: for one that is never given to a container.
        """
        parts = [int(part) for part in address.split(".") if part.isascii() and part.isdigit()]
        if len(parts) != 4 or max(parts) > 255 or parts[0] != 127:
            raise ValueError(f"no address of loopback: {address[:50]!r}")
        if not FIRST_MIN <= parts[1] <= FIRST_MAX:
            raise ValueError(f"not an address for a container: {address[:50]!r}")
        self.first = bytes(parts)
        self.second = bytes([127, parts[1] + SECOND, *parts[2:]])
        self.first_ports: set[int] = set()
        self.second_ports: set[int] = set()
        #: Those of the first that IPv6 reaches as well.
        self.dual: set[int] = set()
        #: Addresses like those of other containers that it wanted to have bound.
        self.asked: set[bytes] = set()
        #: Those at which somebody has listened.
        self.listening: set[int] = set()

    def awaited_port(self, raw: bytes) -> int:
        """The port that a connection waits for; 0 for one that does not wait.

        Args:
            raw: the address as the program says it, and what stands behind.
        """
        wanted = parse(raw)
        if raw[16:] != AWAITED or wanted is None or len(self.listening) >= LISTENING_MAX:
            return 0
        return 0 if wanted.port in self.listening else wanted.port

    def place(
        self, wanted: Address, *, only_ipv6: bool, is_local: Callable[[bytes], bool]
    ) -> bytes | None:
        """Where to bind a socket that wants an address; None for just there.

        Args:
            wanted: as the program says.
            only_ipv6: the socket takes no connections of IPv4.
            is_local: whether an address is this machine's.
        """
        host, ipv4 = wanted.host, wanted.ipv4
        if is_loopback(host):
            return self.first if ipv4 is not None else self.second
        if not wanted.port:
            return None
        if host in (_ANY4, _ANY6):
            return self.second if only_ipv6 else self.first
        if not is_local(host):
            return None
        return self.first if ipv4 is not None else self.second

    def note(self, wanted: Address, placed: bytes, port: int) -> None:
        """Remember that a port is bound."""
        ipv4 = wanted.ipv4
        if ipv4 is not None and _is_of_container(ipv4) and len(self.asked) < ASKED_MAX:
            self.asked.add(ipv4)
        if placed == self.second:
            self.second_ports.add(port)
            return
        self.first_ports.add(port)
        if wanted.host == _ANY6:
            self.dual.add(port)

    def find(self, wanted: Address, is_local: Callable[[bytes], bool]) -> bytes | None:
        """Where to connect instead, as bytes of the same form; None for just there."""
        port, host, ipv4 = wanted.port, wanted.host, wanted.ipv4
        if ipv4 is not None and _is_of_container(ipv4) and ipv4 not in self.asked:
            return None  # a container that it knows, such as one of the same cluster
        if ipv4 is not None:
            found = self.first if port in self.first_ports else None
        elif port in self.second_ports:
            found = self.second
        else:
            found = self.first if port in self.dual else None
        if found is None:
            return None
        if not (is_loopback(host) or host in (_ANY4, _ANY6) or is_local(host)):
            return None
        return found if wanted.at == IPV4_AT else _MAPPED + found
