"""The process of the gateway: started with the first web function, and again when it dies.

The daemon holds the socket that clients connect to, so the port stays while a gateway is replaced,
and who connects meanwhile only waits. It holds a lock as well, which each gateway inherits: so the
next daemon knows of a gateway that has outlived its own, and ends it before it wants the port.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import os
import signal
import socket
import sys
from io import FileIO
from time import monotonic
from typing import TYPE_CHECKING, Any

from volant.errors import InvalidError
from volantd import home_lock
from volantd.hub.peer import Peer

if TYPE_CHECKING:
    from volant.config import Config
    from volantd.hub.hub import Hub

log = logging.getLogger(__name__)

LOG_NAME = "gateway.log"
#: Locked by a daemon with a gateway, and by that gateway; has the process id of it.
LOCK_NAME = "gateway.lock"
PID_CHARS_MAX = 20
#: Says which port was taken instead of which, in the daemon's home.
PORT_NAME = "gateway.port"
PORT_CHARS_MAX = 20
PORT_MAX = 65535
#: Connections that wait to be accepted.
BACKLOG = 1024
#: Between two starts of a gateway that dies at once; doubled each time, up to the second.
RESTART_S = 0.1
RESTART_S_MAX = 5.0
#: One that lived so long did not die at once.
SETTLED_S = 10.0
#: How long it may take to end by itself before the daemon does, and takes it along.
END_S = 2.0
_MODULE = "volantd.gateway"
#: A name below `localhost`, to see whether such names lead here on this machine.
_PROBE = "volant-gateway.localhost"


class GatewayProcess:
    """Starts the gateway, and keeps it running."""

    def __init__(self, hub: Hub, config: Config) -> None:
        self._hub = hub
        self._config = config
        self._listener: socket.socket | None = None
        self._lock: FileIO | None = None
        self._tls = tls_files(config)
        self._host = _checked_host(config.text("gateway_host"))
        self._fronts = _addresses(config.text("gateway_trusted_fronts"))
        self._ending = False
        self._peer: Peer | None = None
        self._process: asyncio.subprocess.Process | None = None
        #: Whether names below `localhost` lead here; known soon after the start.
        self.has_names = False
        self.port = 0
        self.pid = 0
        self.starts = 0
        hub.door.want = self.want
        hub.door.url_of = self.url_of

    # -- where it is

    async def look_at_names(self) -> None:
        """Find out whether names below `localhost` lead here."""
        try:
            found = await asyncio.to_thread(socket.getaddrinfo, _PROBE, None)
        except OSError:
            return
        self.has_names = all(ipaddress.ip_address(row[4][0]).is_loopback for row in found)

    def url_of(self, label: str) -> str:
        """The address of a label, for people on this machine."""
        scheme = "https" if self._tls else "http"
        if self.has_names and ipaddress.ip_address(self._host).is_loopback:
            return f"{scheme}://{label}.localhost:{self.port}/"
        host = f"[{self._host}]" if ":" in self._host else self._host
        if ipaddress.ip_address(self._host).is_unspecified:
            host = "127.0.0.1"
        return f"{scheme}://{host}:{self.port}/{label}/"

    # -- its life

    def want(self) -> None:
        """Have it run: there is something that it leads to."""
        if self._listener is None:
            self._listener = self._bind()
            self._hub.services.tasks.start(self._keep(self._listener), "keep-gateway")

    def _bind(self) -> socket.socket:
        """The socket that clients connect to; at another port when the one wanted is taken."""
        self._lock = _taken_lock(os.path.join(self._config.home, LOCK_NAME))
        wanted = int(self._config.number("gateway_port"))
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Once another one was taken instead, it is that one again, so that URLs stay.
        for port in (self._kept_port(wanted) or wanted, wanted, 0):
            with contextlib.suppress(OSError):
                listener.bind((self._host, port))
                break
        self.port = listener.getsockname()[1]
        if self.port != wanted != 0:
            self._keep_port(wanted)
            self._hub.door.notice = f"port {wanted} is taken: web functions are at port {self.port}"
            log.warning("gateway_port_taken", extra={"fields": {"wanted": wanted}})
        listener.listen(BACKLOG)
        listener.setblocking(False)
        return listener

    def _kept_port(self, wanted: int) -> int:
        """The port that was taken instead of this one before; 0 for none."""
        try:
            with open(os.path.join(self._config.home, PORT_NAME)) as file:
                before, port = map(int, file.read(PORT_CHARS_MAX).split())
        except (OSError, ValueError):
            return 0
        return port if before == wanted and 0 < port <= PORT_MAX else 0

    def _keep_port(self, wanted: int) -> None:
        with open(os.path.join(self._config.home, PORT_NAME), "w") as file:
            file.write(f"{wanted} {self.port}")

    async def _keep(self, listener: socket.socket) -> None:
        pause_s = RESTART_S
        while not self._ending:
            since = monotonic()
            status = await self._run(listener)
            self.pid = 0
            if self._ending:
                return
            if monotonic() - since > SETTLED_S:
                pause_s = RESTART_S
            log.error("gateway_lost", extra={"fields": {"status": status, "again_s": pause_s}})
            again = asyncio.Event()
            self._hub.loop.call_later(pause_s, again.set)
            await again.wait()
            pause_s = min(2 * pause_s, RESTART_S_MAX)

    async def _run(self, listener: socket.socket) -> int:
        """One life of a gateway; it ends with the connection to it."""
        ours, its = socket.socketpair()
        assert self._lock is not None
        self._lock.truncate(0)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", _MODULE,
            "--listener-fd", str(listener.fileno()), "--hub-fd", str(its.fileno()),
            "--settings", json.dumps(self._settings()),
            pass_fds=(listener.fileno(), its.fileno(), self._lock.fileno()),
            stdin=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        its.close()
        self._process, self.pid = process, process.pid
        if not self._ending:
            os.pwrite(self._lock.fileno(), str(self.pid).encode(), 0)
        self.starts += 1
        log.info("gateway_started", extra={"fields": {"pid": self.pid, "port": self.port}})
        hub = self._hub
        peer = self._peer = Peer(ours, hub.loop, hub.outgoing, hub.after_events)
        hub.door.attach(peer)
        hub.after_events()
        try:
            return await process.wait()
        finally:
            peer.close()  # which ends it, if it has not
            hub.after_events()

    def close(self) -> None:
        """End it: the daemon ends."""
        self._ending = True
        if self._peer is not None:
            self._peer.close()
        if self._listener is not None:
            self._listener.close()
        if self._lock is not None:
            self._lock.close()

    async def wait_closed(self) -> None:
        """Wait until it has written down what it did; to be called after `close`."""
        if self._process is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_S):
                    await self._process.wait()

    def _settings(self) -> dict[str, Any]:
        config = self._config
        return {
            "tls": self._tls,
            "trusted_fronts": self._fronts,
            "log": os.path.join(config.home, LOG_NAME),
            "log_bytes_max": int(config.number("log_bytes_max")),
            "body_bytes_max": int(config.number("gateway_body_bytes_max")),
        }

    def row(self) -> dict[str, Any]:
        """How it is, for people."""
        return {
            "host": self._host, "port": self.port, "pid": self.pid, "starts": self.starts,
            "routes": len(self._hub.door.routes.claims), "leases": len(self._hub.door.leases),
        }  # fmt: skip


def _taken_lock(path: str) -> FileIO:
    """The lock of a home's gateway, once no gateway of an earlier daemon has it any more."""
    lock = FileIO(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600), "r+")
    fd = lock.fileno()
    if not home_lock.wait_for(fd, END_S, lambda: _end_earlier(os.pread(fd, PID_CHARS_MAX, 0))):
        log.warning("gateway_outlives_its_daemon")
    return lock


