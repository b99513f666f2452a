"""Requests straight to the sockets of containers, as the gateway sends them."""

from __future__ import annotations

import functools
import http.client
import os
import socket
from typing import TYPE_CHECKING, Any

import httpx

from tests.behaviours.programs import WITHIN_S, containers
from tests.support import eventually

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self


def socket_of(home: Path, function: str, method: int = 0) -> str:
    """The path of the socket of the one container of a function, once that is ready."""

    def find() -> str:
        ready = [
            row["container_id"]
            for row in containers(home, function=function)
            if row["state"] in ("idle", "busy")
        ]
        assert len(ready) == 1, ready
        [path] = home.glob(f"run/*/web/{ready[0]}.{method}.sock")
        return f"{_short(str(path.parent))}/{path.name}"

    return eventually(find, within_s=WITHIN_S)


@functools.cache
def _short(directory: str) -> str:
    """Another name of a directory: an address has 107 bytes, and homes of tests lie deep."""
    return f"/proc/self/fd/{os.open(directory, os.O_PATH | os.O_CLOEXEC)}"


def client_of(path: str, **headers: str) -> httpx.Client:
    """A client whose requests all go to one socket."""
    return httpx.Client(
        base_url="http://container", transport=httpx.HTTPTransport(uds=path), timeout=WITHIN_S,
        headers=headers,
    )  # fmt: skip


class Chunked(http.client.HTTPConnection):
    """A connection of which a test sees each chunk; closes with its `with` block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, path: str) -> None:
        """Send the head of a POST whose body comes in chunks."""
        self.putrequest("POST", path)
        self.putheader("Transfer-Encoding", "chunked")
        self.endheaders()

    def chunk(self, data: bytes) -> None:
        """Send a chunk; an empty one is the last."""
        self.send(b"%x\r\n%s\r\n" % (len(data), data))


class Raw(Chunked):
    """Such a connection to one socket."""

    def __init__(self, path: str) -> None:
        super().__init__("container", timeout=WITHIN_S)
        self._path = path

    def connect(self) -> None:
        self.sock: Any = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(WITHIN_S)
        self.sock.connect(self._path)
