"""A real gateway process between clients, a hub and containers that the test plays.

    Client ──TCP──► gateway ──unix socket──► Server
                       └──socket pair──► Stage, which gives leases

Everything is read with a deadline, so that what does not come fails the test instead of hanging it.
"""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import ssl
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from tests.support import eventually
from volant.wire import frames, values

if TYPE_CHECKING:
    from pathlib import Path

#: Longer than anything here takes.
PATIENCE_S = 20.0
HOST = b"Host: app-f.localhost\r\n"


class End:
    """One end of a connection, with what was read and not looked at yet."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE_S)
        self.sock = sock
        self.ahead = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def until(self, mark: bytes) -> bytes:
        """Everything up to and with a mark."""
        while mark not in self.ahead:
            data = self.sock.recv(1 << 16)
            assert data, f"the connection ended after {self.ahead!r}"
            self.ahead += data
        found, _, self.ahead = self.ahead.partition(mark)
        return found + mark

    def exactly(self, size: int) -> bytes:
        while len(self.ahead) < size:
            data = self.sock.recv(1 << 20)
            assert data, f"the connection ended after {self.ahead[:200]!r}"
            self.ahead += data
        found, self.ahead = self.ahead[:size], self.ahead[size:]
        return found

    def rest(self) -> bytes:
        """Everything until the other end closes."""
        try:
            while data := self.sock.recv(1 << 16):
                self.ahead += data
        except ConnectionResetError:
            pass
        found, self.ahead = self.ahead, b""
        return found

    def head(self) -> bytes:
        return self.until(b"\r\n\r\n")

    def close(self) -> None:
        self.sock.close()


class Client(End):
    """A client of the gateway."""

    def get(self, path: bytes = b"/", fields: bytes = b"", *, host: bytes = HOST) -> None:
        self.send(b"GET " + path + b" HTTP/1.1\r\n" + host + fields + b"\r\n")

    def answer(self) -> tuple[int, str, bytes]:
        """Status, head and body of a response with a length."""
        head = self.head().decode("latin-1")
        sizes = [
            int(line.partition(":")[2])
            for line in head.splitlines()
            if line.lower().startswith("content-length:")
        ]
        return int(head[9:12]), head, self.exactly(sizes[0] if sizes else 0)


class Server:
    """Where a container listens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(100)
        self.listener.settimeout(PATIENCE_S)
        self.ends: list[End] = []

    def accept(self) -> End:
        self.ends.append(End(self.listener.accept()[0]))
        return self.ends[-1]

    def close(self) -> None:
        self.listener.close()
        for end in self.ends:
            end.close()
        self.path.unlink(missing_ok=True)


class Stage:
    """The gateway, and the hub's end."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.directory = directory
        self.log = directory / "gateway.log"
        self.tls: dict[str, str] | None = settings.get("tls")
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(100)
        self.port = self.listener.getsockname()[1]
        self.hub, its = socket.socketpair()
        given = {
            "tls": None, "trusted_fronts": [], "log": str(self.log), "log_bytes_max": 1 << 20,
            "body_bytes_max": 1 << 30, **settings,
        }  # fmt: skip
        fds = (self.listener.fileno(), its.fileno())
        self.process = subprocess.Popen(
            [sys.executable, "-m", "volantd.gateway", "--listener-fd", str(fds[0]),
             "--hub-fd", str(fds[1]), "--settings", json.dumps(given)], pass_fds=fds,
        )  # fmt: skip
        its.close()
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.ends: list[Any] = []
        self.server = self.listen("f")
        #: Where leases lead that are granted without being asked for by the test.
        self.lead: Server | None = self.server
        self.granted = 0
        self.barriers = 0
        threading.Thread(target=self._read, daemon=True).start()
        assert self.event()["op"] == "serving"
        self.route()

    def _read(self) -> None:
        reader = frames.FrameReader()
        while True:
            try:
                data = self.hub.recv(1 << 16)
            except OSError:
                return
            if not data:
                return
            for _, _, body in reader.feed(data):
                event = values.decode_map(body)
                if event["op"] == "lease" and self.lead is not None:
                    with contextlib.suppress(OSError):  # the test has just ended
                        self.grant(event["lease"], self.lead)
                self.events.put(event)

    def listen(self, name: str) -> Server:
        server = Server(self.directory / f"{name}.sock")
        self.ends.append(server)
        return server

    def client(self) -> Client:
        client = Client(self.connect())
        self.ends.append(client)
        return client

    def connect(self) -> socket.socket:
        """A connection to the gateway, with TLS where it speaks that."""
        sock = socket.create_connection(("127.0.0.1", self.port))
        if self.tls is None:
            return sock
        context = ssl.create_default_context(cafile=self.tls["cert"])
        return context.wrap_socket(sock, server_hostname="127.0.0.1")

    def pair(self) -> tuple[Client, End]:
        """A client with a request, and the container's end that has it."""
        client = self.client()
        client.get()
        server = self.server.accept()
        server.head()
        return client, server

    # -- the hub

    def tell(self, op: str, **fields: object) -> None:
        self.hub.sendall(frames.control(frames.EVENT, values.encode({"op": op, **fields})))

    def route(self, label: str = "app-f", **fields: Any) -> None:
        self.tell("route", **{
            "label": label, "name": "f", "timeout_s": 100.0, "requires_proxy_auth": False,
            "stateless": False, "h2_enabled": False, "single_use": False, "domains": [],
            "parameters": [], **fields,
        })  # fmt: skip

        if label != "barrier":
            self.settle()

    def settle(self) -> None:
        """Wait until the gateway has heard what it was told so far."""
        self.barriers += 1
        host = b"Host: barrier-%d\r\n" % self.barriers
        self.route("barrier", requires_proxy_auth=True, domains=[f"barrier-{self.barriers}"])
        client = self.client()

        def has_heard() -> bool:
            client.get(host=host)
            return client.answer()[0] == 401

        eventually(has_heard, PATIENCE_S)
        client.close()

    def grant(self, lease: int, server: Server) -> None:
        self.granted += 1
        self.tell("granted", lease=lease, container="ta-1", address=str(server.path))

    def event(self, op: str | None = None) -> dict[str, Any]:
        """The next event, or the next of a kind."""
        while True:
            event = self.events.get(timeout=PATIENCE_S)
            if op in (None, event["op"]):
                return event

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.hub.shutdown(socket.SHUT_RDWR)  # a thread reads it, so closing is not enough
        self.hub.close()
        try:
            assert self.process.wait(PATIENCE_S) == 0, "the gateway ends with its hub"
        finally:
            self.process.kill()
            self.process.wait()
            for end in self.ends:
                end.close()
            self.listener.close()
