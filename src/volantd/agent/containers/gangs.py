"""What the core calls one container: one, or a gang that starts together and ends together.

all are forked ──► START to each, with the addresses of all ──► the last is ready: ready
one has ended  ──► the others are killed                    ──► the last is gone:  gone
"""

from __future__ import annotations

from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from volant import ids
from volantd.agent.containers.running import Running
from volantd.core import ExitCause
from volantd.hub.link import ContainerLink
from volantd.hub.pools.gangs import GangLink

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.agent.agent import Agent
    from volantd.core import StartContainer
    from volantd.hub.hub import Hub
    from volantd.hub.peer import Peer
    from volantd.hub.records import Function

#: Where ranks reach each other when the machine gives containers no addresses of their own.
SHARED_ADDRESS = "127.0.0.1"


class Alone:
    """One container, of which the core is told what happens to it."""

    def __init__(self, hub: Hub, container_id: str) -> None:
        self.hub = hub
        self.container_id = container_id

    def link(
        self, running: Running, peer: Peer, on_reply: Callable[[dict[str, Any]], None]
    ) -> ContainerLink:
        """The hub's side of a container."""
        return ContainerLink(
            self.hub, running.container_id, running.function, peer, on_reply, running.drain_logs
        )

    def connected(self, running: Running, message: dict[str, Any]) -> None:
        """A container has a link: tell it which function it is."""
        assert running.link is not None
        cluster = None
        if running.function.options["cluster_size"]:
            cluster = {
                "id": ids.new_id("cu"), "rank": 0, "addresses": [_address_of(running)],
                "containers": [running.container_id],
            }  # fmt: skip
        running.link.start({**message, "cluster": cluster})

    def ready(self, running: Running) -> None:
        """A container takes inputs."""
        now = monotonic()
        self.hub.apply(self.hub.scheduler.container_ready(self.container_id, now), now)

    def start_failed(self, running: Running, reason: object, *, retryable: bool) -> None:
        """A container does not come up; it is gone, or will be soon."""
        now = monotonic()
        self.hub.apply(
            self.hub.scheduler.container_start_failed(self.container_id, reason, retryable, now),
            now,
        )

    def exited(self, running: Running, cause: ExitCause, text: str) -> None:
        """A container is gone."""
        now = monotonic()
        self.hub.apply(
            self.hub.scheduler.container_exited(self.container_id, cause, text, now), now
        )


class Gang(Alone):
    """The containers of one start, by rank."""

    def __init__(self, agent: Agent, command: StartContainer, function: Function) -> None:
        super().__init__(agent.hub, command.container_id)
        self._agent = agent
        self.cluster_id = ids.new_id("cu")
        share = len(command.gpus) // command.size
        self._ranks: dict[str, int] = {}
        self._live: dict[str, Running] = {}
        for rank in range(command.size):
            own = command.container_id if rank == 0 else ids.new_id("ta")
            gpus = command.gpus[rank * share : (rank + 1) * share]
            grant = replace(command, container_id=own, gpus=gpus, size=1)
            self._ranks[own] = rank
            self._live[own] = Running(agent, own, function, grant, self)
        self._links: dict[int, GangLink] = {}
        self._ended: dict[int, Callable[[], None]] = {}
        self._messages: dict[str, dict[str, Any]] = {}
        self._addresses: dict[int, str] = {}
        self._ready: set[str] = set()
        #: How the first one ended; the others follow it.
        self._end: tuple[ExitCause, str] | None = None
        self._is_over = False
        agent.gangs[self.container_id] = self

    def members(self) -> list[Running]:
        """Its containers that are not gone."""
        return list(self._live.values())

    def link(
        self, running: Running, peer: Peer, on_reply: Callable[[dict[str, Any]], None]
    ) -> ContainerLink:
        """The hub's side of one of them."""
        link = GangLink(
            self.hub, running.container_id, running.function, peer, on_reply, running.drain_logs
        )
        link.join(self._ranks[running.container_id], self._links, self._ended)
        return link

    def connected(self, running: Running, message: dict[str, Any]) -> None:
        """One of them has a link; when all have, each is told where the others are."""
        rank = self._ranks[running.container_id]
        self._messages[running.container_id] = message
        self._addresses[rank] = _address_of(running)
        if len(self._messages) < len(self._ranks) or self._end is not None or self._is_over:
            return
        addresses = [self._addresses[rank] for rank in range(len(self._ranks))]
        for rank, link in sorted(self._links.items()):
            cluster = {
                "id": self.cluster_id, "rank": rank, "addresses": addresses,
                "containers": list(self._ranks),
            }  # fmt: skip
            link.start({**self._messages[link.container_id], "cluster": cluster})

    def ready(self, running: Running) -> None:
        """One of them takes inputs; the gang does when all do."""
        self._ready.add(running.container_id)
        if len(self._ready) == len(self._ranks):
            super().ready(running)

    def start_failed(self, running: Running, reason: object, *, retryable: bool) -> None:
        """One of them does not come up, so none does."""
        if running.child is None:
            self._live.pop(running.container_id, None)
        if not self._is_over:
            self._is_over = True
            self._kill_others(running, "a container of its cluster did not start")
            super().start_failed(running, reason, retryable=retryable)
        self._forget()

    def exited(self, running: Running, cause: ExitCause, text: str) -> None:
        """One of them is gone; the core hears of it when all are."""
        self._live.pop(running.container_id, None)
        if self._end is None:
            rank = self._ranks[running.container_id]
            self._end = cause, text
            if cause is not ExitCause.STOPPED:  # then all were told to stop
                self._end = cause, f"rank {rank}: {text}"
                self._kill_others(running, "a container of its cluster ended")
        if not self._live and not self._is_over:
            self._is_over = True
            super().exited(running, *self._end)
        self._forget()

    def _forget(self) -> None:
        if not self._live:
            self._agent.gangs.pop(self.container_id, None)

    def _kill_others(self, running: Running, reason: str) -> None:
        for other in self.members():
            if other is not running:
                self._agent.end(other, kill=True, reason=reason)


def _address_of(running: Running) -> str:
    assert running.child is not None
    return running.child.forked.address or SHARED_ADDRESS


def members(agent: Agent, command: StartContainer, function: Function) -> list[Running]:
    """The containers that a start asks for."""
    if command.size > 1:
        return Gang(agent, command, function).members()
    own = command.container_id
    return [Running(agent, own, function, command, Alone(agent.hub, own))]
