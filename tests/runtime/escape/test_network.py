"""Sockets of the host, and a network of one's own."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from tests.runtime.laboratory import Failed
from volant.runner import linux

if TYPE_CHECKING:
    from tests.runtime.laboratory import Container, Laboratory


CONNECT = "import socket; socket.socket(socket.AF_UNIX).connect({!r})"


def test_a_socket_of_the_host_does_not_exist(container: Container) -> None:
    path = container.lab.place / "daemon.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(Failed, match="FileNotFoundError"):
            container.ask(CONNECT.format(str(path)))


def test_abstract_sockets_of_the_host_are_out_of_reach(container: Container) -> None:
    if linux.landlock_abi() < 6:
        pytest.skip("abstract sockets are shared with the network before Landlock 6")
    name = f"\0volant-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        with pytest.raises(Failed, match="PermissionError"):
            container.ask(CONNECT.format(name))


def test_a_blocked_network_is_only_its_own_loopback(container_lab: Laboratory) -> None:
    zygote = container_lab.zygote(block_network=True)
    forked = container_lab.fork(zygote)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert forked.ask("import socket; result = socket.if_nameindex()") == [(1, "lo")]
        with pytest.raises(Failed, match="ConnectionRefused"):
            forked.ask(f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)")
    code = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
socket.create_connection(listener.getsockname(), 5)
result = listener.accept()[1][0]
"""
    assert forked.ask(code) == "127.0.0.1", "its own loopback is up"
    forked.end()
    container_lab.end(zygote)


#: What the import of a hostile program can send to the nursery of its zygote.
SEND_TO_NURSERY = """
import os, socket
reads, writes = os.pipe()
os.write(writes, b"always readable")
for fd in map(int, os.listdir("/proc/self/fd")):
    try:
        sock = socket.socket(fileno=os.dup(fd))
    except OSError:
        continue
    if sock.type == socket.SOCK_SEQPACKET:
        for message in (b"watch s1 127.20.0.1", b"watch s1 127.0.0.1", b"watch s1 x", b"watch",
                        b"watch ../x 127.20.0.1", b"watch s1 127.20.0.1 more", b"watch \\xff"):
            for sent in ([], [reads], [writes], [0]):
                socket.send_fds(sock, [message], sent)
"""


def test_a_nursery_watches_nothing_but_what_tells_of_calls(container_lab: Laboratory) -> None:
    if not container_lab.launcher.probe.has_private_ports:
        pytest.skip("nurseries watch nothing on this machine")
    zygote = container_lab.zygote(SEND_TO_NURSERY)
    forked = container_lab.fork(zygote)
    code = "import socket; result = socket.create_server(('', 8000)).getsockname()[0]"
    assert forked.ask(code) == forked.forked.address
    forked.end()
    container_lab.end(zygote)
