"""Maps and bulk data over a stream socket of two, each waiting for the other.

    kind 'M': a map of `wire.values`   'D': some bytes of a content   'E': its end

A frame is its kind, the length of its body, and that. Whoever reads may be reading from a stranger:
a length beyond what its kind may have is refused before anything is made for it, and content goes
on in pieces as it comes. Invariant: no more than one piece of a content is in memory.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
import termios
from _struct import Struct

from volant.wire import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Any

MAP, DATA, END = b"M", b"D", b"E"
#: Bytes of one piece of a content, and of one map.
PIECE_BYTES = 1 << 20
MAP_BYTES_MAX = 1 << 20
_HEAD = Struct("<cI")


class ExchangeError(Exception):
    """The other end is gone, or sent what this format does not have."""


class Exchange:
    """One end."""

    def __init__(self, socket: _socket.socket) -> None:
        """Take a blocking stream socket over."""
        self.socket = socket
        self.is_closed = False
        #: Hears how many bytes of a file have just gone, or come.
        self.on_piece: Callable[[int], object] = int
        self._buffer = bytearray()

    def close(self) -> None:
        """Close this end; may come twice."""
        self.is_closed = True
        self.socket.close()

    def shutdown(self) -> None:
        """End it, also for a thread that waits for it; `close` is still to come."""
        self.is_closed = True
        try:
            self.socket.shutdown(2)
        except OSError:
            pass  # the other end is gone

    # -- out

    def send(self, fields: dict[str, Any]) -> None:
        """Send a map.

        Raises:
            OSError: the other end is gone.
        """
        body = values.encode(fields)
        self.socket.sendall(_HEAD.pack(MAP, len(body)) + body)

    def send_bytes(self, data: bytes | memoryview) -> None:
        """Send a content that is in memory."""
        view = memoryview(data)
        for at in range(0, len(view), PIECE_BYTES):
            piece = view[at : at + PIECE_BYTES]
            self.socket.sendall(_HEAD.pack(DATA, len(piece)))
            self.socket.sendall(piece)
        self.send_end()

    def send_file(self, fd: int) -> None:
        """Send what a file has from where it stands on, as far as it goes now.

        Raises:
            OSError: it cannot be read, or has become shorter, and a map may follow; or the other
                end is gone.
        """
        left = os.fstat(fd).st_size - os.lseek(fd, 0, os.SEEK_CUR)
        if left <= 0:  # files of the kernel's have no size
            self._send_read(fd)
        while left > 0:
            count = min(left, PIECE_BYTES)
            self.socket.sendall(_HEAD.pack(DATA, count))
            self._pass_on(fd, count)
            self.on_piece(count)
            left -= count
        self.send_end()

    def _send_read(self, fd: int) -> None:
        room = self._room()
        while count := os.readv(fd, [room]):
            self.socket.sendall(_HEAD.pack(DATA, count))
            self.socket.sendall(room[:count])
            self.on_piece(count)

    def _pass_on(self, fd: int, count: int) -> None:
        """Send one piece by the kernel alone; it is made up to its length when that fails."""
        problem: OSError | None = None
        while count:
            done = 0
            try:
                done = os.sendfile(self.socket.fileno(), fd, None, count)
            except ConnectionError:
                raise
            except OSError as error:
                problem = error
            if not done:
                self.socket.sendall(bytes(count))
                raise problem or OSError(errno.ESTALE, "it has become shorter")
            count -= done

    def send_end(self) -> None:
        """Say that a content is whole."""
        self.socket.sendall(_HEAD.pack(END, 0))

    # -- in

    def receive(self) -> dict[str, Any]:
        """The next map.

        Raises:
            ExchangeError: none comes.
        """
        kind, size = self._head()
        if kind != MAP:
            raise ExchangeError(f"a frame of kind {kind!r} where a map belongs")
        return self._map(size)

    def receive_content(self, take: Callable[[memoryview], object]) -> dict[str, Any]:
        """Hand a content on, piece by piece; a map in its place is returned, and empty otherwise.

        Raises:
            ExchangeError: it does not come to its end.
        """

        def pieces(size: int) -> None:
            room = self._room()
            while size:
                count = self.socket.recv_into(room, size)
                if not count:
                    raise ExchangeError("the other end is gone")
                take(room[:count])
                size -= count

        return self._receive_pieces(pieces)

    def receive_file(self, fd: int, *, whole: bool) -> dict[str, Any]:
        """Write a content to a file, by the kernel alone; else as `receive_content`.

        Args:
            fd: of the file.
            whole: take the content to its end also when it cannot be written.

        Raises:
            OSError: it cannot be written.
        """
        reads, writes = os.pipe2(os.O_CLOEXEC)
        problem: OSError | None = None

        def pieces(size: int) -> None:
            nonlocal problem
            self.on_piece(size)
            while size:
                count = held = os.splice(self.socket.fileno(), writes, size)
                if not count:
                    raise ExchangeError("the other end is gone")
                size -= count
                try:
                    while held and problem is None:
                        held -= _move(reads, fd, held)
                except OSError as error:
                    if not whole:
                        raise
                    problem = error
                    held = _held(reads)
                while held:
                    held -= len(os.read(reads, held))

        try:
            fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, PIECE_BYTES)
        except OSError:
            pass  # this user has as many large ones as he may
        try:
            answer = self._receive_pieces(pieces)
        finally:
            os.close(reads)
            os.close(writes)
        if problem is not None:
            raise problem
        return answer

    def _receive_pieces(self, take: Callable[[int], None]) -> dict[str, Any]:
        while True:
            kind, size = self._head()
            if kind == END:
                return {}
            if kind == MAP:
                return self._map(size)
            take(size)

    def _map(self, size: int) -> dict[str, Any]:
        body = bytearray(size)
        self._fill(memoryview(body))
        try:
            fields = values.decode(bytes(body))
        except ValueError as error:
            raise ExchangeError(f"no map: {error}") from error
        if not isinstance(fields, dict):
            raise ExchangeError("no map")
        return fields

    def _head(self) -> tuple[bytes, int]:
        head = bytearray(_HEAD.size)
        self._fill(memoryview(head))
        kind, size = _HEAD.unpack(head)
        limits = {MAP: MAP_BYTES_MAX, DATA: PIECE_BYTES, END: 0}
        if size > limits.get(kind, -1):
            raise ExchangeError(f"a frame of kind {kind!r} and {size} bytes")
        return kind, size

    def _fill(self, view: memoryview) -> None:
        while view:
            try:
                count = self.socket.recv_into(view)
            except OSError as error:
                raise ExchangeError(str(error)) from error
            if not count:
                raise ExchangeError("the other end is gone")
            view = view[count:]

    def _room(self) -> memoryview:
        if not self._buffer:
            self._buffer = bytearray(PIECE_BYTES)
        return memoryview(self._buffer)


def _held(pipe: int) -> int:
    """Bytes that a pipe holds."""
    room = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, room)
    return int.from_bytes(room, sys.byteorder)


def _move(pipe: int, fd: int, count: int) -> int:
    """Move what a pipe holds to a file; how much was."""
    try:
        return os.splice(pipe, fd, count)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    view = memoryview(os.read(pipe, count))  # for what the kernel does not write by itself
    size = len(view)
    while view:
        view = view[os.write(fd, view) :]
    return size
