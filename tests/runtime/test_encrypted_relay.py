"""Connections that are encrypted as far as the relay, and passed on as what is in them."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from tests import certificates
from tests.runtime.test_relay import ECHO, WITHIN_S, connect, exactly, wait_for
from tests.support import same
from volantd.runtime.ports.relays import RelayFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.runtime.laboratory import Container, Laboratory
    from volantd.runtime.ports.relays import Relay

    Open = Callable[[], tuple[str, int]]

GREETER = """
import socket
server = socket.create_server(("", 8000))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificates.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["shared", "own"])
def container(container_lab: Laboratory, request: pytest.FixtureRequest) -> Iterator[Container]:
    zygote = container_lab.zygote(block_network=request.param == "own")
    forked = container_lab.fork(zygote)
    yield forked
    forked.end()


@pytest.fixture
def opened(
    container_lab: Laboratory, container: Container, files: tuple[Path, Path]
) -> Iterator[Open]:
    """Opens an encrypted relay to port 8000 of the container."""
    relays: list[Relay] = []

    def open_relay(cert: Path = files[0]) -> tuple[str, int]:
        async def start(listener: socket.socket) -> None:
            tls = {"cert": str(cert), "key": str(files[1])}
            relays.append(
                container_lab.launcher.relays.open(listener, container.forked, 8000, tls=tls)
            )
            await relays[-1].wait()

        with socket.create_server(("127.0.0.1", 0)) as listener:
            container_lab.run(start(listener))
            address: tuple[str, int] = listener.getsockname()
            return address

    yield open_relay
    for relay in relays:
        relay.end()
    for relay in relays:
        container_lab.run(wait_for(relay))


@pytest.fixture
def greet(files: tuple[Path, Path]) -> Callable[[socket.socket], ssl.SSLSocket]:
    context = ssl.create_default_context(cafile=str(files[0]))
    return lambda sock: context.wrap_socket(sock, server_hostname="127.0.0.1")


def both_ways(sock: ssl.SSLSocket, data: bytes) -> bytes:
    """Send something and read as much meanwhile; less where the other side has ended.

    All by one thread: two on one connection of TLS spoil it, as Python locks nothing there.
    """
    sock.setblocking(False)
    sent, found = 0, bytearray()
    while len(found) < len(data):
        ready = select.select([sock], [sock] if sent < len(data) else [], [], WITHIN_S)
        assert any(ready), f"{len(found)} of {sent} bytes came back, and then nothing"
        if ready[1]:
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                sent += sock.send(data[sent : sent + (64 << 10)])
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            more = sock.recv(64 << 10)
            if not more:
                break
            found += more
    return bytes(found)


def test_much_passes_as_it_is_and_its_end_too(
    container: Container, opened: Open, greet: Callable[[socket.socket], ssl.SSLSocket]
) -> None:
    container.ask(ECHO)
    block = os.urandom(8 << 20)
    with greet(connect(opened())) as sock:
        assert same(both_ways(sock, block), block)
        sock.settimeout(WITHIN_S)
        sock.unwrap()  # returns when the other side has announced its end as well


def test_who_serves_may_speak_first(
    container: Container, opened: Open, greet: Callable[[socket.socket], ssl.SSLSocket]
) -> None:
    container.ask(GREETER)
    plain = connect(opened())
    container.ask("peer, _ = server.accept(); peer.sendall(b'welcome'); peer.close()")
    with greet(plain) as sock:
        assert exactly(sock, 100) == b"welcome"


def test_who_speaks_something_else_or_nothing_holds_up_nobody(
    container: Container, opened: Open, greet: Callable[[socket.socket], ssl.SSLSocket]
) -> None:
    container.ask(ECHO)
    address = opened()
    with connect(address), connect(address) as other:
        other.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP" not in exactly(other, 1000)
        with greet(connect(address)) as sock:
            sock.sendall(b"through")
            assert exactly(sock, 7) == b"through"


def test_an_end_that_nobody_has_announced_is_passed_on_as_a_break(
    container: Container, opened: Open, greet: Callable[[socket.socket], ssl.SSLSocket]
) -> None:
    """Whoever cuts the connection must not make half a message look whole."""
    container.ask(GREETER)
    with greet(connect(opened())) as sock:
        container.ask(f"peer, _ = server.accept(); peer.settimeout({WITHIN_S})")
        sock.sendall(b"half")
        assert container.ask("result = peer.recv(4)") == b"half"
        socket.socket.shutdown(sock, socket.SHUT_WR)
        told = container.ask(
            "try:\n    result = peer.recv(4)\nexcept ConnectionResetError:\n    result = 'reset'"
        )
    assert told == "reset"


def test_files_that_cannot_be_used_are_said(
    container: Container, opened: Callable[..., object], tmp_path: Path
) -> None:
    assert container.ask("result = 1") == 1
    (tmp_path / "cert.pem").write_text("nothing of the kind")
    with pytest.raises(RelayFailedError, match="SSLError"):
        opened(tmp_path / "cert.pem")
