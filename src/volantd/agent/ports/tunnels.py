"""Tunnels: ports of this machine, each of which leads to one of a container.

tunnel_open ──► a port that is free ──► a relay has it ──► host and port, to the container
                                           ends with the tunnel, the container, the launcher

Whoever can connect there reaches the container: by default that is everybody on this machine.
"""

from __future__ import annotations

import itertools
import logging
import socket
from typing import TYPE_CHECKING

from volant.errors import ExecutionError, InvalidError, ResourceExhaustedError
from volant.wire.faults import error_fault
from volantd.runtime.containers.forked import SHARED_ADDRESS
from volantd.runtime.ports.relays import RelayFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from volantd.agent.agent import Agent
    from volantd.agent.containers.running import Running
    from volantd.agent.tasks import Tasks
    from volantd.egress.policy import Network
    from volantd.hub.session import Session
    from volantd.runtime.ports.relays import Relay

log = logging.getLogger(__name__)

SHARED_NOTICE = (
    "containers share their ports with this machine, so two of them cannot listen at the same one; "
    "`volant server status` says why"
)
#: Tunnels of one container at the same time, those included that are about to open.
TUNNELS_MAX = 16
#: Connections of a tunnel that wait to be taken.
BACKLOG = 128
#: Addresses that stand for all of this machine.
_ANY = ("0.0.0.0", "::")  # noqa: S104  # only compared with


class Tunnels:
    """The tunnels of this machine."""

    def __init__(
        self, agent: Agent, tasks: Tasks, host: str, tls: dict[str, str] | None = None
    ) -> None:
        """Have none yet.

        Args:
            host: the address of this machine at which they are reached.
            tls: files of a certificate and its key, that those are encrypted with which may be.
        """
        self._agent = agent
        self._tasks = tasks
        self._host = host
        self._tls = tls
        self._numbers = itertools.count(1)
        #: by container and number; None while it opens
        self._tunnels: dict[str, dict[int, Relay | None]] = {}

    def open(self, session: Session, number: int, port: int, *, is_plain: bool) -> None:
        """Open a tunnel to a port of the container that asks, and answer when that is done.

        Args:
            is_plain: it is not to be encrypted.

        Raises:
            ResourceExhaustedError: when it has as many as it may.
            ExecutionError: when there is no port for it.
        """
        running = self._container_of(session)
        begun = self._begin(running)
        opening = self._open(session, number, running, port, begun, is_plain=is_plain)
        self._tasks.start(opening, "open-tunnel")

    async def lead(
        self, running: Running, port: int, allowed: Sequence[Network] | None,
        on_use: Callable[[bool], None], *, is_plain: bool,
    ) -> tuple[str, int, bool]:  # fmt: skip
        """Open a tunnel to a port of a container; host, port, and whether TLS is spoken there.

        Args:
            running: the container.
            port: its port.
            allowed: from where connections are taken; None for everywhere.
            on_use: told when there are connections, and when there are none any more.
            is_plain: it is not to be encrypted.

        Raises:
            ResourceExhaustedError: when the container has as many as it may.
            ExecutionError: when it cannot be opened.
        """
        tls = None if is_plain else self._tls
        _, host, at = await self._lead(running, port, self._begin(running), allowed, on_use, tls)
        return host, at, tls is not None

    def _begin(self, running: Running) -> tuple[int, socket.socket]:
        held = self._tunnels.setdefault(running.container_id, {})
        if len(held) >= TUNNELS_MAX:
            raise ResourceExhaustedError(
                f"a container has {TUNNELS_MAX} tunnels open, which is the most",
                hint="leave `with volant.forward(...):` blocks before opening further ones",
            )
        try:
            listener = self._listen()
        except OSError as error:
            raise ExecutionError(
                f"no port can be opened at {self._host!r}: {error.strerror or error}",
                hint="the setting `tunnel_host` says where tunnels are opened",
            ) from error
        tunnel = next(self._numbers)
        held[tunnel] = None
        return tunnel, listener

    def close(self, session: Session, number: int, tunnel: int) -> None:
        """Close a tunnel of the container that asks, and answer when that is done."""
        running = self._container_of(session)
        relay = self._tunnels.get(running.container_id, {}).get(tunnel)
        if relay is None:
            session.reply(number, {})  # it is closed, or was never there
            return

        def answer(_: object) -> None:
            session.reply(number, {})
            self._agent.hub.after_events()

        relay.exited.add_done_callback(answer)
        relay.end()

    def _container_of(self, session: Session) -> Running:
        for running in self._agent.running():
            if running.session is session:
                return running
        raise InvalidError("a tunnel leads to a port of a container, and this is none")

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        return socket.create_server((self._host, 0), family=family, backlog=BACKLOG)

    async def _open(
        self, session: Session, number: int, running: Running, port: int,
        begun: tuple[int, socket.socket], *, is_plain: bool,
    ) -> None:  # fmt: skip
        tls = None if is_plain else self._tls
        try:
            tunnel, host, at = await self._lead(running, port, begun, None, None, tls)
        except ExecutionError as error:
            session.refuse(number, error_fault(error))
        else:
            session.reply(number, {
                "tunnel": tunnel, "host": host, "port": at, "tls": tls is not None
            })  # fmt: skip

    async def _lead(
        self,
        running: Running,
        port: int,
        begun: tuple[int, socket.socket],
        allowed: Sequence[Network] | None,
        on_use: Callable[[bool], None] | None,
        tls: dict[str, str] | None,
    ) -> tuple[int, str, int]:
        tunnel, listener = begun
        assert running.child is not None
        forked = running.child.forked
        at = listener.getsockname()[1]
        try:
            relays = self._agent.machine.launcher.relays
            relay = relays.open(listener, forked, port, allowed, on_use, tls)
        except OSError as error:
            self._forget(running.container_id, tunnel)
            raise ExecutionError("the container is gone") from error
        finally:
            listener.close()
        self._tunnels[running.container_id][tunnel] = relay
        if forked.address == SHARED_ADDRESS:
            _tell_of_sharing(running)
        relay.exited.add_done_callback(lambda _: self._forget(running.container_id, tunnel))
        forked.exited.add_done_callback(lambda _: relay.end())
        try:
            await relay.wait()
        except RelayFailedError as error:
            text = f"no tunnel to port {port} can be opened: {error}"
            raise ExecutionError(text) from error
        host = socket.gethostname() if self._host in _ANY else self._host
        log.info("tunnel_opened", extra={"fields": {
            "container_id": running.container_id, "port": port, "host": host, "at": at,
        }})  # fmt: skip
        return tunnel, host, at

    def _forget(self, container_id: str, tunnel: int) -> None:
        held = self._tunnels.get(container_id, {})
        held.pop(tunnel, None)
        if not held:
            self._tunnels.pop(container_id, None)


def _tell_of_sharing(running: Running) -> None:
    session = running.function.app.session
    if session is not None:
        session.event("notice", text=SHARED_NOTICE)
