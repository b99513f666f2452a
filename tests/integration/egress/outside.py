"""What lies outside, for tests: names, and servers of theirs on this machine's loopback."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import tempfile
import threading
import time
from typing import TYPE_CHECKING

from volantd.egress import dialing
from volantd.egress.outlet import Outlet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.integration.egress.chamber import Chamber
    from volantd.egress.authority import Authority
    from volantd.egress.policy import Address, Policy

#: When certificates are made.
NOW_S = time.time()


class FakeOutside(dialing.Outside):
    """Names and addresses that lead to servers here; all of them note who connects."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}
        self.ours: set[str] = set()
        self.ports: dict[tuple[str, int], int] = {}
        self.connected: list[tuple[str, int]] = []

    async def look_up(self, name: str) -> Sequence[Address]:
        if name not in self.names:
            raise OSError(f"no {name}")
        return [ipaddress.ip_address(one) for one in self.names[name]]

    def is_ours(self, address: Address) -> bool:
        return str(address) in self.ours

    async def connect(self, address: Address, port: int) -> socket.socket:
        self.connected.append((str(address), port))
        if (str(address), port) not in self.ports:
            raise ConnectionRefusedError
        here = ipaddress.ip_address("127.0.0.1")
        return await super().connect(here, self.ports[str(address), port])


class Server:
    """Answers each connection with a function of its own, in a thread."""

    def __init__(self, authority: Authority | None = None, name: str = "") -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        #: All that was read.
        self.heard: list[bytes] = []
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        self._context: ssl.SSLContext | None = None
        if authority is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            with tempfile.NamedTemporaryFile() as file:
                file.write("".join(authority.issue(name)).encode())
                file.flush()
                self._context.load_cert_chain(file.name)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=[sock], daemon=True).start()

    def _talk(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:  # hostile clients break off
            if self._context is None:
                self._converse(sock)
            else:
                with self._context.wrap_socket(sock, server_side=True) as inner:
                    self._converse(inner)

    def _converse(self, sock: socket.socket) -> None:
        while data := sock.recv(65536):
            self.heard.append(data)
            sock.sendall(self.answer)

    def close(self) -> None:
        """Take no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Stage:
    """A chamber, its outlet in an event loop of its own, and what is outside."""

    def __init__(self, chamber: Chamber, policy: Policy, authority: Authority) -> None:
        self.outside = FakeOutside()
        self.authority = authority
        self.chamber = chamber
        self.servers: list[Server] = []
        self._trust = ssl.create_default_context(cadata=authority.certificate)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.outlet = asyncio.run_coroutine_threadsafe(self._open(policy), self._loop).result()

    async def _open(self, policy: Policy) -> Outlet:
        sockets = [sock.dup() for sock in self.chamber.sockets]
        return Outlet(policy, sockets, outside=self.outside, trust=self._trust)

    def serve(self, name: str, address: str, port: int, *, tls: bool = False) -> Server:
        """A server of a name, at an address that stands for one of the internet."""
        server = Server(self.authority if tls else None, name)
        self.servers.append(server)
        self.outside.names[name] = [address]
        self.outside.ports[address, port] = server.port
        return server

    def change(self, policy: Policy) -> None:
        """Change the policy."""

        async def change() -> None:
            self.outlet.change(policy)

        asyncio.run_coroutine_threadsafe(change(), self._loop).result()

    def close(self) -> None:
        """End it all."""

        async def close() -> None:
            self.outlet.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(close(), self._loop).result()
        for server in self.servers:
            server.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for _ in range(2):  # what was aborted is closed in the next turn
            self._loop.call_soon(self._loop.stop)
            self._loop.run_forever()
        self._loop.close()
