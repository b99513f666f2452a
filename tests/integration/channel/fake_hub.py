"""A hub for channels to talk to: a socket in a directory, and threads that answer.

It answers calls with their own payload and requests with their own fields, at once or, while
`hold` is set, only when the test says so. It can be cut off and come back, as a daemon that was
killed and started again.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from volant.version import VERSION
from volant.wire import frames, values
from volant.wire.stream import FrameStream

if TYPE_CHECKING:
    from pathlib import Path

#: How long a test waits for what must come.
WITHIN_S = 20.0


class Connection:
    """One client of the fake hub."""

    def __init__(self, sock: socket.socket) -> None:
        self.stream = FrameStream(sock)
        self.lock = threading.Lock()

    def send(self, frame: bytes, fd: int | None = None) -> None:
        with self.lock, suppress(OSError):  # the client may be gone
            self.stream.send(frame, fd)

    def reply(self, number: int, **fields: object) -> None:
        self.send(frames.control(frames.REPLY, values.encode({"id": number, **fields})))

    def event(self, op: str, **fields: object) -> None:
        self.send(frames.control(frames.EVENT, values.encode({"op": op, **fields})))

    def cut(self) -> None:
        """End the connection, also for the thread that reads it."""
        with suppress(OSError):
            self.stream.sock.shutdown(socket.SHUT_RDWR)


class FakeHub:
    """Listens in `home` until it is closed."""

    def __init__(self, home: Path, *, version: str = VERSION) -> None:
        self.home = home
        self.version = version
        self.hold = False
        #: Whether clients are offered the express lane.
        self.express = False
        #: What was said to it: ("hello" | op of a request or event, fields), and of calls
        #: ("submit" | "received", number).
        self.heard: list[tuple[str, Any]] = []
        #: Calls and requests that wait for `answer`, oldest first.
        self.held: list[tuple[Connection, int, bytes]] = []
        self.connections: list[Connection] = []
        self._lanes: list[socket.socket] = []
        self.changed = threading.Condition()
        self._listeners: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        (home / "start.lock").mkdir()  # so that nobody starts a real daemon here
        self.listen()

    def listen(self) -> None:
        """(Again:) accept connections."""
        path = self.home / "daemon.sock"
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        self._listeners.append(listener)
        directory = os.open(self.home, os.O_PATH | os.O_DIRECTORY)
        listener.bind(f"/proc/self/fd/{directory}/daemon.sock")
        os.close(directory)
        listener.listen(100)
        self._start(self._accept, listener)

    def _start(self, target: Any, *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            connection = Connection(sock)
            with self.changed:
                self.connections.append(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: Connection) -> None:
        while True:
            try:
                received = connection.stream.receive()
            except OSError:
                received = None
            if received is None:
                connection.stream.close()
                return
            for kind, flags, body in received:
                fd = connection.stream.take_fd() if flags & frames.HAS_FD else None
                if fd is not None:
                    self._keep_lane(fd)
                self._on_frame(connection, kind, body)

    def _on_frame(self, connection: Connection, kind: int, body: bytes) -> None:
        if kind == frames.SUBMIT:
            number, first, count, _ = frames.HOT.unpack_from(body)
            section = body[frames.HOT.size :]
            frame = frames.hot(frames.RESULT, 0, number, first, count, 0, section)
            self._note("submit", number)
            self._later(connection, number, frame)
            return
        if kind == frames.RECEIVED:
            for number, _ in frames.split_receipts(body):
                self._note("received", number)
            return
        message = values.decode_map(body)
        op = str(message["op"])
        if op == "key":
            return
        self._note(op, message)
        if op == "hello":
            session = message["session"]
            known = {"version": self.version, "session": session, "pid": os.getpid()}
            connection.reply(0, **known, express=self.express)
        elif kind == frames.REQUEST:
            number = int(message["id"])  # type: ignore[arg-type]  # as a channel sends it
            frame = frames.control(frames.REPLY, values.encode({**message, "echo": True}))
            self._later(connection, number, frame)

    def _keep_lane(self, fd: int) -> None:
        with self.changed:
            self._lanes.append(socket.socket(fileno=fd))
            self.changed.notify_all()

    def _note(self, what: str, detail: object) -> None:
        with self.changed:
            self.heard.append((what, detail))
            self.changed.notify_all()

    def _later(self, connection: Connection, number: int, frame: bytes) -> None:
        if not self.hold:
            connection.send(frame)
            return
        with self.changed:
            self.held.append((connection, number, frame))
            self.changed.notify_all()

    # -- what tests ask

    def lane(self, count: int = 1) -> socket.socket:
        """The containers' end of the `count`-th express lane."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self._lanes) >= count, WITHIN_S)
            return self._lanes[count - 1]

    def wait_held(self, count: int) -> None:
        """Return when so many calls and requests wait for their answer."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.held) >= count, WITHIN_S), self.heard

    def wait_heard(self, what: str, count: int = 1) -> list[Any]:
        """Return the details when something was heard so many times."""

        def found() -> list[Any]:
            return [detail for name, detail in self.heard if name == what]

        with self.changed:
            assert self.changed.wait_for(lambda: len(found()) >= count, WITHIN_S), self.heard
            return found()

    async def held_soon(self, count: int = 1) -> None:
        """`wait_held` that lets an event loop go on meanwhile."""
        await asyncio.get_running_loop().run_in_executor(None, self.wait_held, count)

    def answer(self, number: int | None = None) -> None:
        """Answer one that waits: that number, or the oldest."""
        with self.changed:
            chosen = next(held for held in self.held if number in (None, held[1]))
            self.held.remove(chosen)
        chosen[0].send(chosen[2])

    def cut(self) -> None:
        """Break every connection."""
        with self.changed:
            connections, self.connections = self.connections, []
            self.held = []
        for connection in connections:
            connection.cut()

    def vanish(self) -> None:
        """Break every connection, and accept no more."""
        while self._listeners:
            listener = self._listeners.pop()
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()

    def close(self) -> None:
        """End it and its threads."""
        self.vanish()
        for thread in self._threads:
            thread.join(WITHIN_S)
            assert not thread.is_alive()
        for lane in self._lanes:
            lane.close()


def section_of(value: bytes) -> bytes:
    return frames.items_section([(frames.PICKLE, value)])


def submit_frame(number: int, value: bytes) -> bytes:
    flags = frames.OPEN | frames.LAST
    return frames.hot(frames.SUBMIT, flags, number, 0, 1, 1 << 16, section_of(value))
