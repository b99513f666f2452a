"""Something between a daemon and its PostgreSQL that loses the connection at the worst moment."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PIECE_BYTES = 1 << 16


class Relay:
    """Passes bytes on between a socket in `directory` and the one of the server.

    Attributes:
        lose: what becomes of the next COMMIT: `request` loses it on the way there, `answer` on the
            way back, when it has been done; "" passes it on.
        is_away: whether connections are refused from the one on that was lost.
        loses_look: whether the next connection is lost as well, when it looks for the mark.
    """

    def __init__(self, server: Path, directory: Path) -> None:
        self._server = server
        self.directory = directory
        self.lose = ""
        self.is_away = self.loses_look = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / ".s.PGSQL.5432"))
        self._listener.listen()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for one in (self._listener, *self._sockets):
            one.close()

    def _start(self, work: Callable[..., None], *given: socket.socket) -> None:
        self._threads.append(threading.Thread(target=work, args=given, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.is_away and not self.lose:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server / ".s.PGSQL.5432"))
                self._sockets += (client, server)
                self._start(self._back, server, client)
                self._start(self._there, client, server)

    def _there(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(_PIECE_BYTES):
                if b"COMMIT" in data and self.lose == "request":
                    break
                if b"SELECT mark" in data and self.loses_look:
                    self.loses_look = False
                    break
                server.sendall(data)
        self._end(client, server)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(_PIECE_BYTES):
                if b"COMMIT" in data and self.lose == "answer":
                    break
                client.sendall(data)
        self._end(client, server)

    def _end(self, client: socket.socket, server: socket.socket) -> None:
        self.lose = ""
        for one in (client, server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
