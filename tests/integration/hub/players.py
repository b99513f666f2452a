"""Who is connected to a played hub: one end of a connection, and a client in full.

A client sends calls and requests as the SDK does, and files what comes back by its number.
"""

from __future__ import annotations

import array
import os
import socket
from typing import TYPE_CHECKING, Any

from volant.sdk import options as sdk_options
from volant.wire import frames, values
from volant.wire.faults import decode_fault
from volant.wire.payloads import dumps, loads
from volant.wire.stream import FrameStream

if TYPE_CHECKING:
    from tests.integration.hub.world import World

IMAGE: dict[str, object] = {
    "kind": "host", "python": "/opt/py/bin/python", "prefix": "/opt/py", "base_prefix": "/opt/py",
    "trees": ["/opt/py"], "series": "3.11",
}  # fmt: skip
OPTIONS_GIVEN: dict[str, Any] = {
    "env": None, "cpu": None, "memory": None, "gpu": None, "ephemeral_disk": None,
    "timeout": 300, "startup_timeout": None,
    "retries": None, "min_containers": None, "max_containers": None, "buffer_containers": None,
    "scaledown_window": None, "single_use_containers": False, "block_network": False,
    "secrets": ([], {}),
}  # fmt: skip


def function_spec(name: str = "f", *, generates: bool = False, **given: Any) -> dict[str, Any]:
    """A function as the SDK describes it; `given` are keywords of `@app.function`."""
    return {
        "name": name, "module": "m", "qualname": name, "serialized": None, "series": None,
        "is_async": False, "is_generator": generates, "methods": [], "schema": None, "web": None,
        "image": 0,
        "options": sdk_options.checked(**{**OPTIONS_GIVEN, **given}),
    }  # fmt: skip


def description(*functions: dict[str, Any], base: int = 1 << 16, **fields: Any) -> dict[str, Any]:
    """An app as the SDK describes it."""
    return {
        "name": "app", "tags": {}, "detach": False, "output": False,
        "interactive": False, "imports": True, "files": [],
        "images": [dict(IMAGE)],
        "entry": {"module": "m", "file": "m.py", "path": [""]},
        "functions": list(functions or [function_spec()]), "base": base, "express": b"", **fields,
    }  # fmt: skip


