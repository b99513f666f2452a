"""The buckets of containers: asked for, served by one process each, shared by who wants the same.

first container ─► the store is asked ─► server ─► mounted, owners mapped for each container
more containers of the same bucket and secret ─► the same server
last container ends ─► the server ends
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
from typing import TYPE_CHECKING, Any

from volant.errors import ExecutionError, NotFoundError
from volant.wire import values
from volantd.agent.volumes import rclone, stores
from volantd.runtime.buckets.serving import DEVICE
from volantd.runtime.ports.relays import RelayFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.agent.agent import Agent
    from volantd.agent.containers.running import Running
    from volantd.hub.environments.record import Environment
    from volantd.runtime.ports.relays import Relay

log = logging.getLogger(__name__)

#: What is read at once of what a server prints, and passed on of it in all.
_READ_BYTES = 4096
LINES_MAX = 50
_LINE_CHARS_MAX = 500


class Server:
    """What serves one bucket to all containers that have it."""

    def __init__(self, bucket: stores.Bucket) -> None:
        self.bucket = bucket
        self.users: set[str] = set()
        self.relay: Relay | None = None
        self.lines = 0
        self._tail = b""

    def printed(self, data: bytes) -> list[str]:
        """The lines that are complete now, as far as they may be told."""
        *whole, self._tail = (self._tail + data).split(b"\n")
        self._tail = self._tail[-_READ_BYTES:]
        left = max(0, LINES_MAX - self.lines)
        self.lines += len(whole)
        told = [one.decode("utf-8", "replace")[:_LINE_CHARS_MAX] for one in whole[:left]]
        if len(whole) >= left > 0:
            told.append("what goes wrong from here on is told no more")
        return told


class Buckets:
    """The servers of this machine's containers."""

    def __init__(self, agent: Agent, say: Callable[[Running, str], None]) -> None:
        """`say`: tells whoever reads the log of a container."""
        self._agent = agent
        self._say = say
        self._servers: dict[str, Server] = {}
        #: Of a bucket that is being opened: others that want it wait.
        self._turns: dict[str, asyncio.Lock] = {}

    async def open(self, running: Running, wanted: dict[str, Any]) -> dict[str, Any]:
        """Have a bucket served to a container; what the launcher is to mount.

        Raises:
            Error: why it cannot be.
        """
        _check_machine()
        bucket = await self._resolved(wanted["bucket"], running.function.app.environment)
        key = _key(bucket)
        turn = self._turns.setdefault(key, asyncio.Lock())
        async with turn:
            server = self._servers.get(key)
            if server is None:
                server = await self._start(key, bucket)
            server.users.add(running.container_id)
            assert server.relay is not None
        return {
            "target": wanted["path"], "server": server.relay.relay_id, "again": False,
            "layers": [], "writable": "" if wanted["read_only"] else "yes",
        }  # fmt: skip

    async def _resolved(self, bucket: dict[str, Any], environment: Environment) -> stores.Bucket:
        hub = self._agent.hub
        await asyncio.shield(hub.objects.opened)
        layers = [*bucket["stored"], {"values": bucket["secrets"]}]
        return stores.Bucket.of(bucket, hub.secrets.layered(layers, environment))

    async def _start(self, key: str, bucket: stores.Bucket) -> Server:
        timeout_s = self._agent.hub.services.config.number("bucket_timeout_s")
        await asyncio.to_thread(stores.ask, bucket, timeout_s)
        program = await asyncio.to_thread(rclone.program)
        launcher = self._agent.machine.launcher
        config_fd = os.memfd_create("bucket", os.MFD_CLOEXEC)
        os.write(config_fd, rclone.configuration(bucket))
        os.fchmod(config_fd, 0o444)  # it has an id of its own, and opens it by name
        log_read, log_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        server = Server(bucket)
        argv = rclone.arguments(bucket, timeout_s)
        relay = launcher.serve_bucket(program, argv, rclone.ENV, [config_fd, log_write])
        self._agent.hub.loop.add_reader(log_read, self._read, server, log_read)
        try:
            await relay.wait()
        except RelayFailedError as error:
            raise ExecutionError(f"bucket `{bucket.name}` cannot be mounted: {error}") from error
        server.relay = relay
        self._servers[key] = server
        relay.exited.add_done_callback(lambda ended: self._ended(key, server, ended.result()))
        log.info("bucket_served", extra={"fields": {"bucket": bucket.name}})
        return server

    def _read(self, server: Server, fd: int) -> None:
        """Pass on what a server prints: why something failed."""
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._agent.hub.loop.remove_reader(fd)
            os.close(fd)
            return
        for line in server.printed(data):
            log.warning("bucket_failed", extra={"fields": {"said": line}})
            self._tell(server, line)

    def _tell(self, server: Server, text: str) -> None:
        for container_id in server.users:
            with contextlib.suppress(NotFoundError):  # it is just about to start
                running = self._agent.find(container_id)
                self._say(running, f"bucket {server.bucket.name}: {text}")

    def _ended(self, key: str, server: Server, status: int) -> None:
        if self._servers.get(key) is server:
            del self._servers[key]
            log.error("bucket_lost", extra={"fields": {"status": status}})
            for container_id in list(server.users):
                if self._agent.has(container_id):  # its files are errors from here on
                    self._agent.kill(container_id, "what served its bucket died")

    def close(self, container_id: str) -> None:
        """Let go of what a container had; what nobody has is served no more."""
        for key, server in list(self._servers.items()):
            server.users.discard(container_id)
            if not server.users:
                del self._servers[key]
                if not self._turns[key].locked():
                    del self._turns[key]
                assert server.relay is not None
                server.relay.end()


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise ExecutionError(
            "buckets are mounted by a daemon that runs as root, and this one does not",
            hint="run the daemon as root, or use a client of the store in your function",
        )
    if not os.path.exists(DEVICE):
        raise ExecutionError(
            f"buckets cannot be mounted: this machine has no {DEVICE}",
            hint="`modprobe fuse` makes it; a container of Docker needs `--device /dev/fuse`",
        )


def _key(bucket: stores.Bucket) -> str:
    """What two mounts have in common that one process can serve."""
    parts = [getattr(bucket, name) for name in bucket.__slots__]
    return hashlib.sha256(values.encode(parts)).hexdigest()