def _end_earlier(noted: bytes) -> None:
    """End the gateway of a daemon that is no more: the kernel does, but not one that just began."""
    with contextlib.suppress(ValueError, OSError):
        pid = int(noted)
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            if _MODULE.encode() in file.read().split(b"\0"):
                os.kill(pid, signal.SIGKILL)


def _checked_host(host: str) -> str:
    """The address to listen on.

    Raises:
        InvalidError: for what is none: a name may lead anywhere.
    """
    if host == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        raise InvalidError(
            f"setting `gateway_host` cannot be {host!r}", hint="it is an address, such as 127.0.0.1"
        ) from None


def _addresses(text: str) -> list[str]:
    """The addresses in a setting.

    Raises:
        InvalidError: for what is none.
    """
    try:
        return [str(ipaddress.ip_address(word)) for word in text.replace(",", " ").split()]
    except ValueError:
        raise InvalidError(
            f"setting `gateway_trusted_fronts` cannot be {text!r}",
            hint="it is addresses with spaces between",
        ) from None


def tls_files(config: Config) -> dict[str, str] | None:
    """The files of a certificate and its key.

    Raises:
        InvalidError: when there is only one of them.
    """
    cert, key = config.text("gateway_tls_cert"), config.text("gateway_tls_key")
    if bool(cert) != bool(key):
        raise InvalidError("`gateway_tls_cert` and `gateway_tls_key` are set together")
    paths = [os.path.abspath(os.path.expanduser(path)) for path in (cert, key)]
    return {"cert": paths[0], "key": paths[1]} if cert else None
