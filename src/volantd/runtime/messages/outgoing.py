"""Messages that go out over a socket as it takes them, with descriptors."""

from __future__ import annotations

import array
import os
import socket
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Outgoing:
    """What is to be sent over a non-blocking socket, in order; what cannot go yet waits."""

    def __init__(
        self, sock: socket.socket, loop: asyncio.AbstractEventLoop, on_lost: Callable[[], None]
    ) -> None:
        """Nothing is sent yet.

        Args:
            sock: a unix socket; its owner closes it, after `drop`.
            loop: tells when it takes more.
            on_lost: hears when nobody is at its other end.
        """
        self._socket = sock
        self._loop = loop
        self._on_lost = on_lost
        self._waiting: deque[tuple[memoryview, list[int]]] = deque()
        self._is_dropped = False

    def send(self, data: bytes, fds: list[int]) -> None:
        """Send a message, now or as soon as those before it have gone; `fds` are closed then."""
        if self._is_dropped:
            _close(fds)
            return
        self._waiting.append((memoryview(data), fds))
        if len(self._waiting) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._waiting:
            view, fds = self._waiting[0]
            try:
                done = self._sent(view, fds)
            except BlockingIOError:
                self._loop.add_writer(self._socket, self._flush)
                return
            except OSError:
                self._on_lost()
                return
            _close(fds)
            self._waiting.popleft()
            if done < len(view):
                self._waiting.appendleft((view[done:], []))
        self._loop.remove_writer(self._socket)

    def _sent(self, view: memoryview, fds: list[int]) -> int:
        if not fds:
            return self._socket.send(view)
        rights = array.array("i", fds)
        return self._socket.sendmsg([view], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])

    def drop(self) -> None:
        """Send nothing any more, and close the descriptors that were to go."""
        self._is_dropped = True
        self._loop.remove_writer(self._socket)
        for _, fds in self._waiting:
            _close(fds)
        self._waiting.clear()


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
