"""Connections at a port of this machine that are passed on to one of a container."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from volantd.runtime.ports import relay as relay_module
from volantd.runtime.ports.relays import RelayFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.runtime.laboratory import Container, Laboratory
    from volantd.runtime.client import Zygote
    from volantd.runtime.ports.relays import Relay

    Opened = tuple[Relay, tuple[str, int]]

WITHIN_S = 30.0

ECHO = """
import socket, threading

def copy(sock):
    with sock:
        while data := sock.recv(65536):
            sock.sendall(data)

def accept(server):
    while True:
        sock, _ = server.accept()
        threading.Thread(target=copy, args=(sock,), daemon=True).start()

server = socket.create_server(("", 8000))
threading.Thread(target=accept, args=(server,), daemon=True).start()
"""


@pytest.fixture(scope="module", params=["shared", "own"])
def zygote(request: pytest.FixtureRequest, container_lab: Laboratory) -> Zygote:
    return container_lab.zygote(block_network=request.param == "own")


@pytest.fixture
def container(container_lab: Laboratory, zygote: Zygote) -> Iterator[Container]:
    forked = container_lab.fork(zygote)
    yield forked
    forked.end()


@pytest.fixture
def opened(container_lab: Laboratory, container: Container) -> Iterator[Callable[..., Opened]]:
    """Opens relays to ports of the container."""
    relays: list[Relay] = []

    async def start(listener: socket.socket, port: int) -> Relay:
        relay = container_lab.launcher.relays.open(listener, container.forked, port)
        relays.append(relay)
        await relay.wait()
        return relay

    def open_relay(port: int = 8000) -> Opened:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            relay = container_lab.run(start(listener, port))
            return relay, listener.getsockname()

    yield open_relay
    for relay in relays:
        relay.end()
    for relay in relays:
        container_lab.run(wait_for(relay))


async def wait_for(relay: Relay) -> int:
    return await relay.exited


def exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            break
        data += more
    return data


def connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=WITHIN_S)


def fill(sock: socket.socket) -> None:
    """Send until nobody takes any more."""
    try:
        while True:
            sock.send(b"x" * 65536)
    except BlockingIOError:
        pass


def test_bytes_pass_both_ways(container: Container, opened: Callable[..., Opened]) -> None:
    container.ask(ECHO)
    _, address = opened()
    with connect(address) as one, connect(address) as other:
        one.sendall(b"one")
        other.sendall(b"other")
        assert exactly(one, 3) == b"one"
        assert exactly(other, 5) == b"other"


def test_much_passes_as_it_is_and_its_end_too(
    container: Container, opened: Callable[..., Opened]
) -> None:
    container.ask(ECHO)
    _, address = opened()
    block = os.urandom(1 << 20)
    sent = hashlib.sha256(block * 32).digest()

    def send(sock: socket.socket) -> None:
        for _ in range(32):
            sock.sendall(block)
        sock.shutdown(socket.SHUT_WR)

    with connect(address) as sock:
        sender = threading.Thread(target=send, args=(sock,))
        sender.start()
        found = hashlib.sha256()
        while data := sock.recv(1 << 20):
            found.update(data)
        sender.join()
    assert found.digest() == sent


def test_one_that_reads_nothing_holds_up_no_other(
    container: Container, opened: Callable[..., Opened]
) -> None:
    container.ask(ECHO)
    _, address = opened()
    with connect(address) as stuck, connect(address) as other:
        stuck.setblocking(False)
        fill(stuck)
        other.sendall(b"other")
        assert exactly(other, 5) == b"other"


def test_where_nobody_listens_a_connection_is_reset(opened: Callable[..., Opened]) -> None:
    _, address = opened(8001)
    with pytest.raises(ConnectionResetError), connect(address) as sock:
        sock.recv(1)


def test_who_begins_to_listen_later_is_reached(
    container: Container, opened: Callable[..., Opened]
) -> None:
    _, address = opened()
    container.ask(ECHO)
    with connect(address) as sock:
        sock.sendall(b"late")
        assert exactly(sock, 4) == b"late"


def test_when_a_relay_ends_so_do_its_connections_and_its_port(
    container_lab: Laboratory, container: Container, opened: Callable[..., Opened]
) -> None:
    container.ask(ECHO)
    relay, address = opened()
    with connect(address) as sock:
        sock.sendall(b"x")
        assert exactly(sock, 1) == b"x"
        relay.end()
        container_lab.run(wait_for(relay))
        with contextlib.suppress(ConnectionResetError):  # which it may see as well
            assert sock.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            connect(address)


def test_what_was_sent_before_the_end_arrives(
    container_lab: Laboratory, container: Container, opened: Callable[..., Opened]
) -> None:
    container.ask("import socket; server = socket.create_server(('', 8000))")
    relay, address = opened()
    with connect(address) as sock:
        container.ask("peer, _ = server.accept(); peer.sendall(bytes(65536))")
        relay.end()
        assert exactly(sock, 65536 + 1) == bytes(65536)
    container_lab.run(wait_for(relay))


def test_a_client_that_reads_nothing_does_not_keep_a_relay(
    container_lab: Laboratory, container: Container, opened: Callable[..., Opened]
) -> None:
    container.ask("import socket; server = socket.create_server(('', 8000))")
    relay, address = opened()
    with connect(address):
        container.ask(
            "import threading\n"
            "peer, _ = server.accept()\n"
            "args = (bytes(64 << 20),)\n"
            "threading.Thread(target=peer.sendall, args=args, daemon=True).start()"
        )
        relay.end()
        assert container_lab.run(wait_for(relay)) == 0


def test_a_relay_has_no_rights(
    container_lab: Laboratory, container: Container, opened: Callable[..., Opened]
) -> None:
    opened()
    relays = [pid for pid in children_of(container_lab.launcher._process.pid) if is_relay(pid)]
    assert relays
    for pid in relays:
        with open(f"/proc/{pid}/status") as source:
            status = dict(line.split(":", 1) for line in source)
        assert int(status["CapEff"], 16) == 0
        assert int(status["CapPrm"], 16) == 0
        assert status["NoNewPrivs"].strip() == "1"
        assert status["Seccomp"].strip() == "2"


def children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as source:
        return [int(word) for word in source.read().split()]


def is_relay(pid: int) -> bool:
    try:
        return any(
            os.readlink(f"/proc/{pid}/fd/{fd}").startswith("anon_inode:[eventpoll]")
            for fd in os.listdir(f"/proc/{pid}/fd")
        )
    except OSError:
        return False


def test_a_container_that_is_gone_gets_no_relay(container_lab: Laboratory, zygote: Zygote) -> None:
    forked = container_lab.fork(zygote)
    forked.end()

    async def start(listener: socket.socket) -> Any:
        relay = container_lab.launcher.relays.open(listener, forked.forked, 8000)
        await relay.wait()

    listener = socket.create_server(("127.0.0.1", 0))
    with listener, pytest.raises((OSError, RelayFailedError)):
        container_lab.run(start(listener))


def test_more_connections_than_a_relay_takes_wait_for_their_turn() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    target = socket.create_server(("127.0.0.1", 0))
    relay = relay_module.Relay(listener, target.getsockname(), connections_max=2)
    clients = [connect(listener.getsockname()) for _ in range(3)]
    taken = []
    try:
        while len(taken) < 2:
            relay.turn()
            taken += accepted(target)
        assert not relay._accepts
        for sock in (clients[0], *taken):
            sock.shutdown(socket.SHUT_RDWR)
        while len(taken) < 3:
            relay.turn()
            taken += accepted(target)
    finally:
        ends = [end.sock for end in relay._ends.values()]
        for sock in (*clients, *taken, *ends, listener, target, relay._poll):
            sock.close()


def accepted(server: socket.socket) -> list[socket.socket]:
    server.setblocking(False)
    try:
        return [server.accept()[0]]
    except BlockingIOError:
        return []
