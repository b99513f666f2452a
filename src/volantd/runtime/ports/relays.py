"""Relays as the agent sees them: each passes connections on to one port of a container."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from volant.runner import linux
from volantd.runtime.containers.forked import SHARED_ADDRESS
from volantd.runtime.ports import relay

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from typing import Any

    from volantd.runtime.containers.forked import ForkedContainer

    Request = Callable[[dict[str, Any], Sequence[int]], None]
    OnUse = Callable[[bool], None]

START_TIMEOUT_S = 15.0
#: What is read at once of what relays tell.
WORDS_MAX = 4096


class RelayFailedError(Exception):
    """A relay could not be started."""


class Relay:
    """A relay that works.

    Attributes:
        exited: done when it is gone, for whatever reason.
    """

    def __init__(self, relay_id: str, request: Request) -> None:
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.relay_id = relay_id
        self._request = request

    def end(self) -> None:
        """End it and its connections; `exited` tells when that is done.

        What the container has sent until now is passed on, if clients take it soon.
        """
        if not self.exited.done():
            self._request({"op": "unrelay", "id": self.relay_id}, ())

    async def wait(self) -> None:
        """Wait until it works.

        Raises:
            RelayFailedError: with what failed.
        """
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await asyncio.shield(self._started)
        except TimeoutError:
            self.end()
            raise RelayFailedError(f"it did not start within {START_TIMEOUT_S:g} s") from None

    def on_started(self, reason: str) -> None:
        """Take the launcher's word of how its start went; "" for well."""
        if self._started.done():
            return
        if reason:
            self._started.set_exception(RelayFailedError(reason))
            self._started.exception()  # whoever waits gets it; if nobody does, it is no news
        else:
            self._started.set_result(None)

    def on_exited(self, status: int) -> None:
        """Note that it is gone."""
        self.on_started("it died")
        if not self.exited.done():
            self.exited.set_result(status)


class _Use:
    """Hears from a relay whether there are connections, until that is gone."""

    def __init__(self, fd: int, on_use: OnUse) -> None:
        """`fd`: the end of a pipe that is read, and closed at its end."""
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._on_use = on_use
        self._is_used = False
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._on_readable)

    def _on_readable(self) -> None:
        words = os.read(self._fd, WORDS_MAX)
        if not words:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
        was_used, self._is_used = self._is_used, words.endswith(relay.IN_USE)
        if words and not was_used and not self._is_used:
            self._on_use(True)  # for a moment
            self._on_use(False)
        elif was_used != self._is_used:
            self._on_use(self._is_used)


class Relays:
    """The relays of one launcher."""

    def __init__(self, request: Request) -> None:
        """`request`: sends a message with descriptors, which it closes, to the launcher."""
        self._request = request
        self._count = 0
        self._relays: dict[str, Relay] = {}

    def open(
        self, listener: socket.socket, container: ForkedContainer, port: int,
        allowed: Sequence[object] | None = None, on_use: OnUse | None = None,
        tls: dict[str, str] | None = None,
    ) -> Relay:  # fmt: skip
        """Begin to pass connections of a listener, which stays the caller's, on to a port.

        Args:
            listener: at which they come.
            container: whose port it is.
            port: its number.
            allowed: networks from which they are taken; None for everywhere.
            on_use: told when there are connections, and when there are none any more.
            tls: files of a certificate and its key, `cert` and `key`, that clients speak TLS with.

        Raises:
            OSError: when the container is gone.
        """
        self._count += 1
        relay_id = f"r{self._count}"
        fds = [linux.pidfd_open(container.pid)]
        fds.insert(0, os.dup(listener.fileno()))
        if on_use is not None:
            reads, writes = os.pipe2(os.O_CLOEXEC)
            fds.append(writes)
            _Use(reads, on_use)
        return self._start({
            "op": "relay", "id": relay_id, "port": port, "enters": not container.address,
            "address": container.address or SHARED_ADDRESS,
            "allowed": None if allowed is None else list(map(str, allowed)), "tls": tls,
        }, fds)  # fmt: skip

    def serve(self, request: dict[str, Any], fds: list[int]) -> Relay:
        """Begin to serve a bucket: see `volantd.runtime.buckets.serving`."""
        self._count += 1
        return self._start({"op": "serve", "id": f"s{self._count}", **request}, fds)

    def _start(self, request: dict[str, Any], fds: list[int]) -> Relay:
        begun = self._relays[request["id"]] = Relay(request["id"], self._request)
        self._request(request, fds)
        return begun

    def on_started(self, relay_id: str, reason: str) -> None:
        """Pass on how the start of one went."""
        found = self._relays.get(relay_id)
        if found is not None:
            found.on_started(reason)
            if reason:
                self.on_exited(relay_id, 0)

    def on_exited(self, relay_id: str, status: int) -> None:
        """Note that one is gone."""
        found = self._relays.pop(relay_id, None)
        if found is not None:
            found.on_exited(status)

    def lose(self) -> None:
        """Note that all are gone, with the launcher."""
        for relay_id in list(self._relays):
            self.on_exited(relay_id, 9)
