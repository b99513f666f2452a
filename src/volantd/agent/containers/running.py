"""One container of this machine: its process, what it prints, and what it may use."""

from __future__ import annotations

import select
from time import monotonic_ns, time
from typing import TYPE_CHECKING

from volantd import lent
from volantd.agent import gpus as devices, limits
from volantd.agent.logs import PipeReader
from volantd.agent.web.listening import Listeners
from volantd.hub.pools.configuration import exit_grace_s

if TYPE_CHECKING:
    from volantd.agent.agent import Agent
    from volantd.agent.containers.gangs import Alone
    from volantd.agent.zygotes import Child, Prepared
    from volantd.core import ExitCause, StartContainer
    from volantd.hub.link import ContainerLink
    from volantd.hub.records import Function
    from volantd.hub.session import Session
    from volantd.runtime.client import ForkedContainer

#: Containers that were told to stop may take this long before they are killed.
STOP_GRACE_S = 5.0
#: Output on its way to a client that does not take it, beyond which containers have to wait.
LOG_BYTES_AHEAD_MAX = 4 << 20


class Running:
    """One container from its start to its end."""

    def __init__(
        self, agent: Agent, container_id: str, function: Function, grant: StartContainer | None,
        unit: Alone | None = None,
    ) -> None:  # fmt: skip
        """`grant`: what the core gives it; None for one that the core does not know."""
        self.agent = agent
        limit = limits.memory_asked_for(function) if grant is None else grant.memory_limit_bytes
        self.memory_limit_bytes = limits.memory_limit(agent.machine, limit)
        disk_mib = function.options["ephemeral_disk_mib"]
        #: What it may write; None: no limit of its own.
        self.disk_limit_bytes = None if disk_mib is None else int(disk_mib * (1 << 20))
        #: Devices that are its own.
        self.gpus = () if grant is None else grant.gpus
        self.container_id = container_id
        #: What the core knows it as, if it knows it.
        self.unit = unit
        self.function = function
        self.started_at = time()
        self.wanted_ns = monotonic_ns()
        self.state = "starting"
        self.stop_reason: str | None = None
        #: Commands of clients that run in it.
        self.commands = 0
        #: Why this daemon killed it without having been asked to stop it.
        self.killed_for: tuple[ExitCause, str] | None = None
        self.prepared: Prepared | None = None
        self.child: Child | None = None
        self.link: ContainerLink | None = None
        self.session: Session | None = None
        #: Where it answers to the web.
        self.listeners = Listeners(container_id)
        self.readers: list[PipeReader] = []
        self._printed = select.poll()

    @property
    def grace_s(self) -> float:
        """How long it may take to end by itself."""
        return exit_grace_s(self.function) or STOP_GRACE_S

    def marks(self) -> dict[str, str]:
        """Variables that tell its processes where they are."""
        app = self.function.app
        told = lent.container_marks(self.container_id, app.app_id, app.environment.name)
        return {**told, **devices.variables(self.agent.machine, self.gpus)}

    def read_pipes(self, forked: ForkedContainer) -> None:
        """Begin to take what it prints."""
        hidden = () if self.prepared is None else self.prepared.version.hidden
        for fd, stream in ((forked.stdout_fd, "stdout"), (forked.stderr_fd, "stderr")):
            self.readers.append(PipeReader(fd, stream, self, hidden))
            self._printed.register(fd, select.POLLIN)

    def on_output(self, stream: str, data: bytes) -> None:
        """Take what it printed."""
        calls = [] if self.link is None else self.link.kept_calls()
        self.agent.logs.append(self.function, self.container_id, stream, data, calls)

    def on_pipe_closed(self, fd: int) -> None:
        """Watch a pipe no more."""
        self._printed.unregister(fd)

    def is_congested(self) -> bool:
        """True while the client takes output more slowly than it is printed."""
        session = self.function.app.session
        return session is not None and session.peer.queued_bytes > LOG_BYTES_AHEAD_MAX

    def after_events(self) -> None:
        """End an event."""
        self.agent.hub.after_events()

    def drain_logs(self) -> None:
        """Take everything it has printed so far."""
        is_news = bool(self._printed.poll(0))
        for reader in self.readers:
            reader.tell_all(is_news=is_news)