class Player:
    """One end of a connection to the hub."""

    def __init__(self, world: World, sock: socket.socket) -> None:
        self.world = world
        self.stream = FrameStream(sock)
        self.closed = False
        self.broken = False
        self.received: list[tuple[int, int, bytes, int | None]] = []
        self._unsent = b""

    def send(self, data: bytes, *fds: int) -> None:
        """Send bytes, as far as the hub takes them now; it may have closed its end."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        if fds:
            assert not self._unsent, "a descriptor travels with the bytes it was given with"
        elif self._unsent:
            self._unsent += data
            return
        try:
            sent = self.stream.sock.sendmsg([data], rights if fds else [], socket.MSG_DONTWAIT)
        except BlockingIOError:
            assert not fds, "as above"
            sent = 0
        except OSError:
            return
        self._unsent = data[sent:]

    def send_rest(self) -> bool:
        """Go on sending; True when something could be sent."""
        if not self._unsent:
            return False
        data, self._unsent = self._unsent, b""
        self.send(data)
        return len(self._unsent) < len(data)

    def event(self, op: str, **fields: object) -> None:
        self.send(frames.control(frames.EVENT, values.encode({"op": op, **fields})))

    def receive(self) -> bool:
        """Take what is there; True when there was anything."""
        if self.closed:
            return False
        try:
            received = self.stream.receive_nowait()
        except ConnectionResetError:
            received = None
        if received is None:
            self.broken = True
            self.close()
            return True
        for kind, flags, body in received:
            fd = self.stream.take_fd() if flags & frames.HAS_FD else None
            self.on_frame(kind, flags, body, fd)
        return bool(received)

    def on_frame(self, kind: int, flags: int, body: bytes, fd: int | None) -> None:
        self.received.append((kind, flags, body, fd))

    def close(self) -> None:
        """Be gone."""
        if not self.closed:
            self.closed = True
            self.stream.close()
            for _, _, _, fd in self.received:
                if fd is not None:
                    os.close(fd)


class Client(Player):
    """A client: sends calls and requests, and files what comes back by number."""

    def __init__(self, world: World, sock: socket.socket) -> None:
        super().__init__(world, sock)
        self.number = 0
        self.replies: dict[int, dict[str, Any]] = {}
        #: number of the call -> index of the input -> (kind, payload, descriptor), unopened
        self.results: dict[int, dict[int, tuple[int, bytes, int | None]]] = {}
        #: number of a request -> descriptors that came for it
        self.ends: dict[int, list[int]] = {}
        self.events: list[dict[str, Any]] = []
        self.session = ""
        self.deliveries = 0

    def on_frame(self, kind: int, flags: int, body: bytes, fd: int | None) -> None:
        if kind == frames.RESULT:
            number, first, count, _ = frames.HOT.unpack_from(body)
            if fd is not None and not count:
                self.ends.setdefault(number, []).append(fd)
                return
            filed = self.results.setdefault(number, {})
            items = frames.split_items(body[frames.HOT.size :], count)
            for index, (item_kind, payload) in enumerate(items, first):
                self.deliveries += 1
                filed[index] = item_kind, payload, fd
        elif kind == frames.REPLY:
            reply = values.decode_map(body)
            self.replies[reply["id"]] = reply  # type: ignore[index]  # the number it was sent with
        else:
            self.events.append(values.decode_map(body))

    # -- requests

    def ask(self, op: str, *fds: int, **fields: object) -> int:
        """Send a request, maybe with a descriptor, and return its number."""
        self.number += 1
        body = values.encode({"id": self.number, "op": op, **fields})
        flags = frames.HAS_FD if fds else 0
        self.send(frames.control(frames.REQUEST, body, flags), *fds)
        return self.number

    def request(self, op: str, **fields: object) -> dict[str, Any]:
        """Send a request and return the reply; raises the error that it carries."""
        number = self.ask(op, **fields)
        self.world.turn()
        return self.reply(number)

    def reply(self, number: int) -> dict[str, Any]:
        assert number in self.replies, f"no reply to {number}; broken: {self.broken}"
        reply = self.replies[number]
        if "fault" in reply:
            raise decode_fault(reply["fault"])
        return reply

    def hello(self, session: str = "") -> dict[str, Any]:
        wanted = session or f"{id(self):016x}"[-16:]
        reply = self.request("hello", protocol=1, version="x", session=wanted, pid=os.getpid())
        self.session = reply["session"]
        return reply

    def open(self, *functions: dict[str, Any], **fields: Any) -> str:
        """Run an app of these functions and return its id; they get the numbers from 65536 on."""
        return str(self.request("app_open", app=description(*functions, **fields))["app_id"])

    # -- calls

    def submit(
        self, inputs: list[Any], *, function: int = 1 << 16, flags: int = frames.OPEN | frames.LAST,
        number: int | None = None, first: int = 0,
    ) -> int:  # fmt: skip
        """Send inputs in one frame, without waiting; returns the number of the call."""
        if number is None:
            self.number += 1
            number = self.number
        items = [dumps(((value,), {}))[:2] for value in inputs]
        section = frames.items_section(items)
        frame = frames.hot(frames.SUBMIT, flags, number, first, len(items), function, section)
        self.send(frame)
        return number

    def call(self, value: Any = None, *, function: int = 1 << 16, flags: int = 0) -> int:
        """Call with one input and let the hub work; returns the number of the call."""
        flags |= frames.OPEN | frames.LAST
        number = self.submit([value], function=function, flags=flags)
        self.world.turn()
        return number

    def spawn(self, value: Any = None, *, function: int = 1 << 16) -> str:
        """Call with a result that is kept; returns the id of the call."""
        from volant import ids

        number = self.call(value, function=function, flags=frames.RETAIN)
        self.reply(number)
        return f"fc-{ids.call_id(self.session, number)}"

    def value(self, number: int, index: int = 0) -> Any:
        """The result of an input; raises what the input raised."""
        assert number in self.results, f"no result for {number}; broken: {self.broken}"
        kind, payload, fd = self.results[number][index]
        if kind == frames.FAULT:
            raise decode_fault(payload)
        if kind == frames.EXHAUSTED:
            return StopIteration
        return loads(frames.PICKLE if fd is None else frames.MAPPED, payload, fd)

    def get(self, call_id: str, index: int = 0, *, wait: bool = True) -> int:
        """Ask for a kept result; returns the number that it comes under."""
        number = self.ask("call_get", call=call_id, index=index, wait=wait)
        self.world.turn()
        return number

    def close(self) -> None:
        super().close()
        for ends in self.ends.values():
            for fd in ends:
                os.close(fd)
        self.ends.clear()
        self.world.clients.discard(self)
