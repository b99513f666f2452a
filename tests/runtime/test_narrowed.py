"""What containers may do less of than other programs, in both rungs, and what goes on working."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.runtime.laboratory import Container


def test_a_socket_does_not_keep_its_closer_waiting(container: Container) -> None:
    """SO_LINGER seems to be set: the hub closes what a container sends it, on its event loop."""
    code = """
import socket, struct, time
listener = socket.create_server(("127.0.0.1", 0))
one = socket.create_connection(listener.getsockname())
other, _ = listener.accept()
one.setblocking(False)
try:
    while one.send(bytes(65536)): pass
except BlockingIOError: pass
one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 5))
lingers, _ = struct.unpack("ii", one.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
result = lingers, one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
"""
    assert container.ask(code) == (0, 1)
