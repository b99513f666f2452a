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
